"""The command line: `python -m benchmarks.long_conversation`."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.conditions import Conditions, of_gateway
from benchmarks.long_conversation.client import ClientError, Sends
from benchmarks.long_conversation.cost import bench
from benchmarks.long_conversation.plan import Plan
from benchmarks.long_conversation.report import Report, Row
from benchmarks.long_conversation.store_calls import counting_gateway
from benchmarks.machine import busy_share, scratch_directory
from benchmarks.process import ProcessError

HERE = Path(__file__).parent
CACHE = "long-conversation"
FULL = Plan((10, 100, 1000, 10_000), turns=50)
QUICK = Plan((10, 100, 1000), turns=20)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.long_conversation",
        description="What a turn costs at message 10, 100, 1 000 and 10 000 of a conversation.",
    )
    parser.add_argument("--quick", action="store_true", help="to message 1 000; nothing is kept")
    quick = parser.parse_args().quick
    busy = busy_share(1.0)
    try:
        measured_rows = list(rows(QUICK if quick else FULL))
    except (ClientError, ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = Report(Conditions.now(busy, of_gateway()), measured_rows)
    if not quick:
        found.write(HERE / "results")
    print(found.markdown())
    return 0


def rows(plan: Plan) -> Iterator[Row]:
    for sends in Sends:
        print(f"the client sends {sends.value}", file=sys.stderr, flush=True)
        yield from asyncio.run(measured(plan, sends))


async def measured(plan: Plan, sends: Sends) -> list[Row]:
    """Measure the longest first: all lengths then find a database that is full of others."""
    lengths = sorted(plan.lengths, reverse=True)
    with scratch_directory(CACHE, "cost") as directory:
        async with bench(directory) as started:
            costs = [await started.cost(plan, length, sends) for length in lengths]
    with scratch_directory(CACHE, "store") as directory:
        async with counting_gateway(directory) as gateway:
            uses = [await gateway.use(plan, length, sends) for length in lengths]
    rows = [Row(sends, *found) for found in zip(lengths, costs, uses, strict=True)]
    return rows[::-1]


if __name__ == "__main__":
    sys.exit(main())
