"""What waits in a process is told by what it waits in."""

from __future__ import annotations

from pathlib import Path

import httpx

from memgpt_proxy.config import Settings
from memgpt_proxy.storage import storage
from memgpt_proxy.stores.records import Namespace, Trace, TurnId
from memgpt_proxy.telemetry import Telemetry
from tests.support.scrape import samples


def refuse(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"nobody is to be asked: {request.url}")


def test_traces_that_are_not_written_yet(tmp_path: Path) -> None:
    telemetry = Telemetry()
    settings = Settings(data_dir=tmp_path)
    kept = storage(settings, "http://backend/v1", httpx.MockTransport(refuse), telemetry)
    for turn in ("one", "two"):
        kept.traces.keep(Namespace("sam"), Trace(TurnId(turn), 1.0, "{}"))
    told = samples(telemetry.exposition("")[0].decode())
    waiting = {s.labels["queue"]: s.value for s in told if s.name == "memgpt_queue_length"}
    assert waiting == {"traces": 2}
