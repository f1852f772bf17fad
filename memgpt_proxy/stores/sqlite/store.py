"""The embedded store: every protocol of ``memgpt_proxy.stores.protocols`` over one file."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

from memgpt_proxy.stores.portable import START, Mark, Portable, Portion
from memgpt_proxy.stores.protocols import Remains, StoreError, StoreFull
from memgpt_proxy.stores.query import parse
from memgpt_proxy.stores.records import (
    ContentId,
    ContextEdit,
    Conversation,
    Counts,
    Fork,
    Holdings,
    Known,
    Namespace,
    Node,
    NodeId,
    Owner,
    Page,
    Passage,
    Trace,
    TurnId,
    TurnRecord,
    TurnState,
    WorkingContext,
)
from memgpt_proxy.stores.sqlite import erasing, exporting, pages, reads, rows, traces
from memgpt_proxy.stores.sqlite.connection import (
    Synchronous,
    connect_reader,
    connect_writer,
    leave_mark,
)
from memgpt_proxy.stores.sqlite.erasing import Stage, Step
from memgpt_proxy.stores.sqlite.exporting import Kind, Position
from memgpt_proxy.stores.sqlite.pages import Window
from memgpt_proxy.stores.sqlite.room import Room
from memgpt_proxy.stores.sqlite.taking_over import TakenOver
from memgpt_proxy.stores.sqlite.threads import Threads
from memgpt_proxy.stores.sqlite.writes import Forked, NewVersion, Visibility, Write
from memgpt_proxy.stores.storable import clean, owner_of

FIRST_LOOK = 8
"""Ids at a chain's end that are looked up first, at least: mostly one of them is known."""

READERS = 2
"""Reading threads: a long search leaves one for the turns."""

MOST_WRITES = 256
"""Writes that share a transaction at most."""

MOST_PASSAGES = 128
"""Passages of one caller that are written before others have their turn: some 20 ms."""

GATHER_WRITES = 0.002
"""Seconds for which a busy writer lets writes gather; one that was idle begins at once."""

MOST_ERASURES = 3
"""How often a memory is erased anew that others go on to write."""

LOG_TRIES = 50
LOG_PAUSE = 0.1
"""How often, and with how many seconds between, the log is tried to be emptied that reads use."""

log = logging.getLogger(__name__)

