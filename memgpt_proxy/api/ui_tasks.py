"""Tasks that user interfaces set for themselves at the same endpoint: titles, tags and the like.

Nobody has said what stands in them, so they are kept out of memory. Where no header tells
them (``api.request_headers``), their prompts do: by how they begin and what follows, in a
request with a single user message. A person who quotes such a prompt and asks about it does
not fit; nor does a conversation that goes on after one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from memgpt_proxy.api.chat_request import ChatRequest
from memgpt_proxy.memory.transcript import said


@dataclass(frozen=True, slots=True)
class _Prompt:
    """How a prompt looks: it begins with one of these, has all of those, and ends so."""

    begins: tuple[str, ...]
    has: tuple[str, ...] = ()
    ends: str = ""

    def fits(self, text: str) -> bool:
        return (
            text.startswith(self.begins)
            and text.endswith(self.ends)
            and all(part in text for part in self.has)
        )


_OPEN_WEBUI = (
    _Prompt(
        (
            "### Task:\nGenerate a concise",  # a title
            "Create a concise, 3-5 word title",  # older
            "### Task:\nGenerate 1-3 broad tags",
            "### Task:\nSuggest 3-5 relevant follow-up",
            "### Task:\nAnalyze the chat history to determine the necessity of",  # search queries
            "### Task:\nGenerate a detailed prompt for",  # an image
        ),
        ends="</chat_history>",
    ),
    _Prompt(("### Task:\nYou are an autocompletion system.",), ends="#### Output:"),
    _Prompt(
        ("### Task:\nSummarize the conversation history that will be compacted",),
        has=("\n### Recent Messages Kept In Context:",),
    ),
    _Prompt(
        ("Your task is to reflect the speaker's likely facial expression",),
        has=("\nMessage: ```",),
        ends="```",
    ),
    _Prompt(("You have been provided with a set of responses from various",), ends='"""'),
)
"""By the default templates of Open WebUI 0.10."""

_LIBRECHAT = (
    _Prompt(
        ("Provide a concise, 5-word-or-less title for the conversation",),
        has=("\nConversation:\nUser: ", "\nAI:"),
    ),
    _Prompt(
        ("Analyze this conversation and provide:\n1. The detected language",),
        has=("\nUser: ", "\nAI:"),
    ),
)
"""Titles, by the default prompts of LibreChat 0.8."""

_INSTRUCTIONS = (
    _Prompt(("Available Tools: ",), has=("choose and return the correct tool(s) from the list",)),
    _Prompt(("Use the `set_memory` tool to save important",), has=("`delete_memory`",)),
)
"""System prompts: Open WebUI's choice of a tool, LibreChat's own memory."""


class TaskPrompts:
    """The prompts by which tasks are known.

    Args:
        extra: Patterns for how further ones begin, as user message or as system prompt.
    """

    def __init__(self, extra: Iterable[re.Pattern[str]] = ()) -> None:
        self._extra = tuple(extra)

    def fit(self, request: ChatRequest) -> bool:
        """Return whether a request is such a task."""
        return _asks_once(request) and (
            self._known(request.application, _INSTRUCTIONS)
            or self._known(said(request.messages[0]), (*_OPEN_WEBUI, *_LIBRECHAT))
        )

    def _known(self, text: str, prompts: Iterable[_Prompt]) -> bool:
        text = text.strip()
        return any(prompt.fits(text) for prompt in prompts) or any(
            pattern.match(text) for pattern in self._extra
        )


def _asks_once(request: ChatRequest) -> bool:
    """Return whether a request has no history: one user message, and calls that it led to."""
    messages = iter(request.messages)
    return next(messages)["role"] == "user" and all(
        message["role"] == "tool" or message.get("tool_calls") for message in messages
    )
