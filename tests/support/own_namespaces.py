"""A store whose namespaces are its own, so that tests may share what is behind it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Namespace

BY_NAMESPACE = {
    "changed_elsewhere",
    "read_turn",
    "path",
    "after",
    "with_content",
    "conversation",
    "commit",
    "search_messages",
    "messages_between",
    "insert_passages",
    "search_passages",
    "passages_between",
    "hide_passages",
    "show_passages",
    "context",
    "context_at",
    "write_context",
    "edits",
    "counts",
    "erase",
    "erased_at",
    "restore",
}


class OwnNamespaces:
    """Hands every call on; a namespace becomes one that nobody else uses."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._prefix = uuid4().hex

    def of(self, namespace: Namespace) -> Namespace:
        """The namespace behind one."""
        return Namespace(f"{self._prefix} {namespace}")

    def __getattr__(self, name: str) -> Any:
        asked = getattr(self._store, name)
        if name not in BY_NAMESPACE:
            return asked
        return lambda namespace, *args, **options: asked(self.of(namespace), *args, **options)
