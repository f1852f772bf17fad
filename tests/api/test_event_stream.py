"""A response of server-sent events: what is sent, and when a comment is."""

from __future__ import annotations

from typing import Any

from memgpt_proxy.api.event_stream import EventStream

COMMENT = b": keep-alive\n\n"


class Sent:
    """Takes what a response sends, and gives the pieces of its body."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, message: Any) -> None:
        """Take an ASGI message."""
        if message["type"] == "http.response.body":
            self.bodies.append(message["body"])


async def test_the_first_beat_already_finds_a_stream_silent_that_has_sent_nothing() -> None:
    sent = Sent()
    stream = EventStream(sent, [])
    await stream.beat()
    assert sent.bodies == [COMMENT]
    await stream.beat()
    assert sent.bodies == [COMMENT, COMMENT]


async def test_a_beat_passes_over_what_was_sent_since_the_last() -> None:
    sent = Sent()
    stream = EventStream(sent, [])
    await stream.write(b"data: 1\n\n")
    await stream.beat()
    assert sent.bodies == [b"data: 1\n\n"]
    await stream.beat()
    assert sent.bodies == [b"data: 1\n\n", COMMENT]
    await stream.beat()
    assert sent.bodies == [b"data: 1\n\n", COMMENT, COMMENT]
