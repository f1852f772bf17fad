"""Whatever a backend's answers look like: what is inside stays inside, what is said arrives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from memgpt_proxy.config import ReplyMode
from memgpt_proxy.traits import Trait
from tests.leaks.dialect import Step, Writer
from tests.leaks.gateway import InProcess, in_process
from tests.leaks.scenario import MOST_STEPS, Scenario, cut_off, scenarios, silences
from tests.leaks.told import check_inside, check_told, told_so_far

NUMBERS = count()
# For a long run: LEAK_EXAMPLES=2000
EXAMPLES = int(os.environ.get("LEAK_EXAMPLES", "40"))
ROUND = settings(
    suppress_health_check=list(HealthCheck), max_examples=EXAMPLES, report_multiple_bugs=False
)


GATEWAYS: dict[str, dict[str, Any]] = {
    "auto": {"reply_mode": ReplyMode.AUTO},
    "content": {"reply_mode": ReplyMode.CONTENT},
    "auto, no tools": {"reply_mode": ReplyMode.AUTO, "backend_profile": (Trait.NO_TOOLS,)},
    "content, no tools": {"reply_mode": ReplyMode.CONTENT, "backend_profile": (Trait.NO_TOOLS,)},
}


@pytest.fixture(scope="module", params=GATEWAYS.values(), ids=[*GATEWAYS])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[InProcess]:
    directory = tmp_path_factory.mktemp("leaks")
    with in_process(directory, max_steps=MOST_STEPS, **request.param) as opened:
        yield opened


def kind(gateway: InProcess) -> dict[str, bool]:
    """What a scenario has to know of a gateway."""
    return {"by_content": gateway.by_content, "in_text": gateway.in_text}


def play(
    gateway: InProcess, writer: Writer, steps: list[Step], body: Any
) -> tuple[httpx.Response, int]:
    """Ask, while the backend answers with these steps; also return how many it was asked for."""
    left, asked = iter(steps), count()

    def answer(_: Any) -> tuple[list[bytes], str]:
        next(asked)
        written, kind = writer.body(next(left, Step(content="Nobody asked for this.")))
        return writer.writes(written), kind

    gateway.answer = answer
    return gateway.ask(f"key-{body['model']}", body), next(asked)


def ask(
    gateway: InProcess, writer: Writer, scenario: Scenario, stream: bool
) -> tuple[httpx.Response, int]:
    """Play a scenario; return what the client got, and how many steps were asked for."""
    body: dict[str, Any] = {"model": f"{scenario.name}-{next(NUMBERS)}", "stream": stream}
    if scenario.before:
        first = {
            **body,
            "messages": [{"role": "user", "content": "First"}],
            **scenario.before_asked,
        }
        response, _ = play(gateway, writer, [scenario.before], first)
        check_inside(response.text)
    body |= {"messages": [{"role": "user", "content": "Hello"}], **scenario.asked}
    response, asked = play(gateway, writer, scenario.steps, body)
    note(response.text)
    check_inside(response.text)
    return response, asked


pytestmark = [pytest.mark.timeout(max(60, EXAMPLES)), pytest.mark.slow]
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
SEEDS = st.integers(0, 2**16)


@WAYS
@given(data=st.data(), seed=SEEDS)
@ROUND
def test_what_is_said_arrives_and_nothing_else(
    gateway: InProcess, stream: bool, data: st.DataObject, seed: int
) -> None:
    scenario: Scenario = data.draw(scenarios(**kind(gateway)))
    response, asked = ask(gateway, Writer(scenario.dialect, Random(seed)), scenario, stream)
    assert response.status_code == 200
    assert asked == len(scenario.steps)
    check_told(response, scenario)


@WAYS
@given(data=st.data(), seed=SEEDS, kept=st.integers(0, 3000))
@ROUND
def test_an_answer_that_breaks_off_leaks_nothing(
    gateway: InProcess, stream: bool, data: st.DataObject, seed: int, kept: int
) -> None:
    scenario: Scenario = data.draw(scenarios(**kind(gateway)))
    writer = Writer(scenario.dialect, Random(seed), most=kept)
    response, _ = ask(gateway, writer, scenario, stream)
    said = "".join(message["content"] or "" for message in told_so_far(response))
    assert (scenario.said * scenario.asked.get("n", 1)).startswith(said) or said in scenario.said


@WAYS
@given(data=st.data(), seed=SEEDS)
@ROUND
def test_a_model_that_never_replies_leaks_nothing(
    gateway: InProcess, stream: bool, data: st.DataObject, seed: int
) -> None:
    scenario: Scenario = data.draw(silences(**kind(gateway)))
    response, asked = ask(gateway, Writer(scenario.dialect, Random(seed)), scenario, stream)
    assert asked == MOST_STEPS
    assert "came to no reply" in response.text


@WAYS
@given(data=st.data(), seed=SEEDS)
@ROUND
def test_a_known_model_that_is_cut_off_amid_its_thoughts_leaks_nothing(
    gateway: InProcess, stream: bool, data: st.DataObject, seed: int
) -> None:
    scenario: Scenario = data.draw(cut_off())
    ask(gateway, Writer(scenario.dialect, Random(seed)), scenario, stream)
