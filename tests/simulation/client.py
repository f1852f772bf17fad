"""Clients: how people's programs keep a conversation, change it and send it.

A conversation's *history* is what its person sees. ``sent`` is what of it a request holds:
all of it, the end of it, or only what is new. Programs write our replies otherwise when they
send them back; each does it in its own way.
"""

from __future__ import annotations

import html
import json
import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from tests.simulation.gateway import Answer
from tests.simulation.ledger import Node, Utterance
from tests.simulation.model import CLIENT_TOOL, words
from tests.simulation.world import Fact

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": CLIENT_TOOL,
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        },
    }
]
_CUT = 0.9
_LONG_ENOUGH_TO_CUT = 30


class Kind(StrEnum):
    """Which part of its history a client sends, and whether it names the conversation."""

    FULL = "full resend"
    SLIDING = "last messages"
    NEWEST = "newest message, named"
    UI = "full resend, named"


Rewriting = Callable[[dict[str, Any]], dict[str, Any]]
"""Returns a reply as a client sends it back."""


def _text(change: Callable[[str], str]) -> Rewriting:
    def rewrite(message: dict[str, Any]) -> dict[str, Any]:
        content = message["content"]
        return {**message, "content": change(content)} if content else message

    return rewrite


def _parts(message: dict[str, Any]) -> dict[str, Any]:
    content = message["content"]
    return {**message, "content": [{"type": "text", "text": content}]} if content else message


def _empty_beside_calls(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "content": message["content"] or ""}


def _cut(text: str) -> str:
    return text[: int(len(text) * _CUT)] if len(text) > _LONG_ENOUGH_TO_CUT else text


REWRITINGS: dict[str, Rewriting] = {
    "as it came": lambda message: message,
    "CRLF": _text(lambda text: text.replace("\n", "\r\n")),
    "trimmed": _text(lambda text: f"\n {text} \n"),
    "NFD": _text(lambda text: unicodedata.normalize("NFD", text)),
    "white space collapsed": _text(lambda text: " ".join(text.split())),
    "HTML entities": _text(lambda text: html.escape(text)),
    "content as parts": _parts,
    "empty text beside calls": _empty_beside_calls,
    "cut": _text(_cut),
}


@dataclass(slots=True, eq=False)
class Entry:
    """A message of a history.

    Attributes:
        text: Its words, as they were said: a client may send them otherwise.
        fact: What it states, if anything.
        node: Where the ledger has it; None before it was acknowledged.
    """

    message: dict[str, Any]
    text: str
    fact: Fact | None = None
    utterance: Utterance | None = None
    node: Node | None = None
    raw: bytes = b""

    def __post_init__(self) -> None:
        self.raw = json.dumps(self.message, ensure_ascii=False).encode()

    @property
    def role(self) -> str:
        role: str = self.message["role"]
        return role

    @property
    def calls(self) -> Sequence[str]:
        """What tells the message from others with the same words."""
        ids = [call["id"] for call in self.message.get("tool_calls") or ()]
        return [*ids, *filter(None, [self.message.get("tool_call_id")])]

    @property
    def awaits_tools(self) -> bool:
        return bool(self.message.get("tool_calls"))


def said_by_user(text: str, fact: Fact | None = None, *, image: bool = False) -> Entry:
    content: Any = text
    if image:
        url = {"url": "data:image/png;base64,iVBORw0KGgo="}
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
    return Entry({"role": "user", "content": content}, text, fact)


@dataclass(slots=True, eq=False)
class Conversation:
    """One conversation, as one client keeps it.

    Attributes:
        history: What the person sees, oldest first.
        changed: Index of the first message that may have a new place.
        alternatives: Replies of the last regeneration that were not chosen, and their place.
        opened_on: Day of the first message.
        reach: How many messages a client that drops old ones still sends.
    """

    name: str
    kind: Kind
    rng: random.Random
    rewriting: str
    system: str | None
    system_changes: bool
    has_tools: bool
    history: list[Entry] = field(default_factory=list)
    changed: int = 0
    alternatives: list[Entry] = field(default_factory=list)
    opened_on: str = ""
    reach: int = 6

    def __str__(self) -> str:
        return f"{self.name} ({self.kind}; replies {self.rewriting})"

    def headers(self) -> dict[str, str]:
        match self.kind:
            case Kind.NEWEST:
                return {"X-MemGPT-Conversation": self.name}
            case Kind.UI:
                return {"X-OpenWebUI-Chat-Id": self.name}
            case _:
                return {}

    def say(self, entry: Entry) -> None:
        """Add a message to the history."""
        self.history.append(entry)
        self.alternatives = []

    def take(self, answer: Answer) -> Entry:
        """Add the reply to the history, in the words in which this client keeps it."""
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.calls:
            message["tool_calls"] = answer.calls
        entry = Entry(REWRITINGS[self.rewriting](message), answer.text)
        self.history.append(entry)
        return entry

    def drop_reply(self) -> list[Entry]:
        """Remove the last reply, with the tool exchange that led to it."""
        end = self.last_of("user") + 1
        dropped, self.history = self.history[end:], self.history[:end]
        self.changed = min(self.changed, end)
        return dropped

    def drop_last(self) -> None:
        """Forget the last message: it never arrived."""
        self.history.pop()
        self.changed = min(self.changed, len(self.history))

    def last_of(self, role: str) -> int:
        """Return the index of the last message of this role."""
        return max(i for i, entry in enumerate(self.history) if entry.role == role)

    def is_at_reply(self) -> bool:
        """Whether the last word is a reply that waits for nothing."""
        return bool(self.history) and not (
            self.history[-1].role != "assistant" or self.history[-1].awaits_tools
        )

    def edit(self, index: int, entry: Entry) -> Entry:
        """Put other words in a message's place; what follows stays. Return the old one."""
        old, self.history[index] = self.history[index], entry
        self._moved(index)
        return old

    def delete(self, index: int) -> Entry:
        """Remove a message; what follows stays. Return the old one."""
        old = self.history.pop(index)
        self._moved(index)
        return old

    def truncate(self, index: int) -> list[Entry]:
        """Remove a message and all that follows."""
        removed = self.history[index:]
        del self.history[index:]
        self._moved(index)
        return removed

    def _moved(self, index: int) -> None:
        self.changed = min(self.changed, index)
        self.alternatives = []

    def body(self, *, seed: int, stream: bool) -> bytes:
        """Return the next request."""
        fields: dict[str, Any] = {"model": "m", "seed": seed, "stream": stream}
        if self.has_tools:
            fields["tools"] = TOOLS
        messages = [entry.raw for entry in self.sent()]
        if self.system:
            text = f"{self.system} Request {seed}." if self.system_changes else self.system
            messages.insert(0, json.dumps({"role": "system", "content": text}).encode())
        head = json.dumps(fields).encode()[:-1]
        return head + b', "messages": [' + b",".join(messages) + b"]}"

    def sent(self) -> Sequence[Entry]:
        """Return what of the history the next request holds."""
        match self.kind:
            case Kind.NEWEST:
                replies = (i for i, e in enumerate(self.history) if e.role == "assistant")
                return self.history[max(replies, default=-1) + 1 :]
            case Kind.SLIDING:
                start = max(0, len(self.history) - self._next_reach())
                while start and self.history[start].role != "user":
                    start -= 1
                return self.history[start:]
            case _:
                return self.history

    def _next_reach(self) -> int:
        """The window of messages grows, then is cut."""
        self.reach = self.reach + 2 if self.reach < 14 else 5
        return self.reach


def user_texts(history: Sequence[Entry]) -> list[str]:
    return [words(entry.message) for entry in history if entry.role == "user"]
