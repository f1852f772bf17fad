"""The response object: what a request asked for, how it stands, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from memgpt_proxy.agent.reply import Delta
from memgpt_proxy.agent.request import TurnResult
from memgpt_proxy.api.responses.names import response_id
from memgpt_proxy.api.responses.output import Event, Output
from memgpt_proxy.api.responses.request import ResponsesRequest
from memgpt_proxy.errors import BackendRefused, GatewayError
from memgpt_proxy.stores.records import NodeId
from memgpt_proxy.wire.chat import Usage
from memgpt_proxy.wire.step import StepReader

_REPEATED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "model": None,
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "prompt_cache_retention": None,
    "safety_identifier": None,
    "service_tier": None,
    "temperature": None,
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields that a response repeats from its request, and what they are if not given."""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_RATE_LIMITED = 429


class Telling:
    """One response as it comes to be, told event by event.

    Args:
        node: What its reply is called.
        stored: It may be gone on from.
    """

    def __init__(self, request: ResponsesRequest, node: NodeId, *, stored: bool) -> None:
        self._output = Output(node)
        self._fields = _fields(request, node, stored=stored)
        self._number = 0

    def begin(self, first: StepReader) -> None:
        """Take what the backend says of the whole answer."""
        self._fields["model"] = first.model or self._fields["model"]
        self._fields["service_tier"] = first.service_tier or self._fields["service_tier"]

    def opening(self) -> list[Event]:
        """Return the events that come before all others."""
        events = ("response.created", "response.in_progress")
        return self._numbered({"type": kind, "response": {**self._fields}} for kind in events)

    def add(self, deltas: Sequence[Delta]) -> list[Event]:
        """Return what more of the reply there is to tell."""
        return self._numbered(event for delta in deltas for event in self._output.add(delta))

    def finish(self, result: TurnResult) -> list[Event]:
        """Return the events that tell how it ended; the last has the response."""
        reason = _INCOMPLETE.get(result.finish_reason)
        status = "incomplete" if reason else "completed"
        events = self._numbered(self._output.close(status))
        self._fields |= {
            "status": status,
            "completed_at": None if reason else int(time.time()),
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self._output.whole(status),
            "usage": usage_of(result.usage),
        }
        return events + self._ending(status)

    def fail(self, error: GatewayError) -> list[Event]:
        """Return the event that tells of a failure."""
        output = self._output.whole("incomplete")
        self._fields |= {"status": "failed", "error": _error(error), "output": output}
        return self._ending("failed")

    def _ending(self, status: str) -> list[Event]:
        return self._numbered([{"type": f"response.{status}", "response": self._fields}])

    def _numbered(self, events: Iterable[Event]) -> list[Event]:
        numbered = []
        for event in events:
            event["sequence_number"] = self._number
            self._number += 1
            numbered.append(event)
        return numbered


def usage_of(usage: Usage) -> dict[str, Any]:
    """Return a chat's usage in the words of responses."""
    prompt = usage.get("prompt_tokens_details") or {}
    answer = usage.get("completion_tokens_details") or {}
    read, written = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": prompt.get("cached_tokens") or 0,
            "cache_write_tokens": prompt.get("cache_write_tokens") or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": answer.get("reasoning_tokens") or 0},
        "total_tokens": usage.get("total_tokens") or read + written,
    }


def _fields(request: ResponsesRequest, node: NodeId, *, stored: bool) -> dict[str, Any]:
    given = request.given
    repeated = {name: _given(given, name, usual) for name, usual in _REPEATED.items()}
    text, reasoning = given.get("text") or {}, given.get("reasoning") or {}
    named = request.conversation
    return {
        "id": response_id(node),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "completed_at": None,
        "conversation": {"id": named.name} if named else None,
        "error": None,
        "incomplete_details": None,
        **repeated,
        "output": [],
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": stored,
        "text": {"format": {"type": "text"}, **text},
        "usage": None,
    }


def _given(fields: Mapping[str, Any], name: str, usual: Any) -> Any:
    value = fields.get(name)
    return usual if value is None else value


def _error(error: GatewayError) -> dict[str, Any]:
    """Return an error in the words that responses have for it."""
    code = "rate_limit_exceeded" if error.status == _RATE_LIMITED else "server_error"
    return {"code": code, "message": _message(error)}


def _message(error: GatewayError) -> str:
    """Return what is told of an error: in the backend's own words, where it has any."""
    if isinstance(error, BackendRefused):
        try:
            told = orjson.loads(error.body())
            message = told["error"]["message"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return error.message
        if isinstance(message, str):
            return message
    return error.message
