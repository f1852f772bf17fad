"""Looking at what the model was given: prompts, and what searches find."""

from __future__ import annotations

import re
from typing import Any

from tests.e2e.chatting import Person, results, send
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.replies import Reply, call


def system(recorded: Recorded) -> str:
    """The one system message of a prompt."""
    first, *others = recorded.body["messages"]
    assert first["role"] == "system"
    assert all(message["role"] != "system" for message in others)
    return first["content"]


def contents(recorded: Recorded) -> list[str]:
    """What the messages after the system message say."""
    return [message.get("content") or "" for message in recorded.body["messages"][1:]]


def search(backend: ScriptedBackend, person: Person, name: str, **arguments: Any) -> str:
    """The result of a search that the model makes in a conversation of its own."""
    backend.reply(call(name, arguments), send("I have looked."))
    person.anew().say("Look it up.")
    (result,) = results(backend.requests[-1])
    return result


def recalled(backend: ScriptedBackend, person: Person, query: str) -> list[str]:
    """What recall storage finds, without dates; the total must be that of the results."""
    result = search(backend, person, "recall_storage_search", query=query)
    found = re.findall(r'\[\d\d/\d\d/\d{4}\] "([^"]*)"', result)
    assert result.startswith(f"Showing {len(found)} of {len(found)} results")
    return found


def remember(fact: str) -> Reply:
    return call("working_context_append", {"content": fact}) + send("Noted.")


def messages_of(recorded: Recorded) -> bytes:
    """The raw JSON of a prompt's messages, without the closing bracket."""
    body = recorded.raw
    start, end = body.index(b'"messages":['), body.index(b'],"stream":')
    return body[start:end]
