"""Erasing a memory: nothing of it is left, and nothing of others' is touched."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import numpy as np
import pytest

from memgpt_proxy.stores.changes import Committed, Shown
from memgpt_proxy.stores.codec import decode
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.journaled import JournaledStore
from memgpt_proxy.stores.protocols import Remains, Store, StoreError, StoreUnavailable
from memgpt_proxy.stores.records import (
    NO_TURN,
    Conversation,
    Counts,
    Holdings,
    Namespace,
    NodeId,
    Trace,
    TurnId,
    WorkingContext,
)
from memgpt_proxy.stores.sqlite import SqliteStore, erasing, rows
from memgpt_proxy.stores.sqlite import store as sqlite_store
from memgpt_proxy.stores.sqlite.erasing import Stage, Step
from memgpt_proxy.stores.sqlite.vectors import SqliteVectors
from memgpt_proxy.stores.sqlite.writes import Write
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import Embedded, Kind, Name, Space
from memgpt_proxy.telemetry import Telemetry
from tests.stores.build import (
    ALICE,
    BOB,
    EPOCH,
    branch,
    ids,
    kept,
    message,
    passage,
    queue,
    record,
)
from tests.stores.families import Family, opened_elasticsearch
from tests.stores.switched import Switch
from tests.support.elasticsearch import ElasticsearchNode

NAME = NodeId("name")
LIVED = Holdings(messages=5, queue_states=1, conversations=1, passages=3, working_contexts=2)


async def live(store: Store, namespace: Namespace) -> None:
    """Leave records of every kind behind: those of ``LIVED``."""
    nodes = branch(["carnelian", "", "carnelian beta", "gamma", "carnelian-7"])
    named = Conversation(NAME, nodes[-1].id, resends=True)
    await store.commit(namespace, record(*nodes, queues=[queue("m2", 1)], conversation=named))
    await store.write_context(namespace, 0, "Likes carnelian", NodeId("m0"), NO_TURN)
    await store.write_context(namespace, 1, "Likes beryl", NodeId("m2"), TurnId("t"))
    mine = [passage(f"p{at}", f"carnelian {at}", turn=TurnId("t")) for at in range(2)]
    await store.insert_passages(namespace, [*mine, passage("p", "carnelian")])
    await store.hide_passages(namespace, [TurnId("t")])


async def seen(store: Store, namespace: Namespace) -> tuple[object, ...]:
    """All that can be asked of a memory."""
    nodes = branch([""] * 5)
    turn = await store.read_turn(namespace, ids(nodes), enough=5)
    named = await store.conversation(namespace, NAME)
    said = await store.search_messages(namespace, "carnelian", limit=9, offset=0)
    kept = await store.search_passages(namespace, "carnelian", limit=9, offset=0)
    made = await store.edits(namespace, [TurnId("t")])
    return turn, named, said, kept, made, await store.counts(namespace)


async def test_nothing_is_left(store: Store) -> None:
    nobody = await seen(store, Namespace("nobody"))
    await live(store, ALICE)
    await live(store, BOB)
    before = await seen(store, BOB)
    assert await seen(store, ALICE) == before != nobody
    assert await store.erase(ALICE) == LIVED
    assert await seen(store, ALICE) == nobody
    assert await store.path(ALICE, NodeId("m4"), 9) == ()
    assert await store.after(ALICE, NodeId("m0")) == ()
    assert await store.context(ALICE) == WorkingContext(0, "")
    await store.show_passages(ALICE, [TurnId("t")])
    assert await seen(store, ALICE) == nobody
    assert await seen(store, BOB) == before


async def test_to_erase_nothing_is_no_mistake(store: Store) -> None:
    assert await store.erase(ALICE) == Holdings()
    await live(store, ALICE)
    await store.erase(ALICE)
    assert await store.erase(ALICE) == Holdings()


async def test_the_memory_begins_anew(store: Store) -> None:
    await live(store, ALICE)
    first = await seen(store, ALICE)
    await store.erase(ALICE)
    await live(store, ALICE)
    assert await seen(store, ALICE) == first
    assert await store.erase(ALICE) == LIVED


async def test_what_was_asked_for_before_goes_too(store: Store) -> None:
    nodes = branch(["carnelian"] * 40)
    commits = [store.commit(ALICE, record(node)) for node in nodes]
    tasks = [asyncio.get_running_loop().create_task(commit) for commit in commits]
    await asyncio.sleep(0)
    erased = await store.erase(ALICE)
    await asyncio.gather(*tasks)
    assert erased.messages == 40
    assert await store.counts(ALICE) == Counts(0, 0)
    assert (await store.read_turn(ALICE, ids(nodes), enough=40)).known == 0


class TestSqlite:
    """What is left in the file: nothing that could be read with other tools."""

    @pytest.fixture
    async def embedded(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "memory.db")
        await store.open()
        yield store
        await store.close()

    async def test_no_word_of_it_is_in_the_files(self, embedded: SqliteStore) -> None:
        await live(embedded, BOB)
        await live(embedded, ALICE)
        secret = record(*branch(["malachite lies under the oak"] * 200, prefix="s"))
        await embedded.commit(ALICE, secret)
        await embedded.insert_passages(ALICE, [passage("long", "malachite " * 2000)])
        # Rows that have grown and shrunk leave free pages behind, before anything is erased.
        longer = [
            replace(node, turn=TurnId("again"), entries=f'["malachite {at}"]' * 50)
            for at, node in enumerate(secret.nodes)
        ]
        await embedded.commit(ALICE, record(*longer))
        assert b"malachite" in contents(embedded.file)
        await embedded.erase(ALICE)
        assert not re.search(rb"malachit|machit", contents(embedded.file))
        assert owner_of(ALICE).encode() not in contents(embedded.file)
        assert b"carnelian" in contents(embedded.file)

    async def test_a_long_read_does_not_make_it_fail(
        self, embedded: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sqlite_store, "LOG_TRIES", 2)
        monkeypatch.setattr(sqlite_store, "LOG_PAUSE", 0.0)
        await live(embedded, ALICE)
        with closing(sqlite3.connect(embedded.file, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            assert reader.execute("SELECT count(*) FROM nodes").fetchone() == (5,)
            assert await embedded.erase(ALICE) == LIVED
        assert await embedded.erase(ALICE) == Holdings()
        assert b"carnelian" not in contents(embedded.file)

    async def test_the_indexes_are_merged_for_those_only_who_had_something(
        self, embedded: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They are everybody's, and to merge them takes the longer the more there is."""
        taken: list[Stage] = []

        def take(connection: sqlite3.Connection, step: Step) -> bool:
            taken.append(step.stage)
            if step.stage is broken:
                raise sqlite3.OperationalError("disk I/O error")
            return there(connection, step)

        there, broken = erasing.take, None
        monkeypatch.setattr(erasing, "take", take)
        await live(embedded, BOB)
        assert await embedded.erase(ALICE) == Holdings()
        assert taken == []
        broken = Stage.PASSAGES
        with pytest.raises(StoreError):
            await embedded.erase(BOB)
        broken = None
        taken.clear()
        assert await embedded.erase(BOB) == Holdings()
        assert taken == list(Stage)
        assert await embedded.erase(BOB) == Holdings()
        assert taken == list(Stage)

    async def test_others_write_in_between(self, embedded: SqliteStore) -> None:
        await embedded.commit(ALICE, record(*branch(["carnelian"] * 3000)))
        erasing = asyncio.get_running_loop().create_task(embedded.erase(ALICE))
        written = 0
        while not erasing.done():
            await embedded.commit(BOB, record(message(f"m{written}", "beryl")))
            written += 1
        assert (await erasing).messages == 3000
        assert written > 10
        assert await embedded.counts(BOB) == Counts(written, 0)
        found = await embedded.search_messages(BOB, "beryl", limit=1, offset=0)
        assert found.total == written

    async def test_traces_and_vectors_go_too(self, embedded: SqliteStore) -> None:
        vectors = SqliteVectors(embedded)
        await vectors.open()
        await live(embedded, ALICE)
        await embedded.keep_traces({ALICE: [Trace(TurnId("t"), EPOCH, '{"model":"malachite"}')]})
        named = Name(owner_of(ALICE), Kind.MESSAGE, "m0")
        vector = np.array([1, 0], np.float32)
        await vectors.put_vectors(Space("plane", 2), [Embedded(named, vector)])
        assert await embedded.holdings(owner_of(ALICE)) == replace(LIVED, traces=1, vectors=1)
        assert await embedded.erase(ALICE) == replace(LIVED, traces=1, vectors=1)
        assert await embedded.traces(ALICE, limit=9) == ()
        await vectors.put_vectors(Space("plane", 2), [Embedded(named, vector)])
        assert await embedded.holdings(owner_of(ALICE)) == Holdings()
        await vectors.close()

    async def test_one_that_others_go_on_to_write_is_not_said_to_be_erased(
        self, embedded: SqliteStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await live(embedded, ALICE)
        write = embedded._writer.submit

        def submit(asked: Write) -> asyncio.Future[tuple[str, ...]]:
            if asked.erasing is not None and asked.erasing.stage is Stage.MESSAGES:
                rows_of = rows.node_row(owner_of(ALICE), message("m", "again"))
                write(Write(nodes=[rows_of]))
            return write(asked)

        monkeypatch.setattr(embedded._writer, "submit", submit)
        with pytest.raises(Remains, match="1 records are left"):
            await embedded.erase(ALICE)


def contents(file: Path) -> bytes:
    """All that is in a database's files."""
    files = [file, *file.parent.glob(f"{file.name}-*")]
    return b"".join(each.read_bytes() for each in files)


class TestJournaled:
    @pytest.fixture
    async def embedded(self, tmp_path: Path) -> AsyncIterator[SqliteStore]:
        store = SqliteStore(tmp_path / "memory.db")
        await store.open()
        yield store
        await store.close()

    async def test_while_the_store_is_away_nothing_is_erased(
        self, embedded: SqliteStore, tmp_path: Path
    ) -> None:
        switch, disk = Switch(embedded), DiskJournal(tmp_path / "journal.db", 2**20)
        store = JournaledStore(switch.store, [disk], Telemetry(), probes=(3600.0, 3600.0))
        await store.open()
        await live(store, ALICE)
        switch.here = False
        for _ in range(2):
            with pytest.raises(StoreUnavailable):
                await store.erase(ALICE)
        switch.here = True
        assert await store.come_back()
        assert await store.erase(ALICE) == LIVED
        await store.close()

    async def test_what_waited_before_does_not_come_back(
        self, embedded: SqliteStore, tmp_path: Path
    ) -> None:
        """Of a process that was away: its journal is drained after another one has erased."""
        switch = Switch(cast("Store", Erased(embedded, EPOCH + 50)))
        disk = DiskJournal(tmp_path / "journal.db", 2**20)
        store = JournaledStore(switch.store, [disk], Telemetry(), probes=(3600.0, 3600.0))
        await store.open()
        switch.here = False
        for at, created in enumerate((EPOCH + 49, EPOCH + 50)):
            node = message(f"m{at}", "beryl", created=created)
            await store.commit(ALICE, record(node, created=created))
            await store.insert_passages(ALICE, [passage(f"p{at}", "beryl", created)])
            await store.commit(BOB, record(node, created=created))
        switch.here = True
        assert await store.come_back()
        assert await disk.waiting() == 0
        assert ids(await kept(store, ALICE, ["m0", "m1"])) == ["m1"]
        assert await store.counts(ALICE) == Counts(1, 1)
        assert await store.counts(BOB) == Counts(2, 0)
        await store.close()

    async def test_what_another_process_has_put_aside_goes_too(
        self, embedded: SqliteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a process whose files the one that erases cannot reach, and that was up meanwhile."""
        monkeypatch.setattr("memgpt_proxy.stores.backlog.ASIDE_SECONDS", 0.0)
        erased = Erased(embedded, at=0.0)
        switch = Switch(cast("Store", erased))
        disk = DiskJournal(tmp_path / "journal.db", 2**20)
        store = JournaledStore(switch.store, [disk], Telemetry(), probes=(3600.0, 3600.0))
        await store.open()
        switch.here = False
        for namespace in (ALICE, BOB):
            for created in (EPOCH + 49, EPOCH + 50):
                node = message(f"{created}", "beryl", created=created, tokens=2**63)
                await store.commit(namespace, record(node, created=created))
            await disk.append(namespace, Shown([], hidden=False))
        for entry in (await disk.oldest(9))[2::3]:  # it tells no time
            await disk.put_aside(entry)
        switch.here = True
        assert await store.come_back()
        assert len(await disk.aside()) == 6
        erased.at = EPOCH + 50
        assert await store.come_back()
        left = [(entry.namespace, decode(entry.data)) for entry in await disk.aside()]
        assert [namespace for namespace, _ in left].count(BOB) == 3
        [kept_aside] = [change for namespace, change in left if namespace == ALICE]
        assert isinstance(kept_aside, Committed)
        assert kept_aside.record.created == EPOCH + 50
        await store.close()


class Erased:
    """A store of which another process says that it has erased ALICE's memory."""

    def __init__(self, store: Store, at: float) -> None:
        self._store = store
        self.at = at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def erased_at(self, namespace: Namespace) -> float:
        return self.at if namespace == ALICE else 0.0


@pytest.mark.elasticsearch
class TestElasticsearch:
    @pytest.fixture
    async def several(self, elasticsearch: ElasticsearchNode) -> AsyncIterator[list[Family]]:
        """Two processes over the same indices."""
        async with AsyncExitStack() as stack:
            prefix = f"family_{uuid4().hex}"
            opened = [
                opened_elasticsearch(elasticsearch.url, prefix, keep=keep) for keep in (False, True)
            ]
            yield [await stack.enter_async_context(store) for store in opened]

    async def test_others_know_when_and_nobody_is_left(self, several: list[Family]) -> None:
        here, there = several
        await live(here, ALICE)
        assert [owner async for owner in here.owners()] == [owner_of(ALICE)]
        assert await there.erased_at(ALICE) == 0.0
        before = time.time()
        assert await there.erase(ALICE) == LIVED
        for store in several:
            assert before <= await store.erased_at(ALICE) <= time.time()
            assert await store.erased_at(BOB) == 0.0
            assert await store.holdings(owner_of(ALICE)) == Holdings()
            assert [owner async for owner in store.owners()] == []
            assert await store.size(None) == 0

    async def test_what_another_has_just_written_goes_too(self, several: list[Family]) -> None:
        here, there = several
        nodes = branch(["carnelian"] * 300)
        await here.commit(ALICE, record(*nodes))
        assert (await there.erase(ALICE)).messages == 300
        assert (await here.read_turn(ALICE, ids(nodes), enough=300)).known == 0
        assert await here.counts(ALICE) == Counts(0, 0)

    async def test_traces_of_turns_before_it_are_not_kept_after_it(
        self, several: list[Family]
    ) -> None:
        here, there = (cast("ElasticsearchStore", store) for store in several)
        began = time.time()
        await there.erase(ALICE)
        late, new = Trace(TurnId("late"), began, "{}"), Trace(TurnId("new"), time.time(), "{}")
        await here.keep_traces({ALICE: [late, new], BOB: [late]})
        assert await here.traces(ALICE, limit=9) == (new,)
        assert await here.traces(BOB, limit=9) == (late,)
        assert (await there.erase(ALICE)).traces == 1
