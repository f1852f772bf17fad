"""OpenAI's own types of the endpoint, from the ``openai`` package: fields, and values of them."""

from __future__ import annotations

import collections.abc
import types
from functools import cache
from typing import Any, Literal, Required, TypeVar, Union, get_args, get_origin, get_type_hints
from typing import is_typeddict as is_typed_dict

import typing_extensions
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.chat import completion_create_params as params
from pydantic import BaseModel

REQUEST: Any = params.CompletionCreateParamsNonStreaming
_REQUIRED = (Required, typing_extensions.Required)
_UNIONS = (Union, types.UnionType)
_SEQUENCES = (list, collections.abc.Iterable, collections.abc.Sequence)


def request_fields() -> dict[str, Any]:
    """The fields of a request, by name, with their types."""
    return get_type_hints(REQUEST, include_extras=True)


def messages() -> st.SearchStrategy[Any]:
    """The messages of a request: at least one."""
    (listed,) = get_args(request_fields()["messages"])
    (each,) = get_args(listed)
    return st.lists(values(each), min_size=1, max_size=4)


def answer_fields(model: type[BaseModel] = ChatCompletion) -> set[str]:
    """The fields of an answer, nested ones as ``choices[].message.content``."""
    return set(_walk(model, ""))


def chunk_fields() -> set[str]:
    """The fields of a chunk of a streamed answer."""
    return answer_fields(ChatCompletionChunk)


def _walk(model: type[BaseModel], before: str) -> Any:
    for name, each in model.model_fields.items():
        listed = "[]" if _is_list(each.annotation) else ""
        path = f"{before}{name}{listed}"
        yield path
        for inner in _models_in(each.annotation):
            yield from _walk(inner, f"{path}.")


def _is_list(kind: Any) -> bool:
    return get_origin(kind) is list or any(get_origin(each) is list for each in get_args(kind))


def _models_in(kind: Any) -> list[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return [kind]
    return [model for each in get_args(kind) for model in _models_in(each)]


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=5,
)
"""Any JSON at all."""

_TEXTS = st.sampled_from(["", "a", "f", "call_1", "Hello.", "get_weather", "send_message"])
_TEXTS |= st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@cache
def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type, as JSON has them."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in _REQUIRED:
        return values(inner[0])
    if origin is Literal:
        return st.sampled_from(inner)
    if origin in _UNIONS:
        return st.one_of(*map(values, inner))
    if origin in (dict, collections.abc.Mapping):
        return st.dictionaries(st.text(max_size=6), values(inner[1]), max_size=2)
    if is_typed_dict(kind) or typing_extensions.is_typeddict(kind):
        return _objects(kind)
    if inner and origin is not None:
        return st.lists(values(inner[0]), max_size=3)
    return _plain(kind)


def _objects(kind: Any) -> st.SearchStrategy[Any]:
    hints = get_type_hints(kind, include_extras=True)
    needed = {name for name, hint in hints.items() if get_origin(hint) in _REQUIRED}
    every = {name: values(hint) for name, hint in hints.items()}
    return st.fixed_dictionaries(
        {name: each for name, each in every.items() if name in needed},
        optional={name: each for name, each in every.items() if name not in needed},
    )


def _plain(kind: Any) -> st.SearchStrategy[Any]:
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: _TEXTS,
        int: st.integers(0, 4),
        float: st.floats(-2, 2),
        bool: st.booleans(),
        type(None): st.none(),
    }
    if isinstance(kind, TypeVar) or kind not in plain:
        return ANYTHING
    return plain[kind]


def inner_fields(field: str) -> set[str]:
    """The fields of a request's object."""
    return {name for kind in _objects_in(request_fields()[field]) for name in _hints(kind)}


def kinds(field: str) -> set[str]:
    """The kinds of which a request's field is: roles, types, or words that stand for one."""
    kind = request_fields()[field]
    words = _literals(kind)
    for each in _objects_in(kind):
        hints = _hints(each)
        words |= _literals(hints.get("role", hints.get("type")))
    return words


def part_kinds() -> set[str]:
    """The kinds of which the parts of a message's content are."""
    contents = [_hints(each)["content"] for each in _objects_in(request_fields()["messages"])]
    parts = [part for content in contents for part in _objects_in(content)]
    return {word for part in parts for word in _literals(_hints(part)["type"])}


def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _objects_in(kind: Any) -> list[Any]:
    """The objects that a type names, in unions and lists, those inside of them apart."""
    if is_typed_dict(kind) or typing_extensions.is_typeddict(kind):
        return [kind]
    return [each for inner in get_args(kind) for each in _objects_in(inner)]


def _literals(kind: Any) -> set[str]:
    if get_origin(kind) is Literal:
        return set(get_args(kind))
    return {word for inner in get_args(kind) for word in _literals(inner)}
