"""Every field of the Responses API has a row in the documentation, and every row its tests."""

from __future__ import annotations

import re
from pathlib import Path

from openai.types.responses.response_create_params import (
    ResponseCreateParamsBase,
    ResponseCreateParamsStreaming,
)

import memgpt_proxy

HERE = Path(__file__).parent
DOCUMENT = Path(memgpt_proxy.__file__).parent.parent / "docs" / "responses.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def rows() -> dict[str, str]:
    """What the table of fields says: tests by field."""
    section = DOCUMENT.read_text().split("## Fields")[1].split("## Items")[0]
    return {field: tests for field, _, tests in ROW.findall(section)}


def test_every_field_has_a_row() -> None:
    streaming = ResponseCreateParamsStreaming.__annotations__
    fields = {*ResponseCreateParamsBase.__annotations__, *streaming}
    assert set(rows()) == fields


def test_every_row_names_tests_that_there_are() -> None:
    there_are = {name for file in HERE.glob("test_*.py") for name in TEST.findall(file.read_text())}
    for field, tests in rows().items():
        named = re.findall(r"`(test_\w+)`", tests)
        assert named, field
        assert set(named) <= there_are, field
