"""The same words, written otherwise: what clients do to the history that they send back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from html import unescape
from itertools import takewhile
from unicodedata import normalize

from memgpt_proxy.memory.calls import call_ids, open_calls
from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.stores.records import ContentId, Node, Role

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_NEAR = 16
"""Messages that a client may have dropped before one that it writes otherwise."""
_MOSTLY = 0.8
"""Part of a longer text from which on a shorter one in it counts as the same."""
_LONGER, _LONGER_BY = 8, 1000
"""How much longer, in characters, a text may be for being written otherwise."""
_PIECE = 64
"""Messages that are aligned at a time."""
_DROPPED = 64
"""Messages that a client may have dropped within one piece."""

Squeeze = Callable[[str], str]


def alike(node: Node, message: Message, squeeze: Squeeze | None = None) -> bool:
    """Return whether ``message`` is what ``node`` says, as a client may have rewritten it.

    White space, entities, invisible signs and forms of Unicode do not count. A reply may
    besides have lost or got a little at its ends; of one that was cut off any beginning
    counts. Calls have to be the same: their results name them.

    Args:
        squeeze: Returns a text as it is compared; one that remembers, where it comes again.
    """
    words = said(message)
    if node.role.value != message["role"] or not node.text or not _comparable(node, words):
        return False
    if node.role is Role.ASSISTANT and open_calls([node]) != call_ids(message):
        return False
    squeeze = squeeze or squeezed
    return _same(node, squeeze(node.text), squeeze(words))


def _same(node: Node, ours: str, theirs: str) -> bool:
    if ours == theirs:
        return True
    if node.role is not Role.ASSISTANT or not theirs:
        return False
    if not node.complete and ours.startswith(theirs):
        return True
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) >= _MOSTLY * len(longer) and shorter in longer


def _comparable(node: Node, words: str) -> bool:
    """Return whether it is worth reading both: of a book and a line it is not."""
    shorter, longer = sorted((len(node.text), len(words)))
    return longer <= _LONGER * shorter + _LONGER_BY or not node.complete


def child_that_says(content: ContentId, node: Node, after: Sequence[Node]) -> Node | None:
    """Return what follows ``node`` and says ``content``, out of what is known to follow it."""
    return next((n for n in after if n.parent == node.id and n.content == content), None)


def child_like(message: Message, node: Node, after: Sequence[Node]) -> Node | None:
    """Return what follows ``node`` and is like ``message``; live and whole ones first."""
    children = [n for n in after if n.parent == node.id]
    children.sort(key=lambda n: (n.abandoned, not n.complete))
    squeeze = cache(squeezed)
    return next((n for n in children if alike(n, message, squeeze)), None)


def matched(
    path: Sequence[Node], messages: Sequence[Message], contents: Sequence[ContentId]
) -> list[Node | None]:
    """Return for each message the node of ``path`` that says it, in order, each node once.

    Args:
        path: Messages of an older branch, oldest first.
        contents: What ``messages`` say, by themselves.
    """
    ours = [node.content for node in path]
    if ours[-len(contents) :] == list(contents):  # what mostly is the case, and cheap to see
        return list(path[-len(contents) :])
    return _aligned(path[::-1], messages[::-1], contents[::-1])[::-1]


def _aligned(
    path: Sequence[Node], messages: Sequence[Message], contents: Sequence[ContentId]
) -> list[Node | None]:
    """Align from the newest on: of several places where words stand, the last one is meant.

    Piece by piece, so that the work grows with the length and not with its square.
    """
    found: list[Node | None] = []
    squeeze = cache(squeezed)
    at = 0
    for start in range(0, len(messages), _PIECE):
        piece = slice(start, start + _PIECE)
        ours = path[at : at + _PIECE + _DROPPED]
        places = _piece(ours, messages[piece], contents[piece], squeeze)
        found += [None if place is None else ours[place] for place in places]
        at += max((place + 1 for place in places if place is not None), default=0)
    return found


def _piece(
    path: Sequence[Node],
    messages: Sequence[Message],
    contents: Sequence[ContentId],
    squeeze: Squeeze,
) -> list[int | None]:
    """Return for each message its place in ``path``; between two that are equal it may differ."""
    places: list[int | None] = [None] * len(messages)
    a = b = 0
    equal = _common([node.content for node in path], contents)
    for a_end, b_end in [*equal, (len(path), len(messages))]:
        places[b:b_end] = _rewritten(path, range(a, a_end), messages[b:b_end], squeeze)
        if b_end < len(messages):
            places[b_end] = a_end
        a, b = a_end + 1, b_end + 1
    return places


def _common(ours: Sequence[ContentId], theirs: Sequence[ContentId]) -> list[tuple[int, int]]:
    """Return the places of a longest common subsequence, the first where there are several."""
    begin = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs)))  # noqa: B905
    pairs = [(at, at) for at in range(begin)]
    rest = _rest_lengths(ours[begin:], theirs[begin:])
    a = b = 0
    while begin + a < len(ours) and begin + b < len(theirs):
        if ours[begin + a] == theirs[begin + b]:
            pairs.append((begin + a, begin + b))
            a, b = a + 1, b + 1
        elif rest[a + 1][b] > rest[a][b + 1]:
            a += 1
        else:
            b += 1
    return pairs


def _rest_lengths(ours: Sequence[ContentId], theirs: Sequence[ContentId]) -> list[list[int]]:
    """Return, for each pair of places, how many are in common from there on."""
    lengths = [[0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for a in reversed(range(len(ours))):
        row, below = lengths[a], lengths[a + 1]
        for b in reversed(range(len(theirs))):
            equal = ours[a] == theirs[b]
            row[b] = below[b + 1] + 1 if equal else max(below[b], row[b + 1])
    return lengths


def _rewritten(
    path: Sequence[Node], places: range, messages: Sequence[Message], squeeze: Squeeze
) -> list[int | None]:
    """Return for each message which of ``places`` says it otherwise, in order."""
    found: list[int | None] = []
    for message in messages:
        near = places[:_NEAR]
        place = next((at for at in near if alike(path[at], message, squeeze)), None)
        found.append(place)
        places = places if place is None else range(place + 1, places.stop)
    return found


def squeezed(text: str) -> str:
    """Return ``text`` without what does not count when texts are compared."""
    plain = text if text.isascii() else _INVISIBLE.sub("", normalize("NFKC", text))
    return " ".join(unescape(plain).split())
