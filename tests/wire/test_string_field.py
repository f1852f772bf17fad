import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.string_field import StringFieldDecoder

# Text of an object, what its field `message` says, and whether that is complete.
OBJECTS = [
    (r'{"message":"hi"}', "hi", True),
    (r' { "message" : "a\n\"b\"\\\/\u00e9" , "x" : 1 } ', 'a\n"b"\\/é', True),
    (r'{"message":"\ud83d\ude00!"}', "😀!", True),
    (r'{"message":"\ud83d\ud83d\ude00\ude00"}', "\ufffd😀\ufffd", True),
    (r'{"message":"\ud83dx\ud83d\n\ud83d"}', "\ufffdx\ufffd\n\ufffd", True),
    (r'{"message":"\uD83D\u0041"}', "\ufffdA", True),
    (r'{"\u006dess\u0061ge":"hi"}', "hi", True),
    (r'{"a":{"message":"no","b":["}",{"message":"\""}]},"message":"yes"}', "yes", True),
    (r'{"a":"\"message\":\"no\"\\","message":"yes"}', "yes", True),
    (r'{"a":-1.5e3,"b":null,"c":true , "d":[],"message":"yes"}', "yes", True),
    (r'{"message":"one","message":"two"}', "one", True),
    (r'{"message":null,"message":"two"}', "", True),
    (r'{"message":12}', "", True),
    (r'{"message":{"message":"no"}}', "", True),
    (r'{"message":["no"]}', "", True),
    ('{"message":"a\nb\tc\x00"}', "a\nb\tc\x00", True),
    (r'{"message":"cut off', "cut off", False),
    (r'{"message":"cut off\u00', "cut off", False),
    (r'{"message":"it\'s \d \uzz"}', r"it's \d \uzz", True),
    ('```json\n{"message":"hi"}\n```', "hi", True),
    (r'{"messages":"no","messag":"no","":"no"}', "", False),
    (r'"{\"message\":\"no\"}"', "", False),
    (r'[{"message":"no"}]', "", False),
    (r"{message:'no'}", "", False),
    (r'{"message" "no"}', "", False),
    (r"{}", "", False),
    ("", "", False),
]


def decode(fragments):
    decoder = StringFieldDecoder("message")
    text = "".join([decoder.feed(fragment) for fragment in fragments])
    return text, decoder.complete


@pytest.mark.parametrize(("text", "value", "complete"), OBJECTS)
def test_every_split_into_three(text, value, complete):
    assert decode([text]) == (value, complete)
    assert decode(text) == (value, complete)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            assert decode([text[:first], text[first:second], text[second:]]) == (value, complete)


@pytest.mark.parametrize("text", [text for text, _, complete in OBJECTS if complete])
def test_found_once_the_value_begins(text):
    decoder = StringFieldDecoder("message")
    decoder.feed(text)
    assert decoder.found


def test_nothing_is_held_back_but_an_unfinished_escape():
    decoder = StringFieldDecoder("message")
    pieces = ['{"message":"', "a", "b\\", "n", "\\u00", "e9c", "\\ud83d", "\\ud", "e00", "d", '"']
    texts = [decoder.feed(piece) for piece in pieces]
    assert texts == ["", "a", "b", "\n", "", "éc", "", "", "😀", "d", ""]


def test_what_follows_the_field_is_ignored():
    decoder = StringFieldDecoder("message")
    assert decoder.feed('{"message":"hi","message":"') == "hi"
    assert decoder.feed('more"}') == ""


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.just("message"), inner, max_size=3)
    ),
    max_leaves=8,
)
SPACES = st.text(" \t\r\n", max_size=3)


@st.composite
def dumped_objects(draw):
    """The text of an object that has a `message`, with white space and escapes of any kind."""
    value = draw(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
    ascii_only = draw(st.booleans())
    any_character = st.characters(exclude_categories=())
    characters = any_character if ascii_only else st.characters(codec="utf-8")
    value["message"] = draw(st.text(characters | st.sampled_from('"\\😀')))
    keys = draw(st.permutations(list(value)))
    text = json.dumps(
        {key: value[key] for key in keys},
        ensure_ascii=ascii_only,
        separators=(draw(SPACES) + "," + draw(SPACES), draw(SPACES) + ":" + draw(SPACES)),
        indent=draw(st.sampled_from([None, 0, 2])),
    )
    return draw(SPACES) + text + draw(SPACES)


@given(dumped_objects(), st.lists(st.integers(0, 300)))
def test_equals_what_json_reads(text, at):
    # json keeps a surrogate that is alone; there is no character that it could stand for.
    expected = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", json.loads(text)["message"])
    edges = [0, *sorted(min(i, len(text)) for i in at), len(text)]
    assert decode([text[a:b] for a, b in pairwise(edges)]) == (expected, True)
