"""The recursive summary of what was evicted (the paper, section 2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from memgpt_proxy.backend.client import Backend
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import GatewayError
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.stores.records import Node, Role
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.wire.step import StepReader

_TASK = (
    "You keep the summary of a long conversation between a user and an assistant. You are given "
    "the summary so far and the messages that come next. Write the new summary of all of it, "
    "as prose in the language of the conversation: who the user is, facts, decisions, open "
    "questions, what was done. Keep names, numbers and dates. Leave out greetings. Write "
    "nothing but the summary, in at most {words} words."
)
_CUT_LINE = 1000
_LINE_OF_EXTRACT = 160


class Summarizer:
    """Folds evicted messages into a summary, by the backend where that succeeds.

    Args:
        tokens: Bound on the summary.
        model: Model that writes it; None takes the conversation's.
    """

    def __init__(
        self,
        backend: Backend,
        counter: TokenCounter,
        telemetry: Telemetry,
        *,
        tokens: int,
        model: str | None,
    ) -> None:
        self._backend = backend
        self._telemetry = telemetry
        self._counter = counter
        self._tokens = tokens
        self._model = model

    async def fold(
        self, summary: str, evicted: Sequence[Node], *, model: str, room: int, headers: RawHeaders
    ) -> str:
        """Return the summary with ``evicted`` folded in; never raises, never loses a message.

        An extract stands in where the backend fails; recall storage holds every word.

        Args:
            model: The conversation's model.
            room: Tokens that the request for a summary may take.
            headers: The client's, which hold the key.
        """
        lines = [line for node in evicted if (line := _line(node))]
        if not lines:
            return summary
        text = self._newest(lines, room - self._tokens * 2)
        try:
            written = await self._ask(summary, text, self._model or model, headers)
        except GatewayError:
            written = ""
        if not written:
            self._telemetry.summary_failed()
        return self._bounded(written or _extract(summary, lines))

    async def _ask(self, summary: str, text: str, model: str, headers: RawHeaders) -> str:
        reader = StepReader()
        async with self._backend.stream(self._body(summary, text, model), headers) as chunks:
            async for several in chunks:
                for chunk in several:
                    reader.add(chunk)
        return "" if reader.error else reader.content.strip()

    def _body(self, summary: str, text: str, model: str) -> bytes:
        task = _TASK.format(words=self._tokens * 6 // 10)
        request: dict[str, Any] = {
            "model": model,
            "messages": [
                {"role": "system", "content": task},
                {
                    "role": "user",
                    "content": f"Summary so far:\n{summary or '(none)'}\n\nMessages:\n{text}",
                },
            ],
            "stream": True,
        }
        return orjson.dumps(request)

    def _newest(self, lines: Sequence[str], room: int) -> str:
        """Return as many of the newest lines as fit; the oldest are in recall storage anyway."""
        kept: list[str] = []
        for line in reversed(lines):
            room -= self._counter.text(line) + 1
            if room < 0 and kept:
                break
            kept.append(line)
        return "\n".join(reversed(kept))

    def _bounded(self, summary: str) -> str:
        head, _ = self._counter.head(summary, self._tokens)
        return head if len(head) == len(summary) else f"{head.rstrip()}…"


def _line(node: Node) -> str:
    if not node.text or node.role not in (Role.USER, Role.ASSISTANT):
        return ""
    text = " ".join(node.text.split())
    return f"{node.role.value}: {text[:_CUT_LINE]}"


def _extract(summary: str, lines: Iterable[str]) -> str:
    """Return a summary without a model: the old one and the beginnings of what users said.

    The newest come first, since the bound cuts at the end.
    """
    users = [line for line in lines if line.startswith(Role.USER.value)]
    newest = [f"- {line[:_LINE_OF_EXTRACT]}" for line in reversed(users)]
    return "\n".join([*newest, summary]).strip()
