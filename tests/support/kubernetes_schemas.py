"""Schemas of Kubernetes' kinds, as kubeconform reads them.

Those of Kubernetes itself come with the Python package kubernetes-validate, which keeps definitions
in a file beside them; those of other kinds are in their CRDs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.kubernetes_build import checkers

Schema = dict[str, Any]

_DEFINITION = "#/$defs/"


def carried() -> Path:
    """Where the package with the schemas of many versions lies."""
    [found] = checkers().parents[1].glob("lib/python*/site-packages/kubernetes_validate")
    return found / "kubernetes-json-schema"


def versions() -> list[str]:
    """Return the versions that it has, each the newest of its minor version, oldest first."""
    newest: dict[int, tuple[int, str]] = {}
    for folder in carried().glob("v*-local-strict"):
        version = folder.name.removeprefix("v").removesuffix("-local-strict")
        _, minor, patch = map(int, version.split("."))
        newest[minor] = max(newest.get(minor, (-1, "")), (patch, version))
    return [version for _, (_, version) in sorted(newest.items())]


def write_schemas(version: str, kinds: Iterable[str], target: Path) -> None:
    """Write a version's strict schemas of these kinds, each with the definitions it uses."""
    source = carried() / f"v{version}-local-strict"
    definitions = json.loads((source / "_definitions.json").read_text())["$defs"]
    folder = target / f"v{version}-standalone-strict"
    folder.mkdir(parents=True)
    for kind in kinds:
        for path in source.glob(f"{kind.lower()}-*.json"):
            schema = _inlined(json.loads(path.read_text()), definitions)
            (folder / path.name).write_text(json.dumps(schema))


def write_crd_schemas(crds: Iterable[Path], target: Path) -> None:
    """Write the schemas of kinds that CRDs define, to ``GROUP/kind_version.json``."""
    for crd in crds:
        spec = yaml.safe_load(crd.read_text())["spec"]
        for version in spec["versions"]:
            name = f"{spec['names']['kind'].lower()}_{version['name']}.json"
            path = target / spec["group"] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            schema = _closed(version["schema"]["openAPIV3Schema"])
            # Of every kind, and in no CRD.
            schema["properties"]["metadata"] = {"type": "object"}
            path.write_text(json.dumps(schema))


def _inlined(schema: Schema, definitions: Schema) -> Schema:
    """Return a schema that refers to nothing outside of it."""
    used: Schema = {}
    waiting = set(_references(schema))
    while waiting:
        name = waiting.pop()
        used[name] = definitions[name]
        waiting |= set(_references(definitions[name])) - used.keys()
    whole = {"$defs": used, **schema}
    whole.pop("$id", None)
    moved: Schema = _moved(whole)
    return moved


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        reference = part.get("$ref")
        if isinstance(reference, str) and _DEFINITION in reference:
            yield reference.rsplit("/", 1)[1]
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from _references(each)


def _moved(part: Any) -> Any:
    """Return the same, referring to definitions in its own file."""
    if isinstance(part, list):
        return [_moved(each) for each in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if isinstance(reference, str) and _DEFINITION in reference:
        return {"$ref": _DEFINITION + reference.rsplit("/", 1)[1]}
    return {name: _moved(each) for name, each in part.items()}


def _closed(part: Any) -> Any:
    """Return the same, with objects that take no properties but their own."""
    if isinstance(part, list):
        return [_closed(each) for each in part]
    if not isinstance(part, dict):
        return part
    closed = {name: _closed(each) for name, each in part.items()}
    if isinstance(part.get("properties"), dict) and part.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed
