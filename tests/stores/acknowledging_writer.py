"""A process that commits without end and prints the id of every acknowledged message."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from memgpt_proxy.stores.records import Conversation, NodeId
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.stores.build import ALICE, message, passage, queue, record


async def write(store: SqliteStore, writer: int) -> None:
    for number in count():
        name = f"{writer}-{number}"
        node, named = message(name, f"message {name}"), NodeId(f"conversation {writer}")
        conversation = Conversation(named, node.id, resends=False)
        made = record(node, queues=[queue(name, 0, name)], conversation=conversation)
        await store.commit(ALICE, made)
        await store.insert_passages(ALICE, [passage(name, f"passage {name}")])
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()


async def main(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    async with asyncio.TaskGroup() as writers:
        for writer in range(8):
            writers.create_task(write(store, writer))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
