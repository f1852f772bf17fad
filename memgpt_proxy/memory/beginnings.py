"""Beginnings of transcripts that are known from earlier requests.

Clients send their history again with every request. A run of messages after a known one
always leads to the same key, so a run that was seen before is recognised by one hash over
all of it: its messages need not be checked and named one by one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import sha256

import orjson

from memgpt_proxy.memory.names import Stop, known
from memgpt_proxy.memory.transcript import Message, content_id, node_id
from memgpt_proxy.stores.records import Namespace, NodeId

_RUNS = (512, 16)
"""Messages of a run: few large ones are looked up in place of many small ones."""
_SHORTEST = _RUNS[-1]
_NEWEST = 8
"""Messages at the end that are not recognised: they may be written otherwise next time."""


class Beginnings:
    """Remembers which runs of messages lead to which keys. What is unused longest goes.

    Args:
        most: Runs that are remembered; each takes some 350 bytes.
    """

    def __init__(self, most: int = 8192) -> None:
        self._most = most
        self._known: OrderedDict[bytes, NodeId] = OrderedDict()

    def stops(self, namespace: Namespace, root: NodeId, messages: Sequence[Message]) -> list[Stop]:
        """Return how far a transcript is known, with stops on the way; nothing if it is not.

        Args:
            messages: The first has been checked; of the others only known ones may be taken
                to be messages.
        """
        most = len(messages) - _NEWEST
        if most <= _SHORTEST:
            return []
        stops = [Stop(1, node_id(namespace, root, content_id(messages[0])))]
        for size in _RUNS:
            while (end := stops[-1].length + size) <= most:
                run = messages[end - size : end]
                key = self._found(namespace, stops[-1].key, run)
                if key is None:
                    break
                stops.append(Stop(end, key))
        return stops if len(stops) > 1 else []

    def keep(
        self,
        namespace: Namespace,
        messages: Sequence[Message],
        keys: Sequence[NodeId],
        stops: Sequence[Stop],
    ) -> None:
        """Remember the runs of a transcript that has been checked.

        Args:
            keys: The keys of its messages.
            stops: How far it was known.
        """
        for end in range(known(stops) + _SHORTEST, len(messages) - _NEWEST + 1, _SHORTEST):
            for size in _RUNS:
                if (end - 1) % size == 0:
                    run = messages[end - size : end]
                    self._remember(namespace, keys[end - size - 1], run, keys[end - 1])

    def _found(self, namespace: Namespace, before: NodeId, run: Sequence[Message]) -> NodeId | None:
        try:
            digest = _digest(namespace, before, run)
        except orjson.JSONEncodeError:  # nested too deeply: it was never kept
            return None
        key = self._known.get(digest)
        if key is not None:
            self._known.move_to_end(digest)
        return key

    def _remember(
        self, namespace: Namespace, before: NodeId, run: Sequence[Message], key: NodeId
    ) -> None:
        self._known[_digest(namespace, before, run)] = key
        if len(self._known) > self._most:
            self._known.popitem(last=False)


def _digest(namespace: Namespace, before: NodeId, run: Sequence[Message]) -> bytes:
    """Return what identifies a run: all that is in it, and where it stands.

    The hash is a strong one, since a wrong hit would lose a client's edit.
    """
    hashed = sha256(f"{before}\0{namespace}\0".encode())
    hashed.update(orjson.dumps(run))
    return hashed.digest()
