import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.content import ContentGate

FUNCTIONS = ("archival_storage_insert", "search", "send_message")
CALL = '{"name": "search", "arguments": {"q": "a}\\"b", "n": [1, {}]}}'
ARGUMENTS = {"q": 'a}"b', "n": [1, {}]}
FOUND = [("search", ARGUMENTS)]

TWO_CALLS = (
    '{"tool_calls": [{"id": "call_1", "type": "function", "function":\n'
    '{"name": "search", "arguments": "{\\"a\\": 1}"}},\n'
    '{"id": "call_2", "type": "function", "function":\n'
    '{"name": "send_message", "arguments": "{}"}}]}'
)

# Content that is a call and nothing else, and the calls in it.
CALLS = [
    (CALL, FOUND),
    ('{ "name"\n:"search" ,"parameters" : {"a":1}\n}\n', [("search", {"a": 1})]),
    ('{"name":"search","arguments":"{\\"a\\":1}"}', [("search", {"a": 1})]),
    ('{"name":"search","arguments":null}', [("search", {})]),
    ('{"name":"search","arguments":"what?"}', [("search", None)]),
    ('{"name":"search","arguments":{"a": b}}', [("search", None)]),
    ('{"name":"search","arguments":{"a":"one\ntwo",}}', [("search", {"a": "one\ntwo"})]),
    ('{"function":{"name":"search","arguments":{"a":1}}}', [("search", {"a": 1})]),
    ('{"function":"search","arguments":{"a":1}}', [("search", {"a": 1})]),
    ('{"type":"function","function":{"name":"search","arguments":{}}}', [("search", {})]),
    ('{"type":"function","function":"search","parameters":{}}', [("search", {})]),
    ('{"type": "function", "name": "search", "parameters": {}}', [("search", {})]),
    ('[{"name":"search","arguments":{}}]', [("search", {})]),
    ('{"tool_calls":[{"function":{"name":"search","arguments":"{}"}}]}', [("search", {})]),
    (
        TWO_CALLS,
        [("search", {"a": 1}), ("send_message", {})],
    ),
    (
        '[{"name":"search","arguments":{"a":1}}, {"name":"other","arguments":{}}, 7]',
        [("search", {"a": 1}), ("other", {})],
    ),
    ('search({"a":")"})', [("search", {"a": ")"})]),
    ('search( {"a":1,} )\n', [("search", {"a": 1})]),
    (f"```json\n{CALL}\n```", FOUND),
    (f"```tool_call\n{CALL}\n```\n", FOUND),
    (f"```\n{CALL}```", FOUND),
    (f"<tool_call>\n{CALL}\n</tool_call>\n", FOUND),
    (f"<function_call> {CALL} </function_call>", FOUND),
    (f"<tool_call>```json\n{CALL}\n```</tool_call>", FOUND),
    (f"<tool_call>{CALL}\n{CALL}</tool_call>", FOUND * 2),
    (f"<tool_call>{CALL}</tool_call>\n\n<tool_call>{CALL}</tool_call>", FOUND * 2),
    (f"<tool_call>{CALL}\n<tool_call>{CALL}", FOUND * 2),
    ('<tool_call>search({"a":1}</tool_call>', [("search", {"a": 1})]),
    (f"{CALL}\n{CALL}", FOUND * 2),
    (f"\n\n  {CALL}", FOUND),
    (f"<think>\n{CALL} hm </thin </think>\n\n{CALL}", FOUND),
    (f"<thinking>So</think></thinking>{CALL}", FOUND),
    ("<think>It never ends", []),
    (CALL[:-2], FOUND),
    (f"```json\n{CALL}\n``", FOUND),
    ('{"name":"search","arguments":{"a":"cut of', [("search", {"a": "cut of"})]),
    ('{"name":"search","arguments":{"a', [("search", None)]),
    ('{"name":"search","arguments"', [("search", None)]),
    ('{"arguments": {"a": 1}, "name": "search"}', [("search", {"a": 1})]),
]

# Content that is no call: it is for the person, all of it.
TEXTS = [
    "",
    "Hello.",
    "  \n two\r\n\r\n lines \n",
    '{"answer": 42}',
    '{"name": "Bob", "age": 7}',
    '{"name": "search", "age": 7}',
    '{"name": "searching", "arguments": {}}',
    '{"name": "search"}',
    '{"type": "object", "function": {"name": "search", "arguments": {}}}',
    '{"function": {"name": "other", "arguments": {}}}',
    '{"tool_calls": []}',
    '{"tool_calls": [{"id": "a\\"b", "function": {"name": "search", "arguments": {}}}]}',
    '{"tool_calls": [{"id": "' + "a" * 300 + '", "function": {"name": "search"}}]}',
    '[1, 2, {"name": "search", "arguments": {}}]',
    "[\n  1\n]\n",
    "{",
    '{"name": "sear',
    "search",
    "search (it)",
    "search()\nsearching\nsend_messages(",
    f"As in {CALL}",
    "```python\nsearch = 1\n```\nThat is all.",
    '```json\n{"a": 1}\n```\n',
    "```\n```json\n```",
    "<b>bold</b>\n<tool_call>\nno\n</tool_call>",
    "a\n<think>not at the start</think>",
    "<thin air>",
    "<thin",
    "\n<",
    "{" + " " * 5000 + '"name": "search", "arguments": {}}',
]

