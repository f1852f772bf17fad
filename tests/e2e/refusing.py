"""Backends that refuse something of a request, in the words of real servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.support.backend import ScriptedBackend
from tests.support.replies import Reply, error, text

Body = dict[str, Any]
Refuses = Callable[[Body], str | None]


def roles(body: Body) -> list[str]:
    return [message["role"] for message in body["messages"]]


def no_tools(body: Body) -> str | None:
    if "tools" in body or "tool" in roles(body):
        return "registry.ollama.ai/library/gemma3:4b does not support tools"
    return None


def no_system(body: Body) -> str | None:
    return "System role not supported" if "system" in roles(body) else None


def alternating(body: Body) -> str | None:
    told = [role for role in roles(body) if role != "system"]
    ordered = told[0] == "user" and all(a != b for a, b in pairwise(told))
    if ordered and {*told} <= {"user", "assistant"}:
        return None
    return "Conversation roles must alternate user/assistant/user/assistant/..."


def knows_no(name: str) -> Refuses:
    def refuses(body: Body) -> str | None:
        return f"Unrecognized request argument supplied: {name}" if name in body else None

    return refuses


def gemma(body: Body) -> str | None:
    return no_tools(body) or no_system(body) or alternating(body)


@dataclass(slots=True)
class Strict:
    """A backend that refuses, and else says what it is given to say."""

    refuses: Refuses
    backend: ScriptedBackend
    answers: list[Reply] = field(default_factory=list)
    refused: int = 0
    taken: list[Body] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.backend.script(self.answer)

    def answer(self, body: Body) -> Reply:
        if why := self.refuses(body):
            self.refused += 1
            return error(400, {"error": {"message": why, "type": "invalid_request_error"}})
        self.taken.append(body)
        return self.answers.pop(0)


def written(name: str, **arguments: Any) -> Reply:
    """A call as a model writes it that knows no tools."""
    return text(json.dumps({"name": name, "arguments": arguments}))
