"""Taking messages in: nodes in their branch, and oversize ones moved to archival storage."""

from __future__ import annotations

import asyncio
import json
import threading
from base64 import b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory import archival
from memgpt_proxy.memory.intake import Branch, Intake, take_in
from memgpt_proxy.memory.reconcile import NewMessage
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message, chain, content_id
from memgpt_proxy.stores.records import ROOT, Namespace, Node, NodeId, Passage, Role

COUNTER = TokenCounter("cl100k_base")
ALICE = Namespace("alice")
NOW = datetime(2024, 2, 7, 9, tzinfo=UTC)
PARENT = NodeId("p")
BRANCH = Branch(parent=PARENT, hashed=PARENT, depth=4, queue=NodeId("q"), context_version=3)
BOOK = "".join(f"Sentence {n} of the book.\n" for n in range(400))
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def text(of: str) -> dict[str, str]:
    return {"type": "text", "text": of}


def entries(node: Node) -> list[Message]:
    loaded: list[Message] = json.loads(node.entries)
    return loaded


async def take(*messages: Message, events: Sequence[Message] = (), largest: int = 1000) -> Intake:
    new = [NewMessage(message, content_id(message), ROOT) for message in messages]
    return await take_in(
        new,
        BRANCH,
        namespace=ALICE,
        events=events,
        now=NOW,
        counter=COUNTER,
        largest=largest,
    )


async def test_nodes_hang_on_the_branch_one_after_another() -> None:
    messages = [user("hi"), {"role": "assistant", "content": "ho"}, user("and?")]
    intake = await take(*messages)
    ids = chain(ALICE, map(content_id, messages), PARENT)
    assert [node.id for node in intake.nodes] == ids
    assert [node.parent for node in intake.nodes] == ["p", *ids[:2]]
    assert [node.depth for node in intake.nodes] == [4, 5, 6]
    assert [node.text for node in intake.nodes] == ["hi", "ho", "and?"]
    assert [entries(node) for node in intake.nodes] == [[message] for message in messages]
    for node in intake.nodes:
        assert (node.queue, node.context_version, node.complete) == ("q", 3, True)
        assert node.created == NOW.timestamp()
        assert node.tokens == COUNTER.messages(entries(node))
    assert intake.passages == []


async def test_events_come_before_the_newest_message() -> None:
    event = user("System Alert: Today is Wednesday, February 7, 2024.")
    first, last = (await take(user("hi"), user("you there?"), events=[event])).nodes
    assert entries(first) == [user("hi")]
    assert entries(last) == [event, user("you there?")]
    assert last.text == "you there?"
    assert last.tokens > COUNTER.messages([user("you there?")])


@pytest.mark.parametrize(
    ("role", "expected", "remembered"),
    [
        ("user", Role.USER, "x"),
        ("assistant", Role.ASSISTANT, "x"),
        ("tool", Role.TOOL, ""),
        ("function", Role.TOOL, ""),
        ("system", Role.SYSTEM, ""),
        ("developer", Role.SYSTEM, ""),
    ],
)
async def test_recall_holds_what_people_and_the_model_said(
    role: str, expected: Role, remembered: str
) -> None:
    [node] = (await take({"role": role, "content": "x", "tool_call_id": "c"})).nodes
    assert (node.role, node.text) == (expected, remembered)


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_instructions_amid_the_conversation_are_alerts(role: str) -> None:
    [_, node] = (await take(user("hi"), {"role": role, "content": [text("Be brief.")]})).nodes
    assert entries(node) == [user("System Alert: Message from the application:\nBe brief.")]


async def test_a_book_is_moved_to_archival_storage() -> None:
    intake = await take(user("hi"), user(BOOK))
    [_, node] = intake.nodes
    assert node.text == BOOK
    head, alert = entries(node)
    assert head == user(BOOK[:2000] + "…")
    assert alert["role"] == "user"
    assert alert["content"].startswith("System Alert: Message Archived.")
    assert f"in {len(intake.passages)} passages" in alert["content"]
    assert "archival_storage_search" in alert["content"]
    assert node.tokens == COUNTER.messages([head, alert]) < 1000
    stored = " ".join(passage.text for passage in intake.passages)
    assert stored.split() == BOOK.split()
    assert {passage.node for passage in intake.passages} == {node.id}
    assert len({passage.id for passage in intake.passages}) == len(intake.passages)


async def test_the_size_that_is_too_large_is_in_tokens() -> None:
    tokens = COUNTER.messages([user(BOOK)])
    assert (await take(user(BOOK), largest=tokens)).passages == []
    assert (await take(user(BOOK), largest=tokens - 1)).passages != []


async def test_parts_stay_as_they_are() -> None:
    message = user([text("look"), IMAGE, text("nice?")])
    [node] = (await take(message)).nodes
    assert node.text == "look\nnice?"
    assert entries(node) == [message]


async def test_what_is_large_by_its_images_stays() -> None:
    message = user([IMAGE, IMAGE, text("compare")])
    intake = await take(message, largest=100)
    assert entries(intake.nodes[0]) == [message]
    assert intake.passages == []


async def test_a_book_beside_an_image_leaves_the_image() -> None:
    intake = await take(user([text(BOOK), IMAGE]), largest=2000)
    head, _ = entries(intake.nodes[0])
    assert head == user([text(BOOK[:2000] + "…"), IMAGE])
    assert " ".join(passage.text for passage in intake.passages).split() == BOOK.split()


