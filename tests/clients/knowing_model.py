"""A model for the documentation's samples: what it answers shows what reached it.

It tells a name that its working context holds, repeats what the conversation said of a dog, calls
a tool for the weather that is offered to it, and fills in a schema.
"""

from __future__ import annotations

import json
import re
from typing import Any

from tests.e2e.chatting import send
from tests.e2e.prompts import remember
from tests.support.replies import Reply, call, text

KNOWN = "Name is Sam"


def answer(request: dict[str, Any]) -> Reply:
    """What the model answers to a request."""
    messages = request["messages"]
    tools = {tool["function"]["name"] for tool in request.get("tools", [])}
    if (name := forced(request, tools)) is not None:
        return call(name, {"name": name_in(messages)})
    if request.get("response_format", {}).get("type") == "json_schema":
        return text(json.dumps({"name": name_in(messages)}))
    said = words(messages[-1])
    if "get_weather" in tools and "weather" in said and messages[-1]["role"] == "user":
        return call("get_weather", {"city": "Oslo"})
    if said == "My name is Sam.":
        return remember(KNOWN)
    speak = send if "send_message" in tools else text
    return speak(reply_to(messages))


def forced(request: dict[str, Any], tools: set[str]) -> str | None:
    """The client's function that has to be called, if one has to be."""
    match request.get("tool_choice"):
        case {"function": {"name": name}}:
            assert name in tools
            return str(name)
        case "required" if "send_message" not in tools:
            (*_, last) = request["tools"]  # the client's comes behind the memory functions
            return str(last["function"]["name"])
        case _:
            return None


def reply_to(messages: list[dict[str, Any]]) -> str:
    match messages[-1]["role"], words(messages[-1]):
        case "tool", result:
            return f"It is {result} in Oslo."
        case _, "My dog is called Rex.":
            return "Noted."
        case _, "What is it called?":
            heard = [words(message) for message in messages if message["role"] == "user"]
            return "Rex." if "My dog is called Rex." in heard else "I do not know."
        case _, "What is my name?":
            name = name_in(messages)
            return f"Your name is {name}." if name else "I do not know your name."
        case _, asked:
            raise AssertionError(f"no answer to {asked!r}")


def words(message: dict[str, Any]) -> str:
    """What a message says in text."""
    match message.get("content"):
        case str(content):
            return content
        case list(parts):
            return "".join(part.get("text", "") for part in parts)
        case _:
            return ""


def name_in(messages: list[dict[str, Any]]) -> str:
    """The name that the working context holds; empty where it holds none."""
    found = re.findall(r"^Name is (\w+)$", words(messages[0]), re.MULTILINE)
    return str(found[0]) if found else ""
