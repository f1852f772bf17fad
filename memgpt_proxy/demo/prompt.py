"""The prompt, read as a model reads it: instructions, the queue's events, the newest turn."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

from memgpt_proxy.demo.dates import full_date
from memgpt_proxy.demo.words import plain

ALERT = "System Alert: "


@dataclass(frozen=True, slots=True)
class Call:
    """A function call: its name and its arguments."""

    name: str
    arguments: Mapping[str, Any]

    def asks_the_same(self, other: "Call") -> bool:
        """Whether both calls do the same; heartbeats and the default page do not count."""
        return self.name == other.name and _significant(self) == _significant(other)


def _significant(call: Call) -> dict[str, Any]:
    given = {"page": 1, **call.arguments}
    given.pop("request_heartbeat", None)
    return given


@dataclass(frozen=True, slots=True)
class Said:
    """A message of the user or a reply of the assistant, with the day it was said, if known."""

    role: Literal["user", "assistant"]
    text: str
    day: date | None


@dataclass(frozen=True, slots=True)
class Alert:
    """A system alert, without the words `System Alert: `."""

    text: str


@dataclass(slots=True)
class Step:
    """A function call of the assistant with its result, None while there is none."""

    call: Call
    id: str
    result: str | None = None

    @property
    def failed(self) -> bool:
        return self.result is not None and self.result.startswith("Error:")


Event = Said | Alert | Step


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model knows.

    `tools` are the functions on offer by name, `before` the events up to the newest user message,
    `turn` those after it, `user` that message's text (empty if there is none) and `today` the
    date of the latest date alert.
    """

    instructions: str
    tools: Mapping[str, Mapping[str, Any]]
    before: Sequence[Event]
    user: str
    turn: Sequence[Event]
    today: date | None
    lines: Sequence[str] = field(default=())

    @property
    def steps(self) -> list[Step]:
        """The function calls of the newest turn."""
        return [event for event in self.turn if isinstance(event, Step)]

    @property
    def alerts(self) -> list[str]:
        """The alerts of the newest turn."""
        return [event.text for event in self.turn if isinstance(event, Alert)]

    @property
    def events(self) -> list[Event]:
        """All events but the newest user message."""
        return [*self.before, *self.turn]

    @property
    def all_alerts(self) -> list[str]:
        """The alerts of the whole queue."""
        return [event.text for event in self.events if isinstance(event, Alert)]

    @property
    def replied(self) -> bool:
        """Whether the newest turn has a reply already."""
        return any(isinstance(event, Said) for event in self.turn)

    def knowing(self, lines: Sequence[str]) -> "Prompt":
        """The same prompt with the working context's lines as they stand now."""
        return replace(self, lines=lines)

    def result(self, call: Call) -> str | None:
        """What a call has returned in this turn, or None."""
        steps = (step for step in self.steps if step.call.asks_the_same(call))
        return next((step.result for step in steps if step.result is not None), None)

    def has_called(self, call: Call) -> bool:
        """Whether a call has been made in this turn already."""
        return any(step.call.asks_the_same(call) for step in self.steps)


def text_of(content: object) -> str:
    """The text of a message's content, be it a string or a list of parts."""
    if isinstance(content, str):
        return _whole(content)
    if not isinstance(content, list):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, dict))
    return _whole("\n".join(part for part in parts if isinstance(part, str)))


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs, which few readers of JSON take."""
    return text.encode("utf-8", "replace").decode()


def functions(tools: Sequence[object]) -> dict[str, Mapping[str, Any]]:
    """The functions among a request's tools, by name."""
    wrapped = (tool.get("function") for tool in tools if isinstance(tool, dict))
    named = (function for function in wrapped if isinstance(function, dict))
    return {f["name"]: f for f in named if isinstance(f.get("name"), str) and f["name"]}


def read(messages: Sequence[Mapping[str, Any]], tools: Sequence[object]) -> Prompt:
    """Read a request's messages and tools; what cannot be understood is passed over."""
    instructions = [
        text_of(m.get("content")) for m in messages if m.get("role") in ("system", "developer")
    ]
    events = _events(messages)
    spoken = [n for n, e in enumerate(events) if isinstance(e, Said) and e.role == "user"]
    newest = spoken[-1] if spoken else None
    return Prompt(
        instructions="\n\n".join(instructions),
        tools=functions(tools),
        before=events[:newest] if newest is not None else [],
        user=plain(_said(events, newest)),
        turn=events[newest + 1 :] if newest is not None else events,
        today=_latest_date(events),
    )


def _said(events: Sequence[Event], index: int | None) -> str:
    event = events[index] if index is not None else None
    return event.text if isinstance(event, Said) else ""


def _latest_date(events: Sequence[Event]) -> date | None:
    alerts = (event.text for event in reversed(events) if isinstance(event, Alert))
    return next((day for day in map(_announced, alerts) if day), None)


def _announced(alert: str) -> date | None:
    return full_date(alert) if alert.startswith("Today is ") else None


def _events(messages: Sequence[Mapping[str, Any]]) -> list[Event]:
    events: list[Event] = []
    today: date | None = None
    for message in messages:
        text = text_of(message.get("content"))
        match message.get("role"):
            case "user" if text.startswith(ALERT):
                alert = text.removeprefix(ALERT)
                today = _announced(alert) or today
                events.append(Alert(alert))
            case "user":
                events.append(Said("user", text, today))
            case "assistant":
                events.extend(_assistant(message, text, today))
            case "tool":
                _attach(events, message.get("tool_call_id"), text)
            case _:
                pass
    return events


def _assistant(message: Mapping[str, Any], text: str, today: date | None) -> Iterator[Event]:
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        yield Said("assistant", text, today)
        return
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            name, arguments = str(function.get("name")), _arguments(function.get("arguments"))
            yield Step(Call(name, arguments), str(call.get("id")))
            if name == "send_message":
                yield Said("assistant", str(arguments.get("message", "")), today)


def _arguments(raw: object) -> dict[str, Any]:
    try:
        arguments = json.loads(raw) if isinstance(raw, str) else raw
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _attach(events: Sequence[Event], call_id: object, result: str) -> None:
    """Give a result to the call it answers: the latest open one with its id, which may recur."""
    for event in reversed(events):
        if isinstance(event, Step) and event.id == call_id and event.result is None:
            event.result = result
            return
