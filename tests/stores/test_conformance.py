"""What every family of stores does, by the words of ``memgpt_proxy.stores.protocols``."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from unicodedata import normalize
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memgpt_proxy.memory.archival import cut
from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.records import (
    NO_TURN,
    Counts,
    Fork,
    Hit,
    Namespace,
    NodeId,
    Page,
    Role,
    TurnId,
    TurnState,
    WorkingContext,
)
from tests.stores.asking import EARLIEST, LATEST
from tests.stores.build import (
    ALICE,
    BOB,
    EPOCH,
    branch,
    ids,
    kept,
    message,
    passage,
    queue,
    record,
    renamed,
)


async def said(store: Store, *texts: str) -> None:
    await store.commit(ALICE, record(*branch(texts)))


async def found(store: Store, query: str) -> list[str]:
    page = await store.search_messages(ALICE, query, limit=100, offset=0)
    assert page.total == len(page.hits)
    return [hit.text for hit in page.hits]


async def archived(store: Store, query: str) -> list[str]:
    page = await store.search_passages(ALICE, query, limit=100, offset=0)
    assert page.total == len(page.hits)
    return [hit.text for hit in page.hits]


async def read_turn(store: Store, namespace: Namespace, chain: list[NodeId]) -> TurnState:
    """The turn on the longest known prefix, with no hint that less is enough."""
    return await store.read_turn(namespace, chain, enough=len(chain))


class TestTranscript:
    async def test_knows_nothing_at_first(self, store: Store) -> None:
        turn = await read_turn(store, ALICE, [NodeId("m0")])
        assert (turn.known, turn.nodes, turn.queue) == (0, (), None)
        assert turn.context == WorkingContext(0, "")
        assert turn.counts == Counts(0, 0)

    async def test_an_empty_chain_is_a_turn_too(self, store: Store) -> None:
        await store.write_context(ALICE, 0, "Name: Chad", NodeId("m0"), NO_TURN)
        turn = await read_turn(store, ALICE, [])
        assert (turn.known, turn.nodes, turn.context.content) == (0, (), "Name: Chad")

    async def test_finds_the_longest_known_prefix(self, store: Store) -> None:
        nodes = branch(["hi", "hello", "how are you"])
        await store.commit(ALICE, record(*nodes))
        turn = await read_turn(store, ALICE, [*ids(nodes), NodeId("new"), NodeId("newer")])
        assert turn.known == 3
        assert list(turn.nodes) == nodes
        assert turn.counts == Counts(messages=3, passages=0)

    async def test_reads_the_branch_asked_for(self, store: Store) -> None:
        nodes = branch(["hi", "hello", "how are you"])
        other = message("other", "and you?", parent=NodeId("m1"), depth=2)
        await store.commit(ALICE, record(*nodes, other))
        turn = await read_turn(store, ALICE, [*ids(nodes[:2]), NodeId("other")])
        assert [node.text for node in turn.nodes] == ["hi", "hello", "and you?"]

    async def test_reads_from_the_start_of_the_queue(self, store: Store) -> None:
        nodes = branch([f"message {depth}" for depth in range(10)])
        await store.commit(ALICE, record(*nodes, queues=[queue("m7", start=5)]))
        later = renamed(nodes[9], "m10", parent=NodeId("m9"), depth=10)
        await store.commit(ALICE, record(replace(later, queue=NodeId("m7"))))
        turn = await read_turn(store, ALICE, [*ids(nodes), NodeId("m10"), NodeId("new")])
        assert turn.known == 11
        assert turn.queue == queue("m7", start=5)
        assert [node.depth for node in turn.nodes] == [5, 6, 7, 8, 9, 10]

    async def test_a_queue_that_starts_behind_the_last_message_is_empty(self, store: Store) -> None:
        nodes = branch(["a", "b"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", start=2)]))
        turn = await read_turn(store, ALICE, ids(nodes))
        assert (turn.known, turn.nodes, turn.queue) == (2, (), queue("m1", start=2))

    @pytest.mark.parametrize("unknown", [0, 1, 9, 200, 3000])
    async def test_a_long_chain_is_found_wherever_it_ends(self, store: Store, unknown: int) -> None:
        nodes = branch([""] * 300)
        await store.commit(ALICE, record(*nodes, queues=[queue("m299", start=298)]))
        turn = await read_turn(store, ALICE, ids(nodes) + [NodeId(f"u{i}") for i in range(unknown)])
        assert turn.known == 300
        assert ids(turn.nodes) == ["m298", "m299"]

    @pytest.mark.parametrize("enough", [0, 1, 39, 40, 41, 60])
    async def test_less_than_the_longest_may_be_enough(self, store: Store, enough: int) -> None:
        nodes = branch([f"message {depth}" for depth in range(40)])
        await store.commit(ALICE, record(*nodes))
        chain = ids(nodes) + [NodeId(f"new{i}") for i in range(20)]
        turn = await store.read_turn(ALICE, chain, enough=enough)
        assert min(enough, 40) <= turn.known <= 40
        assert list(turn.nodes) == nodes[: turn.known]

    async def test_nodes_come_in_the_order_asked(self, store: Store) -> None:
        nodes = branch(["hi", "hello", "how are you"])
        await store.commit(ALICE, record(*nodes))
        asked = [NodeId("m2"), NodeId("nobody"), NodeId("m0")]
        assert await kept(store, ALICE, asked) == (nodes[2], nodes[0])

    async def test_a_commit_tells_which_messages_were_there(self, store: Store) -> None:
        first, second, third = branch(["one", "two", "three"])
        assert await store.commit(ALICE, record(first, second)) == ()
        assert await store.commit(BOB, record(second)) == ()
        assert await store.commit(ALICE, record(second, third)) == (second.id,)
        again = replace(first, turn=TurnId("another"), entries="[]")
        assert await store.commit(ALICE, record(again, third)) == (first.id, third.id)
        assert await store.commit(ALICE, record(unplaced=True)) == ()
        fourth = replace(third, id=NodeId("m3"), key=NodeId("m3"), parent=third.id, depth=3)
        assert await store.commit(ALICE, record(third, fourth, unplaced=True)) == (third.id,)

    async def test_a_repeated_commit_changes_nothing(self, store: Store) -> None:
        nodes = branch(["hi", "hello"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", start=0)]))
        before = await read_turn(store, ALICE, ids(nodes))
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", start=0)]))
        assert await read_turn(store, ALICE, ids(nodes)) == before
        assert await found(store, "hello") == ["hello"]

    async def test_a_known_node_is_left_as_it_is(self, store: Store) -> None:
        node = message("m0", "first")
        await store.commit(ALICE, record(node))
        await store.commit(ALICE, record(replace(node, text="second", entries="[]", tokens=9)))
        await store.commit(ALICE, record(replace(node, entries="[]", complete=False)))
        assert await kept(store, ALICE, [node.id]) == (node,)

    async def test_an_incomplete_node_becomes_complete(self, store: Store) -> None:
        cut_off = message("m0", "half", entries='["half"]', complete=False)
        whole = replace(cut_off, entries='["step","half"]', tokens=12, complete=True)
        await store.commit(ALICE, record(cut_off))
        assert await kept(store, ALICE, [cut_off.id]) == (cut_off,)
        await store.commit(ALICE, record(whole))
        assert await kept(store, ALICE, [cut_off.id]) == (whole,)
        assert (await store.counts(ALICE)).messages == 1

    async def test_a_queue_state_replaces_the_earlier_one(self, store: Store) -> None:
        nodes = branch(["a", "b", "c"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m1", start=0, summary="old")]))
        newer = queue("m1", start=1, summary="new", messages=9)
        await store.commit(ALICE, record(queues=[newer]))
        turn = await read_turn(store, ALICE, ids(nodes[:2]))
        assert turn.queue == newer
        assert [(node.id, node.queue) for node in turn.nodes] == [("m1", "m1")]

    async def test_a_branch_from_before_a_flush_keeps_its_own_queue(self, store: Store) -> None:
        nodes = branch(["a", "b", "c"])
        await store.commit(ALICE, record(*nodes, queues=[queue("m2", start=2)]))
        turn = await read_turn(store, ALICE, [*ids(nodes[:2]), NodeId("edited")])
        assert (turn.known, turn.queue, len(turn.nodes)) == (2, None, 2)

    async def test_a_commit_is_whole_or_not_at_all(self, store: Store) -> None:
        beyond = message("m1", "beyond", tokens=2**70)
        with pytest.raises(StoreError):
            await store.commit(ALICE, record(message("m0", "fine"), beyond))
        assert await kept(store, ALICE, [NodeId("m0"), NodeId("m1")]) == ()
        assert await store.counts(ALICE) == Counts(0, 0)

    async def test_one_bad_write_fails_alone(self, store: Store) -> None:
        good = [store.commit(ALICE, record(message(f"g{i}", "good"))) for i in range(8)]
        bad = store.commit(ALICE, record(message("bad", "bad", tokens=2**70)))
        *fine, failed = await asyncio.gather(*good, bad, return_exceptions=True)
        assert fine == [()] * 8
        assert isinstance(failed, StoreError)
        assert await store.counts(ALICE) == Counts(8, 0)

    async def test_silent_nodes_are_no_messages(self, store: Store) -> None:
        await store.commit(ALICE, record(*branch(["hi", "", "there"])))
        assert await store.counts(ALICE) == Counts(messages=2, passages=0)

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(
        text=st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
        created=st.floats(min_value=0, max_value=1e11),
        tokens=st.integers(min_value=0, max_value=2**40),
    )
    async def test_what_is_stored_comes_back(
        self, store: Store, text: str, created: float, tokens: int
    ) -> None:
        namespace = Namespace(uuid4().hex)
        node = message("m0", text, entries=text, created=created, tokens=tokens)
        await store.commit(
            namespace, record(node, queues=[replace(queue("m0", start=0), summary=text)])
        )
        turn = await read_turn(store, namespace, [node.id])
        assert turn.nodes == (replace(node, queue=NodeId("m0")),)
        assert turn.queue is not None
        assert turn.queue.summary == text
        assert (await store.counts(namespace)).messages == (1 if text else 0)

    async def test_text_that_is_no_unicode_is_replaced(self, store: Store) -> None:
        await store.commit(ALICE, record(message("m0", "half \ud83d of a pair, \0 nothing")))
        (node,) = await kept(store, ALICE, [NodeId("m0")])
        assert node.text == "half \ufffd of a pair, \ufffd nothing"
        assert await found(store, "pair") == [node.text]
        assert await found(store, "\ud83d pair \0") == [node.text]
        namespace = Namespace("\udc00\0")
        await store.insert_passages(namespace, [passage("p\udc00", "x \udfff")])
        written = await store.write_context(namespace, 0, "\udc00", NodeId("\ud800"), NO_TURN)
        assert written == await store.context(namespace) == WorkingContext(1, "\ufffd")


class TestRecall:
    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("boyfriend", ["my boyfriend James", "a boyfriend?"]),
            ("BOYFRIENDS", ["my boyfriend James", "a boyfriend?"]),
            ("boyfriend james", ["my boyfriend James"]),
            ('"boyfriend James"', ["my boyfriend James"]),
            ('"james boyfriend"', []),
            ("six flags", ["lol yeah six flags"]),
            ("flags, six!", ["lol yeah six flags"]),
            ("zebra", []),
            ("", []),
            ("   ", []),
            ("?", ["a boyfriend?"]),
        ],
    )
    async def test_words_and_phrases(self, store: Store, query: str, expected: list[str]) -> None:
        await said(store, "a boyfriend?", "lol yeah six flags", "my boyfriend James")
        assert await found(store, query) == expected

    async def test_all_terms_come_newest_first(self, store: Store) -> None:
        texts = ["cake cake cake", "a cake among many other words of no matter", "cake, then"]
        await said(store, *texts)
        assert await found(store, "cake") == texts[::-1]

    async def test_equal_times_are_told_apart_by_depth_and_id(self, store: Store) -> None:
        nodes = [
            message("b", "cake one"),
            message("a", "cake two"),
            message("c", "cake three", depth=1),
        ]
        await store.commit(ALICE, record(*nodes))
        assert await found(store, "cake") == ["cake three", "cake two", "cake one"]

    async def test_without_a_message_that_has_all_any_term_counts(self, store: Store) -> None:
        await said(store, "apple banana", "apple", "cherry " * 30 + "apple", "nothing")
        hits = await found(store, "banana apple zebra")
        assert hits[0] == "apple banana"
        assert set(hits[1:]) == {"apple", "cherry " * 30 + "apple"}

    async def test_identifiers_that_share_a_prefix(self, store: Store) -> None:
        uuids = [f"3f2b8c1a-9d4e-4b6f-8a7c-00000000000{digit}" for digit in range(5)]
        await said(store, *(f"the key of {uuid} is here" for uuid in uuids))
        for uuid in uuids:
            assert await found(store, uuid) == [f"the key of {uuid} is here"]
            assert await found(store, uuid.upper()) == [f"the key of {uuid} is here"]
            assert await found(store, f"key {uuid}") == [f"the key of {uuid} is here"]
        assert await found(store, "3f2b8c1a-9d4e-4b6f-8a7c-000000000009") == []

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("ann.lee@example.com", "write to ann.lee@example.com."),
            ("lee@example.com", "write to lee@example.com, please"),
            ("foo_bar.py", "see foo_bar.py"),
            ("foo-bar.py", "see foo-bar.py"),
            ("a-b", "a-b"),
            ("report.pdf", "the report.pdf file"),
            ("https://example.com/a?b=1", "at https://example.com/a?b=1"),
            ("ERR_4711", "it said err_4711"),
            ("100%", "100% sure"),
            ("v1.2.3", "release v1.2.3"),
            ("10.0.0.1", "host 10.0.0.1"),
        ],
    )
    async def test_exact_identifiers(self, store: Store, query: str, expected: str) -> None:
        await said(
            store,
            "write to ann.lee@example.com.",
            "write to ann lee at example com",
            "see foo_bar.py",
            "see foo-bar.py",
            "see foo bar py",
            "a-b",
            "a b",
            "the report.pdf file",
            "the report pdf file and reports.pdf",
            "at https://example.com/a?b=1",
            "it said err_4711",
            "it said err 4711",
            "100% sure",
            "release v1.2.3",
            "release v1.2.30",
            "release v1 2 3",
            "host 10.0.0.1",
            "host 10.0.0.10",
            "host 10 0 0 1",
            "write to lee@example.com, please",
        )
        assert (await found(store, query))[:1] == [expected]
        assert set(await found(store, query)) <= {expected, "write to ann.lee@example.com."}

    async def test_the_exact_part_holds_where_any_term_counts(self, store: Store) -> None:
        await said(store, "the order a-1", "the order a 1", "the parcel", "order b-2")
        assert set(await found(store, "a-1 parcel zebra")) == {"the order a-1", "the parcel"}
        assert set(await found(store, "a-1 b-2")) == {"the order a-1", "order b-2"}

    async def test_phrases_run_over_line_breaks(self, store: Store) -> None:
        await said(store, "the quick\nbrown fox", "brown quick", "quick-brown")
        assert await found(store, '"quick  brown"') == ["the quick\nbrown fox"]

    @pytest.mark.parametrize("space", ["\r\n", "  ", "\t", "\u00a0", " \n "])
    async def test_phrases_run_over_any_white_space(self, store: Store, space: str) -> None:
        await said(store, f"we saw six{space}flags", "six of their flags")
        assert await found(store, '"six flags"') == [f"we saw six{space}flags"]

    @pytest.mark.parametrize("query", ["cafe", "café", "CAFÉ", "brulee", "crème brûlée", "Müller"])
    async def test_diacritics_and_case(self, store: Store, query: str) -> None:
        text = "Herr MULLER had a crème brûlée at the café"
        await said(store, text, "nothing of that kind")
        assert await found(store, query) == [text]

    @pytest.mark.parametrize(
        ("query", "expected"),
        [
            ("東京", ["明日は東京へ行きます"]),
            ("大阪 行きます", ["大阪へ行きます"]),
            ("行きます", ["大阪へ行きます", "明日は東京へ行きます"]),
            ("ภาษาไทย", ["ฉันเรียนภาษาไทย"]),
            ("서울", ["저는 서울에서 삽니다"]),
            ("Kyoto 京都", ["Kyoto is 京都です"]),
            ("京都 zebra", ["Kyoto is 京都です"]),
            ("ПРИВЕТ-1", ["привет-1"]),
        ],
    )
    async def test_other_scripts(self, store: Store, query: str, expected: list[str]) -> None:
        await said(
            store,
            "明日は東京へ行きます",
            "大阪へ行きます",
            "ฉันเรียนภาษาไทย",
            "저는 서울에서 삽니다",
            "Kyoto is 京都です",
            "привет-1",
            "привет 1",
        )
        assert await found(store, query) == expected

    @pytest.mark.parametrize(
        "query",
        [
            '" OR 1=1 --',
            "NEAR(",
            "NEAR(a b, 2)",
            "*",
            "col:",
            "text:secret",
            '"',
            '"""',
            '"unbalanced',
            "'); DROP TABLE nodes; --",
            "a AND",
            "NOT",
            "^secret",
            "{namespace}:x",
            "%",
            "_",
            "\\",
            "-",
            "(" * 500,
            '" "',
            "+",
            "\0",
            "\ud800",
            "🎉",
        ],
    )
    async def test_no_query_is_syntax(self, store: Store, query: str) -> None:
        await store.commit(BOB, record(message("m0", "the secret of bob % _ \\ - * 🎉 a")))
        await store.insert_passages(BOB, [passage("p0", "the secret of bob % _ \\ - * 🎉 a")])
        assert await found(store, query) == []
        assert await archived(store, query) == []
        await said(store, "harmless")
        assert await found(store, query) == []

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(query=st.text())
    async def test_any_text_is_a_query(self, store: Store, query: str) -> None:
        await store.commit(BOB, record(message(query, query)))
        assert await found(store, query) == []
        assert await archived(store, query) == []

    @pytest.mark.parametrize("query", ["word " * 2000, "x" * 10_000, "a." * 5000, "東" * 10_000])
    async def test_very_long_queries_are_bounded(self, store: Store, query: str) -> None:
        await said(store, "a word", query)
        assert query in await found(store, query) or len(query.split()) == 1

    async def test_pages_of_124_results(self, store: Store) -> None:
        await said(store, *(f"cake number n{i}" for i in range(124)), "nothing")
        pages = [
            await store.search_messages(ALICE, "cake", limit=10, offset=offset)
            for offset in range(0, 140, 10)
        ]
        assert [page.total for page in pages] == [124] * 14
        assert [len(page.hits) for page in pages] == [10] * 12 + [4, 0]
        texts = [hit.text for page in pages for hit in page.hits]
        assert texts == [f"cake number n{i}" for i in reversed(range(124))]

    async def test_ids_are_left_out_of_pages_and_totals(self, store: Store) -> None:
        await said(store, *(f"cake number n{i}" for i in range(20)), "a pie", "of cake")
        without = ["m0", "m7", "m19", "m20", "nobody", "\udc00"]
        pages = [
            await store.search_messages(ALICE, "cake", limit=10, offset=offset, without=without)
            for offset in (0, 10, 20)
        ]
        assert [page.total for page in pages] == [18] * 3
        left = [i for i in reversed(range(20)) if i not in (0, 7, 19)]
        texts = [hit.text for page in pages for hit in page.hits]
        assert texts == ["of cake", *(f"cake number n{i}" for i in left)]

    async def test_what_is_left_out_was_found_all_the_same(self, store: Store) -> None:
        """Some message has all of the terms: what has only one of them is no hit."""
        await said(store, "apple banana", "apple", "banana")
        page = await store.search_messages(ALICE, "apple banana", limit=9, offset=0, without=["m0"])
        assert page == Page(0, ())
        page = await store.search_messages(ALICE, "apple zebra", limit=9, offset=0, without=["m0"])
        assert [hit.text for hit in page.hits] == ["apple"]

    async def test_hits_tell_whether_they_are_abandoned(self, store: Store) -> None:
        await said(store, "cake one", "cake two")
        other = message("other", "cake three", parent=NodeId("m0"), depth=1)
        fork = Fork(left=(NodeId("m1"),))
        await store.commit(ALICE, record(other, fork=fork))
        page = await store.search_messages(ALICE, "cake", limit=9, offset=0)
        abandoned = {hit.text: hit.abandoned for hit in page.hits}
        assert abandoned == {"cake one": False, "cake three": False, "cake two": True}

    async def test_messages_between_dates(self, store: Store) -> None:
        day = datetime(2024, 1, 24, tzinfo=UTC)
        nodes = [
            message(f"m{hours}", f"at {hours}", created=(day + timedelta(hours=hours)).timestamp())
            for hours in (-1, 0, 12, 23, 24)
        ]
        await store.commit(ALICE, record(*nodes, message("silent", created=day.timestamp())))
        between = await store.messages_between(
            ALICE, day, day + timedelta(days=1), limit=2, offset=0
        )
        assert between.total == 3
        assert [hit.text for hit in between.hits] == ["at 23", "at 12"]
        assert between.hits[0].created == (day + timedelta(hours=23)).timestamp()
        rest = await store.messages_between(ALICE, day, day + timedelta(days=1), limit=2, offset=2)
        assert [hit.text for hit in rest.hits] == ["at 0"]
        empty = await store.messages_between(ALICE, day, day, limit=2, offset=0)
        assert empty == Page(0, ())

    async def test_hits_tell_who_said_them(self, store: Store) -> None:
        asked = message("asked", "cake?", role=Role.USER)
        told = message("told", "cake!", role=Role.ASSISTANT, parent=NodeId("asked"), depth=1)
        await store.commit(ALICE, record(asked, told))
        found = await store.search_messages(ALICE, "cake", limit=9, offset=0)
        listed = await store.messages_between(ALICE, EARLIEST, LATEST, limit=9, offset=0)
        assert found == listed
        assert [(hit.text, hit.role) for hit in listed.hits] == [
            ("cake!", Role.ASSISTANT),
            ("cake?", Role.USER),
        ]


