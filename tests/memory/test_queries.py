"""Vectors of queries: kept, and not waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from memgpt_proxy.errors import BackendRefused, BackendUnreachable
from memgpt_proxy.memory.queries import KEPT, Patience, Queries
from memgpt_proxy.stores.vectors import Vector
from memgpt_proxy.telemetry import Telemetry
from tests.support.concepts import Concepts, unit


class Scripted(Concepts):
    """Answers queries as it is told, and counts them."""

    def __init__(self, answer: Callable[[str], Awaitable[Vector]]) -> None:
        super().__init__()
        self.answer = answer

    async def embed_query(self, text: str) -> Vector:
        self.asked.append(text)
        return await self.answer(text)


async def well(text: str) -> Vector:
    return unit(text)


async def never(text: str) -> Vector:
    await asyncio.Event().wait()
    return unit(text)


async def away(text: str) -> Vector:
    raise BackendUnreachable("The backend cannot be reached.")


async def refused(text: str) -> Vector:
    raise BackendRefused(400, [], b"input is too long")


async def test_a_query_is_embedded_once() -> None:
    embeddings = Scripted(well)
    queries = Queries(embeddings, Telemetry())
    for _ in range(3):
        vector = await queries.vector("feline")
        assert vector is not None
        assert list(vector) == list(unit("cat"))
    assert embeddings.asked == ["feline"]


async def test_the_queries_used_last_are_kept() -> None:
    embeddings = Scripted(well)
    queries = Queries(embeddings, Telemetry())
    for number in range(KEPT):
        await queries.vector(f"query {number}")
    await queries.vector("query 0")
    await queries.vector("one more")
    embeddings.asked.clear()
    await queries.vector("query 0")
    await queries.vector("query 1")
    assert embeddings.asked == ["query 1"]


@pytest.mark.parametrize("failure", [never, away])
async def test_a_server_that_fails_is_left_alone_for_a_while(
    failure: Callable[[str], Awaitable[Vector]],
) -> None:
    embeddings = Scripted(failure)
    queries = Queries(embeddings, Telemetry(), Patience(wait=0.01, pause=1000.0))
    assert await queries.vector("feline") is None
    embeddings.answer = well
    assert await queries.vector("feline") is None
    assert embeddings.asked == ["feline"]


async def test_a_query_that_is_refused_is_no_failure_of_the_server() -> None:
    embeddings = Scripted(refused)
    queries = Queries(embeddings, Telemetry(), Patience(wait=1000.0, pause=1000.0))
    assert await queries.vector("feline " * 10_000) is None
    embeddings.answer = well
    assert await queries.vector("feline") is not None


async def test_a_server_that_is_back_is_asked_again() -> None:
    embeddings = Scripted(away)
    queries = Queries(embeddings, Telemetry(), Patience(wait=1.0, pause=0.0))
    assert await queries.vector("feline") is None
    embeddings.answer = well
    assert await queries.vector("feline") is not None


async def test_one_that_leaves_is_no_failure_of_the_server() -> None:
    embeddings = Scripted(never)
    queries = Queries(embeddings, Telemetry(), Patience(wait=1000.0, pause=1000.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await queries.vector("feline")
    embeddings.answer = well
    assert await queries.vector("feline") is not None
