"""A memory as lines: what is written is read, and what no memory can have is refused."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections import Counter
from dataclasses import replace
from datetime import date

import pytest

from memgpt_proxy.stores.lines import (
    Head,
    Malformed,
    head_line,
    kind_of,
    last_line,
    read,
    record_line,
)
from memgpt_proxy.stores.portable import ContextVersion, Portable, StoredPassage
from memgpt_proxy.stores.records import NO_TURN, ROOT, Conversation, Counts, NodeId
from memgpt_proxy.stores.storable import owner_of
from tests.stores.build import ALICE, EPOCH, message, passage, queue

YEAR_10000 = 86_400.0 * ((date(9999, 12, 31) - date(1970, 1, 1)).days + 1)

HEAD = Head(owner_of(ALICE), EPOCH, ALICE)
MESSAGE = message("m0", "hi")


def lines(*records: Portable) -> list[bytes]:
    counts = Counter(map(kind_of, records))
    return [head_line(HEAD), *map(record_line, records), last_line(counts)]


@pytest.mark.parametrize(
    "record",
    [
        MESSAGE,
        replace(MESSAGE, created=0.0, tokens=2**31, depth=2**31),
        replace(MESSAGE, created=YEAR_10000 - 1),
        queue("m0", start=0),
        Conversation(NodeId("name"), NodeId("m0"), resends=True),
        StoredPassage(passage("p0", "a note"), hidden=True),
        ContextVersion(1, "Name: Chad", ROOT, NO_TURN),
    ],
)
def test_what_is_written_is_read(record: Portable) -> None:
    export = read(lines(record))
    assert (export.head, export.records) == (HEAD, [record])


@pytest.mark.parametrize("before", [BOM_UTF8, b"\n" + BOM_UTF8])
def test_what_an_editor_has_put_before_it_is_passed_over(before: bytes) -> None:
    first, *rest = lines(MESSAGE)
    export = read([*(before + first.replace(b"\n", b"\r\n")).splitlines(keepends=True), *rest])
    assert (export.head, export.records) == (HEAD, [MESSAGE])


@pytest.mark.parametrize(
    "record",
    [
        replace(MESSAGE, depth=-1),
        replace(MESSAGE, depth=2**31 + 1),
        replace(MESSAGE, tokens=-1),
        replace(MESSAGE, tokens=2**31 + 1),
        replace(MESSAGE, context_version=-1),
        replace(MESSAGE, created=-1.0),
        replace(MESSAGE, created=YEAR_10000),
        queue("m0", start=-1),
        replace(queue("m0", start=0), counts=Counts(-1, 0)),
        replace(queue("m0", start=0), counts=Counts(0, -1)),
        StoredPassage(passage("p0", "a note", created=YEAR_10000), hidden=False),
        ContextVersion(0, "Name: Chad", ROOT, NO_TURN),
    ],
)
def test_numbers_that_cannot_be_are_refused(record: Portable) -> None:
    with pytest.raises(Malformed, match="Line 2 has something that cannot be stored"):
        read(lines(record))


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CUSTOM = {"id": "c", "type": "custom", "custom": {"name": "f", "input": ""}}


@pytest.mark.parametrize(
    "entry",
    [
        {"role": "user", "content": "hi"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CUSTOM]},
        {"role": "assistant", "content": "hi", "tool_calls": None},
    ],
)
def test_entries_of_all_kinds_are_read(entry: object) -> None:
    node = replace(MESSAGE, entries=json.dumps([entry]))
    assert read(lines(node)).records == [node]


@pytest.mark.parametrize(
    "entries",
    [
        "[",
        "null",
        '{"role": "user"}',
        "[5]",
        '[{"content": "hi"}]',
        '[{"role": 5, "content": "hi"}]',
        '[{"role": "user", "content": 5}]',
        '[{"role": "user", "content": {}}]',
        '[{"role": "user", "content": ["hi"]}]',
        '[{"role": "assistant", "tool_calls": 5}]',
        '[{"role": "assistant", "tool_calls": {}}]',
        '[{"role": "assistant", "tool_calls": ["f"]}]',
        '[{"role": "assistant", "tool_calls": [{}]}]',
        '[{"role": "assistant", "tool_calls": [{"function": "f"}]}]',
        '[{"role": "assistant", "tool_calls": [{"function": {"name": 5}}]}]',
    ],
)
def test_entries_that_are_no_messages_are_refused(entries: str) -> None:
    with pytest.raises(Malformed, match="Line 2 has entries that are no messages"):
        read(lines(replace(MESSAGE, entries=entries)))
