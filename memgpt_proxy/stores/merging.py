"""What becomes of a record that is stored already, in every family of stores."""

from __future__ import annotations

from dataclasses import replace

from memgpt_proxy.stores.records import Node


def merged(known: Node, node: Node) -> Node:
    """Return what the store makes of a known node that is committed again."""
    if not node.complete:
        return known
    if node.turn not in ("", known.turn):
        return replace(
            known,
            entries=node.entries,
            tokens=node.tokens,
            queue=node.queue,
            context_version=node.context_version,
            turn=node.turn,
            complete=True,
            abandoned=False,
        )
    if known.complete:
        return known
    return replace(known, entries=node.entries, tokens=node.tokens, complete=True)
