"""The data of one event of a stream, or a body that is no stream, as chunks.

Read is what servers write, not only what they should: several objects to an event where the blank
lines between events are missing, a whole completion in an event, text with bytes or halves of
characters that are none, and errors without the field that tells them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import orjson

from memgpt_proxy.wire.chat import Chunk, completion_to_chunk

_DONE = re.compile(rb'\s*"?\[DONE\]"?\s*', re.IGNORECASE)
_BOM = b"\xef\xbb\xbf"
_HALF = re.compile("[\ud800-\udfff]")


class NoChunk(ValueError):
    """What came is no chunk of a chat completion; the message says what it is not."""


def is_done(event: bytes) -> bool:
    """Return whether an event's data say that the stream is over."""
    return event == b"[DONE]" or (len(event) < 16 and _DONE.fullmatch(event) is not None)


def chunks_of(event: bytes) -> list[Chunk]:
    """Return the chunks that an event's data hold. Raises NoChunk."""
    whole = event.find(b'"message"') >= 0
    try:
        value: Any = orjson.loads(event)
    except orjson.JSONDecodeError:
        return [_chunk(value, whole=whole) for value in _values(event)]
    choices = value.get("choices") if isinstance(value, dict) else None
    if choices and not whole:
        return [value]  # as nearly all are
    return [_chunk(value, whole=whole)]


def chunks_of_body(body: bytes) -> list[Chunk]:
    """Return what a body holds that is no stream: mostly one completion. Raises NoChunk."""
    return chunks_of(body.lstrip().removeprefix(_BOM))


def _chunk(value: Any, *, whole: bool) -> Chunk:
    if not isinstance(value, dict):
        raise NoChunk("no chat completion")
    choices = value.get("choices")
    if choices is None and (error := _error(value)) is not None:
        return {"error": error}
    if whole and choices:
        return _streamed(value)
    return cast("Chunk", value)


def _streamed(value: Any) -> Chunk:
    """Return a whole completion as a chunk, or a chunk as it is."""
    try:
        if any("delta" not in choice for choice in value["choices"]):
            return completion_to_chunk(value)
    except (AttributeError, TypeError) as error:
        raise NoChunk("no chat completion") from error
    return cast("Chunk", value)


def _error(value: dict[str, Any]) -> dict[str, Any] | str | None:
    """Return the error that an object without choices is, in the one or another of its forms."""
    if error := value.get("error"):
        return cast("dict[str, Any] | str", error)
    told = value.get("message") or value.get("detail")
    return {**value, "message": told} if isinstance(told, str) else None


def _values(event: bytes) -> Iterator[Any]:
    """Give the values of an event that is not quite JSON, line by line if need be."""
    lines = [line for line in event.split(b"\n") if line.strip()]
    if len(lines) < 2:
        yield _loaded(event)
        return
    for line in lines:
        if not is_done(line):
            yield _loaded(line)


def _loaded(text: bytes) -> Any:
    """Return the value of JSON in which some characters are broken, or numbers are none."""
    try:
        value = json.loads(text.decode(errors="replace"), parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise NoChunk("not JSON") from error
    return json.loads(_HALF.sub("\N{REPLACEMENT CHARACTER}", json.dumps(value, ensure_ascii=False)))
