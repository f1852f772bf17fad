"""Thinking is taken off the beginning of a text, however the text is cut into pieces."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.thinking import Beginning, ThinkingGate, beginning_of

OUTSIDE, INSIDE, PRESUMED, UNKNOWN = Beginning

# A text, and what is shown of it when it is known to begin outside.
BLOCKS = [
    ("<think>a</think>Hi", "Hi"),
    ("<think>\na < b </thin\n</think>\n\nHi\n", "Hi\n"),
    (" \n<think>a</think>Hi", "Hi"),
    ("<thinking>a</think></thinking> Hi", "Hi"),
    ("<thought>a</thought>Hi", "Hi"),
    ("[THINK]a[/THINK]Hi", "Hi"),
    ("<seed:think>a</seed:think>Hi", "Hi"),
    ("<|START_THINKING|>a<|END_THINKING|>Hi", "Hi"),
    ("◁think▷a◁/think▷Hi", "Hi"),
    ("<think>a</think>\n<think>b</think>\n[THINK]c[/THINK] Hi", "Hi"),
    ("<think></think>", ""),
    ("<think>\n\n</think>\n\n", ""),
    ("<think>It never ends", ""),
    ("<think>a</think><think>b", ""),
    ("</think>\n\nHi", "Hi"),
    ("<think>a</think><thin", "<thin"),
]

# Texts that are shown as they are.
WHOLE = [
    "",
    "Hi",
    "  \n Hi ",
    "<thin",
    " <",
    "<b>bold</b>",
    "[1]",
    "In a <think> tag",
    "Hi <think>a</think>",
    "Hi\n<think>a</think>\n",
    "`<think>` is a tag, `</think>` ends it",
    'They write "</think>" there.',
    "```\n<think>\na\n</think>\n```",
]

# Texts that begin inside a block, and what is behind it.
OPENED = [
    ("a\n</think>\n\nHi", "Hi"),
    ("a</think>Hi", "Hi"),
    ("\na `</think>` b '</think>'</think> Hi </think>", "Hi </think>"),
    ("a</think><think>b</think> Hi", "Hi"),
    ("a</think>", ""),
    (" </think> Hi <think>", "Hi <think>"),
]


def read(pieces: list[str], beginning: Beginning, *, cut: bool = False) -> str:
    gate = ThinkingGate(beginning)
    shown = [gate.feed(piece) for piece in pieces]
    return "".join([*shown, gate.close(cut=cut)])


def splits(text: str) -> list[list[str]]:
    twice = [[text[:n], text[n:]] for n in range(len(text))]
    thrice = [[text[:n], text[n : n + 4], text[n + 4 :]] for n in range(len(text))]
    return [[text], list(text), *twice, *thrice]


@pytest.mark.parametrize("beginning", Beginning)
@pytest.mark.parametrize(("text", "shown"), BLOCKS)
def test_blocks_are_dropped(text: str, shown: str, beginning: Beginning) -> None:
    for pieces in splits(text):
        assert read(pieces, beginning) == shown


@pytest.mark.parametrize("beginning", [OUTSIDE, UNKNOWN])
@pytest.mark.parametrize("text", WHOLE)
def test_all_else_is_shown(text: str, beginning: Beginning) -> None:
    for pieces in splits(text):
        assert read(pieces, beginning) == text


@pytest.mark.parametrize("beginning", [INSIDE, PRESUMED, UNKNOWN])
@pytest.mark.parametrize(("text", "shown"), OPENED)
def test_a_block_that_the_template_opened_is_dropped(
    text: str, shown: str, beginning: Beginning
) -> None:
    for pieces in splits(text):
        assert read(pieces, beginning) == shown


def test_an_answer_that_is_known_to_begin_outside_is_not_held_back() -> None:
    gate = ThinkingGate(OUTSIDE)
    assert [gate.feed(piece) for piece in ("H", "i", " <think>", "\n")] == [
        "H",
        "i",
        " <think>",
        "\n",
    ]


@pytest.mark.parametrize("beginning", [INSIDE, PRESUMED, UNKNOWN])
def test_what_is_behind_the_block_is_not_held_back(beginning: Beginning) -> None:
    gate = ThinkingGate(beginning)
    pieces = ("Hm", "m. </th", "ink>\n", "H", "i")
    assert [gate.feed(piece) for piece in pieces] == ["", "", "", "H", "i"]


@pytest.mark.parametrize("beginning", [INSIDE, PRESUMED, UNKNOWN])
@pytest.mark.parametrize(
    "text",
    ['{"a": "</think>', '[{"', '  {\n  "', "```json", "<tool_call>", '{"a": "<think>b</think>"}'],
)
def test_json_and_calls_are_not_held_back(text: str, beginning: Beginning) -> None:
    assert ThinkingGate(beginning).feed(text) == text
    for pieces in splits(text):
        assert read(pieces, beginning) == text


@pytest.mark.parametrize("text", ["{x}", "[x", "`a`", "<tool> "])
def test_what_only_begins_like_json_or_a_call_may_be_thinking(text: str) -> None:
    for pieces in splits(f"{text}</think>Hi"):
        assert read(pieces, UNKNOWN) == "Hi"


@pytest.mark.parametrize(
    "thought",
    [
        "Okay, the user wants a story.",
        "The user is asking for a story",
        "Hmm, so the user just said hi. ",
        "Alright, the user's question is",
        "好的，用户想",
    ],
)
def test_what_sounds_like_thinking_and_is_cut_short_is_dropped(thought: str) -> None:
    assert read([thought[:9], thought[9:]], UNKNOWN, cut=True) == ""
    assert read([thought], UNKNOWN) == thought
    assert read([thought], OUTSIDE, cut=True) == thought


@pytest.mark.parametrize("said", ["Okay, here it is.", "The user table", "Users want", "So, the"])
def test_what_does_not_is_shown(said: str) -> None:
    assert read([said], UNKNOWN, cut=True) == said


def test_what_is_known_to_be_thinking_and_is_cut_short_is_dropped() -> None:
    assert read(["Let me", " see"], INSIDE, cut=True) == ""
    assert read(["Let me", " see"], INSIDE) == "Let me see"
    assert read(["Let me", " see"], PRESUMED, cut=True) == ""
    assert read(["Let me", " see"], PRESUMED) == "Let me see"
    assert read(["Let me", " see"], UNKNOWN, cut=True) == "Let me see"
    assert read(["Let me</think>See", " here"], INSIDE, cut=True) == "See here"


def test_what_was_held_back_is_released_once_reasoning_comes_apart() -> None:
    gate = ThinkingGate(UNKNOWN)
    assert gate.feed("Hi ") == ""
    assert gate.reasoned() == "Hi "
    assert gate.feed("there </think>") == "there </think>"
    early = ThinkingGate(UNKNOWN)
    assert early.reasoned() == ""
    assert early.feed("<think>a</think>Hi") == "Hi"
    presumed = ThinkingGate(PRESUMED)
    assert presumed.feed("Hi ") == ""
    assert presumed.reasoned() == "Hi "
    held = ThinkingGate(PRESUMED)
    assert held.feed("a") == held.reasoned(waits=True) == ""
    assert held.feed(" <think>") == "a <think>", "no longer thought to be inside"
    known = ThinkingGate(INSIDE)
    assert known.reasoned() == ""
    assert known.feed("a</think>Hi") == "Hi"


def test_where_a_block_is_presumed_only_its_end_counts() -> None:
    text = "I think <think> is a tag.</think>Hi"
    for pieces in splits(text):
        assert read(pieces, PRESUMED) == read(pieces, INSIDE) == "Hi"
        assert read(pieces, UNKNOWN) == text


def test_holding_back_has_an_end() -> None:
    gate = ThinkingGate(UNKNOWN)
    shown = [gate.feed("x" * 1000) for _ in range(300)]
    assert "".join(shown) == "x" * 300_000


TOKENS = [
    *("<think>", "</think>", "[THINK]", "[/THINK]", "<thinking>", "</thinking>", "◁think▷"),
    *"a <{[/>`\"'\n",
]
TEXTS = st.lists(st.sampled_from(TOKENS)).map("".join)
PLACES = st.lists(st.integers(0, 120), max_size=30)


def pieces(text: str, at: list[int]) -> list[str]:
    edges = [0, *sorted(min(place, len(text)) for place in at), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


@given(TEXTS, PLACES, st.sampled_from(Beginning), st.booleans())
def test_a_split_changes_nothing(text: str, at: list[int], beginning: Beginning, cut: bool) -> None:
    assert read(pieces(text, at), beginning, cut=cut) == read([text], beginning, cut=cut)


@given(TEXTS, PLACES, st.sampled_from([INSIDE, UNKNOWN]))
def test_what_begins_inside_never_leaks(text: str, at: list[int], beginning: Beginning) -> None:
    told = f"secret {text.replace('think', 'th')}</think>Hi"
    assert read(pieces(told, at), beginning).removeprefix("\n") == "Hi"


@pytest.mark.parametrize(
    ("text", "beginning"),
    [
        ("", UNKNOWN),
        (" \n", UNKNOWN),
        ("Hi", OUTSIDE),
        ("<think>a</think>Hi", OUTSIDE),
        ("a</think>Hi", INSIDE),
        ("Use `</think>`.", OUTSIDE),
        ('{"a": "b</think>"}', OUTSIDE),
        ("a `</think>` b</think>", INSIDE),
    ],
)
def test_where_a_whole_text_began(text: str, beginning: Beginning) -> None:
    assert beginning_of(text) is beginning