Read = Callable[[sqlite3.Connection], object]
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class SqliteStore:
    """A store in one SQLite file, written by one thread and read by a few.

    Args:
        path: The database file; it is created, and its directory, when missing.
        synchronous: ``normal`` survives the end of the process at any moment,
            ``full`` also that of the machine.
    """

    def __init__(self, path: Path, *, synchronous: Synchronous = "normal") -> None:
        self.file = path
        self._room = Room(path.parent)
        self._writer: Threads[Write, tuple[str, ...]] = Threads(
            "sqlite-writer",
            count=1,
            most=MOST_WRITES,
            gather=GATHER_WRITES,
            connect=partial(connect_writer, path, synchronous),
            carry_out=self._room.carry_out,
        )
        self._readers: Threads[Read, object] = Threads(
            "sqlite-reader",
            count=READERS,
            most=1,
            connect=partial(connect_reader, path),
            carry_out=_carry_out_reads,
        )

    @property
    def degraded(self) -> bool:
        """Nothing ever waits: what cannot be written is refused."""
        return False

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """All that is committed is found at once, whoever has written it."""

    def alone(self, *, alone: bool) -> None:
        """It makes no difference, for the same reason."""

    async def open(self) -> None:
        """Create what is missing and start the threads.

        Raises StoreUnavailable when the file cannot be used, and StoreError when it is
        of another version or SQLite lacks a feature.
        """
        await self._writer.start()
        try:
            await self._readers.start()
        except (StoreError, asyncio.CancelledError):
            await self._writer.stop()
            raise

    async def leave_mark(self, own: str) -> str:
        """Return the mark of the secret that its namespaces were begun with, or leave one's own.

        Raises StoreError. It has to be open.
        """
        return await asyncio.to_thread(leave_mark, self.file, own)

    async def close(self) -> None:
        """Carry out every read and write accepted so far, then close the file.

        The writer goes last: only the last connection folds the log into the file,
        and readers may not.
        """
        await self._readers.stop()
        await self._writer.stop()

    def is_full(self) -> bool:
        """Return whether a write found no room on the disk, and no more is free since. Blocks."""
        return self._room.is_lacking()

    async def ping(self) -> None:
        """Return when the schema can be read, a transaction was committed, and no write lacks room.

        What a small one finds may be too little for the messages of a turn.
        """
        await self.counts(Namespace(""))
        await self._writer.submit(Write(probe=True))
        if await asyncio.to_thread(self.is_full):
            raise StoreFull("the database has taken no larger write since its disk was found full")

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Find the longest known prefix of ``chain`` and read what a turn on it needs.

        It is always the longest; ``enough`` tells how far from the end to look at first.
        """
        look = max(FIRST_LOOK, len(chain) - enough + 1)
        return await self._read(reads.read_turn, owner_of(namespace), chain, look)

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Return ``node`` and the messages before it, ``length`` at most, oldest first."""
        return await self._read(reads.path, owner_of(namespace), node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Return what follows a message in any branch, nearest first."""
        return await self._read(reads.after, owner_of(namespace), node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Return the newest messages that say one of ``contents``, ``limit`` at most of each."""
        return await self._read(reads.with_content, owner_of(namespace), contents, limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Return the conversation of this name."""
        return await self._read(reads.conversation, owner_of(namespace), name)

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store what a turn leaves behind, all or nothing; durable when it returns."""
        owner = owner_of(namespace)
        named = [record.conversation] if record.conversation else []
        known = await self._writer.submit(
            Write(
                nodes=[rows.node_row(owner, node) for node in record.nodes],
                queues=[rows.queue_row(owner, each, record.created) for each in record.queues],
                fork=_forked(owner, record.fork) if record.fork else None,
                conversations=[
                    rows.conversation_row(owner, each, record.created) for each in named
                ],
                waited=record.waited,
                unplaced=record.unplaced,
            )
        )
        return tuple(node.id for node in record.nodes if clean(node.id) in known)

    async def search_messages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Return messages with every term, newest first; if none has, the best of any term."""
        return await self._read(
            pages.search_messages,
            owner_of(namespace),
            parse(query),
            Window(limit, offset, tuple(without)),
        )

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the messages with ``start <= created < end``, newest first, abandoned last."""
        return await self._read(
            pages.messages_between,
            owner_of(namespace),
            start.timestamp(),
            end.timestamp(),
            Window(limit, offset),
        )

    async def insert_passages(self, namespace: Namespace, passages: Sequence[Passage]) -> None:
        """Store passages; one whose id is known is left as it is.

        Those of a book go in batches, and other writes in between. Where it is cancelled or
        fails midway the first of them are stored, and it can be repeated.
        """
        owner = owner_of(namespace)
        for start in range(0, len(passages), MOST_PASSAGES):
            batch = passages[start : start + MOST_PASSAGES]
            inserted = [rows.passage_row(owner, passage) for passage in batch]
            await self._writer.submit(Write(passages=inserted))

    async def search_passages(
        self,
        namespace: Namespace,
        query: str,
        *,
        limit: int,
        offset: int,
        without: Sequence[str] = (),
    ) -> Page:
        """Return passages with every term, best first; if none has, the best of any term."""
        return await self._read(
            pages.search_passages,
            owner_of(namespace),
            parse(query),
            Window(limit, offset, tuple(without)),
        )

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the passages with ``start <= created < end``, newest first."""
        return await self._read(
            pages.passages_between,
            owner_of(namespace),
            start.timestamp(),
            end.timestamp(),
            Window(limit, offset),
        )

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Take what these turns have stored out of searches and counts."""
        await self._set_hidden(namespace, turns, hidden=True)

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Put what was hidden of these turns back."""
        await self._set_hidden(namespace, turns, hidden=False)

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context as it is now; version 0 and empty if never written."""
        return await self._read(reads.context, owner_of(namespace))

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Return an earlier version; version 0 is empty. Raises StoreError if unknown."""
        return await self._read(reads.context_at, owner_of(namespace), version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Replace version ``expected``. Raises StaleVersion when it is another by now."""
        text = clean(content)
        by = (clean(node), clean(turn))
        await self._writer.submit(Write(edit=NewVersion(owner_of(namespace), expected, text, *by)))
        return WorkingContext(expected + 1, text)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Return the edits that were made in these turns, oldest first."""
        return await self._read(reads.edits, owner_of(namespace), turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Return how many messages and passages there are."""
        return await self._read(reads.counts, owner_of(namespace))

    async def erase(self, namespace: Namespace) -> Holdings:
        """Remove all that there is of a namespace, and see that nothing is left."""
        return await self.erase_owner(owner_of(namespace))

    async def erased_at(self, namespace: Namespace) -> float:
        """Return 0.0: nothing that was made earlier waits anywhere to be stored later."""
        return 0.0

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store records as they are, all or nothing."""
        await self.take_over(owner_of(namespace), records)

    async def holdings(self, owner: Owner) -> Holdings:
        """Return how many records an owner has."""
        return await self._read(erasing.holdings, owner)

    async def erase_owner(self, owner: Owner) -> Holdings:
        """Remove all that an owner has, in steps; where it breaks off, it can be repeated.

        Its words are then in no page of the file that is free, nor in the log.
        """
        await self._writer.submit(Write())  # what was asked for before is there
        there = left = await self.holdings(owner)
        if not there.records and not await self._read(erasing.is_known, owner):
            return there  # and the indexes, which are everybody's, are not merged for it
        for _ in range(MOST_ERASURES):
            for stage in erasing.REMOVING:
                while await self._writer.submit(Write(erasing=Step(owner, stage))):
                    pass
            left = await self.holdings(owner)
            if not left.records and not await self._read(erasing.indexed, owner):
                if await self._empty_log():
                    await self._writer.submit(Write(erasing=Step(owner, Stage.OWNER)))
                    await self._empty_log()
                return there
        raise Remains(f"{left.records} records are left: something goes on to write them")

    async def _empty_log(self) -> bool:
        """Return whether nothing of what was is in the log any more."""
        for _ in range(LOG_TRIES):
            if not await self._writer.submit(Write(empties_log=True)):
                return True
            await asyncio.sleep(LOG_PAUSE)
        log.warning("long reads keep what was erased in the log of %s for now", self.file)
        return False

    async def write(self, write: Write) -> None:
        """Carry out a write along with those that wait."""
        await self._writer.submit(write)

    async def owners(self) -> AsyncIterator[Owner]:
        """Yield all owners, each once, in order."""
        last = Owner("")
        while found := await self._read(exporting.owners, last):
            for last in found:
                yield last

    async def size(self, owner: Owner | None) -> int:
        """Return how many records an owner has, or all owners."""
        return await self._read(exporting.size, owner)

    async def export(self, owner: Owner, after: Mark = START) -> AsyncIterator[Portion]:
        """Yield all records of an owner behind ``after``, kind by kind."""
        kinds, last = exporting.stand_of(after)
        for kind in kinds:
            while ahead := await self._read(exporting.positions, kind, owner, last):
                async for found in self._records(kind, owner, ahead):
                    last = list(found)[-1]
                    yield Portion(list(found.values()), exporting.mark_of(kind, last))
                last = ahead[-1]
            last = None

    async def _records(
        self, kind: Kind, owner: Owner, ahead: Sequence[Position]
    ) -> AsyncIterator[dict[Position, Portable]]:
        """Yield the records at these positions, so many at once as make a portion."""
        at = 0
        while at < len(ahead):
            asked = ahead[at : at + exporting.MOST_RECORDS]
            found = await self._read(exporting.records, kind, owner, asked)
            if found:
                yield found
            at += asked.index(list(found)[-1]) + 1 if found else len(asked)

    async def take_over(self, owner: Owner, records: Sequence[Portable]) -> None:
        """Store records as they are, all or nothing, in place of those of the same name."""
        await self._writer.submit(Write(taken_over=TakenOver(owner, records)))

    async def keep_traces(self, kept: Mapping[Namespace, Sequence[Trace]]) -> None:
        """Keep traces of turns, and forget the oldest."""
        rows = [
            traces.row(owner_of(namespace), trace)
            for namespace, several in kept.items()
            for trace in several
        ]
        await self._writer.submit(Write(traces=rows))

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None = None
    ) -> tuple[Trace, ...]:
        """Return traces, the newest first."""
        return await self._read(traces.read, owner_of(namespace), limit, before)

    async def _set_hidden(
        self, namespace: Namespace, turns: Sequence[TurnId], *, hidden: bool
    ) -> None:
        change = Visibility(owner_of(namespace), rows.ids_to_json(turns), hidden)
        await self._writer.submit(Write(visibility=change))

    async def _read(
        self,
        statement: Callable[Concatenate[sqlite3.Connection, Parameters], Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """Run ``statement`` in a reading thread."""

        def read(connection: sqlite3.Connection) -> object:
            return statement(connection, *args, **kwargs)

        return cast("Result", await self._readers.submit(read))


def _forked(owner: str, fork: Fork) -> Forked:
    return Forked(
        namespace=owner,
        left=rows.ids_to_json(fork.left),
        kept=rows.ids_to_json(fork.kept),
        taken_up=clean(fork.taken_up or ""),
    )


def _carry_out_reads(connection: sqlite3.Connection, reads: Sequence[Read]) -> list[object]:
    return [read(connection) for read in reads]
