"""Archival storage: notes and documents of any length."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.memory.results import PAGE_SIZE, ResultFormat, offset
from memgpt_proxy.memory.working_context import Author
from memgpt_proxy.stores.protocols import ArchivalStore
from memgpt_proxy.stores.records import NO_TURN, Namespace, NodeId, Passage, TurnId
from memgpt_proxy.stores.storable import composed

PASSAGE_CHARACTERS = 1200
"""Length that a long text is cut to: some 300 tokens, so that ten fit in a small window."""


class Archive:
    """Keeps and searches passages of a namespace, for the model to read."""

    def __init__(self, store: ArchivalStore, wording: ResultFormat) -> None:
        self._store = store
        self._wording = wording

    async def insert(self, namespace: Namespace, author: Author, text: str, created: float) -> int:
        """Store ``text``, in passages where it is long; return their number.

        The same text in the same turn is stored once. Raises CallFailed when it is empty.
        """
        passages = cut(text, author.node, created, author.turn)
        if not passages:
            raise CallFailed("content is empty; give the text to keep.")
        await self._store.insert_passages(namespace, passages)
        return len(passages)

    async def search(self, namespace: Namespace, query: str, page: int, longest: int) -> str:
        """Return a page of the passages that match ``query``, each cut at ``longest``."""
        found = await self._store.search_passages(
            namespace, query, limit=PAGE_SIZE, offset=offset(page)
        )
        return self._wording.passages(found, page, longest, query)


def cut(text: str, node: NodeId, created: float, turn: TurnId = NO_TURN) -> list[Passage]:
    """Return ``text`` as passages, cut between paragraphs, sentences or words where it can be."""
    return [
        Passage(_passage_id(f"{node}{turn}", number, piece), piece, created, node, turn)
        for number, piece in enumerate(_pieces(composed(text)))
    ]


def _passage_id(origin: str, number: int, text: str) -> str:
    what = f"{origin}\0{number}\0{text}".encode("utf-8", "surrogatepass")
    return blake2b(what, digest_size=16, person=b"memgpt passage").hexdigest()


def _pieces(text: str) -> Iterator[str]:
    start, end = 0, len(text)
    while end - start > PASSAGE_CHARACTERS:
        border = _border(text, start, start + PASSAGE_CHARACTERS)
        if piece := text[start:border].strip():
            yield piece
        start = border
    if piece := text[start:].strip():
        yield piece


def _border(text: str, start: int, limit: int) -> int:
    """Return where to cut: in the second half, at the strongest border there is."""
    earliest = start + PASSAGE_CHARACTERS // 2
    for mark in ("\n\n", "\n", ". ", " "):
        found = text.rfind(mark, earliest, limit)
        if found >= 0:
            return found + len(mark)
    return limit
