"""Everything that a store can be asked about some records, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from memgpt_proxy.stores.portable import (
    START,
    ContextVersion,
    Mark,
    Portable,
    PortableStore,
    StoredPassage,
)
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    ContentId,
    Conversation,
    Namespace,
    Node,
    NodeId,
    Owner,
    QueueState,
    TurnId,
)

EARLIEST = datetime.fromtimestamp(0, UTC)
LATEST = datetime.fromtimestamp(2**33, UTC)


async def answers(
    store: Store, namespace: Namespace, records: Iterable[Portable], *, ranked: bool = True
) -> list[Any]:
    """What a store says of these records, whether it has them or not.

    ``ranked=False`` leaves out how it ranks matches, which each family does by itself.
    """
    records = list(records)
    nodes = [record for record in records if isinstance(record, Node)]
    names = sorted({node.id for node in nodes} | {node.parent for node in nodes})
    turns = sorted({record.turn for record in records if isinstance(record, Node | ContextVersion)})
    said: list[Any] = [await store.counts(namespace), await store.context(namespace)]
    for name in names:
        said.append(await store.path(namespace, name, 9))
        said.append(await store.after(namespace, name))
    for node in nodes:
        said += await _turns(store, namespace, [NodeId("a"), node.key])
        said.append(await store.with_content(namespace, [node.content], limit=1))
    everything = sorted({node.content for node in nodes})
    said.append(await store.with_content(namespace, everything, limit=3))
    said.append(await store.edits(namespace, [TurnId("s"), *turns]))
    for record in records:
        if isinstance(record, ContextVersion):
            said.append(await store.context_at(namespace, record.version))
        if isinstance(record, Conversation):
            said.append(await store.conversation(namespace, record.name))
        if isinstance(record, QueueState):
            said += await _turns(store, namespace, [record.node])
    return said + await searches(store, namespace, ranked=ranked)


async def _turns(store: Store, namespace: Namespace, chain: Sequence[NodeId]) -> list[Any]:
    state = await store.read_turn(namespace, chain, enough=len(chain))
    return [state if state.queue is None else replace(state, counts=None)]  # may be left out then


async def searches(store: Store, namespace: Namespace, *, ranked: bool = True) -> list[Any]:
    """What the searches find, in their order and by pages."""
    said: list[Any] = []
    for query in ("alpha", "alpha beta", '"beta alpha"', "alpha-7", "gamma", "delta alpha"):
        for search in (store.search_messages, store.search_passages):
            page = await search(namespace, query, limit=99, offset=0)
            by_name = sorted(page.hits, key=lambda hit: hit.id)
            said += [page.total, page.hits if ranked else by_name]
            if ranked:
                said.append(await search(namespace, query, limit=3, offset=1))
    said.append(await store.messages_between(namespace, EARLIEST, LATEST, limit=99, offset=0))
    said.append(await store.messages_between(namespace, EARLIEST, LATEST, limit=3, offset=1))
    said.append(await store.passages_between(namespace, EARLIEST, LATEST, limit=99, offset=0))
    said.append(await store.passages_between(namespace, EARLIEST, LATEST, limit=3, offset=1))
    said.append(await store.search_messages(namespace, "alpha", limit=99, offset=0))
    return said


async def exported(store: PortableStore, owner: Owner, after: Mark = START) -> list[Portable]:
    """All that a store exports of an owner."""
    return [record async for portion in store.export(owner, after) for record in portion.records]


def named(record: Portable) -> tuple[str, str | int]:
    """The kind and name of a record."""
    match record:
        case Node(id=name):
            return "node", name
        case QueueState(node=name):
            return "queue", name
        case Conversation(name=name):
            return "conversation", name
        case StoredPassage(passage=passage):
            return "passage", passage.id
        case ContextVersion(version=version):
            return "context", version


def contents(*words: str) -> list[ContentId]:
    """The contents of messages that say these words."""
    return [ContentId(word) for word in words]
