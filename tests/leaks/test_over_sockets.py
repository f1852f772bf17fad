"""The same over real sockets: a gateway process, and a backend that writes as it likes."""

from __future__ import annotations

import uuid
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.leaks.dialect import Writer
from tests.leaks.scenario import Scenario, scenarios
from tests.leaks.told import check_inside, check_told
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@given(scenario=scenarios(by_content=False), seed=st.integers(0, 2**16))
@settings(suppress_health_check=list(HealthCheck), max_examples=40)
def test_what_is_said_arrives_and_nothing_else(
    gateway: GatewayProcess, backend: ScriptedBackend, stream: bool, scenario: Scenario, seed: int
) -> None:
    writer = Writer(scenario.dialect, Random(seed))
    body: dict[str, Any] = {"model": f"{scenario.name}-{uuid.uuid4().hex}", "stream": stream}
    before = [scenario.before] if scenario.before else []
    for step in [*before, *scenario.steps]:
        data, kind = writer.body(step)
        backend.reply(Reply(body=data, headers={"content-type": kind}))
    if before:
        first = {**body, "messages": [{"role": "user", "content": "1"}], **scenario.before_asked}
        check_inside(ask(gateway, first).text)
    asked = {**body, "messages": [{"role": "user", "content": "Hello"}], **scenario.asked}
    response = ask(gateway, asked)
    check_inside(response.text)
    check_told(response, scenario)


def ask(gateway: GatewayProcess, body: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {body['model']}"}
    return httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers)
