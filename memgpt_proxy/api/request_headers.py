"""What a client says in its headers: which conversation, what memory may do, what the request is.

Known clients send these of themselves or by their configuration; docs/clients.md has what is
known of them. One loop over the headers finds them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum

from memgpt_proxy.agent.request import NamedConversation
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.errors import InvalidRequest, UnsupportedEncoding

CONVERSATION = "X-MemGPT-Conversation"
"""Names the conversation of a client that may send its newest messages only."""
MEMORY = "X-MemGPT-Memory"
"""What memory is to do with a request: ``read`` or ``off``."""
_OURS = b"x-memgpt-"
_OF_ANSWERS = frozenset({b"x-memgpt-degraded"})
"""Ours, and of no meaning in a request: whatever hands answers on may have left it there."""
_RETRY = b"x-stainless-retry-count"
"""Sent by OpenAI's SDKs: how often they have tried before."""

_ENCODING = b"content-encoding"
_IDEMPOTENCY = b"idempotency-key"
"""Names a request that may be sent several times; so may OpenAI's SDKs do."""

_LONGEST_NAME = 512
_UNFILLED = b"{{"
"""Begins a placeholder that a client did not know and sent as it stands."""
_SHARED_IDS = ("local:", "temporary:", "channel:")
"""Open WebUI's ids of a browser session's temporary chats and of a channel: many conversations."""


class Memory(StrEnum):
    """What memory does with a request."""

    ON = "on"
    READ = "read"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class ToldByHeaders:
    """What the headers of one request say.

    Attributes:
        is_task: A user interface asks this for itself: a title, tags and the like.
        idempotency_key: What the client calls this request, however often it sends it.
    """

    conversation: NamedConversation | None = None
    memory: Memory = Memory.ON
    is_task: bool = False
    is_retry: bool = False
    idempotency_key: bytes = b""

    @property
    def newest_only(self) -> bool:
        """Whether the request may hold only the newest messages of its conversation."""
        return self.conversation is not None and not self.conversation.resends


_NOTHING = ToldByHeaders()


class RequestHeaders:
    """Knows which headers to look for.

    Args:
        conversation: Names of headers with which clients that resend their history name a
            conversation, the preferred one first.
        task: Names of headers that say which task a user interface sets; without one they
            are empty.
    """

    def __init__(self, conversation: Iterable[str], task: Iterable[str]) -> None:
        self._conversation = {_raw(name): name for name in conversation}
        self._task = frozenset(map(_raw, task))
        own = {_raw(CONVERSATION), _raw(MEMORY), _RETRY, _ENCODING, _IDEMPOTENCY}
        self._known = own | self._conversation.keys() | self._task

    def read(self, headers: RawHeaders) -> ToldByHeaders:
        """Return what ``headers`` say. Raises GatewayError, which names the header."""
        known = self._known
        found = {n: value for n, value in headers if n in known or n.startswith(_OURS)}
        if not found:
            return _NOTHING
        _check_names(found.keys() - known - _OF_ANSWERS)
        _check_encoding(found.get(_ENCODING, b"identity"))
        return ToldByHeaders(
            conversation=self._named(found),
            memory=_memory(found.get(_raw(MEMORY))),
            is_task=any(_filled(found.get(name)) for name in self._task),
            is_retry=_is_retry(found.get(_RETRY, b"")),
            idempotency_key=found.get(_IDEMPOTENCY, b""),
        )

    def _named(self, found: Mapping[bytes, bytes]) -> NamedConversation | None:
        if name := _name(found.get(_raw(CONVERSATION)), CONVERSATION):
            return NamedConversation(name, resends=False)
        for raw, header in self._conversation.items():
            name = _name(found.get(raw), header)
            if name and not name.startswith(_SHARED_IDS):
                return NamedConversation(name, resends=True)
        return None


def _check_names(unknown: Set[bytes]) -> None:
    """Refuse what is misspelt: what was to be kept from memory would be remembered."""
    for name in unknown:
        raise InvalidRequest(
            f"There is no header {name.decode('ascii', 'replace')}. Those of this gateway are "
            f"{CONVERSATION} and {MEMORY}.",
            param=name.decode("ascii", "replace"),
        )


def _check_encoding(encoding: bytes) -> None:
    if encoding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedEncoding(
            f"The request body is compressed ({encoding.decode('ascii', 'replace')}), "
            "which this API does not take. Send it as plain JSON.",
            param="Content-Encoding",
        )


def _raw(name: str) -> bytes:
    return name.lower().encode("ascii")


def _filled(value: bytes | None) -> bytes:
    """Return a header's value; nothing where a client had nothing to fill it with."""
    if value is None or _UNFILLED in value:
        return b""
    return value.strip()


def _name(value: bytes | None, header: str) -> str:
    name = _filled(value)
    if len(name) > _LONGEST_NAME:
        raise InvalidRequest(
            f"The header {header} is longer than {_LONGEST_NAME} bytes.", param=header
        )
    return name.decode("utf-8", "backslashreplace")


def _memory(value: bytes | None) -> Memory:
    match value.strip().lower() if value is not None else None:
        case None:
            return Memory.ON
        case b"read":
            return Memory.READ
        case b"off":
            return Memory.OFF
        case _:
            raise InvalidRequest(
                f"Invalid value for the header {MEMORY}. Supported values are: 'read' and 'off'.",
                param=MEMORY,
                code="invalid_value",
            )


def _is_retry(count: bytes) -> bool:
    return count.isdigit() and count.strip(b"0") != b""
