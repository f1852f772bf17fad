"""Scripted replies as OpenAI's wire format: one JSON object, or the bytes of an event stream."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.replies import Call, Gate, Part, Raw, Reply, Text, Wait

ID = "chatcmpl-scripted"
CREATED = 1_700_000_000


def completion(reply: Reply, model: str) -> dict[str, Any]:
    """The ``chat.completion`` object that says the reply."""
    answer: dict[str, Any] = {
        "id": ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [_choice(reply, index) for index in reply.choices()],
    }
    if reply.usage is not None:
        answer["usage"] = reply.usage.as_json()
    for part in reply.parts:
        if isinstance(part, Raw):
            answer = gathered(answer, part.data)
    return answer


def left_of(reply: Reply, body: bytes) -> bytes | None:
    """What arrives of a whole answer that is cut off; None where it is not."""
    if reply.die_after_bytes is not None:
        return body[: reply.die_after_bytes]
    if reply.die_after_events is not None:
        return body[: min(20 * reply.die_after_events, len(body) - 1)]
    return None


def gathered(answer: dict[str, Any], data: str) -> dict[str, Any]:
    """Return a completion with what an event's data add to it; an error takes its place."""
    if data == "[DONE]":
        return answer
    chunk = json.loads(data)
    if "choices" not in chunk:
        return chunk
    choices = {choice["index"]: choice for choice in answer["choices"]}
    for added in chunk["choices"]:
        place = added.get("index", 0)
        empty = {"index": place, "message": {"role": "assistant", "content": None}}
        choice = choices.setdefault(place, empty)
        more = {"message" if key == "delta" else key: value for key, value in added.items()}
        choices[place] = _joined(choice, more)
    told = {key: value for key, value in chunk.items() if key != "object"}
    return {**answer, **told, "choices": [choices[place] for place in sorted(choices)]}


_SAID_ONCE = frozenset({"id", "type", "name", "role", "finish_reason", "format"})


