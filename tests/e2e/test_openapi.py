"""The document of the API says what the gateway does: all of its routes, and what they answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.routing import Route

from memgpt_proxy.api import shapes
from memgpt_proxy.api.openapi import OPERATIONS, document
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.e2e.test_contents import edit, insert
from tests.e2e.test_erasing import erase
from tests.e2e.test_owner import get, headers
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import call


def test_every_route_of_ours_is_described(tmp_path: Path) -> None:
    app = create_app(Settings(data_dir=tmp_path), "http://127.0.0.1:1/v1")
    assert isinstance(app.rest, Starlette)
    served = {
        (route.path, method.lower())
        for route in app.rest.routes
        if isinstance(route, Route) and route.include_in_schema
        for method in route.methods or ()
        if method != "HEAD" and not route.path.startswith("/v1/")
    }
    assert set(OPERATIONS) == served


def parts(node: object) -> Iterator[tuple[str, Any]]:
    """All names and values in a document, however deep."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield name, value
            yield from parts(value)
    elif isinstance(node, list):
        for value in node:
            yield from parts(value)


def test_the_document_is_whole() -> None:
    """By the specification: references lead somewhere, names of operations are unique."""
    told = document()
    assert told["openapi"] == "3.1.0"
    schemas = told["components"]["schemas"]
    references = {value for name, value in parts(told) if name == "$ref"}
    assert references == {f"#/components/schemas/{name}" for name in schemas}, "none is left over"
    operations = [each for path in told["paths"].values() for each in path.values()]
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z][A-Za-z]+", name) for name in names)
    for each in operations:
        assert each["summary"].endswith(".")
        assert {"description", "content"} == set(each["responses"]["200"])
        parameters = [parameter["name"] for parameter in each.get("parameters", [])]
        assert len(set(parameters)) == len(parameters)


def test_it_is_served_without_a_key(gateway: GatewayProcess) -> None:
    answer = httpx.get(f"{gateway.origin}/memgpt/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == document()


def check(shape: type[BaseModel], answer: httpx.Response) -> None:
    """The answer has what the shape says, and nothing else."""
    assert answer.status_code == 200, answer.text
    shape.model_validate_json(answer.content, strict=True, extra="forbid")


def test_answers_are_as_described(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
) -> None:
    gateway = start_gateway()
    person = Person(gateway.base_url, api_key, "m")
    noted = call("working_context_append", {"content": "Cat: Mia", "request_heartbeat": True})
    backend.reply(noted, send("A cat!"), send("And?"))
    person.say("My cat is Mia.")
    check(shapes.WorkingContext, edit(gateway, api_key, 1, "Cat: Max"))
    check(shapes.WorkingContext, get(gateway, "working-context", api_key))
    check(shapes.Inserted, insert(gateway, api_key, "Mia is four."))
    check(shapes.RecallPage, get(gateway, "recall-storage", api_key))
    check(shapes.ArchivalPage, get(gateway, "archival-storage", api_key, query="Mia"))
    check(shapes.Traces, get(gateway, "traces", api_key))
    exported = get(gateway, "export", api_key)
    assert exported.headers["content-type"].startswith("application/jsonl")
    url = f"{gateway.origin}/memgpt/import"
    imported = httpx.post(url, content=exported.content, headers=headers(f"{api_key}-2"))
    check(shapes.Imported, imported)
    check(shapes.Erased, erase(gateway.origin, api_key))
    for path in ("healthz", "readyz"):
        check(shapes.Health, httpx.get(f"{gateway.origin}/{path}"))
    refused = httpx.get(f"{gateway.origin}/memgpt/traces")
    shapes.Error.model_validate_json(refused.content, strict=True, extra="forbid")


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_parameters_that_are_described_are_taken(
    gateway: GatewayProcess, api_key: str, path: str, method: str
) -> None:
    """An unknown one is refused by its name: so none of these is unknown."""
    taken = OPERATIONS[path, method].query
    if OPERATIONS[path, method].open or method != "get":
        return
    values = {"query": "x", "page": "1", "limit": "5", "before": "1.0_x"}
    query = {"user": "ann", **{name: values[name] for name in taken if name in values}}
    with httpx.stream(
        "GET", f"{gateway.origin}{path}", params=query, headers=headers(api_key)
    ) as answer:
        assert answer.status_code == 200
