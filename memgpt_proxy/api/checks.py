"""Checks of a request's fields and query; each raises InvalidRequest, which names the parameter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from starlette.datastructures import QueryParams

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


def only(known: Sequence[str], query: QueryParams) -> None:
    """Refuse a query parameter that is not ``known``, or given twice: it would be passed over.

    One that is passed over may be a ``user`` who is misspelt, and the answer somebody else's.
    """
    for name, _ in query.multi_items():
        if name not in known:
            near = get_close_matches(name.lower(), known, n=1)
            told = f"Did you mean {near[0]!r}?" if near else f"It takes {listed(map(repr, known))}."
            message = f"Unknown query parameter: {name!r}. {told}"
            raise InvalidRequest(message, param=name, code="unknown_parameter")
        if len(query.getlist(name)) > 1:
            message = f"The query parameter {name!r} is given more than once."
            raise InvalidRequest(message, param=name, code="invalid_value")


def listed(names: Iterable[str]) -> str:
    """Return names as a sentence has them: ``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def invalid(param: str, expected: str) -> InvalidRequest:
    """Return the error that something is of another type."""
    return InvalidRequest(
        f"Invalid type for '{param}': expected {expected}.", param=param, code="invalid_type"
    )


def _is_bool_as_int(value: object, kind: type) -> bool:
    return kind is int and isinstance(value, bool)
