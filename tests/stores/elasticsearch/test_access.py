"""A request without its owner cannot be written."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from memgpt_proxy.stores import elasticsearch
from memgpt_proxy.stores.elasticsearch.access import Search
from memgpt_proxy.stores.elasticsearch.names import LONGEST_TERM, document_id, term
from memgpt_proxy.stores.records import Owner

PACKAGE = Path(elasticsearch.__file__).parent

MAY_SEND = {
    "access",  # adds the owner to everything
    "bulk",  # whose lines each bear an owner
    "client",
    "freshness",  # refreshes
    "indices",
    "lookups",  # each of an owner
    "migration",  # copies indices as they are
    "moving",  # tells who the owners are
    "secret",  # reads and leaves one document, which nobody owns
    "store",  # asks for the cluster's health
    "vectors",  # finds texts of anybody that have none yet
}


def test_few_modules_speak_to_the_server() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py") if sends(path)} == MAY_SEND


def sends(path: Path) -> bool:
    """Whether a module can send a request."""
    names = {
        node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)
    }
    return bool(names & {"send", "AsyncElasticsearch"})


@pytest.mark.parametrize("belonging", ["owner", "said", "shown"])
def test_every_search_has_the_condition(belonging: str) -> None:
    search = Search(belonging=belonging, filters=[{"match_all": {}}], query={"match_all": {}})  # type: ignore[arg-type]
    conditions = search.body(Owner("7"))["query"]["bool"]
    assert conditions["filter"][0] == {"term": {belonging: "7"}}
    assert "should" not in conditions


def test_ids_tell_owner_kind_and_name_apart() -> None:
    told = [("1", "node", "a"), ("1", "queue", "a"), ("2", "node", "a"), ("1", "node", "b")]
    told += [("11", "node", "a"), ("1", "node", ""), ("1", "node", "x" * 9999)]
    ids = {document_id(Owner(owner), kind, name) for owner, kind, name in told}
    assert len(ids) == len(told)
    assert {len(name) for name in ids} == {22}


def test_terms_are_names_as_long_as_they_are_short() -> None:
    assert term("a" * LONGEST_TERM) == "a" * LONGEST_TERM
    long = {term("ü" * 200), term("ü" * 201), term("a" * (LONGEST_TERM + 1))}
    assert {len(each) for each in long} == {33}
    assert term("a\0\ud800") == "a\ufffd\ufffd"