class TestArchival:
    async def test_what_was_inserted_is_found_at_once(self, store: Store) -> None:
        await store.insert_passages(ALICE, [passage("p0", "Chad likes Taylor Swift")])
        assert await archived(store, "taylor swift") == ["Chad likes Taylor Swift"]
        assert await store.counts(ALICE) == Counts(messages=0, passages=1)

    async def test_a_repeated_insertion_changes_nothing(self, store: Store) -> None:
        await store.insert_passages(ALICE, [passage("p0", "first"), passage("p1", "other")])
        await store.insert_passages(ALICE, [passage("p0", "second"), passage("p2", "third")])
        assert await archived(store, "first second third") == ["first", "third"]
        assert await store.counts(ALICE) == Counts(messages=0, passages=3)

    @pytest.mark.parametrize("query", ['"Café Central"', "Café-42", "Müller_7"])
    async def test_signs_are_found_however_they_are_composed(
        self, store: Store, query: str
    ) -> None:
        """A Mac writes names of files in parts, and so is what was copied from them."""
        text = "We met at Café Central, order Café-42 by Müller_7."
        await store.insert_passages(ALICE, cut(normalize("NFD", text), NodeId("m0"), EPOCH))
        for each in (query, normalize("NFD", query)):
            assert await archived(store, each) == [text]

    async def test_best_match_first(self, store: Store) -> None:
        much, little = "nobel prize nobel prize", "a nobel prize, " + "and other words " * 30
        await store.insert_passages(
            ALICE, [passage("p0", much, EPOCH), passage("p1", little, EPOCH + 1)]
        )
        assert await archived(store, "nobel prize") == [much, little]

    async def test_passages_between_dates_newest_first(self, store: Store) -> None:
        day = datetime(2024, 1, 24, tzinfo=UTC)
        made = {hours: (day + timedelta(hours=hours)).timestamp() for hours in (12, -1, 0, 24, 23)}
        inserted = [passage(f"p{hours}", f"at {hours}", when) for hours, when in made.items()]
        await store.insert_passages(ALICE, inserted)
        span = day, day + timedelta(days=1)
        page = await store.passages_between(ALICE, *span, limit=2, offset=0)
        assert (page.total, [hit.text for hit in page.hits]) == (3, ["at 23", "at 12"])
        assert page.hits[0] == Hit("p23", "at 23", made[23])
        rest = await store.passages_between(ALICE, *span, limit=2, offset=2)
        assert (rest.total, [hit.text for hit in rest.hits]) == (3, ["at 0"])
        assert await store.passages_between(ALICE, day, day, limit=2, offset=0) == Page(0, ())
        assert await store.passages_between(BOB, *span, limit=2, offset=0) == Page(0, ())

    async def test_hidden_passages_are_not_listed(self, store: Store) -> None:
        turn = TurnId("t")
        shown, hidden = passage("p0", "stays", EPOCH), passage("p1", "goes", EPOCH, turn=turn)
        await store.insert_passages(ALICE, [shown, hidden])
        await store.hide_passages(ALICE, [turn])
        listed = await store.passages_between(ALICE, EARLIEST, LATEST, limit=9, offset=0)
        assert (listed.total, [hit.id for hit in listed.hits]) == (1, ["p0"])
        await store.show_passages(ALICE, [turn])
        listed = await store.passages_between(ALICE, EARLIEST, LATEST, limit=9, offset=0)
        assert (listed.total, [hit.id for hit in listed.hits]) == (2, ["p0", "p1"])

    async def test_ids_are_left_out(self, store: Store) -> None:
        inserted = [passage(f"p{i}", f"nobel p{i}", EPOCH + i) for i in range(5)]
        await store.insert_passages(ALICE, inserted)
        page = await store.search_passages(ALICE, "nobel", limit=2, offset=0, without=["p1", "p4"])
        assert (page.total, [hit.id for hit in page.hits]) == (3, ["p3", "p2"])

    async def test_equal_matches_come_newest_first_and_page(self, store: Store) -> None:
        inserted = [passage(f"p{i}", f"nobel p{i}", EPOCH + i) for i in range(124)]
        await store.insert_passages(ALICE, inserted)
        pages = [
            await store.search_passages(ALICE, "nobel", limit=10, offset=offset)
            for offset in range(0, 130, 10)
        ]
        assert {page.total for page in pages} == {124}
        assert [len(page.hits) for page in pages] == [10] * 12 + [4]
        assert [hit.id for page in pages for hit in page.hits] == [
            f"p{i}" for i in reversed(range(124))
        ]


async def test_ping(store: Store) -> None:
    await store.ping()
