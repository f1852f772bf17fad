"""The command line: ``python -m benchmarks.fleet``."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from benchmarks.conditions import of_gateway, output
from benchmarks.fleet.measure import Bench, Plan
from benchmarks.fleet.report import report
from benchmarks.fleet.site import CACHE, Site, redis
from benchmarks.machine import scratch_directory
from benchmarks.overhead.install import InstallError, build_programs
from benchmarks.overhead.load import Generator, LoadError
from benchmarks.process import Command, Cores, ProcessError, free_port, running
from benchmarks.rounds import Report
from benchmarks.stores.families import server_version

HERE = Path(__file__).parent
FULL = Plan(rounds=2, warm_up=3.0, seconds=6.0)
QUICK = Plan(rounds=1, warm_up=1.0, seconds=2.0)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    plan = QUICK if options.quick else FULL
    try:
        found = measured(plan, options.elasticsearch)
    except (InstallError, LoadError, ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if not options.quick:
        found.write(HERE / "results")
    print(found.markdown())
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fleet",
        description="What a turn costs with Elasticsearch and Redis, beside the embedded store.",
    )
    parser.add_argument("--quick", action="store_true", help="one short round; nothing is kept")
    parser.add_argument("--elasticsearch", metavar="URL", required=True, help="an Elasticsearch")
    return parser.parse_args()


def measured(plan: Plan, elasticsearch: str) -> Report:
    programs, cores, port = build_programs(), Cores.split(), free_port()
    with scratch_directory(CACHE, "mock") as directory, redis(cores) as redis_url:
        command = Command([str(programs.mock), f"-listen=127.0.0.1:{port}"], directory / "log")
        with running(command, cores.others) as process:
            process.wait_until_ready(f"http://127.0.0.1:{port}/v1/models")
            bench = Bench(plan, cores, Generator(programs.load, cores.others), port)
            rows = bench.measure(sites(elasticsearch, redis_url))
    return report(plan, rows, versions(elasticsearch))


def sites(elasticsearch: str, redis_url: str) -> list[Site]:
    shared = {
        "MEMGPT_ELASTICSEARCH_URL": elasticsearch,
        "MEMGPT_REDIS_URL": redis_url,
        "MEMGPT_ELASTICSEARCH_PREFIX": "bench_fleet",
    }
    return [
        Site("embedded", 1),
        Site("Elasticsearch and Redis", 1, shared),
        Site("the same, two replicas in turn", 2, shared),
    ]


def versions(elasticsearch: str) -> dict[str, str]:
    return {
        **of_gateway(),
        "Elasticsearch": asyncio.run(server_version(elasticsearch)),
        "Redis": output("redis-server", "--version").split("v=")[1].split()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
