"""The command line: ``python -m benchmarks.stores``."""

import argparse
import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.conditions import Conditions, of_gateway
from benchmarks.machine import busy_share
from benchmarks.stores.corpus import LENGTH, records
from benchmarks.stores.families import Opened, elasticsearch, server_version, sqlite
from benchmarks.stores.measure import asker, nodes_of, timed
from benchmarks.stores.report import Report, Row
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Size:
    namespaces: int
    messages: int


@dataclass(frozen=True, slots=True)
class Plan:
    sizes: tuple[Size, ...]
    times: int
    turns: int


FULL = Plan(
    (Size(1, 10**3), Size(1, 10**4), Size(1, 10**5), Size(1, 10**6), Size(10**4, 10**2)), 200, 5000
)
QUICK = Plan((Size(1, 10**3), Size(1, 10**4), Size(10**2, 10**2)), 50, 1000)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.stores",
        description="What turns and searches cost in each family of stores, as it fills.",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is kept")
    parser.add_argument(
        "--elasticsearch", metavar="URL", help="an Elasticsearch to measure; unset: SQLite alone"
    )
    options = parser.parse_args()
    plan = QUICK if options.quick else FULL
    busy = busy_share(1.0)
    rows = asyncio.run(_rows(plan, options.elasticsearch))
    found = Report(Conditions.now(busy, versions(options.elasticsearch)), rows)
    if not options.quick:
        found.write(HERE / "results")
    print(found.markdown())
    return 0


async def _rows(plan: Plan, url: str | None) -> list[Row]:
    rows = []
    for size in plan.sizes:
        async for opened in _each(sqlite(), *([elasticsearch(url)] if url else [])):
            print(f"{opened.name}: {size}", file=sys.stderr, flush=True)
            rows.append(await _row(plan, size, opened))
    return sorted(rows, key=lambda row: row.family, reverse=True)


async def _each(*families: AbstractAsyncContextManager[Opened]) -> AsyncIterator[Opened]:
    for family in families:
        async with family as opened:
            yield opened


async def _row(plan: Plan, size: Size, opened: Opened) -> Row:
    namespaces = [Namespace(f"namespace {number}") for number in range(size.namespaces)]
    filled = await _fill(opened, namespaces, size.messages)
    taken = await opened.size()
    asking = asker(opened.store, namespaces, max(1, size.messages // LENGTH))
    times = {name: await timed(ask, plan.times) for name, ask in asking.asked().items()}
    return Row(
        family=opened.name,
        namespaces=size.namespaces,
        messages=size.messages,
        filled=filled,
        bytes_each=taken / (size.namespaces * size.messages),
        turns=await asking.turns_per_second(plan.turns),
        times=times,
    )


async def _fill(opened: Opened, namespaces: list[Namespace], messages: int) -> float:
    """Fill the store, and return how many messages it takes over in a second."""
    began, taken = time.perf_counter(), 0
    for namespace in namespaces:
        for portion in records(namespace, messages):
            await opened.store.take_over(owner_of(namespace), portion)
            taken += nodes_of(portion)
    return taken / (time.perf_counter() - began)


def versions(url: str | None) -> dict[str, str]:
    told = {**of_gateway(), "SQLite": sqlite3.sqlite_version}
    return {**told, "Elasticsearch": asyncio.run(server_version(url))} if url else told


if __name__ == "__main__":
    sys.exit(main())
