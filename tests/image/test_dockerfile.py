"""What the Dockerfile says, without building it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LINES = (
    (Path(__file__).parents[2] / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
).splitlines()

INSTRUCTIONS = [
    (name, rest)
    for line in LINES
    if line.strip() and not line.startswith("#")
    for name, _, rest in [line.partition(" ")]
]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage."""
    starts = [at for at, (name, _) in enumerate(INSTRUCTIONS) if name == "FROM"]
    ends = [*starts[1:], len(INSTRUCTIONS)]
    return [INSTRUCTIONS[start:end] for start, end in zip(starts, ends, strict=True)]


def test_both_stages_are_of_the_base_that_is_given() -> None:
    assert [stage[0][1] for stage in stages()] == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]
    [base] = [rest for name, rest in INSTRUCTIONS if rest.startswith("BASE_IMAGE=")]
    assert re.fullmatch(r"BASE_IMAGE=python:\d+\.\d+\.\d+-slim-[a-z]+", base), "pinned"


def test_what_runs_is_copied_alone() -> None:
    """Nothing is executed for it, so that it can be made for another processor."""
    final = stages()[-1]
    assert "RUN" not in {name for name, _ in final}
    copied = [rest for name, rest in final if name == "COPY"]
    assert copied
    assert all(rest.startswith("--from=build ") for rest in copied)


@pytest.mark.parametrize("tool", ["curl", "wget", "sh -c", "bash", "apt", "eval", "||", ";"])
def test_it_needs_no_shell_tricks(tool: str) -> None:
    assert [rest for name, rest in INSTRUCTIONS if name == "RUN" and tool in rest] == []


def test_all_packages_are_locked_by_hash() -> None:
    installing = [rest for name, rest in INSTRUCTIONS if name == "RUN" and " install " in rest]
    assert len(installing) == 3
    for rest in installing:
        assert "--require-hashes" in rest or "--no-index --no-deps" in rest
