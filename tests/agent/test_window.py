"""The context window of a model: as set, as reported, as published, or assumed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.agent.window import Thresholds, Window, Windows, known_window
from memgpt_proxy.backend.client import Backend, Timeouts
from memgpt_proxy.backend.overflow import Overflow

THRESHOLDS = Thresholds(pressure_at=0.7, flush_at=1.0, flush_to=0.5, reply_reserve=1000)


def backend_that(answers: Mapping[str, Any], seen: list[httpx.Request] | None = None) -> Backend:
    """A backend that answers these paths with this JSON, and 404 to all others."""

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        value = answers.get(request.url.path)
        if value is None:
            return httpx.Response(404, json={"error": {"message": "not found"}})
        return value if isinstance(value, httpx.Response) else httpx.Response(200, json=value)

    return behind(httpx.MockTransport(answer))


def behind(transport: httpx.AsyncBaseTransport) -> Backend:
    return Backend("http://backend/v1", transport, api_key=None, timeouts=Timeouts(1, 1))


def listing(**model: Any) -> dict[str, Any]:
    return {"/v1/models": {"object": "list", "data": [{"object": "model", **model}]}}


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("gpt-4", 8_192),
        ("gpt-4-0613", 8_192),
        ("gpt-4-32k", 32_768),
        ("gpt-4-turbo-2024-04-09", 128_000),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1-nano", 1_047_576),
        ("gpt-3.5-turbo-0125", 16_385),
        ("openai/gpt-4o", 128_000),
        ("GPT-4o", 128_000),
        ("o3-mini", 200_000),
        ("llama3.2", None),
        ("", None),
    ],
)
def test_known_windows(model: str, tokens: int | None) -> None:
    assert known_window(model) == tokens


REPORTS = {
    "vLLM": (listing(id="m", owned_by="vllm", max_model_len=4096), 4096),
    "OpenRouter": (
        listing(id="m", context_length=131072, top_provider={"context_length": 9}),
        131072,
    ),
    "LM Studio": (listing(id="m", type="llm", max_context_length=32768), 32768),
    "Groq": (listing(id="m", context_window=8000, active=True), 8000),
    "llama.cpp": (
        {
            **listing(id="m", owned_by="llamacpp", meta={"n_ctx_train": 40960}),
            "/props": {"default_generation_settings": {"n_ctx": 2048}, "total_slots": 1},
        },
        2048,
    ),
}


@pytest.mark.parametrize(("answers", "tokens"), REPORTS.values(), ids=REPORTS)
async def test_reported_windows(answers: Mapping[str, Any], tokens: int) -> None:
    windows = Windows(None, backend_that(answers), THRESHOLDS)
    assert (await windows.of("m", [])).size == tokens


async def test_one_model_is_meant_whatever_it_is_called() -> None:
    windows = Windows(None, backend_that(REPORTS["vLLM"][0]), THRESHOLDS)
    assert (await windows.of("gpt-4", [])).size == 4096


async def test_of_several_models_the_one_named_is_meant() -> None:
    models = [{"id": "a", "max_model_len": 4096}, {"id": "b", "max_model_len": 9000}, {"id": "c"}]
    windows = Windows(None, backend_that({"/v1/models": {"data": models}}), THRESHOLDS)
    sizes = [(await windows.of(model, [])).size for model in ("a", "b", "c", "gpt-4-turbo")]
    assert sizes == [4096, 9000, 8192, 128_000]


SILENT: dict[str, dict[str, Any]] = {
    "nothing there": {},
    "OpenAI tells no windows": listing(id="gpt-4", created=1, owned_by="openai"),
    "not a listing": {"/v1/models": ["m"]},
    "odd entries": {"/v1/models": {"data": [3, {"id": 4}, {"id": "m", "context_window": "big"}]}},
    "data is no list": {"/v1/models": {"data": {"id": "m"}}},
    "not JSON": {"/v1/models": httpx.Response(200, content=b"<html>")},
    "llama.cpp without properties": listing(id="m", owned_by="llamacpp"),
    "llama.cpp with odd properties": {
        **listing(id="m", owned_by="llamacpp"),
        "/props": {"default_generation_settings": 3},
    },
    "llama.cpp with a list of properties": {
        **listing(id="m", owned_by="llamacpp"),
        "/props": [3],
    },
}


@pytest.mark.parametrize("answers", SILENT.values(), ids=SILENT)
async def test_a_backend_that_tells_nothing(answers: Mapping[str, Any]) -> None:
    windows = Windows(None, backend_that(answers), THRESHOLDS)
    assert (await windows.of("some-model", [])).size == 8192
    assert (await windows.of("gpt-4o", [])).size == 128_000


@pytest.mark.parametrize("error", [httpx.ConnectError("no"), httpx.ReadTimeout("slow")])
async def test_a_backend_that_is_away(error: httpx.TransportError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    windows = Windows(None, behind(httpx.MockTransport(fail)), THRESHOLDS)
    assert (await windows.of("some-model", [])).size == 8192


@pytest.mark.parametrize(
    ("first", "seconds"),
    [
        (httpx.ConnectError("no"), 0),
        (401, 0),
        (403, 0),
        *((status, 10) for status in (429, 500, 502, 503, 504)),  # while it loads
        (httpx.ReadTimeout("no"), 60),
    ],
)
async def test_a_backend_that_did_not_answer_is_asked_again(
    first: httpx.TransportError | int, seconds: float
) -> None:
    outcomes, now = iter([first]), 1000.0

    def answer(_: httpx.Request) -> httpx.Response:
        match next(outcomes, 200):
            case int(status):
                return httpx.Response(status, json=REPORTS["vLLM"][0]["/v1/models"])
            case error:
                raise error

    windows = Windows(None, behind(httpx.MockTransport(answer)), THRESHOLDS, lambda: now)
    assert (await windows.of("m", [])).size == 8192
    if seconds:
        now += seconds - 1
        assert (await windows.of("m", [])).size == 8192
    now += 1
    assert (await windows.of("m", [])).size == 4096


async def test_the_operators_word_counts_and_nothing_is_asked() -> None:
    seen: list[httpx.Request] = []
    windows = Windows(3000, backend_that(REPORTS["vLLM"][0], seen), THRESHOLDS)
    assert (await windows.of("m", [])).size == 3000
    assert seen == []


async def test_the_backend_is_asked_once_with_the_clients_key_only() -> None:
    seen: list[httpx.Request] = []
    windows = Windows(None, backend_that(REPORTS["llama.cpp"][0], seen), THRESHOLDS)
    for _ in range(3):
        await windows.of("m", [(b"authorization", b"Bearer k"), (b"cookie", b"c")])
    assert [request.url.path for request in seen] == ["/v1/models", "/props"]
    assert {request.headers["authorization"] for request in seen} == {"Bearer k"}
    assert all("cookie" not in request.headers for request in seen)


def test_the_marks_are_parts_of_what_a_prompt_may_take() -> None:
    window = Window(9000, 1.0, THRESHOLDS)
    assert window.usable == 8000
    assert (window.flush_above, window.flush_to) == (8000, 4000)
    assert window.part(5600) == 0.7


def test_the_reserve_is_a_quarter_of_a_small_window_at_most() -> None:
    assert Window(2048, 1.0, THRESHOLDS).usable == 1536


def test_tokens_of_the_backends_own_are_smaller() -> None:
    assert Window(9000, 2.0, THRESHOLDS).usable == 4000


async def test_the_window_follows_what_is_learned_of_the_models_tokens() -> None:
    windows = Windows(9000, backend_that({}), THRESHOLDS)
    for _ in range(100):
        windows.calibration("m").learn(1000, 2000)
    assert (await windows.of("m", [])).usable == pytest.approx(4000, abs=1)
    assert (await windows.of("other", [])).usable == 8000


async def test_models_that_are_only_asked_for_make_nobody_forget() -> None:
    windows = Windows(9000, backend_that({}), THRESHOLDS)
    windows.calibration("m").learn(1000, 2000, weight=1)
    for number in range(2000):
        await windows.of(f"no model {number}", [])
    assert (await windows.of("m", [])).usable == 4000


def test_what_a_turn_may_put_into_its_prompt() -> None:
    room = Window(9000, 1.0, THRESHOLDS).room(2000, 8000)
    assert room.message == 2000  # a third of the 6 000 tokens that are free
    assert room.context == 8000
    assert room.hit == 1200  # ten of them in half of what is free, at four characters a token


def test_a_large_window_gives_no_more_than_is_useful() -> None:
    room = Window(1_000_000, 1.0, THRESHOLDS).room(2000, 8000)
    assert (room.context, room.hit) == (8000, 2000)


@given(size=st.integers(1, 20_000), fixed=st.integers(0, 20_000), limit=st.integers(0, 20_000))
def test_the_room_fits_into_the_window(size: int, fixed: int, limit: int) -> None:
    window = Window(size, 1.0, THRESHOLDS)
    room = window.room(fixed, limit)
    assert min(room.message, room.context, room.hit) >= 0
    assert room.context <= limit
    # At three and four characters a token, each of them leaves half of what is free, or more.
    free = max(0, window.usable - fixed)
    assert room.message + room.context / 3 <= free
    assert room.message + 10 * room.hit / 4 <= free


def test_the_working_context_keeps_its_size_while_the_calibration_settles() -> None:
    ratios = [1.0 + 0.3 * (1 - 0.8**turn) for turn in range(100)]  # it moves with every turn
    sizes = [Window(4096, ratio, THRESHOLDS).room(1800, 8000).context for ratio in ratios]
    changes = sum(before != after for before, after in itertools.pairwise(sizes))
    assert sizes[0] / sizes[-1] < 2**1.5
    assert changes <= 6  # four steps to a doubling


PROMPT_TOO_LONG = Overflow(None, None, None, by_answer=False)


async def learned(
    *overflows: Overflow, fixed: int | None = None, counted: int = 6000, answer: int | None = None
) -> Window:
    windows = Windows(fixed, backend_that({}), THRESHOLDS)
    for overflow in overflows:
        windows.learn("m", overflow, counted, answer)
    assert (await windows.of("other", [])).size == (fixed or 8192)
    return await windows.of("m", [])


async def test_the_window_told_in_a_refusal_is_remembered() -> None:
    window = await learned(Overflow(4096, 6000, None, by_answer=False))
    assert (window.size, window.ratio) == (4096, 1.0)
    assert (await learned(Overflow(32_000, 40_000, None, by_answer=False))).size == 32_000


async def test_the_prompt_told_in_a_refusal_calibrates_at_once() -> None:
    window = await learned(Overflow(8192, 9000, None, by_answer=False), counted=6000)
    assert window.ratio == 1.5
    assert window.usable == int((8192 - 1000) / 1.5)


async def test_a_count_that_would_have_fitted_was_too_low() -> None:
    """9 000 is told to be all; 6 000 and 1 000 asked for would fit: a third more is assumed."""
    window = await learned(Overflow(9000, None, 1000, by_answer=True), counted=6000)
    assert window.ratio == pytest.approx(4 / 3)
    explained = await learned(Overflow(9000, None, 5000, by_answer=True), counted=6000)
    assert explained.ratio == 1.0


async def test_without_a_window_told_three_quarters_of_what_was_sent_are_tried() -> None:
    assert (await learned(PROMPT_TOO_LONG, counted=6000)).size == 4500
    assert (await learned(PROMPT_TOO_LONG, counted=6000, answer=9000)).size == 4500
    together = Overflow(None, None, None, by_answer=True)
    assert (await learned(together, counted=6000, answer=10_000)).size == 12_000
    assert (await learned(Overflow(None, 8000, None, by_answer=False))).size == 6000


async def test_the_operators_word_is_the_most_that_is_used() -> None:
    told_more = Overflow(9000, 9500, None, by_answer=False)
    assert (await learned(told_more, fixed=5000, counted=9500)).size == 5000


async def test_a_backend_that_says_less_than_the_operator_is_believed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = [Overflow(size, 6000, None, by_answer=False) for size in (4096, 4096, 2048)]
    assert (await learned(*refusals, fixed=8000)).size == 2048
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "4096" in caplog.text


async def test_a_window_too_small_to_be_true_is_not_believed() -> None:
    assert (await learned(Overflow(1, 6000, None, by_answer=False))).size == 256


@pytest.mark.parametrize("before", [None, Overflow(4096, 9000, None, by_answer=False)])
async def test_what_nothing_came_of_is_forgotten(before: Overflow | None) -> None:
    """What was known before is known again: the window, and how the model's tokens compare."""
    windows = Windows(None, backend_that({}), THRESHOLDS)
    if before is not None:
        windows.learn("m", before, 6000, None)
    known = await windows.of("m", [])
    forget = windows.learn("m", Overflow(300, 400, None, by_answer=False), 100, None)
    assert await windows.of("m", []) != known
    forget()
    assert await windows.of("m", []) == known


async def test_models_are_remembered_up_to_a_number() -> None:
    windows = Windows(None, backend_that({}), THRESHOLDS)
    for number in range(1025):
        windows.learn(f"m{number}", Overflow(4096, 5000, None, by_answer=False), 5000, None)
    assert (await windows.of("m0", [])).size == 8192
    assert (await windows.of("m1024", [])).size == 4096


def test_an_answer_is_limited_only_by_a_window_that_was_learned() -> None:
    assert Window(9000, 1.0, THRESHOLDS).longest_answer(5000) is None
    window = Window(9000, 2.0, THRESHOLDS, learned=True)
    assert window.longest_answer(2000) == 9000 - 4000 - 80  # a fiftieth, since counts miss
    assert window.longest_answer(4000) == 9000 - 8000 - 160
    assert window.longest_answer(5000) == 1


@given(size=st.integers(256, 2_000_000), ratio=st.floats(1, 4), part=st.floats(0, 1))
def test_a_prompt_that_may_be_sent_leaves_half_the_reserve(
    size: int, ratio: float, part: float
) -> None:
    window = Window(size, ratio, THRESHOLDS, learned=True)
    answer = window.longest_answer(int(window.usable * part))
    assert answer is not None
    assert answer >= window.reserve // 2
