"""docs/compatibility.md against OpenAI's own types: a row for each field, tests for each row."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.e2e.test_fields import FORWARDED
from tests.support import official_types

ROOT = Path(__file__).parent.parent
TABLES = (ROOT / "docs/compatibility.md").read_text("utf-8")
CODE = re.compile(r"`([^`]+)`")
OURS = {"x_of_a_vendor"}
"""Stands for fields that nobody knows."""


def rows(section: str) -> list[list[str]]:
    """The rows of a section's table, cell by cell."""
    _, _, rest = TABLES.partition(f"## {section}\n")
    lines = rest.partition("\n## ")[0].splitlines()
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "|" in line
    ]
    return [row for row in cells if not row[0].startswith("---")][1:]


def names(cell: str) -> list[str]:
    return CODE.findall(cell)


@cache
def functions_of(module: str) -> set[str]:
    tree = ast.parse((ROOT / f"tests/e2e/{module}.py").read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


REQUEST = rows("The request")


def test_every_field_of_a_request_has_its_row() -> None:
    told = [row[0] for row in REQUEST]
    assert len(told) == len(set(told))
    official = {f"`{name}`" for name in official_types.request_fields()}
    official |= {
        f"`stream_options.{name}`" for name in official_types.inner_fields("stream_options")
    }
    for field in ("messages", "response_format", "tool_choice", "tools"):
        official |= {f"`{field}` (`{kind}`)" for kind in official_types.kinds(field)}
    official |= {f"`messages[].content[]` (`{kind}`)" for kind in official_types.part_kinds()}
    assert set(told) == official


def test_every_row_of_a_request_says_what_happens() -> None:
    assert {row[1] for row in REQUEST} <= {"honoured", "forwarded", "refused"}


def test_what_is_forwarded_is_tried() -> None:
    proof = "`test_fields.test_it_is_forwarded_as_it_came`"
    told = {names(row[0])[0] for row in REQUEST if proof in row[-1]}
    assert told == FORWARDED.keys() - OURS


@pytest.mark.parametrize(
    ("section", "official"),
    [
        ("The answer", official_types.answer_fields()),
        ("The chunks of a stream", official_types.chunk_fields()),
    ],
)
def test_every_field_of_an_answer_has_its_row(section: str, official: set[str]) -> None:
    told = [name for row in rows(section) for name in names(row[0])]
    assert len(told) == len(set(told))
    covered = {name: {field for field in official if covers(name, field)} for name in told}
    assert [name for name, fields in covered.items() if not fields] == []
    assert official - set().union(*covered.values()) == set()


def covers(name: str, field: str) -> bool:
    """Whether a row is about a field: ``a.*`` is about all that is in ``a``."""
    return field.startswith(name[:-1]) if name.endswith(".*") else field == name


@pytest.mark.parametrize("section", ["The request", "The answer", "The chunks of a stream"])
def test_every_row_is_proved_by_tests_that_are_there(section: str) -> None:
    for row in rows(section):
        proofs = names(row[-1])
        assert proofs, row[0]
        for proof in proofs:
            module, _, test = proof.partition(".")
            assert test in functions_of(module), proof
