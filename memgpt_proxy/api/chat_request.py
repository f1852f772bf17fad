"""A chat-completions request, checked before anything is added to it.

With the gateway's messages and functions inside, the backend would no longer see the
client's own mistake; so what the gateway builds on is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import orjson

from memgpt_proxy.agent.main_context import application_prompt
from memgpt_proxy.api.answer_fields import (
    check_answer_fields,
    check_function,
    is_alone,
    is_clean,
)
from memgpt_proxy.api.checks import invalid, typed
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.values import dataclass

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_INSTRUCTIONS = frozenset({"system", "developer"})
_MAY_BE_SILENT = frozenset({"assistant", "function"})
"""Roles whose content may be null."""
_OURS = frozenset({"model", "messages", "stream", "tools"})
_MOST_STOPS = 128
"""OpenAI takes four; other backends take any number, and clients of theirs send dozens."""
_LONGEST_STOP = 1024
"""Characters of a stop text: each of its beginnings is looked for at the end of what is said."""
_LONGEST_MODEL = 512
"""Characters of a model's name: what is learned of models is kept by name."""
_PLAIN_FIELDS = 2
"""A plain message has a role and content."""
_CALLS_BEFORE: Message = {"role": "assistant", "tool_calls": [{}]}
"""Stands for calls that are not in the request."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asks of ``POST /v1/chat/completions``.

    Attributes:
        application: Its leading system and developer messages, as one text.
        messages: Its other messages.
        leading: How many messages come before them.
        options: Every field that is not read here, as it came.
        include_usage: A stream is to end with a usage chunk.
        clean, alone, whole: What the answer has to be; see ``TurnRequest``. It is a stream, too,
            where we limit the text: a stream is left once it is long enough.
    """

    model: str
    application: str
    messages: Sequence[Message]
    leading: int
    tools: Sequence[Any]
    options: Mapping[str, Any]
    stream: bool
    include_usage: bool
    user: str | None
    stop: Sequence[str]
    max_tokens: int | None
    clean: bool
    alone: bool
    whole: bool


def parse_chat_request(body: bytes, *, newest_only: bool = False) -> ChatRequest:
    """Return the request in ``body``. Raises InvalidRequest, which names the parameter.

    See ``read_chat_request``.
    """
    return read_chat_request(json_object(body), newest_only=newest_only)


def read_chat_request(fields: Mapping[str, Any], *, newest_only: bool) -> ChatRequest:
    """Return what these fields ask for. Raises InvalidRequest, which names the parameter.

    ``check_messages`` has to check those of its messages that are not known yet.

    Args:
        newest_only: It may hold only the newest messages of a conversation: ``tool`` messages
            may come first, and answer calls that are not in it.
    """
    messages = _messages(fields.get("messages"))
    leading = _leading(messages, _CALLS_BEFORE if newest_only else None)
    check_depth({**fields, "messages": messages[: leading + 1]})
    tools = _list(fields, "tools")
    options = {name: value for name, value in fields.items() if name not in _OURS}
    stream = typed(fields, "stream", bool, "a boolean") or False
    check_answer_fields(fields, tools)
    clean = is_clean(fields, tools)
    stop = () if clean else _stop(fields.get("stop"))
    limit = None if clean else _max_tokens(fields)
    return ChatRequest(
        model=_model(fields),
        application=application_prompt([said(message) for message in messages[:leading]]),
        messages=messages[leading:],
        leading=leading,
        tools=tools,
        options=options,
        stream=stream,
        include_usage=_include_usage(fields, stream=stream),
        user=typed(fields, "user", str, "a string"),
        stop=stop,
        max_tokens=limit,
        clean=clean,
        alone=is_alone(fields),
        whole=not (stream or stop or limit),
    )


def check_messages(request: ChatRequest, known: int = 1) -> None:
    """Check a request's messages. Raises InvalidRequest, which names the parameter.

    Args:
        known: How many of them have been checked: the first, or more in an earlier request.
    """
    rest = request.messages[known - 1 :]
    check_depth({"messages": rest})
    for index, (previous, message) in enumerate(pairwise(rest), request.leading + known):
        if not _is_plain(message):
            _check_message(message, previous, index)


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body. Raises InvalidRequest."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body of the request is not valid {_wrong(body, error)}"
        ) from error
    if not isinstance(fields, dict):
        raise InvalidRequest("The body of the request must be a JSON object.")
    return fields


def _wrong(body: bytes, error: orjson.JSONDecodeError) -> str:
    """Return what a body is not, and where."""
    try:
        body.decode()
    except UnicodeDecodeError as wrong:
        return f"UTF-8 (byte {wrong.start})."
    return f"JSON: {error.msg} (character {error.pos})."


def check_depth(what: object) -> None:
    """Refuse what can be read but not be written again: the backend could not be sent it."""
    try:
        orjson.dumps(what)
    except orjson.JSONEncodeError as error:
        raise InvalidRequest("The body of the request is nested too deeply.") from error


