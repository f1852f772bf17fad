"""A fleet: real Elasticsearch, real Redis, replicas of the gateway; all of it may be killed."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from memgpt_proxy.api.authentication import Authenticator, secret_from
from memgpt_proxy.stores.elasticsearch import ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import Connection
from memgpt_proxy.stores.records import Namespace
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode, base_directory, cluster
from tests.support.gateway import GatewayProcess
from tests.support.redis_server import RedisServer

SECRET = "the secret of a whole fleet"


def namespace_of(key: str) -> Namespace:
    """Whose memory a key's is, in a fleet with this secret."""
    return Authenticator(secret_from(SECRET), (), anonymous=False).namespace(key.encode(), None)


@dataclass
class Fleet:
    """What runs; ``nodes`` has one Elasticsearch or several."""

    nodes: list[ElasticsearchNode]
    redis: RedisServer
    replicas: list[GatewayProcess]

    @property
    def urls(self) -> list[str]:
        return [replica.base_url for replica in self.replicas]

    def flush(self) -> None:
        """Empty Redis, as somebody might by mistake."""
        self.redis.ask("FLUSHALL")

    def master(self) -> ElasticsearchNode:
        """The node that the others follow."""
        with urllib.request.urlopen(f"{self.nodes[0].url}/_cat/master?format=json") as answer:
            (told,) = json.load(answer)
        return next(node for node in self.nodes if node.name == told["node"])

    @asynccontextmanager
    async def opened_store(self) -> AsyncIterator[ElasticsearchStore]:
        """A store that looks at what is really there."""
        store = ElasticsearchStore(Connection([node.url for node in self.nodes]))
        store.alone(alone=True)
        await store.open()
        try:
            yield store
        finally:
            await store.close()


class Fleets:
    """Starts fleets, and ends what is left of them."""

    def __init__(self, home: Path, directory: Path, backend: ScriptedBackend) -> None:
        self._home = home
        self._directory = directory
        self._backend = backend
        self._ends = ExitStack()

    def start(self, *options: str, replicas: int = 2, nodes: int = 1) -> Fleet:
        base = self._ends.enter_context(base_directory())
        names = [f"n{number}" for number in range(nodes)]
        if nodes == 1:
            searched = [ElasticsearchNode(self._home, base)]
        else:
            searched = cluster(self._home, base, names)
        for node in searched:
            node.start()
            self._ends.callback(node.stop)
        for node in searched:
            node.wait(nodes=nodes)
        redis = self._ends.enter_context(RedisServer(self._directory / "redis"))
        fleet = Fleet(searched, redis, [])
        for number in range(replicas):
            fleet.replicas.append(self._replica(number, fleet, *options))
        return fleet

    def end(self) -> None:
        self._ends.close()

    def _replica(self, number: int, fleet: Fleet, *options: str) -> GatewayProcess:
        directory = self._directory / f"replica-{number}"
        directory.mkdir()
        settings = {
            "MEMGPT_ELASTICSEARCH_URL": ",".join(node.url for node in fleet.nodes),
            "MEMGPT_REDIS_URL": fleet.redis.url,
            "MEMGPT_NAMESPACE_SECRET": SECRET,
            "MEMGPT_CONTEXT_WINDOW": "200000",
        }
        replica = GatewayProcess(directory, self._backend.base_url, *options, env=settings)
        self._ends.callback(replica.stop)
        return replica.start()
