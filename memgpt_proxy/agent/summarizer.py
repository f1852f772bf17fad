"""The recursive summary of what was evicted (the paper, section 2.2)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import orjson

from memgpt_proxy.agent.functions import FUNCTIONS
from memgpt_proxy.agent.hearing import broken
from memgpt_proxy.agent.profiles import Adapting, Profiles
from memgpt_proxy.agent.reply import CUT_SHORT
from memgpt_proxy.agent.thinking import Thinker
from memgpt_proxy.agent.tracing import SummaryCall, summarizing
from memgpt_proxy.backend.client import Backends, Route, available
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import BackendRefused, GatewayError
from memgpt_proxy.memory.alerts import ARCHIVED, PREFIX
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.stores.records import Node, Role
from memgpt_proxy.telemetry import Telemetry
from memgpt_proxy.traits import Trait
from memgpt_proxy.wire.content import ContentGate
from memgpt_proxy.wire.shape import MalformedChunk
from memgpt_proxy.wire.step import StepReader

log = logging.getLogger(__name__)

_TASK = (
    "You keep the summary of a long conversation between a user and an assistant. You are given "
    "the summary so far and the messages that come next. Write the new summary of all of it, "
    "as prose in the language of the conversation: who the user is, facts, decisions, open "
    "questions, what was done. Keep names, numbers and dates. Leave out greetings. Write "
    "nothing but the summary, in at most {words} words."
)
_PART_OF_ROOM = 8
"""The summary takes this part of the room at most: in a tiny window it is shorter still."""
_LINE = 1000
"""Characters of what a person or the model said."""
_SHORT_LINE = 300
"""Characters of a call, a result or an alert."""
_LINE_OF_EXTRACT = 160
_LONGEST_ANSWER = 16
"""Characters to a token of the summary's bound, beyond which its writer is stopped."""
_TOLD_BEFORE = (f"{PREFIX}Today is ", f"{PREFIX}Message from the application:")
_TOLD_BEHIND = (ARCHIVED,)
_EXTRACTED = ("user: ", "result: ")


