"""Reading a request: what its headers and its body ask of a turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from starlette.types import Receive, Scope

from memgpt_proxy.agent.request import NamedConversation, TurnRequest
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.body import read_body
from memgpt_proxy.api.chat_request import ChatRequest, check_messages
from memgpt_proxy.api.idempotency import IdempotencyKeys
from memgpt_proxy.api.request_headers import Memory, RequestHeaders, ToldByHeaders
from memgpt_proxy.api.ui_tasks import TaskPrompts
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.names import Stop, known
from memgpt_proxy.stores.records import ROOT, Namespace, NodeId
from memgpt_proxy.values import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One request at the door: its key was accepted, its body is not read yet.

    Attributes:
        told: What its headers say.
    """

    key: bytes
    scope: Scope
    receive: Receive
    told: ToldByHeaders

    @property
    def headers(self) -> RawHeaders:
        """Its headers, as they came."""
        headers: RawHeaders = self.scope["headers"]
        return headers

    @property
    def is_apart(self) -> bool:
        """Whether its headers keep memory out of it."""
        return self.told.is_task or self.told.memory is Memory.OFF

    def naming(self, conversation: NamedConversation | None) -> Call:
        """Return the same, of this conversation if one is named."""
        if conversation is None:
            return self
        return replace(self, told=replace(self.told, conversation=conversation))

    def again_if(self, repeated: bool) -> Call:
        """Return the same, as one that the client sends again if it does."""
        return replace(self, told=replace(self.told, is_retry=True)) if repeated else self


@dataclass(frozen=True, slots=True)
class RequestReader:
    """Reads what requests have in common, whichever endpoint they come to.

    Attributes:
        beginnings: What is known of earlier requests, so that it need not be checked again.
        max_body: Bytes of a request at the most.
    """

    authenticator: Authenticator
    beginnings: Beginnings
    headers: RequestHeaders
    tasks: TaskPrompts
    idempotency_keys: IdempotencyKeys
    max_body: int

    def call(self, key: bytes, scope: Scope, receive: Receive) -> Call:
        """Return a request with what its headers say. Raises InvalidRequest."""
        return Call(key, scope, receive, self.headers.read(scope["headers"]))

    def fits(self, call: Call) -> bool:
        """Return whether its body is certainly not too large to be read."""
        told = next((value for name, value in call.headers if name == b"content-length"), b"")
        return told.isdigit() and int(told) <= self.max_body

    async def body(self, call: Call) -> bytes:
        """Return its body. Raises RequestTooLarge, RequestTimeout, ClientGone."""
        return await read_body(call.receive, self.max_body)

    def is_task(self, request: ChatRequest) -> bool:
        """Return whether a user interface asks this for itself."""
        return self.tasks.fit(request)

    def namespace(self, call: Call, user: str | None) -> Namespace:
        """Return whose memory a request is about."""
        return self.authenticator.namespace(call.key, user)

    def asked(
        self, call: Call, body: bytes, request: ChatRequest, after: NodeId | None = None
    ) -> TurnRequest:
        """Return what is asked of a turn. Raises InvalidRequest, for its messages.

        Args:
            body: As the client sent it: it may be the same again.
            after: The reply that the client goes on from, where it names that.
        """
        namespace = self.namespace(call, request.user)
        root = after or (call.told.conversation.root if call.told.conversation else ROOT)
        stops = self.beginnings.stops(namespace, root, request.messages)
        check_messages(request, known(stops))
        key = call.told.idempotency_key
        if key and not self.is_task(request):
            call = call.again_if(self.idempotency_keys.repeats(namespace, key, body))
        register = None if request.user is None else self.authenticator.register_of(call.key)
        return _asked(namespace, register, call, request, stops, after)


def _asked(
    namespace: Namespace,
    register: Namespace | None,
    call: Call,
    request: ChatRequest,
    stops: Sequence[Stop],
    after: NodeId | None,
) -> TurnRequest:
    return TurnRequest(
        namespace=namespace,
        register=register,
        model=request.model,
        application=request.application,
        messages=request.messages,
        options=request.options,
        tools=request.tools,
        stop=request.stop,
        max_tokens=request.max_tokens,
        clean=request.clean,
        alone=request.alone,
        whole=request.whole,
        headers=call.headers,
        conversation=call.told.conversation,
        writes=call.told.memory is Memory.ON,
        is_retry=call.told.is_retry,
        stops=stops,
        after=after,
    )
