"""The function executor on a real store: the poster's results, and what a model can mend."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.agent.executor import CallPlace, CallResult, FunctionCall, FunctionExecutor
from memgpt_proxy.agent.functions import FUNCTIONS, SEND_MESSAGE
from memgpt_proxy.agent.window import Room
from memgpt_proxy.memory.archival import Archive
from memgpt_proxy.memory.recall import Recall
from memgpt_proxy.memory.results import ResultFormat
from memgpt_proxy.memory.working_context import Author, WorkingContextEditor
from memgpt_proxy.stores.records import Namespace, NodeId, TurnId, TurnRecord, WorkingContext
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, BOB, message, passage

NOW = datetime(2024, 2, 14, 12, tzinfo=UTC)
ROOM = Room(message=1000, context=8000, hit=2000)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "memory.db")
    await opened.open()
    yield opened
    await opened.close()


def executor(store: SqliteStore) -> FunctionExecutor:
    wording = ResultFormat(UTC)
    return FunctionExecutor(
        WorkingContextEditor(store), Archive(store, wording), Recall(store, wording, UTC)
    )


async def run(
    store: SqliteStore,
    name: str,
    arguments: dict[str, Any] | None,
    *,
    room: Room = ROOM,
    owner: Namespace = ALICE,
    node: str = "m1",
) -> CallResult:
    place = CallPlace(owner, Author(NodeId(node), TurnId(f"turn of {node}")), NOW, room)
    call = FunctionCall("call_1", FUNCTIONS[name], arguments)
    return await executor(store).run(place, call)


async def append(store: SqliteStore, content: str, **more: Any) -> CallResult:
    return await run(store, "working_context_append", {"content": content}, **more)


async def replace(store: SqliteStore, old: str, new: str) -> CallResult:
    changed = {"old_content": old, "new_content": new}
    return await run(store, "working_context_replace", changed)


async def test_the_posters_appends(store: SqliteStore) -> None:
    first = await append(store, "Birthday is February 7")
    assert first == CallResult(
        "Appended. Working context: 22 / 8 000 characters.",
        context=WorkingContext(1, "Birthday is February 7"),
    )
    second = await append(store, "Boyfriend named James")
    assert second.text == "Appended. Working context: 44 / 8 000 characters."
    assert (await store.context(ALICE)).content == "Birthday is February 7\nBoyfriend named James"


async def test_the_posters_replacement(store: SqliteStore) -> None:
    await append(store, "Boyfriend named James")
    replaced = await replace(store, "Boyfriend named James", "Ex-boyfriend named James")
    assert replaced == CallResult(
        "Replaced. Working context: 24 / 8 000 characters.",
        context=WorkingContext(2, "Ex-boyfriend named James"),
    )


async def test_an_empty_replacement_deletes(store: SqliteStore) -> None:
    await append(store, "Likes six flags")
    await append(store, "Works at ACME")
    assert (await replace(store, "Likes six flags", "")).failed is False
    assert (await store.context(ALICE)).content == "Works at ACME"


@pytest.mark.parametrize(
    ("old", "why"), [("Alice", "does not occur"), ("James", "occurs 2 times"), ("", "is empty")]
)
async def test_a_replacement_that_is_not_clear_fails(
    store: SqliteStore, old: str, why: str
) -> None:
    await append(store, "Boyfriend named James\nBrother named James")
    result = await replace(store, old, "Bob")
    assert result.failed
    assert result.context is None
    assert result.text.startswith(f"Error: old_content {why}")
    assert (await store.context(ALICE)).version == 1


async def test_working_context_has_a_limit(store: SqliteStore) -> None:
    small = Room(message=1000, context=30, hit=2000)
    await append(store, "Birthday is February 7", room=small)
    result = await append(store, "Boyfriend named James", room=small)
    assert result.failed
    assert result.text.startswith(
        "Error: the working context would hold 44 characters; its limit is 30 and 22 are used."
    )
    assert "working_context_replace" in result.text
    assert (await store.context(ALICE)).content == "Birthday is February 7"


async def test_what_was_inserted_is_found_at_once(store: SqliteStore) -> None:
    inserted = await run(store, "archival_storage_insert", {"content": "Chad's car is red."})
    assert inserted == CallResult("Inserted.")
    assert await run(store, "archival_storage_search", {"query": "car"}) == CallResult(
        'Showing 1 of 1 results (page 1/1): "Chad\'s car is red."'
    )


async def test_a_long_note_is_inserted_in_passages(store: SqliteStore) -> None:
    note = "".join(f"Line {n} of a long note.\n" for n in range(200))
    inserted = await run(store, "archival_storage_insert", {"content": note})
    passages = (await store.counts(ALICE)).passages
    assert passages > 1
    assert inserted.text == f"Inserted in {passages} passages."
    found = await run(store, "archival_storage_search", {"query": '"Line 199"'})
    assert found.text.startswith("Showing 1 of 1 results (page 1/1): ")


async def test_the_posters_recall(store: SqliteStore) -> None:
    said = {
        "james and I actually first met at six flags": datetime(2023, 10, 12, 9, tzinfo=UTC),
        "I love six flags been like 100 times": datetime(2024, 1, 14, 9, tzinfo=UTC),
        "lol yeah six flags": datetime(2024, 1, 24, 9, tzinfo=UTC),
    }
    nodes = [
        message(f"m{n}", text, created=when.timestamp())
        for n, (text, when) in enumerate(said.items())
    ]
    await store.commit(ALICE, TurnRecord(nodes))
    assert await run(store, "recall_storage_search", {"query": "six flags"}) == CallResult(
        'Showing 3 of 3 results (page 1/1): [01/24/2024] "lol yeah six flags", '
        '[01/14/2024] "I love six flags been like 100 times", '
        '[10/12/2023] "james and I actually first met at six flags"'
    )
    between = {"start_date": "2024-01-14", "end_date": "2024-01-14"}
    assert await run(store, "recall_storage_search_date", between) == CallResult(
        'Showing 1 of 1 results (page 1/1): [01/14/2024] "I love six flags been like 100 times"'
    )


async def test_the_posters_pages(store: SqliteStore) -> None:
    await store.insert_passages(ALICE, [passage(f"p{n}", f"nobel physics {n}") for n in range(124)])
    shown = {}
    for page in (1, 2, 13, 14):
        asked = {"query": "nobel physics", "page": page}
        shown[page] = (await run(store, "archival_storage_search", asked)).text
    assert shown[1].startswith('Showing 10 of 124 results (page 1/13): "nobel physics ')
    assert shown[2].startswith("Showing 10 of 124 results (page 2/13): ")
    assert shown[13].startswith("Showing 4 of 124 results (page 13/13): ")
    assert shown[14] == "Showing 0 of 124 results (page 14/13): past the end; the last page is 13."


@pytest.mark.parametrize("page", ["2", 2.0, "02"])
async def test_a_page_may_be_written_in_other_ways(store: SqliteStore, page: object) -> None:
    await store.insert_passages(ALICE, [passage(f"p{n}", f"nobel {n}") for n in range(11)])
    found = await run(store, "archival_storage_search", {"query": "nobel", "page": page})
    assert found.text.startswith("Showing 1 of 11 results (page 2/2): ")


async def test_a_long_hit_is_cut_to_the_room(store: SqliteStore) -> None:
    await store.insert_passages(ALICE, [passage("p", "nobel " + "x" * 94)])
    small = Room(message=1000, context=8000, hit=10)
    found = await run(store, "archival_storage_search", {"query": "nobel"}, room=small)
    assert found.text == (
        'Showing 1 of 1 results (page 1/1): "nobel xxxx…" (cut, 100 characters in all)'
    )


BAD_ARGUMENTS: dict[str, tuple[str, dict[str, Any] | None, str]] = {
    "unreadable": (
        "working_context_append",
        None,
        "Error: the arguments are not a JSON object; write them again.",
    ),
    "missing": ("working_context_append", {}, "Error: the argument content is missing."),
    "null": (
        "archival_storage_search",
        {"query": None},
        "Error: the argument query is missing.",
    ),
    "one of two missing": (
        "working_context_replace",
        {"old_content": "x"},
        "Error: the argument new_content is missing.",
    ),
    "a list": (
        "archival_storage_insert",
        {"content": ["x"]},
        "Error: the argument content is not a text.",
    ),
    "page zero": (
        "recall_storage_search",
        {"query": "x", "page": 0},
        "Error: pages count from 1.",
    ),
    "page beyond all numbers": (
        "recall_storage_search",
        {"query": "x", "page": 10**30},
        "Error: pages count from 1.",
    ),
    "infinite page": (
        "recall_storage_search",
        {"query": "x", "page": float("inf")},
        "Error: page is not a number; pages count from 1.",
    ),
    "page in words": (
        "archival_storage_search",
        {"query": "x", "page": "two"},
        "Error: page is not a number; pages count from 1.",
    ),
    "page is a list": (
        "archival_storage_search",
        {"query": "x", "page": [2]},
        "Error: page is not a number; pages count from 1.",
    ),
    "no date": (
        "recall_storage_search_date",
        {"start_date": "yesterday", "end_date": "2024-01-01"},
        "Error: start_date is not a date; write it as YYYY-MM-DD.",
    ),
    "nothing to append": (
        "working_context_append",
        {"content": " \n"},
        "Error: content is empty; give the text to append.",
    ),
    "nothing to insert": (
        "archival_storage_insert",
        {"content": ""},
        "Error: content is empty; give the text to keep.",
    ),
}


@pytest.mark.parametrize(("name", "arguments", "told"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
async def test_bad_arguments_are_told_of(
    store: SqliteStore, name: str, arguments: dict[str, Any] | None, told: str
) -> None:
    assert await run(store, name, arguments) == CallResult(told, failed=True)


async def test_a_number_is_taken_as_text(store: SqliteStore) -> None:
    await append(store, 42)  # type: ignore[arg-type]
    assert (await store.context(ALICE)).content == "42"


async def test_send_message_is_not_run_here(store: SqliteStore) -> None:
    result = await run(store, SEND_MESSAGE, {"message": "hi"})
    assert result == CallResult("Error: send_message cannot be called here.", failed=True)


async def test_memory_is_the_owners_alone(store: SqliteStore) -> None:
    await store.commit(BOB, TurnRecord([message("m1", "six flags")]))
    await store.insert_passages(BOB, [passage("p", "six flags")])
    await append(store, "Name: Bob", owner=BOB)
    nothing = CallResult("Showing 0 of 0 results (page 1/1).")
    for name in ("recall_storage_search", "archival_storage_search"):
        assert await run(store, name, {"query": "six flags"}) == nothing
    assert (await append(store, "Name: Alice")).context == WorkingContext(1, "Name: Alice")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("working_context_append", {"content": "x"}),
        ("archival_storage_insert", {"content": "x"}),
        ("recall_storage_search", {"query": "x"}),
    ],
)
async def test_a_store_that_is_away_is_told_of(
    store: SqliteStore, name: str, arguments: dict[str, Any]
) -> None:
    await store.close()
    assert await run(store, name, arguments) == CallResult(
        "Error: external storage cannot be reached now. Reply with what you know.", failed=True
    )


@pytest.mark.parametrize(
    ("asked", "expected"), [(True, True), ("true", True), (False, False), (None, False), (1, False)]
)
def test_heartbeats(asked: object, expected: bool) -> None:
    search = FUNCTIONS["archival_storage_search"]
    assert FunctionCall("c", search, {"request_heartbeat": asked}).heartbeat is expected
    assert FunctionCall("c", search, None).heartbeat is False
