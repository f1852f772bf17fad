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
    found: list[Node | None] = [None] * len(messages)
    for tag, a, a_end, b, b_end in SequenceMatcher(None, ours, contents).get_opcodes():
        if tag == "equal":
            found[b:b_end] = path[a:a_end]
        elif tag == "replace" and a_end - a == b_end - b:
            pairs = zip(path[a:a_end], messages[b:b_end], strict=True)
            found[b:b_end] = [node if alike(node, message) else None for node, message in pairs]
    return found


def _squeezed(text: str) -> str:
    plain = text if text.isascii() else _INVISIBLE.sub("", normalize("NFKC", text))
    return " ".join(unescape(plain).split())
