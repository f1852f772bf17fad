"""The production store: every protocol of ``memgpt_proxy.stores.protocols`` over Elasticsearch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from memgpt_proxy.stores.elasticsearch import (
    commits,
    contexts,
    erasing,
    indices,
    moving,
    pages,
    passages,
    reads,
    secret,
    traces,
    tree,
)
from memgpt_proxy.stores.elasticsearch.access import Access
from memgpt_proxy.stores.elasticsearch.client import (
    Connection,
    Denied,
    connect,
    provoke,
    send,
    server_version,
)
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.forks import STEPS_WAITED, steps_of
from memgpt_proxy.stores.elasticsearch.indices import Names
from memgpt_proxy.stores.elasticsearch.lookups import Wanted
from memgpt_proxy.stores.elasticsearch.pages import Window
from memgpt_proxy.stores.ending import ended
from memgpt_proxy.stores.portable import START, ContextVersion, Mark, Portable, Portion
from memgpt_proxy.stores.protocols import StoreError, StoreUnavailable
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
from memgpt_proxy.stores.storable import clean, owner_of

Result = TypeVar("Result")

LAST_SECONDS = 5.0
"""How long closing may take to carry out what was accepted."""

PING_TIMEOUT = "1s"
"""How long the server may wait for an index that is not there."""

_END = object()
_NOBODY = Owner("")

log = logging.getLogger(__name__)


class ElasticsearchStore:
    """A store in the indices of one prefix, which any number of processes share.

    Args:
        connection: Where Elasticsearch is.
        prefix: What the indices' names begin with.
        shards: Of an index that has to be created.
    """

    def __init__(self, connection: Connection, *, prefix: str = "memgpt", shards: int = 1) -> None:
        self._connection = connection
        self._names = Names(prefix)
        self._shards = shards
        self._client = connect(connection)
        self._access = Access(self._client, self._names)
        self._clock = Clock()
        self._open = False
        self._mark: str | None = None  # what the indices are compared with, until they are
        self._writes: set[asyncio.Task[Any]] = set()
        self._forking: dict[Owner, asyncio.Task[None]] = {}

    @property
    def degraded(self) -> bool:
        """Nothing ever waits: what cannot be written is refused."""
        return False

    def alone(self, *, alone: bool) -> None:
        """Let every search refresh first while nobody tells what others write."""
        self._access.freshness.always = alone

    def changed_elsewhere(self, namespace: Namespace) -> None:
        """Let the next searches find what another process has just written."""
        owner = owner_of(namespace)
        for layout in indices.LAYOUTS:
            self._access.freshness.wrote(self._names.alias(layout), owner)

    def expect(self, mark: str) -> None:
        """Have ``open`` see whether the indices were begun with the secret of this mark."""
        self._mark = mark

    async def open(self) -> None:
        """Create the indices that are missing.

        Raises StoreUnavailable, and StoreError for a server or an index of another version, or
        one that does not let us in.
        """
        try:
            await server_version(self._client)
            await provoke(self._client, self._names.transcript)
            await indices.create_missing(self._client, self._names, self._shards)
        except Denied as error:
            raise StoreError(str(error)) from error
        if self._mark is not None:
            await self._recognise(self._mark)
        self._open = True

    async def _recognise(self, own: str) -> None:
        """Tell, once, of indices that were begun under another secret; leave the mark of one's own.

        Where they cannot be asked, or take no writes now, another start will.
        """
        try:
            there = await secret.leave_mark(self._client, self._names, own)
        except StoreError:
            return
        self._mark = None
        if there != own:
            log.warning(
                "%s-* was begun with another namespace secret than this: what was remembered with"
                " that is not found. Set namespace_secret as it was",
                self._names.prefix,
            )

    async def close(self) -> None:
        """Carry out every write accepted so far, then close the connections.

        What the server has not answered soon is broken off, as when it is away.
        """
        self._open = False
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                while running := {*self._writes, *self._forking.values()}:
                    await asyncio.wait(running)
        await ended({*self._writes, *self._forking.values()})
        await self._access.close()
        await self._client.close()

    async def ping(self) -> None:
        """Return when every index can be read, and all that was asked for is written.

        Writes whose callers have left are among them; what is asked for meanwhile is not.
        """
        if self._writes:
            await asyncio.wait(self._writes)
        aliases = [self._names.alias(layout) for layout in indices.LAYOUTS]
        asked, params = f"/_cluster/health/{','.join(aliases)}", {"timeout": PING_TIMEOUT}
        answer = await send(self._client, "GET", asked, params=params)
        if answer["status"] == "red":
            raise StoreUnavailable("Elasticsearch lacks shards: its health is red")
        # The health of an index that is closed is green.
        await self._access.get(_NOBODY, [Wanted(alias, "ping", "") for alias in aliases])

    async def read_turn(
        self, namespace: Namespace, chain: Sequence[NodeId], *, enough: int
    ) -> TurnState:
        """Find the longest known prefix of ``chain`` and read what a turn on it needs.

        It is always the longest; ``enough`` tells how far from the end to look at first.
        """
        owner = owner_of(namespace)
        names = [NodeId(clean(name)) for name in chain]
        return await reads.read_turn(self._access, self._clock, owner, names, enough)

    async def path(self, namespace: Namespace, node: NodeId, length: int) -> tuple[Node, ...]:
        """Return ``node`` and the messages before it, ``length`` at most, oldest first."""
        return await tree.path(self._access, owner_of(namespace), node, length)

    async def after(self, namespace: Namespace, node: NodeId) -> tuple[Node, ...]:
        """Return what follows a message in any branch, nearest first."""
        return await tree.after(self._access, owner_of(namespace), node)

    async def with_content(
        self, namespace: Namespace, contents: Sequence[ContentId], *, limit: int
    ) -> tuple[Node, ...]:
        """Return the newest messages that say one of ``contents``, ``limit`` at most of each."""
        return await reads.with_content(self._access, owner_of(namespace), contents, limit)

    async def conversation(self, namespace: Namespace, name: NodeId) -> Conversation | None:
        """Return the conversation of this name."""
        return await reads.conversation(self._access, owner_of(namespace), name)

    async def commit(self, namespace: Namespace, record: TurnRecord) -> Known:
        """Store what a turn leaves behind; durable when it returns.

        What a fork leaves is abandoned by then as far as ``STEPS_WAITED``, the rest soon after.
        """
        owner = owner_of(namespace)
        return await self._carry_out(self._commit(owner, record))

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
        searched = pages.messages(self._access)
        window, owner = Window(limit, offset, without), owner_of(namespace)
        return await pages.search(self._access, owner, searched, parse(query), window)

    async def messages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the messages with ``start <= created < end``, newest first, abandoned last."""
        searched, times = pages.messages(self._access), (start.timestamp(), end.timestamp())
        window, owner = Window(limit, offset), owner_of(namespace)
        return await pages.between(self._access, owner, searched, *times, window)

    async def insert_passages(self, namespace: Namespace, inserted: Sequence[Passage]) -> None:
        """Store passages; one whose id is known is left as it is.

        Where it fails midway the first of them are stored, and it can be repeated.
        """
        owner = owner_of(namespace)
        await self._carry_out(passages.insert(self._access, self._clock, owner, inserted))

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
        searched = pages.passages(self._access)
        window, owner = Window(limit, offset, without), owner_of(namespace)
        return await pages.search(self._access, owner, searched, parse(query), window)

    async def passages_between(
        self, namespace: Namespace, start: datetime, end: datetime, *, limit: int, offset: int
    ) -> Page:
        """Return the passages with ``start <= created < end``, newest first."""
        searched, times = pages.passages(self._access), (start.timestamp(), end.timestamp())
        window, owner = Window(limit, offset), owner_of(namespace)
        return await pages.between(self._access, owner, searched, *times, window)

    async def hide_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Take what these turns have stored out of searches and counts."""
        await self._set_hidden(namespace, turns, hidden=True)

    async def show_passages(self, namespace: Namespace, turns: Sequence[TurnId]) -> None:
        """Put what was hidden of these turns back."""
        await self._set_hidden(namespace, turns, hidden=False)

    async def context(self, namespace: Namespace) -> WorkingContext:
        """Return the working context as it is now; version 0 and empty if never written."""
        return await contexts.context(self._access, self._clock, owner_of(namespace))

    async def context_at(self, namespace: Namespace, version: int) -> WorkingContext:
        """Return an earlier version; version 0 is empty. Raises StoreError if unknown."""
        return await contexts.context_at(self._access, owner_of(namespace), version)

    async def write_context(
        self, namespace: Namespace, expected: int, content: str, node: NodeId, turn: TurnId
    ) -> WorkingContext:
        """Replace version ``expected``. Raises StaleVersion when it is another by now."""
        owner = owner_of(namespace)
        made = ContextVersion(expected + 1, content, node, turn)
        written = contexts.write(self._access, self._clock, owner, expected, made)
        return await self._carry_out(written)

    async def edits(self, namespace: Namespace, turns: Sequence[TurnId]) -> tuple[ContextEdit, ...]:
        """Return the edits that were made in these turns, oldest first."""
        return await contexts.edits(self._access, owner_of(namespace), turns)

    async def counts(self, namespace: Namespace) -> Counts:
        """Return how many messages and passages there are."""
        return await reads.counts(self._access, owner_of(namespace))

    async def keep_traces(self, kept: Mapping[Namespace, Sequence[Trace]]) -> None:
        """Keep traces of turns, and now and then forget the oldest."""
        of_owners = {owner_of(namespace): several for namespace, several in kept.items()}
        await self._carry_out(traces.keep(self._access, of_owners, self._clock.now()))

    async def traces(
        self, namespace: Namespace, *, limit: int, before: tuple[float, TurnId] | None = None
    ) -> tuple[Trace, ...]:
        """Return traces, the newest first."""
        return await traces.read(self._access, owner_of(namespace), limit, before)

    async def erase(self, namespace: Namespace) -> Holdings:
        """Remove all that there is of a namespace, and see that nothing is left."""
        return await self.erase_owner(owner_of(namespace))

    async def erased_at(self, namespace: Namespace) -> float:
        """Return when a namespace was last erased, by whichever process."""
        return await erasing.erased_at(self._access, owner_of(namespace))

    async def restore(self, namespace: Namespace, records: Sequence[Portable]) -> None:
        """Store records as they are."""
        await self.take_over(owner_of(namespace), records)

    async def erase_owner(self, owner: Owner) -> Holdings:
        """Remove all that an owner has; where it breaks off, it can be repeated."""
        running = {*self._writes, *([self._forking[owner]] if owner in self._forking else [])}
        if running:  # what was asked for before is there
            await asyncio.wait(running)
        erased = erasing.erase(self._access, self._clock, owner)
        return await self._carry_out(erased)

    async def holdings(self, owner: Owner) -> Holdings:
        """Return how many records an owner has."""
        return await erasing.holdings(self._access, owner)

    def owners(self) -> AsyncIterator[Owner]:
        """Yield all owners, each once, in a steady order."""
        return moving.owners(self._client, self._names)

    async def size(self, owner: Owner | None) -> int:
        """Return how many records an owner has, or all owners."""
        return await moving.size(self._client, self._access, self._names, owner)

    def export(self, owner: Owner, after: Mark = START) -> AsyncIterator[Portion]:
        """Yield all records of an owner behind ``after``, in a steady order."""
        return moving.export(self._access, owner, after)

    async def take_over(self, owner: Owner, records: Sequence[Portable]) -> None:
        """Store records as they are, in place of those of the same name; durable on return."""
        taken = moving.take_over(self._access, self._clock, owner, records)
        await self._carry_out(taken)

    async def _set_hidden(
        self, namespace: Namespace, turns: Sequence[TurnId], *, hidden: bool
    ) -> None:
        owner = owner_of(namespace)
        change = passages.set_hidden(self._access, self._clock, owner, turns, hidden=hidden)
        await self._carry_out(change)

    async def _commit(self, owner: Owner, record: TurnRecord) -> Known:
        before = self._clock.now()
        prepared = await commits.prepare(self._access, self._clock, owner, record)
        if record.fork is not None:
            await self._fork(owner, record.fork, before)
        return await commits.write(self._access, owner, prepared)

    async def _fork(self, owner: Owner, left: Fork, before: int) -> None:
        """Carry out the first steps of a fork, and leave the others to a task of the store."""
        while (other := self._forking.get(owner)) is not None:
            await asyncio.wait([other])
        steps = steps_of(self._access, self._clock, owner, left, before)
        for _ in range(STEPS_WAITED):
            if await anext(steps, _END) is _END:
                return
        task = asyncio.get_running_loop().create_task(_rest_of(steps))
        self._forking[owner] = task
        task.add_done_callback(lambda _: self._forking.pop(owner))

    async def _carry_out(self, write: Coroutine[Any, Any, Result]) -> Result:
        """Carry out a write, whatever becomes of its caller."""
        if not self._open:
            write.close()
            raise StoreError("the store is not open")
        task = asyncio.get_running_loop().create_task(write)
        self._writes.add(task)
        task.add_done_callback(self._written)
        return await asyncio.shield(task)

    def _written(self, task: asyncio.Task[Any]) -> None:
        self._writes.discard(task)
        if not task.cancelled():
            task.exception()  # its caller has it, or has left


async def _rest_of(steps: AsyncIterator[None]) -> None:
    try:
        async for _ in steps:
            pass
    except StoreError as error:
        log.warning("a branch that was left is not marked to its end: %s", error)
