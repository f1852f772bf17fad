"""Where else a client's history was said: in another branch, or further down a conversation.

A client that edits, deletes or drops messages, or writes them otherwise, sends history that
does not follow what is known of it. Mostly it was said before, and is found by its words.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from memgpt_proxy.memory.likeness import child_like, child_that_says, matched
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.protocols import TranscriptStore
from memgpt_proxy.stores.records import ContentId, Namespace, Node, NodeId

_ANCHORS = 8
"""Messages at the end of an unknown history that are looked for."""

_CANDIDATES = 8
"""Places where a message was said that are looked at."""

_SLACK = 64
"""Messages that a client may have deleted amid its history, for it still to be recognised."""

_MANY = 500
"""Messages beyond which comparing leaves the event loop."""

_LONG = 2**18
"""Characters beyond which it does."""

Found = list[Node | None]
"""For each message of an unknown history the node that says it, all in one branch."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """History that does not follow what is known of it.

    Attributes:
        messages: From the first unknown one up to the last reply.
        contents: What each says by itself.
        last: The last known message before them, if there is one.
        after: What follows that, in any branch.
        tip: What the conversation has come to, if it has a name.
    """

    namespace: Namespace
    messages: Sequence[Message]
    contents: Sequence[ContentId]
    last: Node | None
    after: Sequence[Node]
    tip: NodeId | None


class Elsewhere:
    """Looks for history in other places."""

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store

    async def find(self, unknown: Unknown) -> Found:
        """Return where most of the history was said, as far as it was. Raises StoreError.

        Where some history is known, a branch that follows it comes before any other.
        """
        best: tuple[bool, int, Found] = (False, 0, [None] * len(unknown.messages))
        async for place, end in self._places(unknown):
            path = await self._store.path(unknown.namespace, place, end + _SLACK)
            if not path:
                continue
            found = await _matched(path, unknown.messages[:end], unknown.contents[:end])
            found += await self._behind(unknown, path[-1], end)
            follows = unknown.last is None or any(node.id == unknown.last.id for node in path)
            count = _count(found)
            best = max(best, (follows and count > 0, count, found), key=_rank)
            if follows and count == len(found):
                break
        if best[1] or unknown.last is None:
            return best[2]
        return await self._after_the_same_words(unknown, unknown.last)

    async def _places(self, unknown: Unknown) -> AsyncIterator[tuple[NodeId, int]]:
        """Yield where the history may stand, and how many of its messages by then."""
        if live := [node for node in unknown.after if not node.abandoned]:
            yield live[-1].id, len(unknown.messages)
        if unknown.tip is not None:
            yield unknown.tip, len(unknown.messages)
            return
        ends = {content: end for end, content in enumerate(unknown.contents, start=1)}
        asked = list(dict.fromkeys(reversed(unknown.contents[-_ANCHORS:])))
        nodes = await self._store.with_content(unknown.namespace, asked, limit=_CANDIDATES)
        often = Counter(node.content for node in nodes)
        rarest = sorted(nodes, key=lambda node: (often[node.content], -ends[node.content]))
        for node in rarest[:_CANDIDATES]:
            yield node.id, ends[node.content]

    async def _after_the_same_words(self, unknown: Unknown, last: Node) -> Found:
        """Look for the history after other messages that say what the last known one says."""
        best: Found = [None] * len(unknown.messages)
        twins = await self._store.with_content(unknown.namespace, [last.content], limit=_CANDIDATES)
        for twin in twins:
            best = max(best, await self._behind(unknown, twin, 0), key=_count)
        return best

    async def _behind(self, unknown: Unknown, node: Node, begin: int) -> Found:
        """Return where the messages from ``begin`` on stand behind ``node``, as far as they do."""
        messages, contents = unknown.messages[begin:], unknown.contents[begin:]
        found: Found = [None] * len(messages)
        after = await self._store.after(unknown.namespace, node.id) if messages else ()
        for at, (message, content) in enumerate(zip(messages, contents, strict=True)):
            child = child_that_says(content, node, after) or child_like(message, node, after)
            if child is None:
                break
            found[at] = node = child
        return found


async def _matched(
    path: Sequence[Node], messages: Sequence[Message], contents: Sequence[ContentId]
) -> Found:
    is_short = sum(len(node.text) for node in path) < _LONG
    if is_short and len(path) + len(messages) < _MANY:
        return matched(path, messages, contents)
    return await asyncio.to_thread(matched, path, messages, contents)


def _count(found: Found) -> int:
    return sum(node is not None for node in found)


def _rank(place: tuple[bool, int, Found]) -> tuple[bool, int]:
    return place[:2]
