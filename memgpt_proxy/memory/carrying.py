"""Carrying a memory out of a store as lines, and lines into one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Protocol

from memgpt_proxy.memory.renaming import renamed
from memgpt_proxy.stores.lines import (
    Export,
    Head,
    Malformed,
    head_line,
    kind_of,
    last_line,
    read,
    record_line,
)
from memgpt_proxy.stores.portable import (
    ContextVersion,
    Portable,
    PortableStore,
    StoredPassage,
)
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import (
    Conversation,
    Namespace,
    Node,
    Owner,
    QueueState,
    Trace,
    TurnId,
)
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.tally import Tally, tally

TRACES_AT_ONCE = 100

PORTION = 200
PORTION_CHARACTERS = 4 << 20
"""Records, and characters of texts, behind which a portion takes no further record."""

Restore = Callable[[Sequence[Portable]], Awaitable[None]]
"""Stores records as they are."""


class Traces(Protocol):
    """Where the traces of turns are."""

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None
    ) -> Sequence[Trace]:
        """Return traces, the newest first; see ``TraceStore``."""
        ...


class NotEmpty(Exception):
    """The memory that an export is to go into has something of its own."""


class OtherNames(Exception):
    """An export does not tell the namespace that its names are made with."""


async def exported(
    store: PortableStore,
    owner: Owner,
    created: float,
    *,
    namespace: Namespace | None = None,
    traces: Traces | None = None,
) -> AsyncIterator[bytes]:
    """Yield the lines of an owner's memory, some at a time.

    What is written meanwhile may or may not be among them.

    Args:
        created: When that is, in seconds since the epoch.
        namespace: What the owner stands for, where it is known.
        traces: Where the traces of its turns are, for an owner whose namespace is known.
    """
    counts: Counter[str] = Counter()
    yield head_line(Head(owner, created, namespace))
    async for portion in store.export(owner):
        counts.update(map(kind_of, portion.records))
        yield b"".join(map(record_line, portion.records))
    if traces is not None and namespace is not None:
        async for several in _traces(traces, namespace):
            counts.update(map(kind_of, several))
            yield b"".join(map(record_line, several))
    yield last_line(counts)


async def _traces(store: Traces, namespace: Namespace) -> AsyncIterator[Sequence[Trace]]:
    before: tuple[float, TurnId] | None = None
    while found := await store.traces(namespace, limit=TRACES_AT_ONCE, before=before):
        yield found
        before = (found[-1].created, found[-1].turn)


def records_for(
    lines: Iterable[bytes], owner: Owner, namespace: Namespace | None
) -> list[Portable]:
    """Return what an export has, as the memory it is for would have made it.

    Args:
        lines: Of the export.
        owner: Whose memory it is to go into.
        namespace: What that owner stands for, where it is known.

    Raises:
        Malformed: They are none, or something is missing.
        OtherNames: It is another owner's, and it cannot be told how to name the messages.
    """
    export = read(lines)
    records = list(export.records)
    if export.head.owner != owner:
        records = _renamed(export, namespace)
    names = [name_of(record) for record in records]
    if len(set(names)) < len(names):
        raise Malformed("The export has two records of one name.")
    _check_places(records)
    return records


def _check_places(records: Sequence[Portable]) -> None:
    """Check that messages hang on earlier ones, and queues begin on the way to theirs."""
    depths = {each.id: each.depth for each in records if isinstance(each, Node)}
    for each in records:
        match each:
            case Node() if depths.get(each.parent, -1) >= each.depth:
                raise Malformed("The export has a message that hangs on itself, or a later one.")
            case QueueState() if each.start > depths.get(each.node, each.start) + 1:
                raise Malformed("The export has a queue that begins behind its message.")


def _renamed(export: Export, namespace: Namespace | None) -> list[Portable]:
    told = export.head.namespace
    if told is None or namespace is None or owner_of(told) != export.head.owner:
        raise OtherNames
    return renamed(export.records, told, namespace)


async def take_in(
    records: Sequence[Portable], store: PortableStore, owner: Owner, restore: Restore
) -> Counter[str]:
    """Store what an export has, and see that all of it is there; return how many of each kind.

    Args:
        records: From ``records_for``.
        store: Where the owner's records are.
        restore: Stores them there, and tells all who have to know.

    Raises:
        NotEmpty: Something else is there; nothing is stored.
        StoreError: A part may be stored; it can be repeated.
    """
    expected = Tally()
    await asyncio.to_thread(expected.add, owner, records)
    await _require_room(records, store, owner)
    for portion in _portions(records):
        await restore(portion)
    if (await tally(store, owner)).differing(expected):
        raise StoreError("what was stored is not what was read")
    return Counter(map(kind_of, records))


async def _require_room(records: Sequence[Portable], store: PortableStore, owner: Owner) -> None:
    """Raise NotEmpty unless there is nothing, or what an import of the same has left."""
    ours = {name_of(record): record for record in records}
    async for portion in store.export(owner):
        if any(ours.get(name_of(each)) != each for each in portion.records):
            raise NotEmpty
        await asyncio.sleep(0)


def name_of(record: Portable) -> tuple[str, str]:
    """Return what tells a record from all others of its owner."""
    match record:
        case Node(id=name):
            return "message", name
        case QueueState(node=name):
            return "queue_state", name
        case Conversation(name=name):
            return "conversation", name
        case StoredPassage(passage=passage):
            return "passage", passage.id
        case ContextVersion(version=version):
            return "working_context", str(version)


def _portions(records: Sequence[Portable]) -> Iterator[Sequence[Portable]]:
    portion: list[Portable] = []
    characters = 0
    for record in records:
        portion.append(record)
        characters += _characters(record)
        if len(portion) == PORTION or characters > PORTION_CHARACTERS:
            yield portion
            portion, characters = [], 0
    if portion:
        yield portion


def _characters(record: Portable) -> int:
    match record:
        case Node(text=text, entries=entries):
            return len(text) + len(entries)
        case QueueState(summary=summary):
            return len(summary)
        case StoredPassage(passage=passage):
            return len(passage.text)
        case ContextVersion(content=content):
            return len(content)
        case _:
            return 0
