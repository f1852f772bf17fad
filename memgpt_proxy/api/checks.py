"""Checks of a request's fields; each raises InvalidRequest, which names the parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from memgpt_proxy.errors import InvalidRequest


def typed(fields: Mapping[str, Any], name: str, kind: type, called: str) -> Any:
    """Return a field that is of this kind, or None where it is not given.

    Args:
        called: The kind, as a person calls it.
    """
    value = fields.get(name)
    if value is None or (isinstance(value, kind) and not _is_bool_as_int(value, kind)):
        return value
    raise invalid(name, called)


def invalid(param: str, expected: str) -> InvalidRequest:
    """Return the error that something is of another type."""
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}.", param=param, code="invalid_type"
    )


def _is_bool_as_int(value: object, kind: type) -> bool:
    return kind is int and isinstance(value, bool)
