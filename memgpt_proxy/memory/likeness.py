"""The same words, written otherwise: what clients do to the history that they send back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from html import unescape
from unicodedata import normalize

from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.stores.records import ContentId, Node, Role

_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_NEAR = 16
"""Messages that a client may have dropped before one that it writes otherwise."""
_MOSTLY = 0.8
"""Part of a longer text from which on a shorter one in it counts as the same."""


def alike(node: Node, message: Message) -> bool:
    """Return whether ``message`` is what ``node`` says, as a client may have rewritten it.

    White space, entities, invisible signs and forms of Unicode do not count. A reply may
    besides have lost or got a little at its ends; of one that was cut off any beginning
    counts.
    """
    if node.role.value != message["role"] or not node.text:
        return False
    ours, theirs = _squeezed(node.text), _squeezed(said(message))
    if ours == theirs:
        return True
    if node.role is not Role.ASSISTANT or not theirs:
        return False
    if not node.complete and ours.startswith(theirs):
        return True
    shorter, longer = sorted((ours, theirs), key=len)
    return len(shorter) >= _MOSTLY * len(longer) and shorter in longer


def child_that_says(content: ContentId, node: Node, after: Sequence[Node]) -> Node | None:
    """Return what follows ``node`` and says ``content``, out of what is known to follow it."""
    return next((n for n in after if n.parent == node.id and n.content == content), None)


def child_like(message: Message, node: Node, after: Sequence[Node]) -> Node | None:
    """Return what follows ``node`` and is like ``message``; live and whole ones first."""
    children = [n for n in after if n.parent == node.id]
    children.sort(key=lambda n: (n.abandoned, not n.complete))
    return next((n for n in children if alike(n, message)), None)


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
    """Align from the newest on: of several places where words stand, the last one is meant."""
    found: list[Node | None] = [None] * len(messages)
    ours = [node.content for node in path]
    blocks = SequenceMatcher(None, ours, contents, autojunk=False)
    for tag, a, a_end, b, b_end in blocks.get_opcodes():
        if tag == "equal":
            found[b:b_end] = path[a:a_end]
        elif tag == "replace":
            found[b:b_end] = _rewritten(path[a:a_end], messages[b:b_end])
    return found


def _rewritten(path: Sequence[Node], messages: Sequence[Message]) -> list[Node | None]:
    """Return for each message the node that says it otherwise, in order."""
    found: list[Node | None] = []
    at = 0
    for message in messages:
        near = range(at, min(at + _NEAR, len(path)))
        place = next((n for n in near if alike(path[n], message)), None)
        found.append(None if place is None else path[place])
        at = at if place is None else place + 1
    return found


def _squeezed(text: str) -> str:
    plain = text if text.isascii() else _INVISIBLE.sub("", normalize("NFKC", text))
    return " ".join(unescape(plain).split())