def _joined(said: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    joined = dict(said)
    for key, value in more.items():
        known = joined.get(key)
        if known is None or (key in _SAID_ONCE and value):
            joined[key] = _numbered([], value) if key == "tool_calls" else value
        elif isinstance(value, dict):
            joined[key] = _joined(known, value)
        elif isinstance(value, list):
            joined[key] = _numbered(known, value)
        elif isinstance(value, str) and key not in _SAID_ONCE:
            joined[key] = known + value
    return joined


def _numbered(said: list[Any], more: list[Any]) -> list[Any]:
    """Join lists: what has a number goes on with what stands in that place."""
    joined = list(said)
    for each in more:
        place = each.get("index") if isinstance(each, dict) else None
        if place is None:
            joined.append(each)
            continue
        if place < len(joined):
            joined[place] = _joined(joined[place], each)
        else:
            joined.append(each)
    return joined


def _choice(reply: Reply, index: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for part in reply.parts:
        if isinstance(part, Text) and part.index == index:
            message[part.field] = (message.get(part.field) or "") + part.text
        elif isinstance(part, Call) and part.index == index:
            calls = message.setdefault("tool_calls", [])
            calls.append(_tool_call(part, len(calls), part.arguments))
    return {
        "index": index,
        "message": message,
        "finish_reason": reply.finish(index),
        "logprobs": None,
    }


def _tool_call(call: Call, position: int, arguments: str) -> dict[str, Any]:
    return {
        "id": call.id or f"call_{call.index}_{position}",
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }


def stream(reply: Reply, model: str, include_usage: bool) -> Iterator[bytes | Gate]:
    """The stream's bytes, event by event, with the gates at which it waits in between."""
    newline = b"\r\n" if reply.crlf else b"\n"
    payloads = list(_payloads(reply, model, include_usage))
    for number, payload in enumerate(payloads, 1):
        if isinstance(payload, Gate):
            yield payload
            continue
        comment = b": keep-alive" + newline * 2 if reply.comments else b""
        last = number == len(payloads) and not reply.last_blank_line
        yield comment + b"data: " + payload.encode() + newline * (1 if last else 2)


@dataclass(frozen=True, slots=True)
class _Chunks:
    """Writes the stream's chunks for one model name."""

    model: str

    def chunk(self, choices: list[dict[str, Any]], **more: Any) -> str:
        head = {"id": ID, "object": "chat.completion.chunk", "created": CREATED}
        whole = {**head, "model": self.model, "choices": choices, **more}
        return json.dumps(whole, ensure_ascii=False)

    def delta(self, index: int, delta: dict[str, Any], finish: str | None = None) -> str:
        return self.chunk(
            [{"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}]
        )

    def part(self, part: Part, position: int, size: int) -> Iterator[str | Gate]:
        match part:
            case Wait(gate):
                yield gate
            case Raw(data):
                yield data
            case Text(text, field, index):
                yield from (self.delta(index, {field: piece}) for piece in _pieces(text, size))
            case Call(index=index):
                for fragment in _fragments(part, position, size):
                    yield self.delta(index, {"tool_calls": [fragment]})


def _payloads(reply: Reply, model: str, include_usage: bool) -> Iterator[str | Gate]:
    chunks = _Chunks(model)
    for index in reply.choices():
        yield chunks.delta(index, {"role": "assistant", "content": ""})
    for part, position in _positions(reply):
        yield from chunks.part(part, position, reply.piece)
    if reply.hang:
        return
    for index in reply.choices():
        yield chunks.delta(index, {}, reply.finish(index))
    if include_usage and reply.usage is not None:
        yield chunks.chunk([], usage=reply.usage.as_json())
    if reply.done:
        yield "[DONE]"


def _positions(reply: Reply) -> Iterator[tuple[Part, int]]:
    """Each part with its place among its choice's tool calls."""
    seen: dict[int, itertools.count[int]] = {}
    for part in reply.parts:
        counter = seen.setdefault(part.index, itertools.count()) if isinstance(part, Call) else None
        yield part, next(counter) if counter is not None else 0


def _fragments(call: Call, position: int, size: int) -> Iterator[dict[str, Any]]:
    yield {"index": position, **_tool_call(call, position, "")}
    for piece in _pieces(call.arguments, size):
        yield {"index": position, "function": {"arguments": piece}}


def _pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def writes(reply: Reply, model: str, include_usage: bool) -> Iterator[bytes | Gate]:
    """The stream as the writes that carry it: cut as asked for, and ended early to die."""
    sent = list(stream(reply, model, include_usage))
    if reply.die_after_events is not None:
        sent = _first_events(sent, reply.die_after_events)
    room = reply.die_after_bytes
    start = 0
    for is_gate, group in itertools.groupby(sent, lambda item: isinstance(item, Gate)):
        if is_gate:
            yield from group
            continue
        events = [item for item in group if isinstance(item, bytes)]
        size = sum(map(len, events))
        for write in _cut(events, reply, start):
            yield write if room is None else write[: max(room, 0)]
            room = None if room is None else room - len(write)
        start += size


def _first_events(sent: list[bytes | Gate], count: int) -> list[bytes | Gate]:
    events = 0
    for place, item in enumerate(sent):
        if events == count:
            return sent[:place]
        events += isinstance(item, bytes)
    return sent


def _cut(events: list[bytes], reply: Reply, start: int) -> list[bytes]:
    """One write per event, or cuts as asked for; positions count from the stream's start."""
    if not reply.write_every and not reply.write_at:
        return events
    data = b"".join(events)
    places = (
        range(reply.write_every, len(data), reply.write_every)
        if reply.write_every
        else [place - start for place in reply.write_at if 0 < place - start < len(data)]
    )
    return [data[a:b] for a, b in itertools.pairwise([0, *places, len(data)])]
