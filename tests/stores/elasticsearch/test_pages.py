"""Pages beyond what a server skips, and queries that are too long for it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from memgpt_proxy.stores.elasticsearch import ElasticsearchStore, analysis, pages
from memgpt_proxy.stores.elasticsearch.pages import MOST_TOKENS
from memgpt_proxy.stores.query import UNSPACED, parse
from memgpt_proxy.stores.records import Fork, Namespace, NodeId
from tests.stores.build import EPOCH, branch, message, passage, record

PHRASE = f'"{"привет हिन्दी 9-a " * 300}"'

DAY = datetime.fromtimestamp(EPOCH, UTC)


@pytest.fixture
def skips_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that skips and returns ten hits at most."""
    monkeypatch.setattr(pages, "MOST_AT_ONCE", 10)


@pytest.mark.elasticsearch
@pytest.mark.usefixtures("skips_ten")
class TestDeep:
    async def test_pages_neither_repeat_nor_skip(
        self, shared: ElasticsearchStore, namespace: Namespace
    ) -> None:
        nodes = branch([f"cake n{number}" for number in range(57)])
        await shared.commit(namespace, record(*nodes))
        await shared.commit(namespace, record(fork=Fork(left=(NodeId("m50"),))))
        expected = [f"m{number}" for number in [*range(49, -1, -1), *range(56, 49, -1)]]
        for limit in (4, 10, 25):
            found = [
                await shared.search_messages(namespace, "cake", limit=limit, offset=offset)
                for offset in range(0, 60, limit)
            ]
            assert {page.total for page in found} == {57}
            assert [hit.id for page in found for hit in page.hits] == expected
        dated = await shared.messages_between(
            namespace, DAY, DAY + timedelta(days=1), limit=30, offset=27
        )
        assert [hit.id for hit in dated.hits] == expected[27:]

    async def test_a_page_past_the_end_is_empty(
        self, shared: ElasticsearchStore, namespace: Namespace
    ) -> None:
        await shared.insert_passages(
            namespace, [passage(f"p{number:02}", "tea") for number in range(25)]
        )
        past = await shared.search_passages(namespace, "tea", limit=5, offset=25)
        assert (past.total, past.hits) == (25, ())
        none = await shared.search_passages(namespace, "tea", limit=0, offset=20)
        assert (none.total, none.hits) == (25, ())

    async def test_best_first_pages_too(
        self, shared: ElasticsearchStore, namespace: Namespace
    ) -> None:
        many = [passage(f"p{n:02}", "tea " * (1 + n % 3) + "x " * (3 - n % 3)) for n in range(40)]
        await shared.insert_passages(namespace, many)
        whole = await shared.search_passages(namespace, "tea", limit=40, offset=0)
        found = [
            hit.id
            for offset in range(0, 40, 7)
            for hit in (await shared.search_passages(namespace, "tea", limit=7, offset=offset)).hits
        ]
        assert found == [hit.id for hit in whole.hits]
        assert {hit.id for hit in whole.hits[:13]} == {f"p{n:02}" for n in range(40) if n % 3 == 2}


@pytest.mark.elasticsearch
@pytest.mark.parametrize(
    "query", ["a.b-" * 2000, "東" * 8000, '"six flags" ' * 900, "a-1 b_2 " * 900, PHRASE]
)
async def test_the_longest_queries_are_answered(
    shared: ElasticsearchStore, namespace: Namespace, query: str
) -> None:
    await shared.commit(namespace, record(message("m0", query), message("m1", "nothing")))
    page = await shared.search_messages(namespace, query, limit=2, offset=0)
    assert [hit.id for hit in page.hits] == ["m0"]


LONG = ["a.b-" * 2000, "東" * 8000, "a-1-2-3-4-5-6-7-8 b_2 " * 900, f'"{"привет हिन्दी " * 300}"']


@pytest.mark.parametrize("query", LONG)
def test_terms_are_shortened_together(query: str) -> None:
    terms = parse(query)
    shortened = pages._shortened((*terms.exact, *terms.scanned))
    assert sum(len(pages._tokens(term)) for term in shortened) <= MOST_TOKENS
    for short, term in zip(shortened, (*terms.exact, *terms.scanned), strict=True):
        assert term.startswith(short)
        assert pages._tokens(term)[: len(pages._tokens(short))] == pages._tokens(short)


def test_terms_that_are_short_enough_stay_whole() -> None:
    assert pages._shortened(("a-b", "東京")) == ["a-b", "東京"]


@pytest.mark.parametrize(
    ("term", "tokens"),
    [
        ("foo_bar.py", ["foo", "_", "bar", ".", "py"]),
        ("हिन्दी a", ["हिन्दी", " ", "a"]),
        ("Kyoto京都", ["Kyoto", "京", "都"]),
        ("x" * 450, ["x" * 200, "x" * 200, "x" * 50]),
        ("", []),
    ],
)
def test_terms_are_taken_apart(term: str, tokens: list[str]) -> None:
    assert pages._tokens(term) == tokens


def test_the_index_knows_the_same_scripts_as_queries_do() -> None:
    ranges = re.sub(r"\\x\{(\w+)\}", lambda found: chr(int(found[1], 16)), analysis.UNSPACED)
    indexed = re.compile(f"[{ranges}]")
    differing = [
        code
        for code in range(0x40000)
        if bool(indexed.match(chr(code))) != bool(UNSPACED.match(chr(code)))
    ]
    assert differing == []