def _model(fields: Mapping[str, Any]) -> str:
    model: str | None = typed(fields, "model", str, "a string")
    if not model:
        raise InvalidRequest("You must provide a model parameter.", param="model")
    if len(model) > _LONGEST_MODEL:
        raise InvalidRequest(
            f"Invalid 'model': string too long. Expected at most {_LONGEST_MODEL} characters.",
            param="model",
            code="string_above_max_length",
        )
    return model


def _list(fields: Mapping[str, Any], name: str) -> Sequence[Any]:
    items = typed(fields, name, list, "an array") or ()
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise invalid(f"{name}[{index}]", "an object")
        kind = item.get("type")
        if kind is not None and not isinstance(kind, str):
            raise invalid(f"{name}[{index}].type", "a string")
        if kind == "function":
            check_function(item.get("function"), f"{name}[{index}].function")
    return items


def _messages(messages: object) -> list[Message]:
    if messages is None:
        raise InvalidRequest(
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not isinstance(messages, list):
        raise invalid("messages", "an array of objects")
    if not messages:
        raise InvalidRequest(
            "Invalid 'messages': empty array. Expected at least one message.",
            param="messages",
            code="empty_array",
        )
    return messages


def _leading(messages: Sequence[Message], before: Message | None) -> int:
    """Return how many leading messages are instructions; at least one message is not.

    They and the first of the others are checked; ``before`` is what came before that.
    """
    for index, message in enumerate(messages):
        _check_message(message, before, index)
        if message["role"] not in _INSTRUCTIONS:
            return index
    return len(messages) - 1


def _is_plain(message: object) -> bool:
    """Return whether a message is of the most frequent kind, in which nothing can be wrong."""
    return (
        isinstance(message, dict)
        and len(message) == _PLAIN_FIELDS
        and isinstance(message.get("content"), str)
        and message.get("role") in ("user", "assistant")
    )


def _check_message(message: object, previous: Message | None, index: int) -> None:
    param = f"messages[{index}]"
    if not isinstance(message, dict):
        raise invalid(param, "an object")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidRequest(
            f"Invalid value for '{param}.role'. Supported values are: "
            "'system', 'developer', 'user', 'assistant', 'tool' and 'function'.",
            param=f"{param}.role",
            code="invalid_value",
        )
    _check_content(message, f"{param}.content")
    if (calls := message.get("tool_calls")) is not None:
        _check_calls(calls, f"{param}.tool_calls")
    if role == "tool":
        _check_tool_message(message, previous, param)


def _check_content(message: Message, param: str) -> None:
    content = message.get("content")
    if isinstance(content, str):
        return
    if content is None:
        if message["role"] in _MAY_BE_SILENT:
            return
        raise invalid(param, "a string or an array of content parts")
    if not isinstance(content, list):
        raise invalid(param, "a string or an array of content parts")
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise invalid(f"{param}[{index}]", "an object with a type")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise invalid(f"{param}[{index}].text", "a string")


def _check_calls(calls: object, param: str) -> None:
    if not isinstance(calls, list):
        raise invalid(param, "an array")
    for index, call in enumerate(calls):
        if not isinstance(call, dict) or not isinstance(call.get("id"), str):
            raise invalid(f"{param}[{index}]", "an object with an id")
        function = call.get("function")
        if function is not None and not isinstance(function, dict):
            raise invalid(f"{param}[{index}].function", "an object")


def _check_tool_message(message: Message, previous: Message | None, param: str) -> None:
    if not isinstance(message.get("tool_call_id"), str):
        raise InvalidRequest(
            f"Missing required parameter: '{param}.tool_call_id'.",
            param=f"{param}.tool_call_id",
            code="missing_required_parameter",
        )
    follows = previous is not None and (previous["role"] == "tool" or previous.get("tool_calls"))
    if not follows:
        raise InvalidRequest(
            f"Invalid parameter: '{param}' has role 'tool' and must follow a message with "
            "'tool_calls'.",
            param=param,
        )


def _include_usage(fields: Mapping[str, Any], *, stream: bool) -> bool:
    options = typed(fields, "stream_options", dict, "an object")
    if options is None:
        return False
    if not stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return bool(typed(options, "include_usage", bool, "a boolean"))


def _stop(stop: object) -> Sequence[str]:
    texts = [stop] if isinstance(stop, str) else [] if stop is None else stop
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise invalid("stop", "a string or an array of strings")
    if len(texts) > _MOST_STOPS:
        raise InvalidRequest(
            f"Invalid 'stop': array too long. Expected at most {_MOST_STOPS} strings.",
            param="stop",
            code="array_above_max_length",
        )
    if any(len(text) > _LONGEST_STOP for text in texts):
        raise InvalidRequest(
            f"Invalid 'stop': string too long. Expected at most {_LONGEST_STOP} characters.",
            param="stop",
            code="string_above_max_length",
        )
    return texts


def _max_tokens(fields: Mapping[str, Any]) -> int | None:
    """Return the limit of the answer's length.

    What is below 1 is for the backend to judge: to some, -1 is no limit.
    """
    for name in ("max_completion_tokens", "max_tokens"):
        limit = typed(fields, name, int, "an integer")
        if limit is not None:
            return int(limit) if limit > 0 else None
    return None
