"""What was acknowledged outlives the end of the server, and of a cluster's master."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect, send
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import Counts, NodeId
from tests.stores.build import ALICE, ids, message, record
from tests.support.elasticsearch import QUICK_START, ElasticsearchNode, base_directory, cluster

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow, pytest.mark.timeout(240)]

WRITERS = 4
DEADLINE = 200.0


@pytest.fixture
def base() -> Iterator[Path]:
    with base_directory() as made:
        yield made


class Watched(ElasticsearchNode):
    """A node that tells which of its classes it has made ready since it was started."""

    def __init__(self, home: Path, base: Path) -> None:
        self._classes = base / "classes.log"
        watching = f"-Xlog:class+init=info:file={self._classes}\n"
        super().__init__(home, base, java=QUICK_START + watching)
        base.chmod(0o777)  # the node may be another user

    def has_met_an_error(self) -> bool:
        """Whether there was any of the server's own."""
        return "'org/elasticsearch/ElasticsearchException'" in self._classes.read_text()


class Writers:
    """Callers that commit, and know what was acknowledged."""

    def __init__(self, store: ElasticsearchStore) -> None:
        self.store = store
        self.acknowledged: list[str] = []
        self.several = asyncio.Event()
        self.stopped = False

    async def write(self, number: int, *, again: bool) -> None:
        """Commit until told to stop; where the store is away, end, or try ``again``."""
        count = 0
        while not self.stopped:
            name = f"w{number}-{count}"
            try:
                await self.store.commit(ALICE, record(message(name, f"message {name}")))
            except StoreUnavailable:
                if not again:
                    return
                await asyncio.sleep(0.05)
                continue
            count += 1
            self.acknowledged.append(name)
            if len(self.acknowledged) % 100 == 0:
                self.several.set()

    async def check(self) -> None:
        """All that was acknowledged is there, once."""
        names = [NodeId(name) for name in self.acknowledged]
        found = [await self.store.path(ALICE, name, 1) for name in names]
        assert [ids(path) for path in found] == [[name] for name in names]


async def test_what_was_acknowledged_survives_a_kill(
    elasticsearch_binaries: Path, base: Path
) -> None:
    with Watched(elasticsearch_binaries, base) as node:
        store = ElasticsearchStore(Connection([node.url]))
        assert not node.has_met_an_error()
        await store.open()
        assert node.has_met_an_error(), "before there is anything to do at the same time"
        writers = Writers(store)
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(writers.write(number, again=False))
            await writers.several.wait()
            node.kill()
        with pytest.raises(StoreUnavailable):
            await store.ping()
        await asyncio.to_thread(lambda: node.start().wait("yellow"))
        assert not node.has_met_an_error()
        await store.open()  # as ``JournaledStore`` does, when one that was away is back
        assert node.has_met_an_error()
        await writers.check()
        total = (await store.counts(ALICE)).messages
        assert len(writers.acknowledged) <= total <= len(writers.acknowledged) + WRITERS
        await store.close()


async def test_a_server_that_hangs_is_unavailable_in_time(
    elasticsearch_binaries: Path, base: Path
) -> None:
    with ElasticsearchNode(elasticsearch_binaries, base) as node:
        store = ElasticsearchStore(Connection([node.url]))
        await store.open()
        await store.commit(ALICE, record(message("m0", "hi")))
        node.pause()
        try:
            async with asyncio.timeout(DEADLINE):
                with pytest.raises(StoreUnavailable, match="says nothing"):
                    await store.commit(ALICE, record(message("m1", "hi")))
                with pytest.raises(StoreUnavailable, match="says nothing"):
                    await store.read_turn(ALICE, [NodeId("m0")], enough=1)
        finally:
            node.go_on()
        async with asyncio.timeout(DEADLINE):
            await store.commit(ALICE, record(message("m1", "hi")))
        assert await store.counts(ALICE) == Counts(2, 0)
        await store.close()


async def test_a_cluster_that_loses_its_master_goes_on(
    elasticsearch_binaries: Path, base: Path
) -> None:
    nodes = cluster(elasticsearch_binaries, base, ["n1", "n2", "n3"])
    try:
        for node in nodes:
            node.start()
        await asyncio.to_thread(nodes[0].wait, "green", 3)
        hosts = [node.url for node in nodes]
        store = ElasticsearchStore(Connection(hosts))
        await store.open()
        writers = Writers(store)
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as group:
            for number in range(WRITERS):
                group.create_task(writers.write(number, again=True))
            await writers.several.wait()
            master = await master_of(hosts)
            next(node for node in nodes if node.name == master).kill()
            before = len(writers.acknowledged)
            while len(writers.acknowledged) < before + 200:
                writers.several.clear()
                await writers.several.wait()
            writers.stopped = True
        await writers.check()
        assert (await store.counts(ALICE)).messages == len(writers.acknowledged)
        await store.close()
    finally:
        for node in nodes:
            node.stop()


async def master_of(hosts: list[str]) -> str:
    client = connect(Connection(hosts))
    (told,) = await send(client, "GET", "/_cat/master?format=json")
    await client.close()
    name: str = told["node"]
    return name
