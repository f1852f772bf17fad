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
from memgpt_proxy.traits import Profile
from memgpt_proxy.wire.chat import Tool
from memgpt_proxy.wire.dialect import is_streamed
from memgpt_proxy.wire.tool_choice import read_tool_choice, tool_name

_THOUGHTS_AND_CALLS = 1024
"""Tokens that a step may take beside the text that the client has limited."""


_MOST_TOKENS = 2**53
"""Beyond it no JSON reader can be relied on."""

_MOST_TOOLS = 128
"""OpenAI takes no more: a client that comes near has fewer of ours beside its own."""

_ABOUT_CALLS = frozenset({"tool_choice", "functions", "function_call"})
_OF_THE_TEXT = _ABOUT_CALLS | {"stop", "n"}
_OF_A_CLEAN_STEP = _OF_THE_TEXT | {"logprobs", "top_logprobs", "response_format"}
_OF_A_CLEAN_STEP |= {"audio", "modalities"}
"""Options that only the step with the answer may have."""


class StepRequests:
    """Writes the requests of one turn's steps.

    Args:
        request: The client's.
        by_content: The model has no ``send_message``: it replies in plain content.
        remembers: Memory functions are offered.
    """

    def __init__(self, request: TurnRequest, *, by_content: bool, remembers: bool = True) -> None:
        self._request = request
        self.delivery = delivery(request)
        choice = read_tool_choice(request.options.get("tool_choice"))
        theirs = choice.among(request.tools)
        legacy = _legacy(request)
        names = frozenset(map(tool_name, theirs)).union(each["name"] for each in legacy)
        own = request.clean or choice.required
        ours = _our_names(names, by_content or own, request.writes) if remembers else ()
        if len(theirs) <= _MOST_TOOLS:
            ours = ours[: _MOST_TOOLS - len(theirs)]
        unnamed = not all(map(tool_name, theirs))
        self.offer = Offer(ours, names, request.clean, choice.required, bool(legacy), unnamed)
        self._tools = _joined(_declared(ours, bool(legacy)), legacy or theirs)
        self._options = self._forwarded()

    @property
    def tools_text(self) -> str:
        """The declarations of all functions, as they are sent; for counting."""
        return self._tools

    def is_streamed(self, profile: Profile) -> bool:
        """Return whether a backend of this profile answers the steps with streams."""
        if not profile:
            return bool(self.delivery["stream"])
        return is_streamed({**self._options, **self.delivery}, profile)

    @property
    def answer(self) -> int | None:
        """Tokens asked for a step's answer; None where the client has not limited them."""
        return min(_limits(self._options).values(), default=None)

    def body(
        self,
        context: MainContext,
        *,
        last: bool,
        longest: int | None = None,
        aside: bool = False,
    ) -> bytes:
        """Return the JSON of a step's request.

        Args:
            last: The model may only do what the client has asked for: no memory function.
            longest: Tokens that may be asked for the answer at the most.
            aside: Only memory functions, and room for them: a call of one was cut off.
        """
        options = self._with_room() if aside else self._options
        if longest is not None:
            limits = _limits(options).items()
            options = options | {name: min(asked, longest) for name, asked in limits}
        declared = self._aside() if aside else self._offered(last=last)
        fields: dict[str, Any] = {
            **options,
            "model": self._request.model,
            "messages": context.messages(),
            **self.delivery,
            **declared,
        }
        return orjson.dumps(fields)

    def _offered(self, *, last: bool) -> dict[str, Any]:
        """Return the fields that offer functions."""
        if self.offer.awaits_client and (last or not self.offer.ours):
            return self._as_asked()
        tools = self._tools
        if last and SEND_MESSAGE in self.offer.ours:
            tools = _joined(_declared((SEND_MESSAGE,)), ())
        if not tools:
            return {}
        fields: dict[str, Any] = {self._kind: orjson.Fragment(f"[{tools}]")}
        if self.offer.must_call:
            fields["tool_choice"] = "required"
        elif last and SEND_MESSAGE not in self.offer.ours:
            fields["tool_choice"] = "none"
        return fields

    def _as_asked(self) -> dict[str, Any]:
        """Return the client's tools and its choice among them, as they came."""
        given = self._request.options
        fields = {name: given[name] for name in _ABOUT_CALLS if name in given}
        if self._request.tools:
            fields["tools"] = self._request.tools
        return fields

    def _aside(self) -> dict[str, Any]:
        ours = _declared(tuple(self.offer.ours), self.offer.legacy)
        return {self._kind: orjson.Fragment(f"[{ours}]")}

    @property
    def _kind(self) -> str:
        return "functions" if self.offer.legacy else "tools"

    def _forwarded(self) -> dict[str, Any]:
        """Return the client's options, those about calls excepted."""
        if not self._request.clean:
            return self._with_room()
        options = self._request.options
        return {name: value for name, value in options.items() if name not in _ABOUT_CALLS}

    def _with_room(self) -> dict[str, Any]:
        """Return the options of a step whose answer is not for the client as it is."""
        dropped = _OF_A_CLEAN_STEP if self._request.clean else _OF_THE_TEXT
        given = self._request.options
        options = {name: value for name, value in given.items() if name not in dropped}
        for name, limit in _limits(options).items():
            options[name] = min(limit, _MOST_TOKENS) + _THOUGHTS_AND_CALLS
        return options


def delivery(request: TurnRequest) -> Mapping[str, Any]:
    """Return the fields that ask for a whole answer, or for a stream with its usage."""
    if request.whole:
        return {"stream": False}
    given = request.options.get("stream_options")
    options = {**(given if isinstance(given, dict) else {}), "include_usage": True}
    return {"stream": True, "stream_options": options}


def _limits(options: Mapping[str, Any]) -> dict[str, int]:
    """Return the limits of an answer's length that a client has set, by their names."""
    given = {name: options.get(name) for name in ("max_tokens", "max_completion_tokens")}
    return {name: limit for name, limit in given.items() if isinstance(limit, int) and limit > 0}


def _legacy(request: TurnRequest) -> Sequence[Mapping[str, Any]]:
    """Return those of the deprecated ``functions`` that may be called."""
    if request.options.get("function_call") == "none":
        return ()
    return request.options.get("functions") or ()


@lru_cache(maxsize=32)
def _our_names(theirs: frozenset[str], by_content: bool, writes: bool) -> tuple[str, ...]:
    functions = [f for f in offered(theirs) if not (by_content and f.name == SEND_MESSAGE)]
    return tuple(f.name for f in functions if writes or f.retrieval or f.name == SEND_MESSAGE)


def _joined(ours: str, theirs: Sequence[Mapping[str, Any]]) -> str:
    parts = [ours, *(orjson.dumps(each).decode() for each in theirs)]
    return ",".join(part for part in parts if part)


@lru_cache(maxsize=32)
def _declared(names: tuple[str, ...], legacy: bool = False) -> str:
    """Return the declarations of our functions; as ``functions`` have them, if ``legacy``."""
    tools = (FUNCTIONS[name].tool() for name in names)
    return ",".join(orjson.dumps(tool["function"] if legacy else tool).decode() for tool in tools)


def speaks_by_content(mode: ReplyMode, client_tools: Sequence[Tool]) -> bool:
    """Return whether the model is to reply in plain content.

    So it is also where the client has a tool that bears the name ``send_message``.
    """
    return mode is ReplyMode.CONTENT or SEND_MESSAGE in map(tool_name, client_tools)