# Content of both kinds: what the person reads, and the calls.
MIXED = [
    (f"Sure.\n{CALL}\nDone.", "Sure.\nDone.", FOUND),
    (f"Sure.\n\n```json\n{CALL}\n```\n\nDone.\n", "Sure.\n\nDone.\n", FOUND),
    (f"{CALL} {CALL} and {CALL}", f"and {CALL}", FOUND * 2),
    (f"<think>a</think>\n\nHi <think>b</think>\n{CALL}", "Hi <think>b</think>\n", FOUND),
    ("<think>a</think><think>b</think> Hi", "Hi", []),
    (f'{{\n"a": 1}}\n{CALL}', '{\n"a": 1}\n', FOUND),
    (f"[\n{CALL[:-1]}", "", FOUND),
    (f"```\nx\n```\n```json\n{CALL}\n```", "```\nx\n```\n", FOUND),
    (f'<tool_call>{CALL}\n{{"a": 1}}</tool_call>', '{"a": 1}</tool_call>', FOUND),
    (f"<tool_call>{CALL}\nNo more.\n```", "No more.\n```", FOUND),
    ('search({"a":1}) is it\n', "is it\n", [("search", {"a": 1})]),
]


def read(pieces, functions=FUNCTIONS):
    gate = ContentGate(functions)
    released = [gate.feed(piece) for piece in pieces]
    rest, calls = gate.close()
    return "".join([*released, rest]), [(call.name, call.arguments) for call in calls]


def cut(text, at):
    edges = [0, *sorted(min(i, len(text)) for i in at), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


def every_split(text):
    yield [text]
    yield list(text)
    for first in range(len(text)):
        yield [text[:first], text[first:]]
        yield [text[:first], text[first : first + 5], text[first + 5 :]]


CASES = [
    *((text, "", calls) for text, calls in CALLS),
    *((text, text, []) for text in TEXTS),
    *MIXED,
]


@pytest.mark.parametrize(("text", "shown", "calls"), CASES)
def test_every_split(text, shown, calls):
    for pieces in every_split(text):
        assert read(pieces) == (shown, calls)


@pytest.mark.parametrize(("text", "calls"), CALLS)
def test_nothing_of_a_call_is_released_on_the_way(text, calls):
    gate = ContentGate(FUNCTIONS)
    assert [gate.feed(character) for character in text] == [""] * len(text)


def test_prose_passes_with_no_delay():
    gate = ContentGate(FUNCTIONS)
    for text in ["H", "i", " there", ".\n", "\n", "- one\n", "T", "wo {", "`x`", " <a>"]:
        assert gate.feed(text) == text
    assert gate.close() == ("", [])


@pytest.mark.parametrize(
    ("held", "released"),
    [
        ("{", '"answer'),
        ('{"', "b"),
        ('{"name": "', "B"),
        ('{"name": "search"', "}"),
        ("[", "1"),
        ("```", "q"),
        ("```json\n{", "}"),
        ("<t", "d>"),
        ("sear", "s"),
        ("search(", ")"),
        (" \n", "x"),
    ],
)
def test_what_is_no_call_is_released_as_soon_as_that_is_certain(held, released):
    gate = ContentGate(FUNCTIONS)
    assert gate.feed(held) == ""
    assert gate.feed(released) == held + released
    assert gate.feed("more") == "more"


def test_what_cannot_be_read_is_handed_on_as_text():
    gate = ContentGate(FUNCTIONS)
    gate.feed('{"name":"search","arguments":"what?"}\nsearch({oh})')
    _, calls = gate.close()
    assert [(call.name, call.arguments, call.text) for call in calls] == [
        ("search", None, "what?"),
        ("search", None, "{oh}"),
    ]


def test_without_functions_nothing_is_a_call():
    assert read([f"{CALL}\n{CALL}"], functions=()) == (f"{CALL}\n{CALL}", [])


TAGS = re.compile("think|thought", re.IGNORECASE)
ANY_ARGUMENTS = st.dictionaries(
    st.text(), st.text() | st.lists(st.integers(-(2**63), 2**63 - 1)), max_size=3
)
SPLITS = st.lists(st.integers(0, 300), max_size=40)


TOKENS = [
    *'as {[]}`<>(",:\n\r',
    *("search", "<tool_call>", "```", "json", '"name"', "<think>", ": null", "42"),
]


@given(st.lists(st.sampled_from(TOKENS)).map("".join), SPLITS)
def test_a_split_changes_nothing(text, at):
    assert read(cut(text, at)) == read([text])


@given(st.text().filter(lambda text: not TAGS.search(text)), SPLITS)
def test_text_without_calls_is_unchanged(text, at):
    assert read(cut(text, at)) == (text, [])


@given(st.dictionaries(st.text(), st.text() | st.integers()), st.booleans(), SPLITS)
def test_json_for_a_person_is_unchanged(value, indent, at):
    text = json.dumps(value, indent=2 if indent else None)
    assert read(cut(text, at)) == (text, [])


@given(
    st.sampled_from(["", "Hi!\n", "One.\n\n  "]),
    st.sampled_from(["{}", "```json\n{}\n```", "<tool_call>{}</tool_call>", "[{}]"]),
    st.sampled_from(['{"name":%s,"arguments":%s}', '{"function":{"name":%s,"parameters":%s}}']),
    st.sampled_from(FUNCTIONS),
    ANY_ARGUMENTS,
    SPLITS,
)
def test_a_call_never_leaks(before, wrapped, form, name, arguments, at):
    text = before + wrapped.replace("{}", form % (json.dumps(name), json.dumps(arguments)))
    gate = ContentGate(FUNCTIONS)
    released = ""
    for piece in cut(text, at):
        released += gate.feed(piece)
        assert before.startswith(released)
    rest, [call] = gate.close()
    assert (released + rest).strip() == before.strip()
    assert (call.name, call.arguments) == (name, arguments)
