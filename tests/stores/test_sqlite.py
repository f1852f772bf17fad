"""What is SQLite's own: durability, shared transactions, threads, the file."""

import asyncio
import re
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from memgpt_proxy.stores.protocols import StaleVersion, StoreError, StoreFull, StoreUnavailable
from memgpt_proxy.stores.records import Counts, NodeId
from memgpt_proxy.stores.sqlite import SqliteStore, pages, reads, rows, writes
from memgpt_proxy.stores.sqlite.connection import (
    OLDEST_VERSION,
    SCHEMA_VERSION,
    connect_reader,
    connect_writer,
    read_mark,
    require_features,
)
from memgpt_proxy.stores.sqlite.writes import NewVersion, Write, carry_out
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, kept, message, passage, queue, record

OWNER = owner_of(ALICE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "memory.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(path)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def writer(path: Path) -> Iterator[sqlite3.Connection]:
    """The writing thread's kind of connection, without a thread."""
    with closing(connect_writer(path, "normal")) as connection:
        yield connection


def commit_of(name: str, text: str = "hi") -> Write:
    return Write(nodes=[rows.node_row(OWNER, message(name, text))])


def stored(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT id FROM nodes")}


class TestDurability:
    async def test_acknowledged_messages_survive_a_kill(self, path: Path) -> None:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.stores.acknowledging_writer",
            str(path),
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        async with asyncio.timeout(30):
            lines = [await process.stdout.readline() for _ in range(300)]
            process.kill()
            lines += (await process.stdout.read()).splitlines(keepends=True)
            await process.wait()
        acknowledged = [NodeId(line.decode().strip()) for line in lines if line.endswith(b"\n")]
        store = SqliteStore(path)
        await store.open()
        survivors = await kept(store, ALICE, acknowledged)
        assert [node.id for node in survivors] == acknowledged
        for name in acknowledged[-8:]:
            page = await store.search_passages(ALICE, name, limit=9, offset=0)
            assert f"passage {name}" in {hit.text for hit in page.hits}
        await assert_records_are_whole(store, counts := await store.counts(ALICE))
        await store.close()
        with closing(connect_writer(path, "normal")) as connection:
            assert counts == Counts(
                *(
                    connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                    for table in ("nodes", "passages")
                )
            )
            assert_indexes_are_sound(connection)

    async def test_close_drains_what_was_accepted(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.open()
        async with asyncio.TaskGroup() as group:
            for number in range(500):
                group.create_task(store.commit(ALICE, record(message(f"m{number}", "hi"))))
            group.create_task(store.close())
        with closing(connect_reader(path)) as connection:
            assert len(stored(connection)) == 500

    async def test_a_cancelled_caller_leaves_its_write(
        self, store: SqliteStore, path: Path
    ) -> None:
        with locked(path):
            caller = asyncio.get_running_loop().create_task(
                store.commit(ALICE, record(message("m0", "hi")))
            )
            await store.counts(ALICE)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        await store.commit(ALICE, record(message("m1", "hi")))
        assert await store.counts(ALICE) == Counts(2, 0)

    async def test_what_is_closed_accepts_nothing(self, path: Path) -> None:
        store = SqliteStore(path)
        with pytest.raises(StoreError):
            await store.ping()
        await store.open()
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await store.commit(ALICE, record())
        with pytest.raises(StoreError):
            await store.counts(ALICE)

    async def test_it_can_be_opened_again(self, path: Path) -> None:
        for number in range(3):
            store = SqliteStore(path, synchronous="full")
            await store.open()
            await store.commit(ALICE, record(message(f"m{number}", "hi")))
            assert await store.counts(ALICE) == Counts(number + 1, 0)
            await store.close()


class TestEventLoop:
    async def test_reads_go_on_while_a_write_waits(self, store: SqliteStore, path: Path) -> None:
        with locked(path):
            write = asyncio.get_running_loop().create_task(
                store.commit(ALICE, record(message("m0", "hi")))
            )
            for _ in range(20):
                assert await store.counts(ALICE) == Counts(0, 0)
            assert not write.done()
        await write
        assert await store.counts(ALICE) == Counts(1, 0)

    async def test_many_searches_and_writes_at_once(self, store: SqliteStore) -> None:
        async def turn(number: int) -> None:
            await store.commit(ALICE, record(message(f"m{number}", f"cake n{number}")))
            page = await store.search_messages(ALICE, f"n{number}", limit=1, offset=0)
            assert page.total == 1

        await asyncio.gather(*(turn(number) for number in range(200)))


class TestSharedTransaction:
    def test_a_batch_is_one_commit(self, writer: sqlite3.Connection) -> None:
        statements: list[str] = []
        writer.set_trace_callback(statements.append)
        outcomes = carry_out(writer, [commit_of(f"m{number}") for number in range(50)])
        assert outcomes == [()] * 50
        assert statements.count("BEGIN IMMEDIATE") == statements.count("COMMIT") == 1
        assert len(stored(writer)) == 50

    def test_more_rows_than_a_statement_takes(self, writer: sqlite3.Connection) -> None:
        names = [f"m{number}" for number in range(1000)]
        assert carry_out(writer, [commit_of(name) for name in names]) == [()] * 1000
        assert stored(writer) == set(names)

    def test_edits_of_one_batch_race(self, writer: sqlite3.Connection) -> None:
        edits = [Write(edit=NewVersion(OWNER, version, "x", "m")) for version in (0, 0, 1, 3, 2)]
        outcomes = carry_out(writer, [*edits, commit_of("m0")])
        stale = [isinstance(outcome, StaleVersion) for outcome in outcomes]
        assert stale == [False, True, False, True, False, False]

    @pytest.mark.parametrize("changes", [{"tokens": 2**64}, {"created": float("nan")}])
    def test_a_bad_row_fails_its_own_write(
        self, writer: sqlite3.Connection, changes: dict[str, float]
    ) -> None:
        edit = Write(edit=NewVersion(OWNER, 0, "x", "m"))
        bad = Write(nodes=[rows.node_row(OWNER, message("bad", "hi", **changes))])
        batch = [edit, commit_of("good"), bad, commit_of("fine")]
        outcomes = carry_out(writer, batch)
        assert [type(outcome) for outcome in outcomes] == [
            tuple,
            tuple,
            StoreError,
            tuple,
        ]
        assert stored(writer) == {"good", "fine"}

    def test_a_full_disk_fails_the_whole_batch(self, writer: sqlite3.Connection) -> None:
        carry_out(writer, [commit_of("before")])
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 2}")
        large = [commit_of(f"m{number}", "word " * 5000) for number in range(4)]
        outcomes = carry_out(writer, [commit_of("small"), *large])
        assert [type(outcome) for outcome in outcomes] == [StoreFull] * 5
        assert stored(writer) == {"before"}
        writer.execute("PRAGMA max_page_count = 100000")
        assert carry_out(writer, [commit_of("small"), *large]) == [()] * 5
        assert_indexes_are_sound(writer)

    def test_a_probe_is_a_commit_that_changes_nothing(
        self, writer: sqlite3.Connection, path: Path
    ) -> None:
        log = path.with_name(f"{path.name}-wal")
        size, content = log.stat().st_size, list(writer.iterdump())
        assert carry_out(writer, [Write(probe=True)]) == [()]
        assert log.stat().st_size > size
        assert list(writer.iterdump()) == content
        assert writer.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)

    def test_a_lock_that_stays_is_unavailable(self, writer: sqlite3.Connection, path: Path) -> None:
        writer.execute("PRAGMA busy_timeout = 0")
        with locked(path):
            (outcome,) = carry_out(writer, [commit_of("m0")])
        assert isinstance(outcome, StoreUnavailable)
        assert carry_out(writer, [commit_of("m0")]) == [()]


class TestFile:
    async def test_nobody_else_may_read_it(self, store: SqliteStore, path: Path) -> None:
        await store.commit(ALICE, record(message("m0", "secret")))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        files = list(path.parent.iterdir())
        assert len(files) == 3  # with its log and the log's index
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}

    async def test_closed_it_is_one_file(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.open()
        await store.commit(ALICE, record(message("m0", "hi")))
        assert await store.counts(ALICE) == Counts(1, 0)
        await store.close()
        assert list(path.parent.iterdir()) == [path]

    async def test_the_first_mark_stays(self, path: Path) -> None:
        store = SqliteStore(path)
        await store.open()
        assert read_mark(path) is None
        assert await store.leave_mark("one") == "one"
        assert await store.leave_mark("two") == "one"
        await store.close()
        assert read_mark(path) == "one"

    async def test_a_newer_database_is_refused(self, path: Path) -> None:
        with closing(connect_writer(path, "normal")) as connection:
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        with pytest.raises(StoreError, match="newer release") as refused:
            await SqliteStore(path).open()
        assert not isinstance(refused.value, StoreUnavailable)

    async def test_a_development_versions_database_is_refused(self, path: Path) -> None:
        with closing(connect_writer(path, "normal")) as connection:
            connection.execute(f"PRAGMA user_version = {OLDEST_VERSION - 1}")
        with pytest.raises(StoreError, match="development version") as refused:
            await SqliteStore(path).open()
        assert not isinstance(refused.value, StoreUnavailable)

    def test_another_kind_of_file_is_unavailable(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_bytes(b"no database, but " * 100)
        with pytest.raises(StoreUnavailable):
            asyncio.run(SqliteStore(path).open())
        assert path.read_bytes() == b"no database, but " * 100

    async def test_a_directory_that_cannot_be_is_unavailable(self, path: Path) -> None:
        path.parent.write_text("a file stands where the directory should")
        with pytest.raises(StoreUnavailable):
            await SqliteStore(path).open()

    def test_a_reader_cannot_write(self, writer: sqlite3.Connection, path: Path) -> None:
        with closing(connect_reader(path)) as reader, pytest.raises(sqlite3.OperationalError):
            reader.execute("DELETE FROM nodes")

    def test_a_missing_feature_is_named(self, writer: sqlite3.Connection) -> None:
        require_features(writer, {"fts5", "json_each"})
        with pytest.raises(StoreError, match="without fts9"):
            require_features(writer, {"fts5", "fts9"})

    def test_a_feature_may_be_listed_only_once_it_was_used(self) -> None:
        """So it is since SQLite 3.53, with functions that return tables."""

        class Lazy(sqlite3.Connection):
            used = False

            def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
                if "pragma_module_list" in sql and not self.used:
                    sql = sql.replace("pragma_module_list", "(SELECT '' AS name)")
                self.used = self.used or "FROM json_each" in sql
                return super().execute(sql, values)

        with closing(sqlite3.connect(":memory:", factory=Lazy)) as connection:
            require_features(connection, {"json_each"})

    def test_paths_with_syntax(self, tmp_path: Path) -> None:
        path = tmp_path / "a b?mode=ro#%41" / "ü.db"
        with closing(connect_writer(path, "normal")) as connection:
            assert carry_out(connection, [commit_of("m0")]) == [()]
        assert path.exists()


def test_every_query_starts_from_its_namespace(writer: sqlite3.Connection) -> None:
    carry_out(writer, [commit_of(f"m{number}") for number in range(9)])
    carry_out(writer, [Write(passages=[rows.passage_row(OWNER, passage("p0", "hi"))])])
    tables = ("nodes", "passages", "queues", "contexts", "namespaces", "conversations")
    for table in tables:
        plan = writer.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE namespace = 'x'")
        assert "SEARCH" in plan.fetchone()[3]


async def assert_records_are_whole(store: SqliteStore, counts: Counts) -> None:
    """Each writer's conversation is at its last message, which has its queue state."""
    names = [NodeId(f"conversation {writer}") for writer in range(8)]
    conversations = [await store.conversation(ALICE, name) for name in names]
    tips = [conversation.tip for conversation in conversations if conversation]
    for tip in tips:
        turn = await store.read_turn(ALICE, [tip], enough=1)
        assert turn.queue == queue(tip, 0, tip)
        assert turn.nodes[-1].id == tip
    assert sum(int(tip.split("-")[1]) + 1 for tip in tips) == counts.messages


class locked:  # noqa: N801 - reads like contextlib's
    """Another connection's write lock on the database, for as long as the block runs."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)

    def __enter__(self) -> None:
        self.connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self.connection.execute("ROLLBACK")
        self.connection.close()


def assert_indexes_are_sound(connection: sqlite3.Connection) -> None:
    for index in ("messages_index", "passages_index"):
        connection.execute(f"INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)")


@pytest.mark.parametrize("connect", [sqlite3.connect, apsw.Connection], ids=["python", "newest"])
def test_no_read_of_the_tree_scans_it(
    writer: sqlite3.Connection, path: Path, connect: Callable[[str], sqlite3.Connection]
) -> None:
    """Neither with this Python's SQLite nor with a newer one: they do not plan alike."""
    statements = [reads.READ_TURN, reads.PATH, reads.AFTER, reads.WITH_CONTENT, reads.EDITS]
    statements += [reads.CONVERSATION, writes.LEAVE, writes.TAKE_UP]
    statements += [pages.between(pages.MESSAGES), pages.between(pages.PASSAGES)]
    planner = connect(str(path))
    for statement in [*statements, writes.SET_HIDDEN]:
        parameters = dict.fromkeys(re.findall(r":(\w+)", statement), 1)
        plan = planner.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
        steps = [step for *_, step in plan]
        scans = {step.split()[1] for step in steps if step.startswith("SCAN")}
        assert not scans & {"nodes", "twin", "child", "said", "passages", "made", "old", "queues"}
        whole = {step.split()[1] for step in steps if "(namespace=?)" in step}
        assert whole <= {"namespaces", "contexts"}  # one row, and the newest row
    planner.close()
