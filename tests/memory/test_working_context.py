"""Edits of the working context, over a real store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from memgpt_proxy.memory.failure import CallFailed
from memgpt_proxy.memory.working_context import (
    Author,
    WorkingContextEditor,
    changes,
    grouped,
)
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Namespace, NodeId, TurnId, WorkingContext
from tests.stores.build import ALICE, BOB

HERE = Author(NodeId("m0"), TurnId("t0"))


@dataclass(frozen=True, slots=True)
class Limited:
    """The editor with one limit for all its edits."""

    editor: WorkingContextEditor
    limit: int

    async def append(self, space: Namespace, author: Author, content: str) -> WorkingContext:
        return await self.editor.append(space, author, content, limit=self.limit)

    async def replace(self, space: Namespace, author: Author, old: str, new: str) -> WorkingContext:
        return await self.editor.replace(space, author, old, new, limit=self.limit)


@pytest.fixture
def editor(store: Store) -> Limited:
    return Limited(WorkingContextEditor(store), 100)


async def test_the_posters_edits(editor: Limited) -> None:
    await editor.append(ALICE, HERE, "Birthday is February 7")
    written = await editor.append(ALICE, HERE, " Boyfriend named James\n")
    assert written == WorkingContext(2, "Birthday is February 7\nBoyfriend named James")
    replaced = await editor.replace(
        ALICE, HERE, "Boyfriend named James", "Ex-boyfriend named James"
    )
    assert replaced == WorkingContext(3, "Birthday is February 7\nEx-boyfriend named James")


async def test_an_empty_text_deletes_and_leaves_no_empty_line(editor: Limited) -> None:
    for line in ("one", "two", "three"):
        await editor.append(ALICE, HERE, line)
    assert (await editor.replace(ALICE, HERE, "two", "")).content == "one\nthree"


async def test_what_is_not_there_cannot_be_replaced(editor: Limited) -> None:
    await editor.append(ALICE, HERE, "one")
    with pytest.raises(CallFailed, match="does not occur"):
        await editor.replace(ALICE, HERE, "two", "three")


async def test_what_is_there_twice_is_not_replaced(editor: Limited, store: Store) -> None:
    await editor.append(ALICE, HERE, "James and James")
    with pytest.raises(CallFailed, match="occurs 2 times"):
        await editor.replace(ALICE, HERE, "James", "Jim")
    assert await store.context(ALICE) == WorkingContext(1, "James and James")


@pytest.mark.parametrize("content", ["", "  \n"])
async def test_nothing_cannot_be_appended(editor: Limited, content: str) -> None:
    with pytest.raises(CallFailed, match="content is empty"):
        await editor.append(ALICE, HERE, content)


async def test_nothing_cannot_be_replaced(editor: Limited) -> None:
    with pytest.raises(CallFailed, match="old_content is empty"):
        await editor.replace(ALICE, HERE, "", "x")


async def test_the_limit(editor: Limited, store: Store) -> None:
    await editor.append(ALICE, HERE, "x" * 100)
    with pytest.raises(CallFailed, match="would hold 102 characters; its limit is 100 and 100 are"):
        await editor.append(ALICE, HERE, "y")
    with pytest.raises(CallFailed, match="would hold 101"):
        await editor.replace(ALICE, HERE, "x" * 100, "y" * 101)
    assert (await store.context(ALICE)).content == "x" * 100
    assert (await editor.append(BOB, HERE, "y")).content == "y"


async def test_twenty_edits_at_once_are_all_there(store: Store) -> None:
    editor = Limited(WorkingContextEditor(store), 8000)
    texts = [f"fact number {n}" for n in range(20)]
    await asyncio.gather(*(editor.append(ALICE, HERE, text) for text in texts))
    context = await store.context(ALICE)
    assert context.version == 20
    assert sorted(context.content.splitlines()) == sorted(texts)


def test_changes() -> None:
    assert changes("a\nb\nc", "a\nB\nc\nd") == ["- b", "+ B", "+ d"]
    assert changes("", "a") == ["+ a"]
    assert changes("a", "a") == []


def test_grouped() -> None:
    assert [grouped(n) for n in (7, 1234, 8000, 1234567)] == ["7", "1 234", "8 000", "1 234 567"]


def test_changes_of_many_lines_that_resemble_each_other() -> None:
    before = [f"{'a' * 36}{number:03}" for number in range(200)]
    after = [f"{'a' * 36}{number:03}" for number in range(500, 700)]
    told = changes("\n".join(before), "\n".join(after))
    assert told == [*(f"- {line}" for line in before), *(f"+ {line}" for line in after)]
