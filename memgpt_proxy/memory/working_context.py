"""The working context: a small text that the model itself keeps, always in its prompt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from difflib import SequenceMatcher

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.stores.protocols import ContextStore, StaleVersion
from memgpt_proxy.stores.records import Namespace, NodeId, TurnId, WorkingContext
from memgpt_proxy.values import dataclass

_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes to memory: a turn, which answers the message ``node``."""

    node: NodeId
    turn: TurnId


class WorkingContextEditor:
    """Edits the working context by compare-and-set: no edit of another turn is lost."""

    def __init__(self, store: ContextStore) -> None:
        self._store = store

    async def append(
        self, namespace: Namespace, author: Author, content: str, *, limit: int
    ) -> WorkingContext:
        """Add ``content`` as a line, unless it is there already.

        Args:
            limit: Size of the working context, in characters.

        Raises:
            CallFailed: There is no room for it.
        """
        line = content.strip()
        if not line:
            raise CallFailed("content is empty; give the text to append.")
        return await self._edit(namespace, author, lambda text: _with_line(text, line), limit)

    async def replace(
        self, namespace: Namespace, author: Author, old: str, new: str, *, limit: int
    ) -> WorkingContext:
        """Put ``new`` in the place of ``old``, which must occur exactly once; empty deletes.

        Raises CallFailed when it does not, or when there is no room for the new text.
        """
        if not old:
            raise CallFailed("old_content is empty; give the exact text to replace.")
        return await self._edit(
            namespace, author, lambda text: _replace_once(text, old, new), limit
        )

    async def _edit(
        self, namespace: Namespace, author: Author, change: Callable[[str], str], limit: int
    ) -> WorkingContext:
        def bounded(text: str) -> str:
            content = change(text)
            if len(content) > max(limit, len(text)):
                raise CallFailed(_no_room(len(content), len(text), limit))
            return content

        try:
            return await rewrite(self._store, namespace, author, bounded)
        except StaleVersion:
            raise CallFailed("the working context is being changed elsewhere; try again.") from None


async def rewrite(
    store: ContextStore, namespace: Namespace, author: Author, change: Callable[[str], str]
) -> WorkingContext:
    """Change the working context as it is now; what changes nothing writes nothing.

    Raises StaleVersion where others never let it through.
    """
    for _ in range(_ATTEMPTS):
        now = await store.context(namespace)
        content = change(now.content)
        if content == now.content:
            return now
        with suppress(StaleVersion):
            return await store.write_context(
                namespace, now.version, content, author.node, author.turn
            )
    raise StaleVersion(f"no write came through in {_ATTEMPTS} attempts")


def changes(before: str, after: str) -> list[str]:
    """Return the lines that were removed (``- …``) and added (``+ …``) between two versions."""
    old, new = before.splitlines(), after.splitlines()
    told = []
    for tag, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes():
        if tag != "equal":
            told += [f"- {line}" for line in old[start:end]]
            told += [f"+ {line}" for line in new[new_start:new_end]]
    return told


def grouped(number: int) -> str:
    """Return ``number`` with its digits in groups of three: 8 000."""
    return f"{number:,}".replace(",", " ")


def _with_line(text: str, line: str) -> str:
    if not text:
        return line
    return text if f"\n{line}\n" in f"\n{text}\n" else f"{text}\n{line}"


def _no_room(wanted: int, used: int, limit: int) -> str:
    return (
        f"the working context would hold {grouped(wanted)} characters; its limit is "
        f"{grouped(limit)} and {grouped(used)} are used. Replace or delete something "
        "with working_context_replace, or keep this in archival storage."
    )


def _replace_once(text: str, old: str, new: str) -> str:
    match text.count(old):
        case 0:
            raise CallFailed(
                "old_content does not occur in the working context; "
                "copy the text exactly as it stands there."
            )
        case 1:
            lines = text.replace(old, new).splitlines()
            return "\n".join(line for line in lines if line.strip())
        case several:
            raise CallFailed(
                f"old_content occurs {several} times in the working context; "
                "give more of the text around it."
            )
