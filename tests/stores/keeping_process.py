"""A process that keeps writes in a disk journal without end, and prints each acknowledged one."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from memgpt_proxy.stores.changes import Committed
from memgpt_proxy.stores.disk_journal import DiskJournal
from memgpt_proxy.stores.records import Namespace
from tests.stores.build import message, record


async def keep(journal: DiskJournal, writer: int) -> None:
    for number in count():
        node = message(f"{writer}-{number}", "text")
        await journal.append(Namespace(str(writer)), Committed(record(node)))
        sys.stdout.write(f"{node.id}\n")
        sys.stdout.flush()


async def main(path: Path) -> None:
    journal = DiskJournal(path, 2**30)
    await journal.open()
    async with asyncio.TaskGroup() as writers:
        for writer in range(8):
            writers.create_task(keep(journal, writer))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
