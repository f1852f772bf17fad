"""The command line of the overhead measurement."""

import argparse
import platform
import shlex
import signal
import sys
from collections.abc import Sequence

from benchmarks.conditions import output
from benchmarks.overhead.install import HERE, InstallError, build_programs
from benchmarks.overhead.load import LoadError
from benchmarks.overhead.measure import Plan, bench
from benchmarks.overhead.report import report
from benchmarks.overhead.targets import Target, gateway, litellm, nginx, portkey
from benchmarks.process import ProcessError

CHECKOUT = HERE.parent.parent
TARGETS = ("direct", "nginx", "litellm", "gateway")
OPTIONAL_TARGETS = ("portkey",)
QUICK = Plan(rounds=1, warm_up=1.0, direct=1.0, target=2.0)
FULL = Plan(rounds=3, warm_up=2.0, direct=2.0, target=5.0)


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is ended then, too
    try:
        targets = [target(name, options.gateway_command) for name in names(options)]
        with bench(plan(options), build_programs()) as started:
            rows = started.measure(targets)
    except (InstallError, LoadError, ProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    found = report(plan(options), rows, versions(targets))
    if not options.quick and set(TARGETS) <= set(options.targets):
        found.write(HERE / "results")
    print(found.markdown())
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/overhead/run",
        description="What the gateway costs, beside a direct call, nginx and LiteLLM's proxy.",
    )
    parser.add_argument("--rounds", type=int, help=f"how often to repeat (default {FULL.rounds})")
    parser.add_argument("--quick", action="store_true", help="one short round; nothing is kept")
    parser.add_argument("--targets", type=listed, default=TARGETS, metavar="A,B,…",
                        help=f"of {', '.join(TARGETS + OPTIONAL_TARGETS)}")  # fmt: skip
    parser.add_argument("--with", dest="extra", type=listed, default=(), metavar="A,B,…",
                        help=f"targets besides: {', '.join(OPTIONAL_TARGETS)}")  # fmt: skip
    parser.add_argument("--gateway-command", type=shlex.split,
                        default=[str(CHECKOUT / ".venv/bin/memgpt-proxy")],
                        help="what starts the gateway, before «serve»")  # fmt: skip
    return parser.parse_args()


def listed(text: str) -> Sequence[str]:
    chosen = tuple(text.split(","))
    if unknown := set(chosen) - {*TARGETS, *OPTIONAL_TARGETS}:
        raise argparse.ArgumentTypeError(f"unknown target: {', '.join(sorted(unknown))}")
    return chosen


def names(options: argparse.Namespace) -> list[str]:
    """The chosen targets, each once; the direct call is always made."""
    return [name for name in dict.fromkeys((*options.targets, *options.extra)) if name != "direct"]


def target(name: str, gateway_command: Sequence[str]) -> Target:
    if name == "gateway":
        return gateway(gateway_command)
    return {"nginx": nginx, "litellm": litellm, "portkey": portkey}[name]()


def versions(targets: Sequence[Target]) -> dict[str, str]:
    """Versions of everything measured, and of what our own programs are built with."""
    tools = {"Python": platform.python_version(), "Go": output("go", "env", "GOVERSION")}
    if any(target.name == "portkey" for target in targets):
        tools["Node"] = output("node", "--version")
    return tools | {target.name: target.version for target in targets}


def plan(options: argparse.Namespace) -> Plan:
    chosen = QUICK if options.quick else FULL
    return Plan(options.rounds or chosen.rounds, chosen.warm_up, chosen.direct, chosen.target)


if __name__ == "__main__":
    sys.exit(main())
