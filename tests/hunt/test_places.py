"""What following others' changes takes in memory, beside ``cache_mib``."""

from __future__ import annotations
import gc, os
from hashlib import blake2b
from memgpt_proxy.stores.change_log import Entry, News, Position
from memgpt_proxy.stores.changes import Committed
from memgpt_proxy.stores.following import Following
from memgpt_proxy.stores.records import Namespace, NodeId, Conversation
from memgpt_proxy.stores.spaces import Spaces
from tests.stores.build import message, record, queue

RUN = "a" * 40


class Log:
    n = 0

    def _next(self):
        self.n += 1
        return Position(f"{RUN}/17000000{self.n:05d}-0")

    async def join(self, namespace):
        return News(self._next())

    async def follow(self, namespace, position):
        return News(position)

    async def append(self, namespace, change, *, upon, position):
        return News(self._next())


class Store:
    def alone(self, *, alone): ...
    def changed_elsewhere(self, namespace): ...


def rss() -> float:
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20


async def test_what_is_followed_is_small() -> None:
    spaces = Spaces(2**20)
    following = Following(Log(), Store(), spaces)
    gc.collect()
    before = rss()
    NAMESPACES, TURNS = 10_000, 33
    for n in range(NAMESPACES):
        namespace = Namespace(f"namespace {n}")
        for t in range(TURNS):
            await following.catch_up(namespace)
            user, reply = (
                NodeId(blake2b(f"{n} {t} {w}".encode(), digest_size=16).hexdigest()) for w in "ur"
            )
            change = Committed(
                record(
                    message(user, "hello"),
                    message(reply, "hi"),
                    conversation=Conversation(NodeId("c" * 32), reply, False),
                )
            )
            await following.tell(namespace, change, upon=following.position(namespace))
    gc.collect()
    took = rss() - before
    print(
        f"{NAMESPACES} namespaces of {TURNS} turns: {took:.0f} MiB, hot {len(spaces._spaces)}; 50 000 would take {took * 50_000 / NAMESPACES:.0f} MiB"
    )
    assert took < 64
