"""The names of a transcript's messages; of a known one, made piece by piece when asked for.

Mostly only those at the end are asked for, and keys further up are known as stops on the way.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain as chain_iterables
from typing import TypeVar, overload

from memgpt_proxy.memory.transcript import Message, chain, content_id
from memgpt_proxy.stores.records import ContentId, Namespace, NodeId

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Stop:
    """A place in a transcript up to which it is known from an earlier request.

    Attributes:
        length: Number of messages up to here.
        key: The key of the last of them.
    """

    length: int
    key: NodeId


def known(stops: Sequence[Stop]) -> int:
    """Return how many messages are known by ``stops``; the first one is looked at anyway."""
    return stops[-1].length if stops else 1


class Names(Sequence[Name]):
    """A sequence of which each piece is made when something of it is first asked for.

    Args:
        borders: Where the pieces begin and end, from 0 to the length of all.
        make: Returns the piece of this index.
    """

    def __init__(self, borders: Sequence[int], make: Callable[[int], Sequence[Name]]) -> None:
        self._borders = borders
        self._make = make
        self._made: dict[int, Sequence[Name]] = {}

    def __len__(self) -> int:
        return self._borders[-1]

    @overload
    def __getitem__(self, index: int) -> Name: ...

    @overload
    def __getitem__(self, index: slice) -> list[Name]: ...

    def __getitem__(self, index: int | slice) -> Name | list[Name]:
        if isinstance(index, int):
            at = range(len(self))[index]
            piece = self._piece_of(at)
            return self._names(piece)[at - self._borders[piece]]
        wanted = range(len(self))[index]
        if not wanted:
            return []
        first, last = sorted((self._piece_of(wanted[0]), self._piece_of(wanted[-1])))
        names = [*chain_iterables.from_iterable(map(self._names, range(first, last + 1)))]
        return [names[at - self._borders[first]] for at in wanted]

    def _piece_of(self, at: int) -> int:
        return bisect_right(self._borders, at) - 1

    def _names(self, piece: int) -> Sequence[Name]:
        if piece not in self._made:
            self._made[piece] = self._make(piece)
        return self._made[piece]


def names(
    namespace: Namespace, messages: Sequence[Message], root: NodeId, stops: Sequence[Stop]
) -> tuple[Sequence[ContentId], Sequence[NodeId]]:
    """Return what each of ``messages`` says by itself, and their keys, after ``root``."""
    if not stops:
        said = [content_id(message) for message in messages]
        return said, chain(namespace, said, root)
    begun = [Stop(0, root), *stops]
    borders = [*(stop.length for stop in begun), len(messages)]

    def contents_of(piece: int) -> Sequence[ContentId]:
        start, end = borders[piece : piece + 2]
        return [content_id(message) for message in messages[start:end]]

    def keys_of(piece: int) -> Sequence[NodeId]:
        start, end = borders[piece : piece + 2]
        return chain(namespace, contents[start:end], begun[piece].key)

    contents = Names(borders, contents_of)
    return contents, Names(borders, keys_of)
