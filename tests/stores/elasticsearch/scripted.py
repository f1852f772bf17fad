"""A server that says it is Elasticsearch, and answers what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.client import Connection, connect

Answer = Callable[["Asked"], Awaitable[tuple[int, Any]]]


@dataclass(frozen=True)
class Asked:
    """A request."""

    method: str
    path: str
    body: bytes

    @property
    def lines(self) -> list[Any]:
        """The body of a bulk request."""
        return [orjson.loads(line) for line in self.body.splitlines()]

    @property
    def ids(self) -> list[str]:
        """The documents that a bulk request writes, in order."""
        return [next(iter(action.values()))["_id"] for action in self.lines[::2]]


@dataclass
class ScriptedServer:
    """What was asked, and the answers to come."""

    answer: Answer
    product: str | None = "Elasticsearch"
    url: str = ""
    asked: list[Asked] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        asked = Asked(request.method, request.path, await request.read())
        self.asked.append(asked)
        status, body = await self.answer(asked)
        headers = {"X-Elastic-Product": self.product} if self.product else {}
        return web.json_response(body, status=status, headers=headers)


@asynccontextmanager
async def serving(
    answer: Answer, product: str | None = "Elasticsearch", **options: Any
) -> AsyncIterator[tuple[ScriptedServer, AsyncElasticsearch]]:
    """Run a server, and a client of it."""
    scripted = ScriptedServer(answer, product)
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", scripted.handle)
    server = TestServer(app)
    await server.start_server()
    scripted.url = str(server.make_url("/")).rstrip("/")
    client = connect(Connection([scripted.url], **options))
    try:
        yield scripted, client
    finally:
        await client.close()
        await server.close()


def written(asked: Asked) -> dict[str, Any]:
    """The answer to a bulk request of which everything was written."""
    return {"errors": False, "items": [{"index": {"status": 201}} for _ in asked.ids]}
