import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.arguments import parse_arguments

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=4)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", {}),
        (" \n", {}),
        ("{}", {}),
        ('{"a": "one\ntwo\tthree"}', {"a": "one\ntwo\tthree"}),
        ('{"a": [1, 2, ], "b": {"c": 1,\n},}', {"a": [1, 2], "b": {"c": 1}}),
        ('{"a": "not, } trailing"}', {"a": "not, } trailing"}),
        ('```json\n{"a": 1}\n```', {"a": 1}),
        ('```\n{"a": "```"}\n```\n', {"a": "```"}),
        ('{"a": True, "b": [False, None]}', {"a": True, "b": [False, None]}),
        ('{"a": "True, None\n"}', {"a": "True, None\n"}),
        ('"{\\"a\\": \\"b\\"}"', {"a": "b"}),
        ('{"a": {"b": ["c"', {"a": {"b": ["c"]}}),
        ('{"a": "b", "c": "cut of', {"a": "b", "c": "cut of"}),
        ('{"a": 1', {"a": 1}),
        ("{", {}),
        (r'{"a": "\ud83d"}', {"a": "\ufffd"}),
        (r'{"a": "\ud83d\ude00"}', {"a": "😀"}),
        ('{"a": 123456789012345678901234567890,}', {"a": 123456789012345678901234567890}),
    ],
)
def test_what_can_only_mean_one_thing(text, value):
    assert parse_arguments(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "12",
        "[]",
        '[{"a": 1}]',
        '"text"',
        '"\\"{}\\""',
        "hello",
        "{'a': 1}",
        "{a: 1}",
        '{"a": 1}}',
        '{"a": 1} {"b": 2}',
        '{"a" 1}',
        '{"a": }',
        '{"a": ',
        '{"a": 1,',
        '{"a": "b", "c',
        '{"a": tr',
        '{"a": "b}',
        '{"a": "b\\',
        '{"a": "b\\u00',
        '{"a": [1}',
        '{"a": NaN}',
        '{"a": "an "inner" quote"}',
        "[" * 100_000,
        '{"a":' * 100_000,
    ],
)
def test_what_would_have_to_be_guessed(text):
    assert parse_arguments(text) is None


@given(OBJECTS, st.booleans(), st.sampled_from([None, 0, 2]))
def test_json_is_read_as_it_is(value, ascii_only, indent):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    assert parse_arguments(text) == value
    assert parse_arguments(json.dumps(text)) == value
    assert parse_arguments(f"```json\n{text}\n```") == value


@given(OBJECTS)
def test_missing_brackets_are_added(value):
    text = json.dumps({"first": value})
    assert parse_arguments(text.rstrip("}] ")) in ({"first": value}, None)
    assert parse_arguments(text[:-1]) == {"first": value}


@given(OBJECTS, st.text(st.sampled_from("\n\t\r ab")))
def test_literal_line_ends_are_kept(value, said):
    text = json.dumps(value | {"said": "@@"}).replace("@@", said)
    if "@@" not in json.dumps(value):
        assert parse_arguments(text) == value | {"said": said}


@given(st.text())
def test_any_text_is_read_or_refused(text):
    assert parse_arguments(text) is None or isinstance(parse_arguments(text), dict)
