"""The embedded store's disk fills up under a gateway: turns are answered, and it says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import missing_part
from tests.e2e.chatting import Person, raw, send, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.scrape import samples
from tests.support.small_disk import SmallDisk, small_disk

MIB = 8


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A small disk where the gateway's data directory will be."""
    (tmp_path / "gateway").mkdir()
    with ExitStack() as held:
        try:
            made = held.enter_context(small_disk(tmp_path / "gateway" / "data", MIB))
        except OSError as error:
            missing_part(f"no small disk can be mounted, which takes root: {error}")
        yield made


def greet(backend: ScriptedBackend, gateway: GatewayProcess, api_key: str, model: str) -> None:
    """Have somebody say something that is stored."""
    backend.reply(send("Hello."))
    Person(gateway.base_url, api_key, model).say("hello")


def readiness(gateway: GatewayProcess) -> tuple[int, dict[str, str]]:
    answer = httpx.get(f"{gateway.origin}/readyz")
    return answer.status_code, answer.json()


def metrics(gateway: GatewayProcess) -> tuple[float, float]:
    """Whether the store is full, and how many turns are not stored for that."""
    told = samples(httpx.get(f"{gateway.origin}/metrics").text)
    [full] = [each.value for each in told if each.name == "memgpt_store_full"]
    [turns] = [each.value for each in told if each.labels == {"reason": "full"}]
    return full, turns


def test_a_full_disk(
    backend: ScriptedBackend, disk: SmallDisk, tmp_path: Path, api_key: str, model: str
) -> None:
    with GatewayProcess(tmp_path / "gateway", backend.base_url) as gateway:
        greet(backend, gateway, api_key, model)
        assert readiness(gateway) == (200, {"status": "ok"})
        assert metrics(gateway) == (0, 0)

        disk.fill()
        assert readiness(gateway) == (200, {"status": "degraded", "store": "full"})
        backend.reply(send("Still here."))
        answer = raw(gateway.base_url, api_key, model=model, messages=[user("Are you there?")])
        assert answer.status_code == 200
        assert answer.headers["x-memgpt-degraded"] == "true"
        assert metrics(gateway) == (1, 1)

        disk.make_room()
        assert metrics(gateway) == (0, 1)
        assert readiness(gateway) == (200, {"status": "ok"})
        backend.reply(send("All is well."))
        answer = raw(gateway.base_url, api_key, model=model, messages=[user("And now?")])
        assert (answer.status_code, "x-memgpt-degraded" in answer.headers) == (200, False)


def test_a_disk_with_room_for_small_turns_alone(
    backend: ScriptedBackend, disk: SmallDisk, tmp_path: Path, api_key: str, model: str
) -> None:
    window = ("--context-window", "131072")
    with GatewayProcess(tmp_path / "gateway", backend.base_url, *window) as gateway:
        greet(backend, gateway, api_key, model)
        disk.fill(but=128 * 1024)
        assert readiness(gateway) == (200, {"status": "ok"})

        backend.reply(send("Long, is it not?"))
        words = [user("tea and cake " * 15_000)]
        answer = raw(gateway.base_url, api_key, model=model, messages=words)
        assert (answer.status_code, answer.headers["x-memgpt-degraded"]) == (200, "true")
        assert readiness(gateway) == (200, {"status": "degraded", "store": "full"})

        greet(backend, gateway, api_key, model)
        assert readiness(gateway) == (200, {"status": "degraded", "store": "full"})

        disk.make_room()
        assert readiness(gateway) == (200, {"status": "ok"})


def test_a_disk_that_is_full_at_the_first_start(
    backend: ScriptedBackend, disk: SmallDisk, tmp_path: Path
) -> None:
    """It is told in one line, and what was begun then is not in the way later."""
    disk.fill()
    gateway = GatewayProcess(tmp_path / "gateway", backend.base_url)
    with pytest.raises(AssertionError) as refused:
        gateway.start()
    told = str(refused.value)
    assert "Traceback" not in told
    assert f"Error: data_dir {disk.path}: No space left on device" in told
    disk.make_room()
    with gateway:
        assert readiness(gateway) == (200, {"status": "ok"})


def test_what_a_full_disk_has_to_do_with_erasing_is_told(
    backend: ScriptedBackend, disk: SmallDisk, tmp_path: Path, api_key: str, model: str
) -> None:
    with GatewayProcess(tmp_path / "gateway", backend.base_url) as gateway:
        greet(backend, gateway, api_key, model)
        disk.fill()
        backend.reply(send("Still here."))
        raw(gateway.base_url, api_key, model=model, messages=[user("Are you there?")])
        assert "a turn could not be stored: " in gateway.log()
        assert "Traceback" not in gateway.log()
        headers = {"authorization": f"Bearer {api_key}"}
        refused = httpx.delete(f"{gateway.origin}/memgpt/memory", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "memory_not_erased")
        assert "disk is full" in refused.json()["error"]["message"]
        disk.make_room()
        assert httpx.delete(f"{gateway.origin}/memgpt/memory", headers=headers).status_code == 200
