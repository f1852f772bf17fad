"""Whether what a backend sent is shaped like a chunk of a chat completion."""

from typing import Any


class MalformedChunk(ValueError):
    """A chunk in which something is of another type than in a chat completion."""


def is_chunk(value: Any) -> bool:
    """Return whether all that is read of a chunk is of the type that it must have, or null."""
    return (
        isinstance(value, dict)
        and _is(dict, value.get("usage"))
        and _all(_is_choice, value.get("choices"))
    )


def _is_choice(choice: Any) -> bool:
    return isinstance(choice, dict) and _is_delta(choice.get("delta"))


def _is_delta(delta: Any) -> bool:
    if not delta:
        return True
    return (
        isinstance(delta, dict)
        and _is_content(delta.get("content"))
        and _is_function(delta.get("function_call"))
        and _all(_is_call, delta.get("tool_calls"))
    )


def _is_content(content: Any) -> bool:
    return _is(str, content) or _all(lambda part: isinstance(part, dict), content)


def _is_call(call: Any) -> bool:
    return (
        isinstance(call, dict)
        and _is(int, call.get("index"))
        and _is(str, call.get("id"))
        and _is_function(call.get("function"))
        and _is_function(call.get("custom"))
    )


def _is_function(function: Any) -> bool:
    return _is(dict, function) and (not function or _is(str, function.get("name")))


def _is(kind: type, value: Any) -> bool:
    return value is None or isinstance(value, kind)


def _all(check: Any, values: Any) -> bool:
    return values is None or (isinstance(values, list) and all(map(check, values)))
