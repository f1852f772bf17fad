"""Prompts that must be shortened: inside the window whatever they hold, their calls paired."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.agent.main_context import Head, MainContext
from memgpt_proxy.agent.shortening import TextCutter
from memgpt_proxy.memory.alerts import message_archived
from memgpt_proxy.memory.queue import Queue
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.records import Counts, Node, NodeId, QueueState, Role, WorkingContext
from tests.agent.build import COUNTER, assistant
from tests.stores.build import message

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SEARCH = "archival_storage_search"
TELLING = "You are MemGPT."


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def calling(*ids: str, name: str = "read", arguments: str = "{}") -> Message:
    function = {"name": name, "arguments": arguments}
    calls = [{"id": id, "type": "function", "function": function} for id in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(id: str, content: str) -> Message:
    return {"role": "tool", "tool_call_id": id, "content": content}


def node(role: Role, *entries: Message) -> Node:
    tokens = COUNTER.messages(entries)
    return message("n", entries=orjson.dumps(entries).decode(), tokens=tokens, role=role)


def context(
    nodes: list[Node], added: list[Message], summary: str = "", working: str = "Name: Chad"
) -> MainContext:
    state = QueueState(NodeId("m0"), 0, summary, WorkingContext(1, working), Counts(1, 1))
    composed = MainContext(Head(TELLING, "", 8000), Queue(state, list(nodes)), COUNTER)
    for each in added:
        composed.add(each)
    return composed


def read(composed: MainContext) -> list[Message]:
    messages: list[Message] = json.loads(orjson.dumps(composed.messages()))
    return messages


def assert_paired(messages: list[Message]) -> None:
    waiting: list[str] = []
    for each in messages:
        if each["role"] == "tool":
            waiting.remove(each["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in each.get("tool_calls") or ()]
        assert each.get("tool_calls") != []
    assert waiting == []


TEXTS = st.builds(
    lambda word, times: word * times,
    st.sampled_from(["word ", "x", "記憶", "🎂", "=", "\n", 'a "b" \\ ', "Zm9vYmFy"]),
    st.sampled_from([0, 1, 10, 300, 3000]),
)
ARGUMENTS = st.one_of(
    st.dictionaries(st.sampled_from("abc"), st.one_of(TEXTS, st.integers())).map(json.dumps),
    st.lists(st.integers(), max_size=400).map(json.dumps),
    TEXTS,
)


@st.composite
def exchanges(draw: st.DrawFn, ids: Any = None) -> list[Message]:
    """Calls, several at once perhaps, and their results."""
    names = [f"c{next(ids)}" for _ in range(draw(st.integers(1, 4)))]
    call = calling(*names, arguments=draw(ARGUMENTS))
    return [call, *(result(name, draw(TEXTS)) for name in names)]


@st.composite
def newest_groups(draw: st.DrawFn) -> tuple[list[Node], list[Message]]:
    """A group that no flush evicts, with hidden steps in it, and what a turn has added."""
    ids = count()
    nodes, added = [], []
    if draw(st.booleans()):
        hidden = draw(st.lists(exchanges(ids), max_size=2))
        call, *results = draw(exchanges(ids))
        nodes.append(node(Role.ASSISTANT, *(m for each in hidden for m in each), call))
        nodes += [node(Role.TOOL, each) for each in results]
    else:
        parts = st.lists(
            st.one_of(st.just(IMAGE), TEXTS.map(lambda t: {"type": "text", "text": t}))
        )
        nodes.append(node(Role.USER, user(draw(st.one_of(TEXTS, parts)))))
    for each in draw(st.lists(exchanges(ids), max_size=2)):
        added += each
    return nodes, added


@pytest.mark.slow
@given(
    group=newest_groups(),
    spare=st.sampled_from([700, 1000, 3000]),
    summary=TEXTS,
    working=TEXTS,
)
def test_a_prompt_fits_whatever_it_holds(
    group: tuple[list[Node], list[Message]], spare: int, summary: str, working: str
) -> None:
    room = COUNTER.text(TELLING) + spare
    composed, again = (context(*group, summary=summary, working=working) for _ in range(2))
    before = read(composed)
    composed.fit(room)
    after = read(composed)
    assert composed.tokens <= room
    assert COUNTER.messages(after) <= room + 4 * len(after) + 20
    assert_paired(after)
    assert [m["role"] for m in after if m["role"] == "system"] == ["system"]
    assert after[0]["content"].startswith(TELLING)
    if composed.tokens == context(*group, summary=summary, working=working).tokens:
        assert after == before
    assert composed.added_tokens == COUNTER.messages(composed.added)
    again.fit(room)
    assert read(again) == after, "the same prompt the next time"
    composed.fit(room)
    assert read(composed) == after, "and in the next step"


@given(arguments=ARGUMENTS, most=st.sampled_from([4, 16, 64, 256]))
def test_arguments_that_are_json_stay_json(arguments: str, most: int) -> None:
    shorter = TextCutter(most, COUNTER).message(calling("c", arguments=arguments))
    cut = shorter["tool_calls"][0]["function"]["arguments"]
    if cut != arguments:
        assert isinstance(json.loads(cut), dict)
        assert COUNTER.text(cut) <= 4 * most + 16
    assert shorter["tool_calls"][0]["id"] == "c"


@given(text=TEXTS, most=st.sampled_from([4, 16, 64, 256]))
def test_a_text_keeps_its_beginning(text: str, most: int) -> None:
    cut = TextCutter(most, COUNTER).text(text, "cut here")
    assert COUNTER.text(cut) <= most + 8
    if cut != text:
        assert text.startswith(cut.removesuffix(" (cut here)").removesuffix("…"))
        assert TextCutter(most, COUNTER).text(cut, "cut here") == cut


def test_results_of_hidden_steps_go_first() -> None:
    """A reply that was searched for, in a model's window that is now smaller."""
    found = node(
        Role.ASSISTANT,
        calling("c0", name=SEARCH),
        result("c0", "found " * 2000),
        calling("c1", name="send_message", arguments='{"message":"Here it is."}'),
    )
    composed = context([found], [])
    composed.fit(1000)
    _, search, emptied, reply = read(composed)
    assert search == calling("c0", name=SEARCH)
    assert "evicted from the queue" in emptied["content"]
    assert reply["tool_calls"][0]["function"]["arguments"] == '{"message":"Here it is."}'


