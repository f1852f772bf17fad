"""What refusals teach of a window is kept where a step comes through with it, else forgotten."""

from __future__ import annotations

import httpx
import orjson
import pytest

from memgpt_proxy.agent.healing import Healing
from memgpt_proxy.agent.window import Thresholds, Windows
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.errors import BackendRefused
from memgpt_proxy.telemetry import Telemetry

THRESHOLDS = Thresholds(pressure_at=0.7, flush_at=1.0, flush_to=0.5, reply_reserve=1000)
UNTOLD = 8192


def refusal(window: int) -> BackendRefused:
    message = f"This model's maximum context length is {window} tokens."
    error = {"message": message, "code": "context_length_exceeded"}
    return BackendRefused(400, [], orjson.dumps({"error": error}))


@pytest.fixture
def windows() -> Windows:
    silent = httpx.MockTransport(lambda _: httpx.Response(404))
    backend = Backend("http://backend/v1", silent, api_key=None, timeouts=Timeouts(1, 1))
    return Windows(None, backend, THRESHOLDS)


@pytest.fixture
def healing(windows: Windows) -> Healing:
    return Healing(windows, "m", Telemetry())


async def size(windows: Windows) -> int:
    return (await windows.of("m", [])).size


async def test_a_step_that_comes_through_confirms_it(windows: Windows, healing: Healing) -> None:
    assert healing.learn(refusal(4096), b"first", 5000, None)
    assert await size(windows) == 4096
    healing.succeeded()
    healing.failed()  # of another reason, in a later step
    assert await size(windows) == 4096


async def test_all_of_it_is_forgotten_where_the_turn_fails(
    windows: Windows, healing: Healing
) -> None:
    assert healing.learn(refusal(4096), b"first", 5000, None)
    assert healing.learn(refusal(300), b"second", 4000, None)
    assert await size(windows) == 300
    healing.failed()
    assert await size(windows) == UNTOLD


async def test_it_is_forgotten_where_nothing_can_be_made_shorter(
    windows: Windows, healing: Healing
) -> None:
    refused = refusal(300)
    assert healing.learn(refused, b"the same", 5000, None)
    healing.check(b"another")
    with pytest.raises(BackendRefused) as raised:
        healing.check(b"the same")
    assert raised.value is refused
    assert await size(windows) == UNTOLD


async def test_a_later_failure_forgets_what_came_after_the_last_success(
    windows: Windows, healing: Healing
) -> None:
    assert healing.learn(refusal(4096), b"first", 5000, None)
    healing.succeeded()
    assert healing.learn(refusal(300), b"second", 4000, None)
    healing.failed()
    assert await size(windows) == 4096
