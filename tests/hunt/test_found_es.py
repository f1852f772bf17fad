from unicodedata import normalize
import pytest
from tests.stores.build import ALICE, branch, record
from tests.stores.families import opened_elasticsearch

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]


@pytest.mark.parametrize("query", ['"Café Central"', "Café-42", "Müller_7"])
async def test_composed_query_finds_decomposed_text(elasticsearch, query):
    async with opened_elasticsearch(elasticsearch.url) as s:
        await s.commit(
            ALICE,
            record(
                *branch([normalize("NFD", "We met at Café Central, order Café-42 by Müller_7.")])
            ),
        )
        assert (await s.search_messages(ALICE, query, limit=10, offset=0)).total == 1


@pytest.mark.parametrize(
    "text",
    [
        "we saw six\r\nflags",
        "we saw six  flags",
        "we saw six\tflags",
        "we saw six\u00a0flags",
        "six\nflags",
    ],
)
async def test_a_phrase_is_found_across_any_white_space(elasticsearch, text):
    async with opened_elasticsearch(elasticsearch.url) as s:
        await s.commit(ALICE, record(*branch([text])))
        assert (await s.search_messages(ALICE, '"six flags"', limit=10, offset=0)).total == 1
