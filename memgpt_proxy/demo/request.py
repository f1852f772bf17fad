"""A chat-completions request, checked: JSON in, a `ChatRequest` or a `BadRequest` out."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

MODEL = "demo"

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
_MOST_CHOICES = 16

T = TypeVar("T")


class BadRequest(Exception):
    """A request that cannot be answered, with the words of OpenAI's error object.

    `param` names the field at fault, `code` what is wrong, both where there is one.
    """

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What the server needs of a request; `forced` names the function that has to be called."""

    messages: Sequence[Mapping[str, Any]]
    tools: Sequence[object]
    forced: str
    stream: bool
    include_usage: bool
    choices: int


def parse(body: bytes) -> ChatRequest:
    """Read a request's body. Raises BadRequest for what is missing or of a wrong type."""
    request = _object(body)
    _check_model(request.get("model"))
    messages = _messages(request.get("messages"))
    options = _optional(request, "stream_options", dict) or {}
    tools, forced = _tools(request)
    _check_wishes(request)
    return ChatRequest(
        messages=messages,
        tools=tools,
        forced=forced,
        stream=bool(_optional(request, "stream", bool)),
        include_usage=options.get("include_usage") is True,
        choices=_choices(request),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not valid JSON in UTF-8.") from error
    if not isinstance(request, dict):
        raise BadRequest("The body has to be a JSON object.")
    return request


def _check_model(model: object) -> None:
    if not isinstance(model, str) or not model:
        raise BadRequest("model has to be a string that names a model.", "model")
    if model != MODEL:
        raise unknown_model(model)


def unknown_model(model: str) -> BadRequest:
    """The error for a model that this server does not have."""
    message = f"The model {model!r} does not exist; the demo backend has one, {MODEL!r}."
    return BadRequest(message, "model", "model_not_found", status=404)


def _messages(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise BadRequest("messages has to be a list with at least one message.", "messages")
    for number, message in enumerate(messages):
        _check_message(message, f"messages[{number}]")
    return messages


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, dict):
        raise BadRequest(f"{where} has to be an object.", where)
    if str(message.get("role")) not in _ROLES:
        raise BadRequest(f"{where}.role has to be one of {sorted(_ROLES)}.", f"{where}.role")
    if not isinstance(message.get("content"), str | list | None):
        raise BadRequest(f"{where}.content has to be text or a list of parts.", f"{where}.content")
    if not isinstance(message.get("tool_calls"), list | None):
        raise BadRequest(f"{where}.tool_calls has to be a list.", f"{where}.tool_calls")


def _optional(request: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    value = request.get(name)
    if value is None or type(value) is kind:  # not isinstance: True is no number
        return value
    raise BadRequest(f"{name} has to be of JSON's type for {kind.__name__}.", name)


def _check_wishes(request: Mapping[str, Any]) -> None:
    """Refuse what would be answered by something else than is asked for."""
    kind = (_optional(request, "response_format", dict) or {}).get("type")
    if kind not in (None, "text"):
        raise _beyond("writes no JSON", "response_format")
    if _optional(request, "logprobs", bool):
        raise _beyond("knows no probabilities", "logprobs")


def _beyond(what: str, param: str) -> BadRequest:
    message = f"The demo model {what}: point --backend-url at a real one."
    return BadRequest(message, param, "unsupported_value")


def _choices(request: Mapping[str, Any]) -> int:
    number = _optional(request, "n", int)
    if number is None:
        return 1
    if not 1 <= number <= _MOST_CHOICES:
        raise BadRequest(f"n has to be from 1 to {_MOST_CHOICES}.", "n")
    return number


def _tools(request: Mapping[str, Any]) -> tuple[list[object], str]:
    """The tools that may be used, and the name of the one that has to be."""
    tools: list[object] = _optional(request, "tools", list) or []
    names = [_tool_name(tool, f"tools[{number}]") for number, tool in enumerate(tools)]
    match request.get("tool_choice"):
        case "none":
            return [], ""
        case {"type": "function", "function": {"name": str(name)}}:
            if name not in names:
                raise BadRequest(f"tool_choice names {name!r}, which is no tool.", "tool_choice")
            return [tool for tool, n in zip(tools, names, strict=True) if n == name], name
        case None | "auto" | "required":
            return tools, ""
        case _:
            message = "tool_choice has to be none, auto, required or a function."
            raise BadRequest(message, "tool_choice")


def _tool_name(tool: object, where: str) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} if name:
            return name
    raise BadRequest(f"{where} has to be a function with a name.", where)
