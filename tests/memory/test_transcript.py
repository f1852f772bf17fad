"""The transcript tree: the same words are the same node, wherever and however they are sent."""

from __future__ import annotations

import json
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.memory.transcript import Message, chain, content_id, said
from memgpt_proxy.stores.records import ROOT, Namespace, NodeId
from tests.stores.build import ALICE, BOB

TEXTS = st.text(st.sampled_from('a \n\r\t\0\u0301é"[],\u2028😀'), max_size=8)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": st.sampled_from(["a", "b", ""])}
)
TRANSCRIPTS = st.lists(MESSAGES, max_size=6)


def ids_of(namespace: Namespace, messages: list[Message]) -> list[NodeId]:
    return chain(namespace, map(content_id, messages), ROOT)


def common(left: list[Any], right: list[Any]) -> int:
    return next(
        (n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b),
        min(len(left), len(right)),
    )


@given(TRANSCRIPTS, TRANSCRIPTS)
def test_names_agree_as_far_as_the_transcripts_do(left: list[Any], right: list[Any]) -> None:
    names, others = ids_of(ALICE, left), ids_of(ALICE, right)
    agreed = common(left, right)
    assert names[:agreed] == others[:agreed]
    assert not set(names[agreed:]) & set(others[agreed:])
    assert len(set(names)) == len(left)


@given(st.lists(MESSAGES, min_size=1, max_size=4))
def test_namespaces_share_nothing(messages: list[Any]) -> None:
    assert not set(ids_of(ALICE, messages)) & set(ids_of(BOB, messages))


def test_a_namespace_is_no_part_of_a_parent() -> None:
    [first] = ids_of(Namespace("a"), [{"role": "user", "content": "x"}])
    [other] = ids_of(Namespace(""), [{"role": "user", "content": "x"}])
    assert len({first, other}) == 2
    assert len(first) == 32
    assert set(first) <= set("0123456789abcdef")


def calling(arguments: Any, **more: Any) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": arguments}
    call = {"id": "w1", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call], **more}


def user(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def silent(**said_otherwise: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, **said_otherwise}


def legacy(arguments: str) -> dict[str, str]:
    return {"name": "get_weather", "arguments": arguments}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}

SAME = {
    "a text and its one part": (user("hi"), user([{"type": "text", "text": "hi"}])),
    "white space at the ends": (user("hi"), user("\n hi \t")),
    "white space in one part": (user("hi"), user([{"type": "text", "text": " hi\n"}])),
    "no content": (calling("{}"), calling("{}", content="")),
    "an empty list": (calling("{}"), calling("{}", content=[])),
    "arguments spaced": (calling('{"a":1,"b":2}'), calling('{ "a": 1, "b": 2 }')),
    "arguments in another order": (calling('{"a":1,"b":2}'), calling('{"b":2,"a":1}')),
    "fields that say nothing": (user("hi"), user("hi", refusal=None, annotations=[])),
}


@pytest.mark.parametrize(("left", "right"), SAME.values(), ids=SAME)
def test_the_same_said_otherwise(left: Any, right: Any) -> None:
    assert ids_of(ALICE, [left]) == ids_of(ALICE, [right])


@given(st.sampled_from(["user", "assistant", "system"]), TEXTS)
def test_words_are_the_same_beside_fields_that_say_nothing(role: str, text: str) -> None:
    text = text.replace("\r", "")
    plain = content_id({"role": role, "content": text})
    assert content_id({"role": role, "content": text, "name": None}) == plain
    assert content_id({"role": role, "content": [{"type": "text", "text": text}]}) == plain
    decomposed = normalize("NFD", text).replace("\n", "\r\n")
    assert content_id({"role": role, "content": f" {decomposed}\n", "refusal": None}) == plain


@given(TEXTS, TEXTS)
def test_other_words_are_never_the_same(text: str, other: str) -> None:
    def what(text: str) -> str:
        return normalize("NFC", text).replace("\r\n", "\n").strip()

    same = content_id(user(text)) == content_id(user(other))
    assert same == (what(text) == what(other))


@given(TEXTS)
def test_words_are_never_what_has_more_than_words(text: str) -> None:
    more = user(text, name="james")
    written = [json.dumps(["user", text, "james", None, None], separators=(",", ":")), text]
    assert content_id(more) not in [content_id(user(words)) for words in written]


OTHER = {
    "words": (user("hi"), user("ho")),
    "white space inside": (user("a b"), user("a  b")),
    "the role": (user("hi"), {"role": "assistant", "content": "hi"}),
    "the name": (user("hi"), user("hi", name="james")),
    "arguments": (calling('{"a":1}'), calling('{"a":2}')),
    "arguments that are no JSON": (calling("{a"), calling("{b")),
    "calls or none": (calling("{}"), {"role": "assistant", "content": None}),
    "the call answered": (
        {"role": "tool", "tool_call_id": "w1", "content": "42"},
        {"role": "tool", "tool_call_id": "w2", "content": "42"},
    ),
    "a legacy call": (silent(function_call=legacy("{}")), silent(function_call=legacy("[]"))),
    "spoken words": (silent(audio={"id": "a1"}), silent(audio={"id": "a2"})),
    "a refusal": (silent(refusal="I can't."), silent(refusal="I won't.")),
    "arguments beyond all depth": (calling("[" * 300 + "]" * 300), calling("{}")),
    "an image": (
        user([{"type": "text", "text": "hi"}]),
        user([{"type": "text", "text": "hi"}, IMAGE]),
    ),
}


@pytest.mark.parametrize(("left", "right"), OTHER.values(), ids=OTHER)
def test_something_else_said(left: Any, right: Any) -> None:
    assert ids_of(ALICE, [left]) != ids_of(ALICE, [right])


@given(st.dictionaries(st.text(max_size=3), st.integers(-9, 9) | st.text(max_size=3), max_size=4))
def test_arguments_are_compared_as_json(arguments: dict[str, Any]) -> None:
    spaced = json.dumps(dict(reversed(arguments.items())), indent=2)
    assert ids_of(ALICE, [calling(json.dumps(arguments))]) == ids_of(ALICE, [calling(spaced)])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("hi", "hi"),
        (None, ""),
        ([], ""),
        ([IMAGE], ""),
        ([{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}], "a\nb"),
    ],
)
def test_what_was_said(content: Any, words: str) -> None:
    assert said(user(content)) == words
