"""What the figures of a run can be compared with: when, on what, and of which versions."""

import json
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from benchmarks.machine import machine

CHECKOUT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Conditions:
    """One run's circumstances.

    Attributes:
        time: When it ended, in ISO's notation.
        machine: Processor, cores, memory and kernel.
        busy: The part of all cores that others used before it: the noise to expect.
        versions: Of all that was measured, by name.
    """

    time: str
    machine: Mapping[str, str]
    busy: float
    versions: Mapping[str, str]

    @classmethod
    def now(cls, busy: float, versions: Mapping[str, str]) -> Self:
        return cls(datetime.now(UTC).isoformat(timespec="seconds"), machine(), busy, versions)

    def markdown(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        return (
            f"{self.time[:10]}; {facts}; {self.busy:.0%} busy with other work before; {versions}."
        )


def of_gateway() -> dict[str, str]:
    """Versions of the checkout that is measured, and of what runs it."""
    described = output("git", "describe", "--always", "--dirty", "--tags")
    return {"memgpt-proxy": described, "Python": platform.python_version()}


def output(*command: str) -> str:
    """What a command says, on either stream: nginx tells its version on the second."""
    done = subprocess.run(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True
    )
    return done.stdout.decode().strip()


def keep(directory: Path, conditions: Conditions, markdown: str, found: Mapping[str, Any]) -> None:
    """Write latest.md and latest.json; those of an earlier run are replaced."""
    directory.mkdir(exist_ok=True)
    told = {"conditions": asdict(conditions), **found}
    (directory / "latest.json").write_text(json.dumps(told, indent=1) + "\n")
    (directory / "latest.md").write_text(markdown)
