"""A process that edits a working context and stores turns: ``editing_process PATH NAME COUNT``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from memgpt_proxy.memory.working_context import Author, WorkingContextEditor
from memgpt_proxy.stores.records import NodeId, Passage, TurnId, TurnRecord
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, branch


async def edit(path: Path, name: str, count: int) -> None:
    store = SqliteStore(path)
    await store.open()
    editor = WorkingContextEditor(store)
    shared = branch(["hello", "hi", "and?", "so"])
    for number in range(count):
        author = Author(NodeId("m2"), TurnId(name))
        await editor.append(ALICE, author, f"{name} {number}", limit=100_000)
        await store.commit(ALICE, TurnRecord(shared))
        passage = Passage(f"p{number}", f"note {number}", 1.0, NodeId("m2"))
        await store.insert_passages(ALICE, [passage])
    await store.close()


if __name__ == "__main__":
    asyncio.run(edit(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
