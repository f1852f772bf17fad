"""The request of one step: the main context, our functions and the client's own options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

from memgpt_proxy.agent.functions import FUNCTIONS, SEND_MESSAGE, offered
from memgpt_proxy.agent.main_context import MainContext
from memgpt_proxy.agent.reply import Offer
from memgpt_proxy.agent.request import TurnRequest
from memgpt_proxy.config import ReplyMode
from memgpt_proxy.wire.chat import Tool

_THOUGHTS_AND_CALLS = 1024
"""Tokens that a step may take beside the text that the client has limited."""


_MOST_TOKENS = 2**53
"""Beyond it no JSON reader can be relied on."""


class StepRequests:
    """Writes the requests of one turn's steps.

    Args:
        request: The client's.
        by_content: The model has no ``send_message``: it replies in plain content.
        remembers: Memory functions are offered.
    """

    def __init__(self, request: TurnRequest, *, by_content: bool, remembers: bool = True) -> None:
        self._request = request
        hidden = request.options.get("tool_choice") == "none" and not request.clean
        theirs = () if hidden else tuple(request.tools)
        names = frozenset(map(tool_name, theirs))
        ours = _our_names(names, by_content, request.writes)
        if request.clean or not remembers:
            ours = ()
        self.offer = Offer(ours, names, request.clean)
        self._tools = _join(ours, theirs)
        self._options = self._forwarded()

    @property
    def tools_text(self) -> str:
        """The declarations of all functions, as they are sent; for counting."""
        return self._tools

    @property
    def answer(self) -> int | None:
        """Tokens asked for a step's answer; None where the client has not limited them."""
        return min(_limits(self._options).values(), default=None)

    def body(self, context: MainContext, *, last: bool, longest: int | None = None) -> bytes:
        """Return the JSON of a step's request.

        Args:
            last: The model may only reply: no memory function, none of the client's.
            longest: Tokens that may be asked for the answer at the most.
        """
        tools = self._tools
        if last and SEND_MESSAGE in self.offer.ours:
            tools = _join((SEND_MESSAGE,), ())
        fields: dict[str, Any] = {
            **self._options,
            "model": self._request.model,
            "messages": context.messages(),
            "stream": True,
            "stream_options": self._stream_options(),
        }
        if longest is not None:
            fields |= {name: min(asked, longest) for name, asked in _limits(self._options).items()}
        if tools:
            fields["tools"] = orjson.Fragment(f"[{tools}]")
            if last and SEND_MESSAGE not in self.offer.ours:
                fields["tool_choice"] = "none"
        return orjson.dumps(fields)

    def _forwarded(self) -> dict[str, Any]:
        options = dict(self._request.options)
        if self._request.clean:
            return options
        for name in ("stop", "tool_choice", "n"):
            options.pop(name, None)
        for name, limit in _limits(options).items():
            options[name] = min(limit, _MOST_TOKENS) + _THOUGHTS_AND_CALLS
        return options

    def _stream_options(self) -> dict[str, Any]:
        given = self._request.options.get("stream_options")
        return {**(given if isinstance(given, dict) else {}), "include_usage": True}


def _limits(options: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of an answer's length that a client has set, by their names."""
    given = {name: options.get(name) for name in ("max_tokens", "max_completion_tokens")}
    return {name: limit for name, limit in given.items() if isinstance(limit, int)}


def tool_name(tool: Mapping[str, Any]) -> str:
    """Return the name that a tool is called by; empty for a kind that we do not know."""
    declared = tool.get("function") or tool.get("custom")
    name = declared.get("name") if isinstance(declared, dict) else None
    return name if isinstance(name, str) else ""


@lru_cache(maxsize=32)
def _our_names(theirs: frozenset[str], by_content: bool, writes: bool) -> tuple[str, ...]:
    functions = [f for f in offered(theirs) if not (by_content and f.name == SEND_MESSAGE)]
    return tuple(f.name for f in functions if writes or f.retrieval or f.name == SEND_MESSAGE)


def _join(ours: tuple[str, ...], theirs: tuple[Tool, ...]) -> str:
    parts = [_declared(ours), *(orjson.dumps(tool).decode() for tool in theirs)]
    return ",".join(part for part in parts if part)


@lru_cache(maxsize=32)
def _declared(names: tuple[str, ...]) -> str:
    return ",".join(orjson.dumps(FUNCTIONS[name].tool()).decode() for name in names)


def speaks_by_content(mode: ReplyMode, client_tools: Sequence[Tool]) -> bool:
    """Return whether the model is to reply in plain content.

    So it is also where the client has a tool that bears the name ``send_message``.
    """
    return mode is ReplyMode.CONTENT or SEND_MESSAGE in map(tool_name, client_tools)
