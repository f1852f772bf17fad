"""A request of the Responses API, read into what a chat is asked for.

Every field of OpenAI's has a row in ``docs/responses.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memgpt_proxy.agent.request import NamedConversation
from memgpt_proxy.api.chat_request import ChatRequest, check_depth, read_chat_request
from memgpt_proxy.api.checks import invalid, typed
from memgpt_proxy.api.responses.formats import check_include, text_options
from memgpt_proxy.api.responses.items import REFERENCE, kind_of, messages_of
from memgpt_proxy.api.responses.names import node_of_response
from memgpt_proxy.api.responses.refusals import REFUSED, refuse
from memgpt_proxy.api.responses.tools import choice_of, tools_of
from memgpt_proxy.errors import InvalidRequest
from memgpt_proxy.stores.records import NodeId

_READ = frozenset(
    {
        "conversation",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "parallel_tool_calls",
        "previous_response_id",
        "reasoning",
        "store",
        "stream",
        "stream_options",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "truncation",
        *REFUSED,
    }
)
"""Fields that are read here; chats have the others by the same name, or do not know them."""


@dataclass(frozen=True, slots=True)
class ResponsesRequest:
    """What a client asks of ``POST /v1/responses``.

    Attributes:
        chat: The same, as a chat is asked for it.
        given: Its fields, which the response repeats.
        after: The reply that it goes on from, if it names a response.
        store: The response may be gone on from.
    """

    chat: ChatRequest
    given: Mapping[str, Any]
    stream: bool
    after: NodeId | None
    conversation: NamedConversation | None
    store: bool


def input_of(fields: Mapping[str, Any]) -> list[Any]:
    """Return the input items of a request, a text as the message that it is."""
    given = fields.get("input")
    if given is None:
        raise InvalidRequest(
            "Missing required parameter: 'input'.",
            param="input",
            code="missing_required_parameter",
        )
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    if not isinstance(given, list):
        raise invalid("input", "a string or an array of items")
    return given


def references(items: Sequence[Any]) -> list[str]:
    """Return the ids of items that are only referred to."""
    refer = (item for item in items if isinstance(item, dict) and kind_of(item) == REFERENCE)
    return [str(item.get("id")) for item in refer]


def read_request(
    fields: Mapping[str, Any], items: Sequence[Any], *, newest_only: bool
) -> ResponsesRequest:
    """Return what these fields ask for. Raises InvalidRequest, which names the parameter.

    Args:
        items: The input, with what was referred to in place of references.
        newest_only: They may hold only the newest messages of a conversation.
    """
    refuse(fields)
    typed(fields, "metadata", dict, "an object")
    repeated = {name: value for name, value in fields.items() if name != "input"}
    check_depth([[repeated]])  # the response has them deeper inside
    after, conversation = _after(fields), _conversation(fields)
    newest_only = newest_only or after is not None or conversation is not None
    chat = _chat(fields, messages_of(items, newest_only=newest_only), newest_only=newest_only)
    return ResponsesRequest(
        chat=chat,
        given=fields,
        stream=chat.stream,
        after=after,
        conversation=conversation,
        store=typed(fields, "store", bool, "a boolean") is not False,
    )


def not_found(name: str) -> InvalidRequest:
    """Return the error that there is no such response to go on from."""
    return InvalidRequest(
        f"Previous response with id '{name}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def _chat(
    fields: Mapping[str, Any], messages: list[dict[str, Any]], *, newest_only: bool
) -> ChatRequest:
    if not messages:
        raise InvalidRequest(
            "Invalid 'input': nothing in it is a message. Expected at least one.",
            param="input",
            code="empty_array",
        )
    instructions = typed(fields, "instructions", str, "a string")
    told = [{"role": "system", "content": instructions}] if instructions else []
    choice, tools = choice_of(fields, tools_of(fields))
    options = {name: value for name, value in fields.items() if name not in _READ}
    options |= _limits(fields) | text_options(fields) | _effort(fields) | _logprobs(fields)
    if tools:
        parallel = typed(fields, "parallel_tool_calls", bool, "a boolean")
        options |= {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}
    elif choice == "required":
        raise InvalidRequest(
            "Tool choice 'required' must be specified with 'tools' parameter.", param="tool_choice"
        )
    given = {name: value for name, value in options.items() if value is not None}
    return read_chat_request(
        {**given, "messages": [*told, *messages], "stream": _stream(fields)},
        newest_only=newest_only,
    )


def _limits(fields: Mapping[str, Any]) -> dict[str, Any]:
    limit = typed(fields, "max_output_tokens", int, "an integer")
    if limit is not None and limit < 1:
        raise InvalidRequest(
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 1.",
            param="max_output_tokens",
            code="integer_below_min_value",
        )
    return {"max_completion_tokens": limit}


def _effort(fields: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = typed(fields, "reasoning", dict, "an object") or {}
    return {"reasoning_effort": reasoning.get("effort")}


def _logprobs(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what asks for probabilities; a chat tells them where it is asked to."""
    top = typed(fields, "top_logprobs", int, "an integer")
    if not top and "message.output_text.logprobs" not in check_include(fields):
        return {}
    return {"logprobs": True, "top_logprobs": top or None}


def _stream(fields: Mapping[str, Any]) -> bool:
    stream = bool(typed(fields, "stream", bool, "a boolean"))
    if typed(fields, "stream_options", dict, "an object") is not None and not stream:
        raise InvalidRequest(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            param="stream_options",
        )
    return stream


def _after(fields: Mapping[str, Any]) -> NodeId | None:
    name = typed(fields, "previous_response_id", str, "a string")
    if name is None:
        return None
    if fields.get("conversation") is not None:
        raise InvalidRequest(
            "'previous_response_id' and 'conversation' cannot be given together.",
            param="previous_response_id",
        )
    node = node_of_response(name)
    if node is None:
        raise not_found(name)
    return node


def _conversation(fields: Mapping[str, Any]) -> NamedConversation | None:
    given = fields.get("conversation")
    name = given.get("id") if isinstance(given, dict) else given
    if name is None and given is None:
        return None
    if not isinstance(name, str) or not name:
        raise invalid("conversation", "an id, or an object with an id")
    return NamedConversation(name, resends=False)
