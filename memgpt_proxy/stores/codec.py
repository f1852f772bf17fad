"""Changes as bytes, and back: one JSON object each, ``{kind: content}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

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

Json = Mapping[str, Any]


def encode(change: Change) -> bytes:
    """Return a change as bytes; texts that cannot be stored are cleaned."""
    kind = _KINDS[type(change)]
    try:
        return orjson.dumps({kind: change})
    except TypeError:  # a lone surrogate, which is no UTF-8
        return orjson.dumps({kind: _cleaned(asdict(change))})


def decode(data: bytes) -> Change:
    """Return the change that ``encode`` made bytes of. Raises ValueError for other bytes."""
    try:
        ((kind, content),) = orjson.loads(data).items()
        return _READERS[kind](content)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no change: {error!r}") from error


def node(content: Json) -> Node:
    """Return the node in a JSON object of its attributes."""
    return Node(**{**content, "role": Role(content["role"])})


def queue_state(content: Json) -> QueueState:
    """Return the queue state in a JSON object of its attributes."""
    context, counts = WorkingContext(**content["context"]), Counts(**content["counts"])
    return QueueState(**{**content, "context": context, "counts": counts})


def _record(content: Json) -> TurnRecord:
    fork, conversation = content["fork"], content["conversation"]
    made = {
        "nodes": [node(each) for each in content["nodes"]],
        "queues": [queue_state(each) for each in content["queues"]],
        "fork": _fork(fork) if fork else None,
        "conversation": Conversation(**conversation) if conversation else None,
        "lineage": tuple(content["lineage"]),
    }
    return TurnRecord(**{**content, **made})


def _committed(content: Json) -> Committed:
    known = content.get("known")
    return Committed(_record(content["record"]), None if known is None else tuple(known))


def _fork(content: Json) -> Fork:
    left, kept = tuple(content["left"]), tuple(content["kept"])
    return Fork(left, kept, content["taken_up"])


_KINDS: dict[type[Change], str] = {
    Committed: "committed",
    Inserted: "inserted",
    Shown: "shown",
    Edited: "edited",
    Uncertain: "uncertain",
}
_READERS: dict[str, Callable[[Json], Change]] = {
    "committed": _committed,
    "inserted": lambda content: Inserted([Passage(**each) for each in content["passages"]]),
    "shown": lambda content: Shown(**content),
    "edited": lambda content: Edited(WorkingContext(**content["context"])),
    "uncertain": lambda _: Uncertain(),
}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {name: _cleaned(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(each) for each in value]
    return value