async def test_words_beside_images_are_never_all_cut() -> None:
    question = "What do these show? " * 100
    intake = await take(user([text(question), IMAGE, IMAGE]), largest=1000)
    head, _ = entries(intake.nodes[0])
    assert head["content"][0]["text"].startswith("What do these show? " * 10)
    assert head["content"][1:] == [IMAGE, IMAGE]


def calling(*ids: str, content: str | None = None) -> Message:
    calls = [
        {"id": name, "type": "function", "function": {"name": "read", "arguments": "{}"}}
        for name in ids
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def result(call: str, content: str) -> Message:
    return {"role": "tool", "tool_call_id": call, "content": content}


async def test_nothing_comes_between_calls_and_their_results() -> None:
    messages = (calling("a", "b", content=BOOK), result("a", BOOK), result("b", "short"))
    intake = await take(*messages)
    queue = [entry for node in intake.nodes for entry in entries(node)]
    assert [entry["role"] for entry in queue] == ["assistant", "tool", "tool"]
    assert queue[0]["tool_calls"] == messages[0]["tool_calls"]
    assert [entry["tool_call_id"] for entry in queue[1:]] == ["a", "b"]
    for cut in queue[:2]:
        assert cut["content"].startswith(BOOK[:2000] + "…")
        assert "Message Archived." in cut["content"]
        assert COUNTER.messages([cut]) < 1000


LONG_TEXTS = {
    "words": "the quick brown fox " * 3000,
    "one line without a space": "abcdefghij" * 6000,
    "base64": b64encode(bytes(n * n % 251 for n in range(40_000))).decode(),
    "three bytes each": "記憶" * 20_000,
    "four bytes each": "🎂" * 20_000,
    "lines": "line\r\n" * 10_000,
}


@pytest.mark.parametrize("largest", [100, 300, 1000])
@pytest.mark.parametrize("content", LONG_TEXTS.values(), ids=LONG_TEXTS)
async def test_the_head_fits_whatever_it_is_made_of(content: str, largest: int) -> None:
    [node] = (await take(user(content), largest=largest)).nodes
    assert node.tokens == COUNTER.messages(entries(node)) <= largest * 5 // 4
    head, _ = entries(node)
    assert content.startswith(head["content"].removesuffix("…"))


def group(*sizes: int) -> list[Message]:
    """Calls of the client's tools, and results of about so many tokens."""
    names = [f"c{n}" for n in range(len(sizes))]
    results = (result(name, "word " * size) for name, size in zip(names, sizes, strict=True))
    return [user("go"), calling(*names), *results]


@pytest.mark.parametrize(
    "sizes",
    [(900,) * 5, (990, 990), (100, 200, 900, 950), (5000, 900, 10), (400,) * 10, (9000,) * 3],
)
async def test_the_newest_group_fits_together(sizes: tuple[int, ...]) -> None:
    intake = await take(*group(*sizes), largest=1000)
    results = intake.nodes[2:]
    assert sum(node.tokens for node in results) <= 1500
    cut = ["Message Archived." in node.entries for node in results]
    assert any(cut)
    whole = [size for size, gone in zip(sizes, cut, strict=True) if not gone]
    assert max(whole, default=0) <= min(s for s, gone in zip(sizes, cut, strict=True) if gone)
    for node, message, gone in zip(results, group(*sizes)[2:], cut, strict=True):
        stored = [p.text for p in intake.passages if p.node == node.id]
        assert " ".join(stored).split() == (message["content"].split() if gone else [])


@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=8))
async def test_a_group_that_fits_stays_as_it_is(sizes: list[int]) -> None:
    messages = group(*sizes)
    intake = await take(*messages, largest=1000)
    if sum(COUNTER.messages([message]) for message in messages[1:]) <= 1500:
        assert [entries(node) for node in intake.nodes] == [[message] for message in messages]
        assert intake.passages == []
    assert sum(node.tokens for node in intake.nodes[1:]) <= 1500


async def test_only_the_newest_group_is_cut_for_its_sum() -> None:
    """Older groups are evicted as a whole; several messages of the user are each a group."""
    older = group(900, 900, 900)
    several = [user("word " * 900) for _ in range(5)]
    intake = await take(*older, *several, largest=1000)
    assert intake.passages == []


async def test_results_that_continue_a_known_call_are_a_group() -> None:
    intake = await take(*group(900, 900, 900)[2:], largest=1000)
    assert sum(node.tokens for node in intake.nodes) <= 1500


async def test_a_message_that_would_not_get_shorter_stays() -> None:
    short = user("ten words are all that anybody has said here, really.")
    assert entries((await take(short, largest=5)).nodes[0]) == [short]


async def test_a_long_history_lets_others_run() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        running = group.create_task(others())
        await take(*[user(f"message {n}") for n in range(1000)])
        running.cancel()
    assert turns >= 5


async def test_a_book_is_cut_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loop the cutting would wait for itself."""
    loop_runs = threading.Event()
    waited: list[bool] = []

    def cut_once_the_loop_runs(text: str, node: NodeId, created: float) -> list[Passage]:
        asyncio.run_coroutine_threadsafe(_set(loop_runs), loop)
        waited.append(loop_runs.wait(5))
        return archival.cut(text, node, created)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr("memgpt_proxy.memory.intake.cut", cut_once_the_loop_runs)
    assert (await take(user(BOOK))).passages != []
    assert waited == [True]


async def _set(event: threading.Event) -> None:
    event.set()
