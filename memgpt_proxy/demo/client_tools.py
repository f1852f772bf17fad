"""The client's own tools: which one a request means, and what to call it with."""

import re
from collections.abc import Mapping
from datetime import date
from typing import Any

from memgpt_proxy.demo.dates import named_day, relative_day
from memgpt_proxy.demo.move import Move
from memgpt_proxy.demo.prompt import Call, Prompt
from memgpt_proxy.demo.words import (
    FILLERS,
    WORD,
    capitalised,
    clipped,
    keywords,
    stem,
    vocabulary,
    words,
)

MEMORY_FUNCTIONS = frozenset(
    {
        "send_message",
        "working_context_append",
        "working_context_replace",
        "archival_storage_insert",
        "archival_storage_search",
        "recall_storage_search",
        "recall_storage_search_date",
    }
)
_COMMON = vocabulary(
    """get set fetch search query lookup list create read run user current return value data tool
    function use given this use used using name string"""
)
_PLACE = vocabulary("city location place town country region address destination where")
_DATE = vocabulary("date day when")
_AFTER = re.compile(
    rf"\b(?i:in|at|for|near|to|of|from)\s+(?:the\s+)?(?P<place>{WORD}(?:(?:\s+|,\s*)[A-Z]\S*)*)"
)
_CAPITALS = re.compile(r"(?<!^)\b[A-Z]\w+(?:\s+[A-Z]\w+)*")


def use_tool(prompt: Prompt) -> Move | None:
    """Call the client's tool that the user's words mean; with its result, say what it says."""
    used = [step for step in prompt.steps if step.call.name not in MEMORY_FUNCTIONS]
    answers = [step.result for step in used if step.result is not None]
    if used:
        return Move("\n".join(answers).strip() or "The tool gave no result.")
    name = meant(prompt)
    call = filled(name, prompt) if name else None
    if call is None:
        return None
    return Move(f"I could not use {call.name}.", call, f"{call.name} can tell.")


def meant(prompt: Prompt) -> str | None:
    """The client's tool whose name and description fit the user's words best, or None."""
    said = _stems(prompt.user)
    scores = {
        name: 2 * len(said & _stems(_spaced(name)))
        + len(said & _stems(str(tool.get("description", ""))))
        for name, tool in prompt.tools.items()
        if name not in MEMORY_FUNCTIONS
    }
    name = max(scores, key=lambda name: scores[name], default=None)
    return name if name and scores[name] >= 2 else None


def _stems(text: str) -> frozenset[str]:
    return frozenset(stem(word) for word in words(text) if word not in FILLERS | _COMMON)


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_.\-]", " ", name)


def filled(name: str, prompt: Prompt) -> Call | None:
    """A call with arguments from the user's words; None if a required one is not to be found."""
    schema = prompt.tools[name].get("parameters")
    schema = schema if isinstance(schema, dict) else {}
    properties, required = schema.get("properties"), schema.get("required")
    arguments: dict[str, Any] = {}
    for key, kind in (properties if isinstance(properties, dict) else {}).items():
        needed = isinstance(required, list) and key in required
        value = _value(str(key), kind if isinstance(kind, dict) else {}, prompt, needed)
        if value is not None:
            arguments[str(key)] = value
        elif needed:
            return None
    return Call(name, arguments)


def _value(key: str, kind: Mapping[str, Any], prompt: Prompt, needed: bool) -> Any:
    choices = kind.get("enum")
    if isinstance(choices, list) and choices:
        said = (choice for choice in choices if str(choice).lower() in words(prompt.user))
        return next(said, choices[0] if needed else None)
    match kind.get("type", "string"):
        case "string":
            return _string(key, prompt.user, prompt.today, needed)
        case "integer" | "number" as number:
            return _number(prompt.user, whole=number == "integer")
        case "boolean" if needed:
            return True
        case "array" if needed:
            return keywords(prompt.user)
        case "object" if needed:
            return {}
    return None


def _number(text: str, *, whole: bool) -> int | float | None:
    match = re.search(r"-?\d{1,15}(?:\.\d{1,9})?", text)
    if match is None:
        return None
    return int(float(match[0])) if whole else float(match[0])


def _string(key: str, text: str, today: date | None, needed: bool) -> str | None:
    named = set(words(_spaced(key)))
    if named & _DATE:
        return _day(text, today) or (clipped(text, 200) if needed else None)
    if named & _PLACE:
        return _place(text) or (clipped(text, 200) if needed else None)
    if not needed:
        return None
    quoted = re.search(r"[\"“](.+?)[\"”]", text)
    return quoted[1] if quoted else clipped(text, 500)


def _day(text: str, today: date | None) -> str | None:
    if day := relative_day(text, today):
        return day.isoformat()
    named = named_day(text)
    return str(named) if named else None


def _place(text: str) -> str | None:
    for match in _AFTER.finditer(text):
        place = match["place"].strip(" ?.!,")
        if place.lower() not in FILLERS | {"today", "tomorrow", "weather"}:
            return capitalised(place)
    named = _CAPITALS.search(text)
    return named[0] if named else None
