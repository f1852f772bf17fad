"""Which backend a model's requests go to, and what is learned of it is kept by."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from memgpt_proxy.agent.summarizer import Summarizer
from memgpt_proxy.agent.window import Thresholds, Windows
from memgpt_proxy.backend.circuit import TOLERATED
from memgpt_proxy.backend.client import Timeouts, available
from memgpt_proxy.backend.overflow import Overflow
from memgpt_proxy.backend.several import SeveralBackends
from memgpt_proxy.backends_file import BackendsFile
from memgpt_proxy.errors import BackendUnreachable, ModelNotFound
from memgpt_proxy.telemetry import Telemetry
from tests.agent.build import COUNTER
from tests.stores.build import message

WINDOWS = {"a": 10_000, "b": 20_000}


def answer(request: httpx.Request) -> httpx.Response:
    """Each host has models of its own window; a third is not there."""
    if request.url.host not in WINDOWS:
        raise httpx.ConnectError("refused")
    models = [{"id": name, "context_window": WINDOWS[request.url.host]} for name in ("m", "n")]
    return httpx.Response(200, json={"data": models})


def several(
    *entries: dict[str, Any],
    answer: Callable[[httpx.Request], httpx.Response] = answer,
    **more: Any,
) -> SeveralBackends:
    named = [{"url": f"http://{entry['name']}/v1", **entry} for entry in entries]
    told = BackendsFile.model_validate({"backends": named, **more})
    transport = httpx.MockTransport(answer)
    return SeveralBackends(told, transport, Timeouts(1, 1), Telemetry().backends)


def test_a_route_tells_where_a_model_is_and_what_it_is_called_there() -> None:
    backends = several({"name": "a", "models": ["m"], "aliases": {"fast": "m"}, "retries": 0})
    [route] = backends.routes("fast")
    assert (route.backend.url, route.backend.name) == ("http://a/v1", "a")
    assert (route.name, route.model, route.key) == ("fast", "m", "a/m")
    assert backends.routes("m")[0].key == "a/m"
    with pytest.raises(ModelNotFound):
        backends.routes("x")


def test_fallbacks_follow_in_their_order() -> None:
    backends = several(
        {"name": "a", "models": ["m"]},
        {"name": "b", "models": ["n"], "aliases": {"spare": "m"}},
        fallbacks={"m": ["n", "spare"]},
    )
    assert [route.key for route in backends.routes("m")] == ["a/m", "b/n", "b/m"]
    assert [route.key for route in backends.routes("n")] == ["b/n"]


async def test_those_that_keep_failing_are_not_available_but_the_last_is() -> None:
    backends = several(
        {"name": "x", "models": ["m"], "retries": 0},
        {"name": "y", "models": ["n"], "retries": 0},
        fallbacks={"m": ["n"]},
    )
    first, last = backends.routes("m")
    for route in (first, last):
        for _ in range(TOLERATED + 1):
            with pytest.raises(BackendUnreachable):
                async with route.backend.stream(b"{}", []):
                    pass
    assert available(backends.routes("m")) == [last]
    assert available(backends.routes("n")) == backends.routes("n")


async def test_a_summary_is_written_where_its_model_is() -> None:
    asked: list[tuple[str, str]] = []

    def write(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.host, json.loads(request.content)["model"]))
        said = {"role": "assistant", "content": "A summary."}
        return httpx.Response(200, json={"choices": [{"index": 0, "message": said}]})

    backends = several(
        {"name": "a", "models": ["m"]}, {"name": "b", "aliases": {"small": "n"}}, answer=write
    )
    by = Summarizer(backends, COUNTER, Telemetry(), tokens=64, model="small")
    evicted = [message("m1", "Hello")]
    assert await by.fold("", evicted, model="m", room=4000, headers=[]) == "A summary."
    by = Summarizer(backends, COUNTER, Telemetry(), tokens=64, model=None)
    assert await by.fold("", evicted, model="m", room=4000, headers=[]) == "A summary."
    assert asked == [("b", "n"), ("a", "m")]


async def test_each_model_has_the_window_of_its_backend() -> None:
    backends = several(
        {"name": "a", "models": ["m"]},
        {"name": "b", "models": ["n"], "aliases": {"other": "m"}},
        {"name": "c", "models": ["k"], "context_window": 5000},
    )
    windows = Windows(None, backends, Thresholds(0.7, 1.0, 0.5, 1024))
    sizes = [(await windows.of(model, [])).size for model in ("m", "n", "other", "k")]
    assert sizes == [10_000, 20_000, 20_000, 5000]


async def test_what_is_learned_of_a_model_holds_for_all_of_its_names_and_there_only() -> None:
    backends = several(
        {"name": "a", "models": ["m"], "aliases": {"fast": "m"}},
        {"name": "b", "aliases": {"other": "m"}},
    )
    windows = Windows(None, backends, Thresholds(0.7, 1.0, 0.5, 1024))
    windows.learn("fast", Overflow(4096, None, None, by_answer=False), 5000, None)
    windows.calibration("m").learn(1000, 2000, weight=1)
    assert (await windows.of("m", [])).size == 4096
    assert (await windows.of("fast", [])).ratio == 2
    assert (await windows.of("other", [])).size == 20_000
    assert (await windows.of("other", [])).ratio == 1
