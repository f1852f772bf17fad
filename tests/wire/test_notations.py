"""Calls as text in each model's own notation: read as what they are, never released."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.content import ContentGate
from tests.support.notations import NOTATIONS, OWN_NOTATIONS, Notation

OURS = ("send_message", "working_context_append")
ARGUMENTS = {"message": 'Hi "Bo", {it} is\nfine.'}
ALL = pytest.mark.parametrize("notation", OWN_NOTATIONS.values(), ids=[*OWN_NOTATIONS])

Read = tuple[str, list[tuple[str, Any]]]


def read(pieces: Sequence[str], functions: Sequence[str] = OURS, own: Sequence[str] = OURS) -> Read:
    gate = ContentGate(functions, own=own)
    released = "".join(map(gate.feed, pieces))
    rest, calls = gate.close()
    return released + rest, [(call.name, call.arguments) for call in calls]


@ALL
def test_every_split(notation: Notation) -> None:
    text = notation("send_message", ARGUMENTS)
    found = ("", [("send_message", ARGUMENTS)])
    assert read([text]) == read([*text]) == found
    for first in range(len(text)):
        assert read([text[:first], text[first:]]) == found


@ALL
def test_two_of_them_and_text_around(notation: Notation) -> None:
    text = "\n".join(
        ["Sure.", notation("working_context_append", {"content": "tea"}), "",
         notation("send_message", ARGUMENTS)]
    )  # fmt: skip
    shown, calls = read([text])
    assert calls == [("working_context_append", {"content": "tea"}), ("send_message", ARGUMENTS)]
    assert "tea" not in shown
    assert shown.startswith("Sure.\n")


@ALL
def test_nothing_of_one_that_is_cut_short_is_shown(notation: Notation) -> None:
    """From the function's name on; in front of it there is nothing that tells."""
    text = notation("send_message", ARGUMENTS)
    for end in range(text.index("send_message") + len("send_message"), len(text)):
        shown, calls = read([text[:end]])
        named = "arguments" not in text[: text.index("send_message")]
        assert not calls or shown == ""
        assert "Hi" not in shown or not named


@pytest.mark.parametrize("notation", NOTATIONS.values(), ids=[*NOTATIONS])
def test_a_clients_function(notation: Notation) -> None:
    text = notation("get_weather", {"city": "Oslo"})
    calls = [("get_weather", {"city": "Oslo"})]
    assert read([text], [*OURS, "get_weather"]) == ("", calls)


@pytest.mark.parametrize(
    "text",
    [
        "<function=send_message><parameter=a>" * 3000,
        "send_message(message=(" * 3000,
        "<tool_call>send_message " * 3000,
        "send_message(message=%s)" % ("-" * 30_000),
        "send_message(message=%s)" % ("{1:" * 30_000),
    ],
)
def test_one_that_never_ends_is_one_that_cannot_be_read(text: str) -> None:
    shown, ((name, arguments),) = read([text])
    assert (shown, name, arguments) == ("", "send_message", None)


NAMES = st.sampled_from([*OWN_NOTATIONS])
ODD = ["{", "}", '"', "'", "\\", "\n", "`", "<", "[", "]", "(", ")", " ", "é", "😀", ":", ",", "a"]
TEXTS = st.lists(st.sampled_from(ODD), max_size=8).map(lambda odd: f"x{''.join(odd)}x")


