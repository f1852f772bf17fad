"""A memory as lines of JSON: what an export writes, and an import reads.

The first line tells the version, whose memory it is and when it was written; each further one is a
record, ``{kind: content}``; the last one counts them, so that a file that was cut off is told from
a whole one.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import (
    Conversation,
    Namespace,
    Node,
    Owner,
    QueueState,
    Trace,
)

FORMAT, VERSION = "memgpt-memory", 1

_KINDS: dict[type[Portable], str] = {
    Node: "message",
    QueueState: "queue_state",
    Conversation: "conversation",
    StoredPassage: "passage",
    ContextVersion: "working_context",
}
_TRACE = "trace"
_READERS: dict[str, TypeAdapter[Portable]] = {
    name: TypeAdapter(kind) for kind, name in _KINDS.items()
}
_LARGEST = 2**53
"""Whole numbers in JSON end here for many who read it; no record needs more."""


_MOST = 2**31
"""Of what is counted in a message; what is added to it later is a whole number still."""
_YEAR_10000 = 253_402_300_800.0
"""Seconds since the epoch: no calendar goes on."""


class Malformed(ValueError):
    """What was read is no export, or not a whole one; the message says where, and no content."""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line.

    Attributes:
        owner: What stands for its namespace in stores.
        created: When it was written, in seconds since the epoch.
        namespace: The namespace itself, where it is known: names of messages are made with it.
    """

    owner: Owner
    created: float
    namespace: Namespace | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """An export, whole. Traces are not read: they tell of turns that others than these took."""

    head: Head
    records: Sequence[Portable]


def head_line(head: Head) -> bytes:
    """Return the first line of an export."""
    return orjson.dumps({"format": FORMAT, "version": VERSION, **asdict(head)}) + b"\n"


def record_line(record: Portable | Trace) -> bytes:
    """Return the line of a record."""
    return orjson.dumps({kind_of(record): record}) + b"\n"


def last_line(counts: Counter[str]) -> bytes:
    """Return the last line: how many records there are of each kind."""
    return orjson.dumps({"end": counts}) + b"\n"


def kind_of(record: Portable | Trace) -> str:
    """Return what a record's kind is called in an export."""
    return _TRACE if isinstance(record, Trace) else _KINDS[type(record)]


def read(lines: Iterable[bytes]) -> Export:
    """Return the export in these lines. Raises Malformed."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    head = _head(next(numbered, (1, b""))[1].removeprefix(BOM_UTF8))  # editors put it there
    records: list[Portable] = []
    counts: Counter[str] = Counter()
    for number, line in numbered:
        kind, content = _kind_and_content(number, line)
        if kind == "end":
            _check_end(content, counts, numbered)
            return Export(head, records)
        counts[kind] += 1
        if kind != _TRACE:
            records.append(_record(number, kind, content))
    raise Malformed("The export is not whole: its last line is missing.")


def _head(line: bytes) -> Head:
    try:
        told = orjson.loads(line)
        if told["format"] != FORMAT:
            raise ValueError(FORMAT)
        if told["version"] != VERSION:
            raise Malformed(f"The export is not of version {VERSION}, which this release reads.")
        known = {field.name for field in fields(Head)}
        return TypeAdapter(Head).validate_python({k: told[k] for k in known & told.keys()})
    except Malformed:
        raise
    except (AttributeError, KeyError, ValueError) as error:
        if b"}{" in line:
            raise Malformed(
                "The export has lost its line ends. curl sends a file as it is with --data-binary."
            ) from error
        raise Malformed("Line 1 is not the first line of an export.") from error


def _kind_and_content(number: int, line: bytes) -> tuple[str, Any]:
    try:
        ((kind, content),) = orjson.loads(line).items()
    except (AttributeError, ValueError) as error:
        raise Malformed(f"Line {number} is not a record.") from error
    if kind not in ("end", _TRACE, *_READERS):
        raise Malformed(f"Line {number} is of a kind that is not known.")
    return kind, content


def _record(number: int, kind: str, content: Any) -> Portable:
    try:
        record = _READERS[kind].validate_json(orjson.dumps(content), strict=True)
    except ValidationError as error:
        raise Malformed(f"Line {number} is not a {kind}.") from error
    if not all(map(_storable, _values(asdict(record)))) or not _is_possible(record):
        raise Malformed(f"Line {number} has something that cannot be stored.")
    if isinstance(record, Node) and not _are_entries(record.entries):
        raise Malformed(f"Line {number} has entries that are no messages.")
    return record


def _is_possible(record: Portable) -> bool:
    """Return whether its numbers can be what they are said to be."""
    match record:
        case Node():
            counts = (record.depth, record.tokens, record.context_version)
            return all(0 <= count <= _MOST for count in counts) and _is_time(record.created)
        case QueueState():
            return min(record.start, record.counts.messages, record.counts.passages) >= 0
        case StoredPassage(passage=passage):
            return _is_time(passage.created)
        case ContextVersion():
            return record.version > 0
        case Conversation():
            return True


def _is_time(seconds: float) -> bool:
    return 0 <= seconds < _YEAR_10000


def _check_end(content: Any, counts: Counter[str], rest: Iterator[object]) -> None:
    if content != counts:
        raise Malformed("The export has not the records that its last line counts.")
    if next(rest, None) is not None:
        raise Malformed("The export goes on behind its last line.")


def _values(content: dict[str, Any]) -> Iterator[Any]:
    for value in content.values():
        if isinstance(value, dict):
            yield from _values(value)
        else:
            yield value


def _storable(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value
    return not isinstance(value, int | float) or -_LARGEST < value < _LARGEST


def _are_entries(entries: str) -> bool:
    try:
        messages = orjson.loads(entries)
    except ValueError:
        return False
    return isinstance(messages, list) and all(map(_is_message, messages))


def _is_message(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("role"), str):
        return False
    content, calls = entry.get("content"), entry.get("tool_calls")
    return (content is None or isinstance(content, str) or _are_objects(content)) and (
        calls is None or (_are_objects(calls) and all(map(_is_call, calls)))
    )


def _is_call(call: dict[str, Any]) -> bool:
    called = call.get("function", call.get("custom"))
    return isinstance(called, dict) and isinstance(called.get("name"), str)


def _are_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
