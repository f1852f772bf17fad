"""A competent model by script: a pure function of the request that it is sent.

Told a fact it keeps it (working context, archival storage, or it trusts recall storage);
asked for one it answers from what it sees, else searches, else says that it does not know.
How it goes about it depends on the request's ``seed`` alone, so that a request sent again
with another seed is answered otherwise.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.simulation.world import ASKED, CITIES, STATED, TOPIC, WORDS

ALERT = "System Alert:"
SUMMARY_TASK = "You keep the summary"
CLIENT_TOOL = "get_weather"
_PAGES = 3


@dataclass(frozen=True, slots=True)
class Call:
    """A function call of a step."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What the model writes in one step."""

    content: str = ""
    calls: tuple[Call, ...] = ()

    @property
    def message(self) -> str | None:
        """What it says to the user by ``send_message``."""
        return next((c.arguments["message"] for c in self.calls if c.name == "send_message"), None)


def answer(body: dict[str, Any]) -> Step:
    """Return the step that answers a request's body."""
    messages = body["messages"]
    if messages[0]["content"].startswith(SUMMARY_TASK):
        return Step(_summary(messages[1]["content"]))
    return _Mind(body).step()


def words(message: dict[str, Any]) -> str:
    """Return the text of a message in OpenAI's shape."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def is_event(message: dict[str, Any]) -> bool:
    """Return whether a user has said this, and no alert."""
    return message["role"] == "user" and not words(message).startswith(ALERT)


def _summary(task: str) -> str:
    """Lossy, as summaries are: the beginnings of the last lines."""
    lines = [line[:50] for line in task.splitlines() if line.startswith("user: ")]
    return "They talked. " + " / ".join(lines[-6:])


def _client_calls(message: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for c in message["tool_calls"] if c["function"]["name"] == CLIENT_TOOL]


class _Mind:
    """Looks at one prompt and decides what to do next in the turn."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.messages: list[dict[str, Any]] = body["messages"]
        self.tools = {tool["function"]["name"] for tool in body.get("tools", ())}
        self.seed = body.get("seed", 0)
        said = (i for i, message in enumerate(self.messages) if is_event(message))
        place = max(said, default=0)
        self.event = words(self.messages[place])
        since = self.messages[place + 1 :]
        self.results = {m["tool_call_id"]: m["content"] for m in since if m["role"] == "tool"}
        self.steps = [m for m in since if m["role"] == "assistant" and m.get("tool_calls")]
        asked = [i for i, m in enumerate(self.steps) if _client_calls(m)]
        self.weather = [self.results[c["id"]] for i in asked for c in _client_calls(self.steps[i])]
        self.steps = self.steps[max(asked, default=-1) + 1 :]  # the results began a new turn
        self.rng = random.Random(f"{self.seed} {self.event[:200]}")

    def step(self) -> Step:
        fact, asked = STATED.search(self.event), ASKED.search(self.event)
        if self._has_replied():
            return self._kept_after_all(fact)
        if asked:
            return self._asked(asked)
        if fact:
            return self._told(fact)
        if self.event.startswith("Weather in") and CLIENT_TOOL in self.tools:
            return self._weather()
        return self._reply(self._small_talk())

    def _told(self, fact: re.Match[str]) -> Step:
        way = self.rng.choice(("same step", "heartbeat", "archive", "trust recall"))
        reply = f"Noted: {fact[0]}" if self.rng.random() < 0.3 else self._small_talk()
        if way == "trust recall" or not self._can("archival_storage_insert"):
            return self._reply(reply)
        if self._failed():
            return self._calls(self._keep("archival_storage_insert", fact[0], heartbeat=True))
        if self.steps:
            return self._reply(reply)
        name = "archival_storage_insert" if way == "archive" else "working_context_append"
        if way == "same step" and self._can("send_message"):
            return self._calls(self._keep(name, fact[0]), self._send(reply))
        return self._calls(self._keep(name, fact[0], heartbeat=True))

    def _kept_after_all(self, fact: re.Match[str] | None) -> Step:
        """The user has a reply already, but something failed beside it."""
        if fact and self._failed() and self._can("archival_storage_insert"):
            return self._calls(self._keep("archival_storage_insert", fact[0]))
        return Step()

    def _asked(self, asked: re.Match[str]) -> Step:
        is_said = re.compile(rf"The {asked[1]} of {re.escape(asked[2])} is ([a-z]+-\d+)\.")
        if found := next(filter(None, map(is_said.search, self._seen())), None):
            return self._reply(found[0])
        query = f"{asked[1]} {asked[2]}"
        searches = [("recall_storage_search", page) for page in range(1, _PAGES + 1)]
        searches += [("archival_storage_search", 1)]
        done = len(self.steps)
        if done < len(searches) and self._can(searches[done][0]):
            name, page = searches[done]
            return self._calls((name, {"query": query, "page": page}))
        return self._reply(f"I do not know the {query}.")

    def _weather(self) -> Step:
        """Ask for the weather in all cities at once, then tell it."""
        if self.weather:
            return self._reply(" ".join(self.weather))
        cities = [city for city in CITIES if city in self.event]
        asked = [(CLIENT_TOOL, {"city": city}) for city in cities]
        if self._can("send_message") and self.rng.random() < 0.3:
            return self._calls(self._send("Let me look."), *asked)
        if self._can("archival_storage_insert") and self.rng.random() < 0.3:
            return self._calls(self._keep("archival_storage_insert", f"Asked: {cities}"), *asked)
        return self._calls(*asked)

    def _small_talk(self) -> str:
        topic = found[0] if (found := TOPIC.search(self.event)) else "that"
        number = self.rng.randrange(10**6)
        some = " ".join(self.rng.choice(WORDS) for _ in range(self.rng.choice((4, 9, 60))))
        return self.rng.choice(
            (
                "Okay.",
                f"{some.capitalize()} & <b>{topic}</b>, take {number}.",
                f"## Ünterlagen {number}\n\n- *{topic}*: {some}\n- çé “q”\n\n```py\nx = 1\n```",
                f"{number}, said the clerk.\n\n{some} {topic}",
            )
        )

    def _seen(self) -> Iterator[str]:
        """All texts in sight, the newest first."""
        for message in reversed(self.messages):
            yield words(message)
            for call in message.get("tool_calls") or ():
                yield call["function"]["arguments"]

    def _has_replied(self) -> bool:
        sent = (c for m in self.steps for c in m["tool_calls"])
        return any(c["function"]["name"] == "send_message" for c in sent)

    def _failed(self) -> bool:
        made = (call["id"] for step in self.steps for call in step["tool_calls"])
        return any(self.results[call].startswith("Error") for call in made)

    def _can(self, name: str) -> bool:
        return name in self.tools

    def _reply(self, text: str) -> Step:
        return self._calls(self._send(text)) if self._can("send_message") else Step(text)

    def _keep(self, name: str, text: str, *, heartbeat: bool = False) -> tuple[str, dict[str, Any]]:
        return name, {"content": text, **({"request_heartbeat": True} if heartbeat else {})}

    def _send(self, text: str) -> tuple[str, dict[str, Any]]:
        return "send_message", {"message": text}

    def _calls(self, *calls: tuple[str, dict[str, Any]]) -> Step:
        thought = self.rng.choice(("", "", "SECRET thought."))
        thought = thought if self._can("send_message") else ""
        base = f"call_{self.seed}_{len(self.steps)}"
        return Step(thought, tuple(Call(f"{base}_{n}", *call) for n, call in enumerate(calls)))


def arguments(call: Call) -> str:
    """Return a call's arguments as the model writes them."""
    return json.dumps(call.arguments, ensure_ascii=len(call.id) % 2 == 0)
