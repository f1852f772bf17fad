"""What of the chart's ``values.schema.json`` follows from the gateway's settings.

``python -m tests.support.chart_schema`` writes it anew.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from memgpt_proxy.config import SHORTEST_SECRET, Settings
from memgpt_proxy.reference import choices_of

CHART = Path(__file__).parents[2] / "charts" / "memgpt-proxy"
SCHEMA = CHART / "values.schema.json"

SAID_ELSEWHERE = frozenset(
    "host port data_dir backend_url elasticsearch_url elasticsearch_ca_file redis_url"
    " redis_ca_file drain_delay_seconds drain_seconds".split()
)
"""Settings for which the chart has values of another name."""

_LENGTHS = {"namespace_secret": {"minLength": SHORTEST_SECRET}}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def settings_schema() -> dict[str, Any]:
    """Return the schema of the value ``settings``: every setting that is no secret, by its name.

    Those that belong elsewhere pass, for the chart's own checks to tell their place.
    """
    schema = _of({name: field for name, field in _fields().items() if not is_secret(field)})
    passed: dict[str, Any] = {name: {} for name in elsewhere()}
    schema["properties"] = dict(sorted((schema["properties"] | passed).items()))
    return schema


def secrets_schema() -> dict[str, Any]:
    """Return the schema of the value ``secrets``; Redis's URL is as in ``settings_schema``."""
    schema = _of({name: field for name, field in _fields().items() if is_secret(field)})
    schema["properties"]["redis_url"] = {}
    return schema


def elsewhere() -> set[str]:
    """Return the settings that are no part of the value ``settings``."""
    return {*SAID_ELSEWHERE, *(name for name, field in _fields().items() if is_secret(field))}


def is_secret(field: FieldInfo) -> bool:
    """Whether a setting must not be shown."""
    return SecretStr in _kinds(field.annotation)


def _fields() -> dict[str, FieldInfo]:
    return {
        name: field for name, field in Settings.model_fields.items() if name not in SAID_ELSEWHERE
    }


def _of(fields: dict[str, FieldInfo]) -> dict[str, Any]:
    properties = {
        name: _property(field) | _LENGTHS.get(name, {}) for name, field in sorted(fields.items())
    }
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _property(field: FieldInfo) -> dict[str, Any]:
    kinds = _kinds(field.annotation)
    if choices := choices_of(field):
        return {"enum": [*choices, None]}
    if tuple in kinds:
        return {"type": ["array", "string", "null"], "items": {"type": "string"}}
    if bool in kinds:
        return {"type": ["boolean", "null"]}
    if int in kinds or float in kinds:
        return {"type": ["integer" if int in kinds else "number", "null"], **_bounds(field)}
    return {"type": ["string", "null"]}


def _bounds(field: FieldInfo) -> dict[str, Any]:
    return {
        schema: getattr(bound, name)
        for bound in field.metadata
        for name, schema in _BOUNDS.items()
        if hasattr(bound, name)
    }


def _kinds(annotation: Any) -> set[Any]:
    """Return an annotation, and all that it is made of."""
    origin = getattr(annotation, "__origin__", None)
    parts = [_kinds(part) for part in get_args(annotation)]
    return {annotation, origin, *(kind for part in parts for kind in part)}


def written() -> dict[str, Any]:
    """Return the schema as it has to be: what is written by hand, with these parts."""
    schema: dict[str, Any] = json.loads(SCHEMA.read_text(encoding="utf-8"))
    schema["properties"]["settings"] = settings_schema()
    schema["properties"]["secrets"] = secrets_schema()
    return schema


if __name__ == "__main__":
    SCHEMA.write_text(json.dumps(written(), indent=2) + "\n", encoding="utf-8")
