"""What pages tell an operator to look for is there: metrics, settings, lines of the log, codes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from memgpt_proxy.backends_file import BackendEntry
from memgpt_proxy.config import Settings
from memgpt_proxy.errors import BackendRefused, GatewayError, InvalidRequest
from tests.docs.fenced import CHECKOUT
from tests.docs.fenced import PAGES as ALL_PAGES

PAGES = (
    *("operations.md", "observability.md", "security.md", "search.md", "scaling.md"),
    *("deployment.md", "backends.md", "limits.md", "stores.md"),
)
OF_FIELDS = {"compatibility.md", "responses.md"}
"""Pages about OpenAI's fields, whose names look like those of settings."""

PAGES_WITH_SETTINGS = [path for path in ALL_PAGES if path.name not in OF_FIELDS]
OF_METRICS = ("http_", "gen_ai_", "db_", "process_", "memgpt_")
METRICS = (CHECKOUT / "docs" / "metrics.md").read_text()
SOURCE = "".join(path.read_text() for path in (CHECKOUT / "memgpt_proxy").rglob("*.py"))


def page(name: str) -> str:
    return (CHECKOUT / "docs" / name).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_metrics_that_a_page_names_are_those_of_the_gateway(name: str):
    named = re.findall(r"\b((?:memgpt|gen_ai|db_client|http_server)_\w+)", page(name))
    metrics = {re.sub(r"_(total|count|bucket|sum)$", "", metric) for metric in named}
    known = set(re.findall(r"`(\w+)`", METRICS)) | {"memgpt_journal", "memgpt_proxy"}
    assert metrics - known == set()


@pytest.mark.parametrize("path", PAGES_WITH_SETTINGS, ids=lambda path: path.name)
def test_settings_that_a_page_names_are_there(path: Path):
    told = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)*_(?:seconds|mib))`", told))
    named |= set(re.findall(r"`([a-z]+(?:_[a-z]+)+): \w+`", told))
    settings = {name for name in named if not name.startswith(OF_METRICS)}
    assert settings - set(Settings.model_fields) - set(BackendEntry.model_fields) == set()


def test_words_of_the_log_that_operations_quote_are_those_of_the_code():
    _, _, told = page("operations.md").partition("## What to do when")
    quoted = re.findall(r"`([A-Za-z,]+(?: [A-Za-z,]+){2,})`", told)
    assert quoted
    assert [words for words in quoted if not is_said(words)] == []


def is_said(words: str) -> bool:
    """Whether the code says it, as it stands or with a word put in."""
    written = " ".join(rf"(?:{re.escape(word)}|%\w)" for word in words.split(" "))
    return re.search(written, SOURCE) is not None


def kinds_of(error: type[GatewayError]) -> Iterator[type[GatewayError]]:
    for kind in error.__subclasses__():
        if kind not in (BackendRefused, InvalidRequest):  # theirs differ
            yield kind
            yield from kinds_of(kind)


@pytest.mark.parametrize("error", list(kinds_of(GatewayError)), ids=lambda error: error.__name__)
def test_every_error_of_the_gateway_has_a_row(error: type[GatewayError]):
    _, _, told = page("compatibility.md").partition("## Errors")
    assert re.search(rf"^\| {error.status} \|[^|]*`{error.code}`", told, re.MULTILINE)
