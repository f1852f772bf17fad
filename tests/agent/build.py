"""What the agent's tests are made of: chunks, steps, offers, requests, windows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.reply import CallPart, Delta, Offer, Reply, Step, StepListener, Text
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.wire.step import StepReader

COUNTER = TokenCounter("cl100k_base")
ALICE = Namespace("alice")


def offer(*theirs: str, without: Collection[str] = ()) -> Offer:
    """Our functions, all of them unless ``without`` some, beside tools of the client's."""
    return Offer(tuple(name for name in FUNCTIONS if name not in without), frozenset(theirs))


def new_reply(stop: Sequence[str] = (), max_tokens: int | None = None) -> Reply:
    return Reply(TextLimit(stop, max_tokens, COUNTER))


@dataclass(frozen=True, slots=True)
class Call:
    """A function call as a model writes it; ``arguments`` may be any text."""

    name: str
    arguments: str
    id: str = ""


def call(name: str, /, *, id: str = "", **arguments: Any) -> Call:
    return Call(name, json.dumps(arguments), id)


def send(message: str, **more: Any) -> Call:
    return call("send_message", message=message, **more)


@dataclass(frozen=True, slots=True)
class Said:
    """One answer of the model: content, then calls, each in pieces of ``piece`` characters."""

    content: str = ""
    calls: tuple[Call, ...] = ()
    finish_reason: str | None = None
    piece: int = 7

    def chunks(self) -> Iterable[Any]:
        for text in pieces(self.content, self.piece):
            yield delta({"content": text})
        for index, each in enumerate(self.calls):
            head: dict[str, Any] = {"name": each.name, "arguments": ""}
            yield delta({"tool_calls": [{"index": index, "id": each.id, "function": head}]})
            for text in pieces(each.arguments, self.piece):
                more = {"index": index, "function": {"arguments": text}}
                yield delta({"tool_calls": [more]})
        yield delta({}, self.finish_reason or ("tool_calls" if self.calls else "stop"))


def said(*calls: Call, content: str = "", finish_reason: str | None = None) -> Said:
    return Said(content, calls, finish_reason)


def delta(content: Mapping[str, Any], finish_reason: str | None = None) -> Any:
    return {"choices": [{"index": 0, "delta": content, "finish_reason": finish_reason}]}


def pieces(text: str, size: int) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def hear(
    reply: Reply, offered: Offer, chunks: Iterable[Any], habit: Habit = Habit.FUNCTION
) -> tuple[list[Delta], Step]:
    """Have one step listened to; return what goes to the client, and the step."""
    reader, listener = StepReader(), StepListener(reply, offered, habit)
    heard = [d for chunk in chunks for d in listener.hear(chunk, reader.add(chunk))]
    rest, step = listener.close(reader)
    return heard + rest, step


def visible(deltas: Iterable[Delta]) -> str:
    """The text that the client sees."""
    return "".join(d.text for d in deltas if isinstance(d, Text))


def forwarded(deltas: Iterable[Delta]) -> list[tuple[str | None, str | None, str]]:
    """The calls that the client gets: id, name, arguments."""
    calls: dict[int, tuple[str | None, str | None, str]] = {}
    for part in deltas:
        if isinstance(part, CallPart):
            first = calls.get(part.index)
            id, name, before = first or (part.id, part.name, "")
            calls[part.index] = (id, name, before + part.arguments)
    return [calls[index] for index in sorted(calls)]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def request(*messages: Message, **changes: Any) -> TurnRequest:
    """A client's request with these messages, otherwise plain."""
    values: dict[str, Any] = {
        "namespace": ALICE,
        "model": "a-model",
        "application": "",
        "messages": messages,
        "options": {},
        "tools": (),
        "stop": (),
        "max_tokens": None,
        "clean": False,
        "headers": [],
    }
    return TurnRequest(**{**values, **changes})
