"""All benchmarks, one after the other, and the page of their results: ``python -m benchmarks``."""

import argparse
import signal
import subprocess
import sys
from contextlib import nullcontext

from benchmarks.conditions import CHECKOUT
from benchmarks.elasticsearch import elasticsearch
from benchmarks.page.document import DOCS, write
from benchmarks.process import Cores

SUITES = {
    "overhead": ["--with", "portkey"],
    "long_conversation": [],
    "stores": [],
    "fleet": [],
}
"""Each benchmark, and what it is told besides."""

ON_ELASTICSEARCH = frozenset({"stores", "fleet"})


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    done = [run(suite, options) for suite in options.only]
    if not options.quick:
        write(DOCS)
    return 0 if all(done) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Run all benchmarks, and write docs/results.md.",
        epilog="Nothing else should run on the machine meanwhile: an hour and a half or so.",
    )
    parser.add_argument("--quick", action="store_true", help="short rounds; nothing is kept")
    parser.add_argument("--only", type=listed, default=tuple(SUITES), metavar="A,B,…",
                        help=f"of {', '.join(SUITES)}")  # fmt: skip
    parser.add_argument("--elasticsearch", metavar="URL",
                        help="an Elasticsearch; unset: one is fetched, and started")  # fmt: skip
    return parser.parse_args()


def listed(text: str) -> tuple[str, ...]:
    if unknown := set(text.split(",")) - set(SUITES):
        raise argparse.ArgumentTypeError(f"no such benchmark: {', '.join(sorted(unknown))}")
    return tuple(text.split(","))


def run(suite: str, options: argparse.Namespace) -> bool:
    """Run one benchmark; return whether it succeeded."""
    print(f"benchmarks.{suite}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"benchmarks.{suite}", *SUITES[suite]]
    if options.quick:
        command.append("--quick")
    if suite not in ON_ELASTICSEARCH:
        return succeeded(command)
    given = options.elasticsearch
    with nullcontext(given) if given else elasticsearch(Cores.split().others) as url:
        return succeeded([*command, "--elasticsearch", url])


def succeeded(command: list[str]) -> bool:
    done = subprocess.run(command, cwd=CHECKOUT, check=False)
    if done.returncode:
        print(f"error: {' '.join(command[1:])} ended with {done.returncode}", file=sys.stderr)
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