@given(NAMES, TEXTS, st.lists(st.integers(0, 400), max_size=20))
def test_whatever_it_says(name: str, said: str, at: list[int]) -> None:
    text = OWN_NOTATIONS[name]("send_message", {"message": said})
    edges = [0, *sorted(min(each, len(text)) for each in at), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert read(pieces) == ("", [("send_message", {"message": said})])


@pytest.mark.parametrize(
    "text",
    [
        "Call send_message(message=...) to reply.",
        "send_message is a function.",
        "I would use working_context_append, or send_message.",
        "<b>send_message</b>",
        "to=fro\n<div>\n[1, 2]\n{x}\nAction: none",
        'A list: [1, {"a": 2}] and <i>so</i> on {"name": "Bob"}.',
        "analysis of it",
        "functools is a module",
        'As code:\n```python\nimport chat\nsend_message("Hi.")\nsend_message(message="Hi.")\n```',
        '```python\nsend_message("Hi.")\n```',
        '```js\n  send_message("Hi.")\n```',
    ],
)
def test_what_only_speaks_of_it_is_text(text: str) -> None:
    assert read([text]) == read([*text]) == (text, [])


ANALYSIS = "<|channel|>analysis<|message|>zq thought.<|end|><|start|>assistant"


@pytest.mark.parametrize("before", [ANALYSIS, "analysisWe think.assistantfinal"])
def test_gpt_oss_behind_its_analysis(before: str) -> None:
    """Channels of the harmony format, where a server leaves them in the content."""
    call = OWN_NOTATIONS["gpt-oss"]("send_message", ARGUMENTS)
    for text in (before + call, f"{before}<|channel|>final<|message|>Hi."):
        shown = ("", [("send_message", ARGUMENTS)]) if call in text else ("Hi.", [])
        assert read([text]) == read([*text]) == shown


CALLED = [("send_message", {"message": "Hi."})]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('Right. send_message{"message": "Hi."}', "Right. "),
        ('[OOL_CALLS]send_message[ARGS]{"message": "Hi."}', "[OOL_CALLS]"),
        ('[OOL_CALLS]send_message[CALL_ID]a1b2c3d4e[ARGS]{"message": "Hi."}', "[OOL_CALLS]"),
        ('<functio=send_message>{"message": "Hi."}</function>', "<functio="),
        ('"name": "send_message", "arguments": {"message": "Hi."}}', '"name": "'),
        ('{{name: "send_message", arguments: {"message": "Hi."}}', '{{name: "'),
        (
            "tool_call>send_message\n<arg_key>message</arg_key><arg_value>Hi.</arg_value>",
            "tool_call>",
        ),
        (
            'channel|>to=functions.send_message<|message|>{"message": "Hi."}',
            "channel|>to=functions.",
        ),
        ('I call send_message(message="Hi.")', "I call "),
    ],
)
def test_one_whose_beginning_is_damaged(text: str, shown: str) -> None:
    """A name of ours in front of arguments is called, whatever stands before it."""
    assert read([text]) == read([*text]) == (shown, CALLED)


@pytest.mark.parametrize(
    "text",
    [
        'Use `send_message(message="Hi.")` there.',
        'As ever, send_message, "and" {so} on; send_messages {"a": 1}',
        "As ever s",
        "As ever send_messag",
        "As ever send_message",
        "As ever send_message, ",
        "As ever send_message {",
        "Resend_message {}",
    ],
)
def test_a_name_without_arguments_is_text(text: str) -> None:
    assert read([text]) == read([*text]) == (text, [])


def test_inside_of_a_line() -> None:
    call = '{"name": "send_message", "arguments": {"message": "Hi."}}'
    said = [("send_message", {"message": "Hi."})]
    assert read([f"As you wish: {call}"]) == ("As you wish: ", said)
    assert read([f"So <tool_call>{call}</tool_call>"]) == ("So ", said)
    assert read([f"As in {call}"], own=()) == (f"As in {call}", [])


def test_a_function_that_nobody_knows_between_tags() -> None:
    text = '<tool_call>\n{"name": "fly", "arguments": {"to": "Rome"}}\n</tool_call>'
    assert read([text]) == ("", [("fly", {"to": "Rome"})])
    fenced = f"```\n{text}\n```"
    assert read([fenced]) == (fenced, [])


@pytest.mark.parametrize("end", ["<|return|>", "<|im_end|>", "</s>"])
def test_a_templates_token_at_the_end(end: str) -> None:
    assert read([f"Hi.{end}"]) == ("Hi.", [])
    assert read([f"Hi.{end} there"]) == (f"Hi.{end} there", [])


def test_a_call_that_cannot_be_read_is_one_all_the_same() -> None:
    for text in ("<send_message>Hi.</send_message>", 'send_message("Hi.")', "send_message('Hi.')"):
        shown, ((name, arguments),) = read([text])
        assert (shown, name, arguments) == ("", "send_message", None)
