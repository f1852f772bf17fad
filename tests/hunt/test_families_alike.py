import pytest
from tests.stores.build import ALICE, branch, record
from tests.stores.families import opened_elasticsearch, opened_sqlite

WORDS = [
    ("Lodz", "Łódź"),
    ("Soren", "Søren"),
    ("strasse", "Straße"),
    ("finest", "the ﬁnest"),
    ("aether", "æther"),
    ("Angstrom", "Ångström"),
    ("Ｔｏｋｙｏ", "Tokyo"),
]


@pytest.mark.parametrize(("query", "text"), WORDS)
async def test_sqlite(tmp_path, query, text):
    async with opened_sqlite(tmp_path / "memory.db") as s:
        await s.commit(ALICE, record(*branch([text])))
        assert (await s.search_messages(ALICE, query, limit=10, offset=0)).total == 1


@pytest.mark.elasticsearch
@pytest.mark.slow
@pytest.mark.parametrize(("query", "text"), WORDS)
async def test_elasticsearch(elasticsearch, query, text):
    async with opened_elasticsearch(elasticsearch.url) as s:
        await s.commit(ALICE, record(*branch([text])))
        assert (await s.search_messages(ALICE, query, limit=10, offset=0)).total == 1
