"""``cache_mib`` bounds what the hot state takes, whatever is written."""

from __future__ import annotations
import gc, subprocess, sys
import pytest

PROGRAM = """
import asyncio, gc, sys
from dataclasses import replace
sys.path.insert(0, ".")
import orjson
from memgpt_proxy.stores.spaces import Spaces
from memgpt_proxy.stores.changes import Committed
from memgpt_proxy.stores.records import Counts, Namespace, NodeId, TurnState, WorkingContext
from tests.stores.build import message, record
def rss(): return int(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
spaces = Spaces(16 * 2**20)
words = {"ascii": "The quick brown fox jumps. ", "cyrillic": "Съешь ещё этих мягких булок. ", "emoji": "The quick brown fox jumps 🦊 "}[sys.argv[1]]
gc.collect(); before = rss()
for n in range(6000):
    namespace = Namespace(f"n{n}")
    with spaces.reading(namespace) as reading: pass
    name = NodeId(f"m{n}" + "0" * 26)
    spaces.learn(namespace, [name], TurnState(0, (), None, WorkingContext(0, ""), Counts(0, 0)), reading)
    text = (words * 200)[:4000] + str(n)
    entries = orjson.dumps([{"role": "user", "content": text}]).decode()
    spaces.take_in(namespace, Committed(record(message(name, text, entries=entries)), ()))
gc.collect()
print(round(rss() - before, 1), round(spaces._size / 2**20, 1), len(spaces._spaces))
"""


@pytest.mark.parametrize("kind", ["ascii", "cyrillic", "emoji"])
def test_what_is_hot_takes_what_it_may(kind: str) -> None:
    out = subprocess.run([sys.executable, "-c", PROGRAM, kind], capture_output=True, text=True)
    print(kind, out.stdout, out.stderr[-500:])
    took, counted, _ = map(float, out.stdout.split())
    assert took < 1.75 * 16
