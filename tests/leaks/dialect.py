"""How a backend may write one step: the shapes that servers differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Step:
    """What a model says in one step; calls are names and the JSON text of their arguments."""

    reasoning: str = ""
    content: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    choices: int = 1


@dataclass(frozen=True, slots=True)
class Dialect:
    """The habits of a server.

    Attributes:
        index: Of calls: each its own, none, or 0 for all.
        reasoning: The field it comes in.
        parts: Content comes as a list of parts.
        objects: Arguments come as objects.
        legacy: A single call comes as ``function_call``.
        reason: The finish reason, true or not.
        whole: One JSON object is the answer, though a stream was asked for.
        mixed: Content, reasoning and calls come in turns, not one after the other.
    """

    index: Literal["own", "none", "zero"] = "own"
    reasoning: Literal["reasoning_content", "reasoning", "reasoning_details"] = "reasoning_content"
    parts: bool = False
    objects: bool = False
    legacy: bool = False
    nulls: bool = False
    roles: bool = False
    names_again: bool = False
    without_ids: bool = False
    reason: str | None = "true"
    usage: Literal["end", "each", "none"] = "end"
    crlf: bool = False
    comments: bool = False
    done: bool = True
    last_blank_line: bool = True
    whole: bool = False
    mixed: bool = False


@dataclass(slots=True)
class Writer:
    """Writes steps in a dialect; ``random`` says where they are cut.

    ``most`` bytes are written of each step, of which the rest never comes.
    """

    dialect: Dialect
    random: Random
    most: int | None = None
    written: int = field(default=0)

    def body(self, step: Step) -> tuple[bytes, str]:
        """Return a response's body and content type."""
        self.written += 1
        if self.dialect.whole:
            return json.dumps(self._completion(step)).encode(), "application/json"
        end = "\r\n" if self.dialect.crlf else "\n"
        events = [f"data: {json.dumps(chunk, ensure_ascii=False)}" for chunk in self._chunks(step)]
        if self.dialect.done:
            events.append("data: [DONE]")
        if self.dialect.comments:
            events = [f": PROCESSING{end}{end}{event}" for event in events]
        text = "".join(f"{event}{end}{end}" for event in events)
        return (text if self.dialect.last_blank_line else text.rstrip()).encode(), (
            "text/event-stream"
        )

    def _reason(self, step: Step) -> str | None:
        if self.dialect.reason != "true":
            return self.dialect.reason
        return "tool_calls" if step.calls else "stop"

    def _head(self, **fields: Any) -> dict[str, Any]:
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        told = {"usage": usage} if self.dialect.usage == "each" else {}
        return {"id": "c", "object": "chat.completion.chunk", "model": "m", **told, **fields}

    def _chunks(self, step: Step) -> Iterator[dict[str, Any]]:
        for choice in range(step.choices):
            yield self._head(choices=[_choice(choice, {"role": "assistant", "content": ""})])
        for index in range(step.choices):
            for delta in self._deltas(step):
                if self.dialect.roles:
                    delta["role"] = "assistant"
                if self.dialect.nulls:
                    delta = {"content": None, "tool_calls": None, "function_call": None} | delta
                yield self._head(choices=[_choice(index, delta)])
            yield self._head(choices=[_choice(index, {}, self._reason(step))])
        if self.dialect.usage == "end":
            usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
            yield self._head(choices=[], usage=usage)

    def _deltas(self, step: Step) -> list[dict[str, Any]]:
        if self._is_legacy(step):
            calls = [self._legacy(*step.calls[0])]
        else:
            ids = [f"call_{self.written}_{at}" for at in range(len(step.calls))]
            calls = [
                self._call(at, ids[at], name, text) for at, (name, text) in enumerate(step.calls)
            ]
        tracks = [self._reasoning(step.reasoning), self._content(step.content)]
        if not self.dialect.mixed:
            return [delta for track in [*tracks, *calls] for delta in track]
        if self.dialect.index != "own":
            calls = [[delta for call in calls for delta in call]]
        return self._riffled([*tracks, *calls])

    def _riffled(self, tracks: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Take turns; a later call does not begin before an earlier one."""
        mixed: list[dict[str, Any]] = []
        untouched = [len(track) for track in tracks]
        while left := [track for track in tracks if track]:
            track = self.random.choice(left)
            at = next(n for n, each in enumerate(tracks) if each is track)
            earlier = (
                other
                for other in range(2, at)
                if tracks[other] and len(tracks[other]) == untouched[other]
            )
            mixed.append(tracks[next(earlier, at)].pop(0))
        return mixed

    def _is_legacy(self, step: Step) -> bool:
        return self.dialect.legacy and len(step.calls) == 1

    def _pieces(self, text: str) -> list[str]:
        pieces = []
        while text:
            size = self.random.choice([1, 2, 3, 7, 20, 500])
            pieces.append(text[:size])
            text = text[size:]
        return pieces

    def _content(self, text: str) -> list[dict[str, Any]]:
        pieces = self._pieces(text)
        if self.dialect.parts:
            return [{"content": [{"type": "text", "text": piece}]} for piece in pieces]
        return [{"content": piece} for piece in pieces]

    def _reasoning(self, text: str) -> list[dict[str, Any]]:
        kind = "reasoning.text"
        if self.dialect.reasoning == "reasoning_details":
            return [
                {"reasoning_details": [{"type": kind, "text": piece, "index": 0}]}
                for piece in self._pieces(text)
            ]
        return [{self.dialect.reasoning: piece} for piece in self._pieces(text)]

    def _legacy(self, name: str, text: str) -> list[dict[str, Any]]:
        head = {"function_call": {"name": name, "arguments": ""}}
        return [
            head,
            *({"function_call": {"arguments": piece}} for piece in self._pieces(text)),
        ]

    def _call(self, at: int, id: str, name: str, text: str) -> list[dict[str, Any]]:
        place = {"own": {"index": at}, "none": {}, "zero": {"index": 0}}[self.dialect.index]
        told = {} if self.dialect.without_ids and self.dialect.index == "own" else {"id": id}
        head = {**place, **told, "type": "function"}
        if self.dialect.objects:
            function = {"name": name, "arguments": json.loads(text)}
            return [{"tool_calls": [{**head, "function": function}]}]
        again = {"name": name} if self.dialect.names_again else {}
        known = {**place, **(told if self.dialect.index != "own" or again else {})}
        more = [{**known, "function": {"arguments": part, **again}} for part in self._pieces(text)]
        first = {**head, "function": {"name": name, "arguments": ""}}
        return [{"tool_calls": [call]} for call in (first, *more)]

    def _completion(self, step: Step) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": step.content or None}
        if step.reasoning:
            message |= self._reasoning(step.reasoning[:500])[0]
        if self._is_legacy(step):
            name, text = step.calls[0]
            message["function_call"] = {"name": name, "arguments": text}
        elif step.calls:
            message["tool_calls"] = [
                self._whole_call(f"call_{self.written}_{at}", *call)
                for at, call in enumerate(step.calls)
            ]
        choices = [
            {"index": index, "message": message, "finish_reason": self._reason(step)}
            for index in range(step.choices)
        ]
        return {"id": "c", "object": "chat.completion", "model": "m", "choices": choices}

    def _whole_call(self, id: str, name: str, text: str) -> dict[str, Any]:
        arguments = json.loads(text) if self.dialect.objects else text
        function = {"name": name, "arguments": arguments}
        return {"id": id, "type": "function", "function": function}

    def writes(self, body: bytes) -> list[bytes]:
        """Cut a body into writes, anywhere."""
        size = self.random.choice([1, 7, 64, 1000, 10**6])
        if size == 1 and len(body) > 3000:
            size = 13
        body = body[: self.most]
        return [body[at : at + size] for at in range(0, len(body), size)]


def _choice(index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}