@pytest.mark.parametrize(
    ("entry", "holder"),
    [
        (user("word " * 3000), "recall storage holds all of it"),
        (assistant("word " * 3000), "recall storage holds all of it"),
        (
            user("word " * 3000 + "\n\n" + message_archived("9 000", 9)["content"]),
            "archival storage holds all of it",
        ),
        (user("System Alert: " + "word " * 3000), "cut here to fit the context window"),
        (result("c0", "word " * 3000), "cut here to fit the context window"),
    ],
)
def test_what_is_cut_says_where_the_rest_is(entry: Message, holder: str) -> None:
    cut = TextCutter(512, COUNTER).message(entry)
    assert cut["content"].startswith(entry["content"][:1000])
    assert cut["content"].endswith(f"{holder})")
    assert {**cut, "content": ""} == {**entry, "content": ""}


def test_images_go_last() -> None:
    looked = node(Role.USER, user([{"type": "text", "text": "Look! " * 2000}, IMAGE]))
    composed = context([looked], [])
    composed.fit(1500)
    text, image = read(composed)[1]["content"]
    assert text["text"].startswith("Look! Look!")
    assert image == IMAGE
    composed.fit(500)
    _, image = read(composed)[1]["content"]
    assert image["text"].startswith("(An image")


def test_the_oldest_of_too_many_calls_are_left_out() -> None:
    names = [f"c{n}" for n in range(300)]
    nodes = [node(Role.ASSISTANT, calling(*names))]
    nodes += [node(Role.TOOL, result(name, f"result {name}")) for name in names]
    composed = context(nodes, [])
    composed.fit(1000)
    messages = read(composed)
    assert_paired(messages)
    left = [m["tool_call_id"] for m in messages if m["role"] == "tool"]
    assert left == names[-len(left) :]
    assert composed.tokens <= 1000


def test_a_summary_and_a_context_of_a_larger_window_are_cut_later_than_messages() -> None:
    composed = context(
        [node(Role.USER, user("word " * 4000))], [], "They met. " * 200, "x y " * 200
    )
    composed.fit(2000)
    system, summary, message = (m["content"] for m in read(composed))
    assert "x y " * 200 in f"{system} "
    assert summary.endswith("They met. " * 200)
    assert len(message) < 5000
    composed.fit(300)
    assert composed.tokens <= 300


def test_the_stored_nodes_stay_whole() -> None:
    held = node(Role.USER, user("word " * 4000))
    composed = context([held], [])
    composed.fit(1000)
    assert composed.queue.nodes[0].id == held.id
    assert composed.queue.nodes[0].entries != held.entries
    assert held == node(Role.USER, user("word " * 4000))


def test_a_context_written_for_a_larger_window_is_shown_as_far_as_it_may_be() -> None:
    state = QueueState(NodeId("m0"), 0, "", WorkingContext(1, "fact " * 100), Counts(1, 1))
    composed = MainContext(Head(TELLING, "", 50), Queue(state, []), COUNTER)
    [system] = read(composed)
    assert f"# Working context (500 / 50 characters)\n{'fact ' * 10}…" in system["content"]
