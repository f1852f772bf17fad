"""``Idempotency-Key``: the same key with the same body again is a request sent again."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

from memgpt_proxy.stores.records import Namespace

_REMEMBERED = 8192
"""Keys; a retry comes within seconds."""
_DIGEST_BYTES = 16


class IdempotencyKeys:
    """The keys of the newest requests, for the life of the process."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[bytes, bytes] = OrderedDict()

    def repeats(self, namespace: Namespace, key: bytes, body: bytes) -> bool:
        """Return whether this very request came before, and remember it."""
        name = _digest(namespace.encode() + b"\0" + key)
        said = _digest(body)
        repeated = self._bodies.get(name) == said
        self._bodies[name] = said
        self._bodies.move_to_end(name)
        if len(self._bodies) > _REMEMBERED:
            self._bodies.popitem(last=False)
        return repeated


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=_DIGEST_BYTES).digest()
