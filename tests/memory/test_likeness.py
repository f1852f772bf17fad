"""The same words written otherwise, in histories of every kind."""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson
import pytest

from memgpt_proxy.memory.likeness import alike, matched
from memgpt_proxy.memory.transcript import Message, content_id, said
from memgpt_proxy.stores.records import ROOT, Node, NodeId, Role
from tests.agent.build import assistant, user

CHECKING = "Let me check the weather in Rome for you."


def called(name: str, text: str = CHECKING) -> Message:
    function = {"name": "weather", "arguments": "{}"}
    call = {"id": name, "type": "function", "function": function}
    return {**assistant(text), "tool_calls": [call]}


def node(message: Message, depth: int = 0, **more: Any) -> Node:
    values: dict[str, Any] = {
        "id": NodeId(f"n{depth}"),
        "key": NodeId(f"n{depth}"),
        "content": content_id(message),
        "parent": NodeId(f"n{depth - 1}") if depth else ROOT,
        "depth": depth,
        "role": Role(message["role"]),
        "text": said(message),
        "entries": orjson.dumps([message]).decode(),
        "tokens": 1,
        "created": 0.0,
        "queue": ROOT,
        "context_version": 0,
    }
    return Node(**values | more)


def depths(path: list[Message], messages: list[Message]) -> list[int | None]:
    """Where in ``path`` each of ``messages`` is found."""
    nodes = [node(message, depth) for depth, message in enumerate(path)]
    found = matched(nodes, messages, [content_id(message) for message in messages])
    return [None if each is None else each.depth for each in found]


@pytest.mark.parametrize(
    "message", [assistant(CHECKING), called("other"), assistant(f"{CHECKING}\n\nSunny!")]
)
def test_a_reply_with_other_calls_is_another_reply(message: Message) -> None:
    assert not alike(node(called("w1")), message)
    assert not alike(node(assistant(CHECKING)), called("w1"))


def test_the_words_beside_the_same_calls_may_be_written_otherwise() -> None:
    assert alike(node(called("w1")), called("w1", f" {CHECKING[:-1]}"))


def test_calls_that_were_answered_in_hidden_steps_are_none_of_the_clients() -> None:
    entries = [called("ours", ""), {"role": "tool", "tool_call_id": "ours", "content": "found"}]
    stored = node(assistant(CHECKING), entries=orjson.dumps([*entries, called("w1")]).decode())
    assert alike(stored, called("w1", f"{CHECKING} "))
    assert not alike(stored, assistant(CHECKING))


def test_deleted_and_rewritten_messages_amid_a_history() -> None:
    path = [*chain.from_iterable((user(f"q{n}"), assistant(f"a{n} & more")) for n in range(200))]
    sent = [
        assistant(said(m).replace("&", "&amp;")) if m["role"] == "assistant" else m
        for depth, m in enumerate(path)
        if depth % 40 not in (4, 5)
    ]
    assert depths(path, sent) == [depth for depth in range(400) if depth % 40 not in (4, 5)]


def test_a_message_put_in_and_one_left_out() -> None:
    path = [user("a"), assistant("b"), user("c"), assistant("d")]
    sent = [user("a"), assistant("b"), user("new"), assistant("d")]
    assert depths(path, sent) == [0, 1, None, 3]
    assert depths(path, [user("x"), *path]) == [None, 0, 1, 2, 3]


def test_the_last_of_the_places_where_words_stand_is_meant() -> None:
    path = [user("go on"), assistant("one"), user("go on"), assistant("two"), user("bye")]
    assert depths(path, [user("go on"), assistant("two")]) == [2, 3]


def test_long_histories_that_have_next_to_nothing_in_common() -> None:
    path = [m for n in range(3000) for m in (user("go on"), assistant(f"ours {n}"))]
    sent = [m for n in range(3000) for m in (user("go on"), assistant(f"theirs {n}"))]
    found = depths(path, sent)
    assert found[::2] == [*range(0, 6000, 2)]
    assert not any(found[1::2])


def test_long_histories_of_the_same_words() -> None:
    path = [user("a")] * 5000
    assert depths(path, [*path[1:], user("odd")])[:-1] == [*range(1, 5000)]
    assert depths(path, [user("odd"), *path]) == [None, *range(5000)]