class Summarizer:
    """Folds evicted messages into a summary, by the backend where that succeeds.

    Args:
        tokens: Bound on the summary.
        model: Model that writes it; None takes the conversation's.
        seconds: How long it may take to write.
    """

    def __init__(
        self,
        backend: Backends,
        counter: TokenCounter,
        telemetry: Telemetry,
        *,
        tokens: int,
        model: str | None,
        seconds: float = 300.0,
        profiles: Profiles | None = None,
    ) -> None:
        self._backend = backend
        self._telemetry = telemetry
        self._profiles = profiles or Profiles()
        self._counter = counter
        self._tokens = tokens
        self._model = model
        self._seconds = seconds

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
        bound = min(self._tokens, max(0, room) // _PART_OF_ROOM)
        summary = self._bounded(summary, bound)
        route = available(self._backend.routes(self._model or model))[0]
        request = _Request(route, bound, summary)
        lines = self._newest(evicted, room - self._counter.messages(request.messages("")))
        if not lines:
            return summary
        written = await self._ask(request, "\n".join(lines), headers)
        if not written:
            self._telemetry.summary_failed()
        return self._bounded(written or _extract(summary, lines), bound)

    async def _ask(self, request: _Request, text: str, headers: RawHeaders) -> str:
        """Return the summary that the backend writes; empty where it fails to."""
        route, telemetry = request.route, self._telemetry
        streamed = Trait.NO_STREAM not in self._profiles.of(route)
        try:
            with summarizing(telemetry, route, headers, streamed=streamed) as call:
                async with asyncio.timeout(self._seconds):
                    return await self._read(request, text, call)
        except (GatewayError, MalformedChunk, TimeoutError) as error:
            log.warning("no summary was written: %s", type(error).__name__)
            return ""

    async def _read(self, request: _Request, text: str, call: SummaryCall) -> str:
        """Return the summary; asked for otherwise where the backend refuses that."""
        adapting, body = Adapting(self._profiles, request.route), request.body(text)
        while True:
            try:
                summary = await self._written(request, adapting.write(body), call)
            except BackendRefused as error:
                if not adapting.learn(error, body):
                    raise
            else:
                adapting.succeeded()
                return summary

    async def _written(self, request: _Request, body: bytes, call: SummaryCall) -> str:
        thinker = Thinker(request.route.key, request.route.model)
        reader, gate = StepReader(), ContentGate((), thinker.presumed)
        longest = request.bound * _LONGEST_ANSWER
        written = ""
        async with request.route.backend.stream(body, call.headers) as chunks:
            async for several in chunks:
                written += gate.feed("".join(reader.add(chunk).content for chunk in several))
                if reader.reasoned:
                    written += gate.reasoned()
                if reader.error is not None:
                    raise broken(reader, reader.error)
                if len(written) > longest:
                    return written
        call.usage = reader.usage
        whole = chunks.done or reader.finish_reason is not None
        rest, _ = gate.close(cut=reader.finish_reason in CUT_SHORT)
        return (written + rest).strip() if whole and not _refused(reader) else ""

    def _newest(self, evicted: Sequence[Node], room: int) -> list[str]:
        """Return as many of the newest lines as fit; the oldest are in recall storage anyway."""
        kept: list[str] = []
        for line in _newest_lines(evicted):
            tokens = self._counter.text(line) + 1
            if tokens > room:
                rest = "" if kept else self._counter.head(line, max(0, room))[0]
                return [*kept[::-1], rest] if rest else kept[::-1]
            room -= tokens
            kept.append(line)
        return kept[::-1]

    def _bounded(self, summary: str, bound: int) -> str:
        head, _ = self._counter.head(summary, bound)
        return head if len(head) == len(summary) else f"{head.rstrip()}…"


@dataclass(frozen=True, slots=True)
class _Request:
    """What the backend is asked for."""

    route: Route
    bound: int
    summary: str

    def messages(self, text: str) -> list[Message]:
        """Return the request's messages, with ``text`` for what was evicted."""
        task = _TASK.format(words=self.bound * 6 // 10)
        told = f"Summary so far:\n{self.summary or '(none)'}\n\nMessages:\n{text}"
        return [{"role": "system", "content": task}, {"role": "user", "content": told}]

    def body(self, text: str) -> bytes:
        """Return the request."""
        model, messages = self.route.model, self.messages(text)
        fields = {"model": model, "messages": messages, "stream": True}
        return orjson.dumps({**fields, "stream_options": {"include_usage": True}})


def _refused(reader: StepReader) -> bool:
    return bool(reader.refusal) or reader.finish_reason == "content_filter"


def _newest_lines(nodes: Sequence[Node]) -> Iterator[str]:
    for node in reversed(nodes):
        yield from reversed(_lines(node))


def _lines(node: Node) -> list[str]:
    """Return what a node tells the summariser: what was said, and what tools have told.

    What the model's own functions did shows in its memory. A client's tools have told facts
    that are nowhere else.
    """
    entries: list[Message] = orjson.loads(node.entries)
    if node.role is Role.TOOL:
        return [line for entry in entries for line in _result(entry)]
    lines = [_line(text, _SHORT_LINE) for text in _alerts(entries, _TOLD_BEFORE)]
    if node.text and node.role in (Role.USER, Role.ASSISTANT):
        lines.append(_line(f"{node.role.value}: {node.text[: _LINE * 2]}", _LINE))
    lines += [_line(text, _SHORT_LINE) for text in _alerts(entries, _TOLD_BEHIND)]
    return lines + [_line(f"assistant called {call}", _SHORT_LINE) for call in _calls(entries)]


def _result(entry: Message) -> list[str]:
    """Return what the result of a client's tool tells, and that it is archived if it is."""
    head, alert, rest = said(entry).partition(ARCHIVED)
    result = _line(f"result: {head}", _SHORT_LINE)
    return (
        [result, _line(f"{alert}{rest}".removeprefix(PREFIX), _SHORT_LINE)] if alert else [result]
    )


def _alerts(entries: Iterable[Message], beginnings: tuple[str, ...]) -> Iterator[str]:
    texts = (said(entry) for entry in entries if entry["role"] == "user")
    return (text.removeprefix(PREFIX) for text in texts if text.startswith(beginnings))


def _calls(entries: Iterable[Message]) -> Iterator[str]:
    """Return the calls of the client's tools."""
    for entry in entries:
        for call in entry.get("tool_calls") or ():
            called = call.get("function") or {}
            if called.get("name") not in FUNCTIONS:
                yield f"{called.get('name')}({called.get('arguments') or ''})"


def _line(text: str, longest: int) -> str:
    return " ".join(text[: longest * 2].split())[:longest]


def _extract(summary: str, lines: Iterable[str]) -> str:
    """Return a summary without a model: the old one, and beginnings of what it was told.

    The newest come first, since the bound cuts at the end.
    """
    told = [line for line in lines if line.startswith(_EXTRACTED)]
    newest = [f"- {line[:_LINE_OF_EXTRACT]}" for line in reversed(told)]
    return "\n".join([*newest, summary]).strip()
