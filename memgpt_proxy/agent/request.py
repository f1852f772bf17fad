"""What a turn is asked for, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol

from memgpt_proxy.agent.reply import Delta, Reply
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.memory.names import Stop
from memgpt_proxy.memory.transcript import Message, root_of
from memgpt_proxy.stores.records import ROOT, Namespace, NodeId
from memgpt_proxy.values import dataclass
from memgpt_proxy.wire.chat import Tool, Usage
from memgpt_proxy.wire.dialect import speaks
from memgpt_proxy.wire.step import StepReader

_OF_CALLS = frozenset({"tool_calls", "tool_call_id", "function_call"})


@dataclass(frozen=True, slots=True)
class NamedConversation:
    """Which conversation a request belongs to, as the client says itself.

    Attributes:
        name: As the client gave it.
        resends: The client sends the history with every request; otherwise a request may hold
            its newest messages only.
    """

    name: str
    resends: bool

    @property
    def root(self) -> NodeId:
        """What its first message hangs on."""
        return root_of(self.name)


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """A client's request, checked.

    Attributes:
        namespace: Whose memory it is.
        register: Where it is written down that a key has this user; None for the key's own memory.
        model: As the client names it.
        application: The client's leading system and developer messages, as one text.
        messages: The rest of its messages, from the user's first one on.
        options: Every other field of the request, to be forwarded as it is.
        tools: The client's own tools.
        stop: Texts before which the visible text ends.
        max_tokens: Length of the visible text at the most.
        clean: Something has to see the answer itself (``n``, ``logprobs``, a response format):
            the chunks of the step that has it are handed on.
        alone: No memory function may stand beside what is asked for.
        whole: The backend may answer whole: nobody hears the answer before it is, or it could
            not be streamed.
        headers: The client's headers, for the backend.
        conversation: The conversation that the client names, if it names one.
        writes: Whether the turn may change memory; otherwise it only reads.
        is_retry: The client sends a request again that it got no answer to.
        stops: How far the messages are known from an earlier request.
        after: The reply that the messages go on from, where the client names that in place of
            its history.
        reply: What its reply is to be known by; None for the name that its words give it.
        remembers: Memory has to do with it; otherwise the backend answers alone.
    """

    namespace: Namespace
    model: str
    application: str
    messages: Sequence[Message]
    options: Mapping[str, Any]
    tools: Sequence[Tool]
    stop: Sequence[str]
    max_tokens: int | None
    clean: bool
    headers: RawHeaders
    alone: bool = False
    whole: bool = False
    conversation: NamedConversation | None = None
    writes: bool = True
    is_retry: bool = False
    stops: Sequence[Stop] = ()
    after: NodeId | None = None
    reply: NodeId | None = None
    register: Namespace | None = None
    remembers: bool = True

    @property
    def has_calls(self) -> bool:
        """Whether it offers functions, or tells of calls."""
        told = any(_OF_CALLS & message.keys() for message in self.messages)
        return bool(told or self.tools or self.options.get("functions"))

    @property
    def root(self) -> NodeId:
        """What its first message hangs on."""
        return self.after or (self.conversation.root if self.conversation else ROOT)


def asked_of(request: TurnRequest, route: Route) -> TurnRequest:
    """Return what a turn asks of one of its routes."""
    whole = request.whole and (not route.backend.only_streams or speaks(request.options))
    if route.model == request.model and whole is request.whole:
        return request
    return replace(request, model=route.model, whole=whole)


@dataclass(frozen=True, slots=True)
class TurnResult:
    """How a turn ended: all that the client has to be told at its end.

    ``more`` is what its last step said of the whole answer beside that.
    """

    reply: Reply
    finish_reason: str
    usage: Usage
    degraded: bool
    more: Mapping[str, Any] = field(default_factory=dict)


class ReplySink(Protocol):
    """Where a reply goes while it is made."""

    async def begin(self, first: StepReader, headers: RawHeaders) -> None:
        """The backend has accepted the turn. ``headers`` are its own about the call."""
        ...

    async def write(self, deltas: Sequence[Delta]) -> None:
        """More of the reply."""
        ...
