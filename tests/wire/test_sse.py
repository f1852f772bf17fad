from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.sse import EventParser, StreamTooLarge

# Streams and the payloads that the HTML standard's rules give for them.
STREAMS = [
    (b'data: {"a":1}\n\ndata: {"b":2}\n\ndata: [DONE]\n\n', [b'{"a":1}', b'{"b":2}', b"[DONE]"]),
    (b"data:no space\n\ndata:  two spaces\n\n", [b"no space", b" two spaces"]),
    (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
    (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
    (b"data: a\ndata: b\r\ndata: c\r\rdata: d\n\n", [b"a\nb\nc", b"d"]),
    (b": keep-alive\n\ndata: a\n: more\n\n:\n\n", [b"a"]),
    (b"event: ping\nid: 7\nretry: 10\n\nevent: x\ndata: a\nid: 8\n\n", [b"a"]),
    (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: no field\n\n", [b"a"]),
    (b"data: unterminated", [b"unterminated"]),
    (b"data: a\n\ndata: one\ndata: two\n", [b"a", b"one\ntwo"]),
    (b"data: a\r\n\r", [b"a"]),
    (b"\n\n\n\ndata: a\n\n\n\n", [b"a"]),
    ("data: a\u2028b\u0085c\x0bd\x0ce\n\n".encode(), ["a\u2028b\u0085c\x0bd\x0ce".encode()]),
    (b"datum: x\ndatax: y\n data: z\ndata: a\n\n", [b"a"]),
    (b"data: a\ndata:\ndata: b\n\n", [b"a\n\nb"]),
    (b"data:\n\ndata\n\ndata: \n\n", []),
    (b"", []),
    (b"\xef\xbb\xbf", []),
]


def parse(reads, limit=8 * 2**20):
    parser = EventParser(limit)
    events = [event for read in reads for event in parser.feed(read)]
    return events + parser.close()


def cut(stream, at):
    edges = [0, *sorted(at), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_events_at_every_split_into_three(stream, events):
    assert parse([stream]) == events
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            assert parse(cut(stream, [first, second])) == events


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_events_byte_by_byte(stream, events):
    assert parse([bytes([byte]) for byte in stream]) == events


def test_an_event_is_given_as_soon_as_its_blank_line_begins():
    parser = EventParser()
    assert parser.feed(b"data: a\r\n\r") == [b"a"]
    assert parser.feed(b"\ndata: b\n\n") == [b"b"]


LINE = st.one_of(
    st.just(b""),
    st.sampled_from([b"data: x", b"data:", b"data", b": note", b"event: e", b"\xef\xbb\xbf"]),
    st.builds(lambda text: b"data: " + text.encode().translate(None, b"\r\n"), st.text()),
)
STREAM = st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\r", b"\r\n"]))).map(
    lambda lines: b"".join(part for line in lines for part in line)
)


@given(STREAM, st.lists(st.integers(0, 200)))
def test_a_split_changes_nothing(stream, at):
    assert parse(cut(stream, [min(i, len(stream)) for i in at])) == parse([stream])


@given(st.lists(st.text(min_size=1).map(lambda text: text.translate({10: None, 13: None}))))
def test_payloads_come_back(payloads):
    payloads = [payload.encode() for payload in payloads if payload]
    stream = b"".join(b"data: %b\n\n" % payload for payload in payloads)
    assert parse([stream]) == payloads


@given(STREAM, st.lists(st.integers(0, 200)), st.integers(4, 40))
def test_the_bound_does_not_depend_on_the_split(stream, at, limit):
    def outcome(reads):
        try:
            return parse(reads, limit)
        except StreamTooLarge:
            return "too large"

    # A mark at the very start counts as part of its line for as long as the line is unfinished.
    stream = stream.replace(b"\xef\xbb\xbf", b"")
    assert outcome(cut(stream, [min(i, len(stream)) for i in at])) == outcome([stream])


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 60, b"data: 3\n" * 10, b":" * 65])
def test_an_endless_event_is_refused(stream):
    with pytest.raises(StreamTooLarge):
        parse([stream], limit=64)
    with pytest.raises(ValueError, match="64 bytes"):
        parse([bytes([byte]) for byte in stream], limit=64)


def test_the_bound_is_for_one_event_not_for_the_stream():
    assert parse([b"data: 0123456789\n\n" * 100], limit=16) == [b"0123456789"] * 100
