"""An export during which a turn edits the working context, imported elsewhere."""

from __future__ import annotations
import asyncio
import time
from pathlib import Path
import httpx
from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from memgpt_proxy.memory.carrying import exported
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import served
from tests.e2e.prompts import remember, system
from tests.e2e.test_erasing import live
from tests.e2e.test_owner import headers
from tests.support.backend import ScriptedBackend
from tests.support.replies import call


def test_an_export_amid_a_turn_is_a_memory_that_works(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
) -> None:
    app = create_app(Settings(data_dir=tmp_path / "data"), backend.base_url)
    with served(app) as origin:
        person = Person(f"{origin}/v1", api_key, model)
        live(backend, person)
        whole = httpx.get(f"{origin}/memgpt/export", headers=headers(api_key)).text
        namespace = Namespace(
            httpx.get(f"{origin}/memgpt/export", headers=headers(api_key))
            .text.split('"namespace":"')[1]
            .split('"')[0]
        )

        async def export() -> bytes:
            store = SqliteStore(tmp_path / "data" / "memory.db")
            await store.open()
            lines = exported(store, owner_of(namespace), time.time(), namespace=namespace)
            got = [await anext(lines) for _ in range(3)]  # head, working contexts, queue states
            backend.reply(
                call("working_context_append", {"content": "Dog: Rex", "request_heartbeat": True}),
                send("A dog!"),
            )
            await asyncio.to_thread(person.say, "My dog is Rex.")
            got += [each async for each in lines]
            await store.close()
            return b"".join(got)

        file = asyncio.run(export())
        print(file.decode()[:3000])
        person.api_key += "-new"
        imported = httpx.post(
            f"{origin}/memgpt/import", headers=headers(person.api_key), content=file
        )
        assert imported.status_code == 200, imported.text
        backend.reply(send("Fine."))
        person.say("How are you?")
        told = [each["function"]["name"] for each in (backend.requests[-1].body.get("tools") or [])]
    assert "recall_storage_search" in told
