"""Changes as bytes, and back: one JSON object each, ``{kind: content}``.

Releases differ in kinds and in attributes: a newer one reads what an older one has written, and
an older one knows by a kind or an attribute it has never heard of that a newer one has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from memgpt_proxy.stores.changes import Change, Committed, Edited, Inserted, Shown, Uncertain
from memgpt_proxy.stores.records import (
    Conversation,
    Counts,
    Fork,
    Node,
    Passage,
    QueueState,
    Role,
    TurnRecord,
    WorkingContext,
)
from memgpt_proxy.stores.storable import clean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Json = Mapping[str, Any]

Made = TypeVar("Made", bound="DataclassInstance")


class NewerForm(ValueError):
    """A change of a form that this release does not know: a newer one has written it."""


def encode(change: Change) -> bytes:
    """Return a change as bytes; texts that cannot be stored are cleaned."""
    kind = _KINDS[type(change)]
    try:
        return orjson.dumps({kind: change})
    except TypeError:  # a lone surrogate, which is no UTF-8
        return orjson.dumps({kind: _cleaned(asdict(change))})


def decode(data: bytes) -> Change:
    """Return the change that ``encode`` made bytes of.

    Raises:
        NewerForm: A newer release has made them.
        ValueError: Nothing has, or not all of them are there.
    """
    try:
        told = orjson.loads(data)
        if unknown := told.keys() - _READERS.keys():
            raise NewerForm(f"no change of this release: {sorted(unknown)}")
        ((kind, content),) = told.items()
        return _READERS[kind](content)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no change: {error!r}") from error


def node(content: Json) -> Node:
    """Return the node in a JSON object of its attributes."""
    return _made(Node, {**content, "role": Role(content["role"])})


def queue_state(content: Json) -> QueueState:
    """Return the queue state in a JSON object of its attributes."""
    context, counts = _made(WorkingContext, content["context"]), _made(Counts, content["counts"])
    return _made(QueueState, {**content, "context": context, "counts": counts})


def _made(record: type[Made], content: Json) -> Made:
    """Return the record with these attributes. Raises NewerForm where it has not all of them."""
    try:
        return record(**content)
    except TypeError as error:
        if unknown := content.keys() - {field.name for field in fields(record)}:
            raise NewerForm(f"no {record.__name__} of this release: {sorted(unknown)}") from error
        raise


def _record(content: Json) -> TurnRecord:
    fork, conversation = content["fork"], content["conversation"]
    made = {
        "nodes": [node(each) for each in content["nodes"]],
        "queues": [queue_state(each) for each in content["queues"]],
        "fork": _fork(fork) if fork else None,
        "conversation": _made(Conversation, conversation) if conversation else None,
        "lineage": tuple(content["lineage"]),
    }
    return _made(TurnRecord, {**content, **made})


def _committed(content: Json) -> Committed:
    known = content.get("known")
    made = {"record": _record(content["record"]), "known": None if known is None else tuple(known)}
    return _made(Committed, {**content, **made})


def _fork(content: Json) -> Fork:
    names = {"left": tuple(content["left"]), "kept": tuple(content["kept"])}
    return _made(Fork, {**content, **names})


def _inserted(content: Json) -> Inserted:
    passages = [_made(Passage, each) for each in content["passages"]]
    return _made(Inserted, {**content, "passages": passages})


def _edited(content: Json) -> Edited:
    return _made(Edited, {**content, "context": _made(WorkingContext, content["context"])})


_KINDS: dict[type[Change], str] = {
    Committed: "committed",
    Inserted: "inserted",
    Shown: "shown",
    Edited: "edited",
    Uncertain: "uncertain",
}
_READERS: dict[str, Callable[[Json], Change]] = {
    "committed": _committed,
    "inserted": _inserted,
    "shown": lambda content: _made(Shown, content),
    "edited": _edited,
    "uncertain": lambda content: _made(Uncertain, content),
}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value
