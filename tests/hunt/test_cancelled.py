"""A client that leaves while the store writes. The store is slow, as one across a network; as there, a write goes on."""

from __future__ import annotations
import asyncio, json, time
import httpx, pytest
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.e2e.chatting import *
from tests.e2e.in_process import served
from tests.support.replies import *


def slow(monkeypatch, name, seconds):
    quick = getattr(SqliteStore, name)

    async def slowly(self, *args, **more):
        async def work():
            await asyncio.sleep(seconds)
            return await quick(self, *args, **more)

        return await asyncio.shield(asyncio.ensure_future(work()))

    monkeypatch.setattr(SqliteStore, name, slowly)


KEY = {"authorization": "Bearer k"}


def test_the_trace_of_a_turn_whose_client_left_at_its_commit(tmp_path, backend, monkeypatch):
    slow(monkeypatch, "commit", 1.0)
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        backend.reply(send("Hello."))
        with httpx.stream(
            "POST",
            f"{origin}/v1/chat/completions",
            headers=KEY,
            timeout=10,
            json={"model": "m", "messages": [user("hi")], "stream": True},
        ) as r:
            for line in r.iter_lines():
                if "Hello" in line or "lo." in line:
                    time.sleep(0.3)
                    break
        time.sleep(2.5)
        traces = httpx.get(f"{origin}/memgpt/traces", headers=KEY).json()["data"]
        print(traces)
        assert len(traces) == 1


def test_a_memory_write_under_way_is_taken_back_too(tmp_path, backend, monkeypatch):
    slow(monkeypatch, "write_context", 1.0)
    with served(create_app(Settings(data_dir=tmp_path), backend.base_url)) as origin:
        backend.reply(
            call("working_context_append", {"content": "Likes tea", "request_heartbeat": True})
        )
        backend.script(lambda b: send("Noted."))
        with pytest.raises(httpx.TimeoutException):
            httpx.post(
                f"{origin}/v1/chat/completions",
                headers=KEY,
                timeout=0.6,
                json={"model": "m", "messages": [user("I like tea")]},
            )
        time.sleep(2.5)
        context = httpx.get(f"{origin}/memgpt/working-context", headers=KEY).json()["content"]
        print("left behind:", repr(context), len(backend.requests))
        assert context == ""
