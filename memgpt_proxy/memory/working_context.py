"""The working context: a small text that the model itself keeps, always in its prompt."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.stores.protocols import ContextStore, StaleVersion
from memgpt_proxy.stores.records import Namespace, NodeId, WorkingContext

_ATTEMPTS = 50


class WorkingContextEditor:
    """Edits the working context by compare-and-set: no edit of another turn is lost."""

    def __init__(self, store: ContextStore) -> None:
        self._store = store

    async def append(
        self, namespace: Namespace, node: NodeId, content: str, *, limit: int
    ) -> WorkingContext:
        """Add ``content`` as a line.

        Args:
            limit: Size of the working context, in characters.

        Raises:
            CallFailed: There is no room for it.
        """
        line = content.strip()
        if not line:
            raise CallFailed("content is empty; give the text to append.")
        return await self._edit(
            namespace, node, lambda text: f"{text}\n{line}" if text else line, limit
        )

    async def replace(
        self, namespace: Namespace, node: NodeId, old: str, new: str, *, limit: int
    ) -> WorkingContext:
        """Put ``new`` in the place of ``old``, which must occur exactly once; empty deletes.

        Raises CallFailed when it does not, or when there is no room for the new text.
        """
        if not old:
            raise CallFailed("old_content is empty; give the exact text to replace.")
        return await self._edit(namespace, node, lambda text: _replace_once(text, old, new), limit)

    async def _edit(
        self, namespace: Namespace, node: NodeId, change: Callable[[str], str], limit: int
    ) -> WorkingContext:
        for _ in range(_ATTEMPTS):
            now = await self._store.context(namespace)
            content = change(now.content)
            if len(content) > max(limit, len(now.content)):
                raise CallFailed(_no_room(len(content), len(now.content), limit))
            try:
                return await self._store.write_context(namespace, now.version, content, node)
            except StaleVersion:
                continue
        raise CallFailed("the working context is being changed elsewhere; try again.")


def changes(before: str, after: str) -> list[str]:
    """Return the lines that were removed (``- …``) and added (``+ …``) between two versions."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line.startswith(("- ", "+ "))]


def grouped(number: int) -> str:
    """Return ``number`` with its digits in groups of three: 8 000."""
    return f"{number:,}".replace(",", " ")


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
