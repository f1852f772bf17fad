"""One backend of several: what it is shown, how often it is asked, when it is left out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from memgpt_proxy.backend.circuit import TOLERATED, Circuit
from memgpt_proxy.backend.client import Timeouts
from memgpt_proxy.backend.guarded import Credentials, Guard, GuardedBackend
from memgpt_proxy.backend.retrying import Retries
from memgpt_proxy.backend.slots import Slots
from memgpt_proxy.errors import (
    BackendBroken,
    BackendBusy,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
    RequestTimeout,
)
from memgpt_proxy.telemetry.backends import BackendTelemetry

EVENTS = {"content-type": "text/event-stream"}
GOOD = b'data: {"id": "a"}\n\ndata: [DONE]\n\n'
CLIENT = [
    (b"authorization", b"Bearer client"),
    (b"x-api-key", b"client"),
    (b"api-key", b"client"),
    (b"cookie", b"client"),
    (b"openai-organization", b"client"),
    (b"x-custom", b"kept"),
]

Answer = httpx.Response | Exception | Callable[[], httpx.Response]


def good() -> httpx.Response:
    return httpx.Response(200, content=GOOD, headers=EVENTS)


def told_first(error: Any) -> httpx.Response:
    """An answer that begins with an error."""
    return httpx.Response(
        200, content=b"data: " + httpx.Response(200, json={"error": error}).content + b"\n\n"
    )


class Broken(httpx.AsyncByteStream):
    """A body that breaks off after some bytes."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
        raise httpx.ReadError("reset")


class Silent(httpx.AsyncByteStream):
    """A body that never comes."""

    def __init__(self, asked_for: asyncio.Event) -> None:
        self._asked_for = asked_for

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self._asked_for.set()
        await asyncio.Event().wait()
        yield b""


def broken(*parts: bytes) -> httpx.Response:
    return httpx.Response(200, stream=Broken(*parts), headers=EVENTS)


class Asked:
    """A guarded backend that gives these answers, and what it was asked."""

    def __init__(
        self,
        *answers: Answer,
        replaceable: bool = False,
        slots: Slots | None = None,
        credentials: Credentials | None = None,
        attempts: int = 3,
        seconds: float = 60.0,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.registry = CollectorRegistry()
        guard = Guard(
            "b",
            slots,
            Retries(attempts, pause=0.0, seconds=seconds),
            BackendTelemetry(self.registry),
            Circuit(clock),
        )
        self.last, self.first = (
            GuardedBackend(
                "http://b/v1",
                httpx.MockTransport(self._answer),
                timeouts=Timeouts(1, 1),
                credentials=credentials or Credentials(),
                guard=guard,
                replaceable=possible,
            )
            for possible in (False, True)
        )
        self.backend = self.first if replaceable else self.last

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else good()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer()

    async def chunks(self) -> list[Any]:
        async with self.backend.stream(b"{}", CLIENT) as stream:
            return [chunk for several in [s async for s in stream] for chunk in several]

    def counted(self, name: str) -> float:
        return self.registry.get_sample_value(f"memgpt_backend_{name}", {"backend": "b"}) or 0


PASSING: list[Callable[[], Answer]] = [
    lambda: httpx.ConnectError("refused"),
    lambda: httpx.ConnectTimeout("slow"),
    lambda: httpx.ReadTimeout("slow"),
    lambda: httpx.ReadError("the request was sent, and then the connection died"),
    lambda: httpx.RemoteProtocolError("odd"),
    lambda: httpx.Response(429),
    lambda: httpx.Response(500),
    lambda: httpx.Response(503),
    lambda: broken(),
    lambda: broken(b": waiting\n\n"),
    lambda: told_first({"code": 502, "message": "upstream"}),
    lambda: told_first({"type": "overloaded_error", "message": "Overloaded"}),
    lambda: httpx.Response(200, content=b"data: <html>\n\n", headers=EVENTS),
]


@pytest.mark.parametrize("failure", PASSING)
async def test_what_may_pass_is_asked_again(failure: Callable[[], Answer]) -> None:
    asked = Asked(failure(), failure())
    assert [chunk["id"] for chunk in await asked.chunks()] == ["a"]
    assert len(asked.requests) == 3
    assert asked.counted("retries_total") == 2


@pytest.mark.parametrize("failure", PASSING)
async def test_it_is_asked_no_oftener_than_set(failure: Callable[[], Answer]) -> None:
    asked = Asked(failure(), failure(), failure())
    with pytest.raises(GatewayError):
        await asked.chunks()
    assert len(asked.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 501])
async def test_a_refusal_that_stays_is_handed_on_at_once(status: int) -> None:
    asked = Asked(httpx.Response(status, content=b"as  it came"))
    with pytest.raises(BackendRefused) as refused:
        await asked.chunks()
    assert (refused.value.status, refused.value.body()) == (status, b"as  it came")
    assert len(asked.requests) == 1


async def test_a_refusal_is_handed_on_with_its_own_headers() -> None:
    headers = {"retry-after": "3600", "x-request-id": "r"}
    asked = Asked(httpx.Response(429, content=b"x", headers=headers), seconds=20.0)
    with pytest.raises(BackendRefused) as refused:
        await asked.chunks()
    assert dict(refused.value.headers) == {b"retry-after": b"3600", b"x-request-id": b"r"}
    assert len(asked.requests) == 1


async def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    asked = Asked(broken(b'data: {"id": "a"}\n\n'))
    with pytest.raises(BackendBroken):
        await asked.chunks()
    assert len(asked.requests) == 1


async def test_an_overflow_in_a_stream_is_left_to_healing() -> None:
    asked = Asked(told_first({"code": "context_length_exceeded", "message": "too long"}))
    [chunk] = await asked.chunks()
    assert chunk["error"]["code"] == "context_length_exceeded"
    assert len(asked.requests) == 1


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx.ConnectError("refused"), BackendUnreachable),
        (httpx.ConnectTimeout("slow"), BackendTimeout),
        (httpx.ReadTimeout("slow"), BackendTimeout),
    ],
)
async def test_one_that_is_replaceable_is_not_waited_for(
    failure: Exception, error: type[GatewayError]
) -> None:
    asked = Asked(failure, replaceable=True)
    with pytest.raises(error):
        await asked.chunks()
    assert len(asked.requests) == 1


async def test_one_that_is_replaceable_is_asked_again_after_a_short_trouble() -> None:
    asked = Asked(httpx.Response(503), replaceable=True)
    assert await asked.chunks()
    assert len(asked.requests) == 2


async def test_one_that_keeps_failing_is_left_out_and_taken_back() -> None:
    now = 0.0
    failures = [httpx.ConnectError("refused") for _ in range(TOLERATED + 1)]
    asked = Asked(*failures, replaceable=True, clock=lambda: now)
    for _ in range(TOLERATED + 1):
        with pytest.raises(BackendUnreachable):
            await asked.chunks()
    assert asked.counted("left_out") == 1
    with pytest.raises(BackendBusy):
        await asked.chunks()
    assert len(asked.requests) == TOLERATED + 1
    now = 5.0
    assert await asked.chunks()
    assert asked.counted("left_out") == 0
    assert await asked.chunks()


async def test_the_last_one_is_always_tried_but_once_while_it_keeps_failing() -> None:
    failures = [httpx.ConnectError("refused") for _ in range(TOLERATED + 2)]
    asked = Asked(*failures, attempts=TOLERATED + 1)
    for expected in (TOLERATED + 1, TOLERATED + 2):
        with pytest.raises(BackendUnreachable):
            await asked.chunks()
        assert len(asked.requests) == expected
    assert await asked.chunks()


async def test_a_client_that_sends_too_slowly_tells_nothing_of_the_backend() -> None:
    failures = [httpx.ConnectError("refused") for _ in range(TOLERATED + 1)]
    asked = Asked(*failures, RequestTimeout(), attempts=1)
    for _ in failures:
        with pytest.raises(BackendUnreachable):
            await asked.chunks()
    assert asked.first.is_left_out
    with pytest.raises(RequestTimeout):
        await asked.chunks()
    assert asked.first.is_left_out


async def test_that_a_key_has_used_what_it_may_is_not_held_against_the_backend() -> None:
    asked = Asked(*(httpx.Response(429) for _ in range(20)), replaceable=True, attempts=1)
    for _ in range(20):
        with pytest.raises(BackendRefused):
            await asked.chunks()
    assert await asked.chunks()


# What it is shown


@pytest.mark.parametrize("call", ["stream", "forward"])
@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        (Credentials(), {"x-custom": "kept"}),
        (Credentials("own"), {"x-custom": "kept", "authorization": "Bearer own"}),
        (Credentials(passes_client=True), {n.decode(): v.decode() for n, v in CLIENT}),
        (
            Credentials("own", headers=[(b"x-custom", b"ours"), (b"api-key", b"ours")]),
            {"x-custom": "ours", "api-key": "ours", "authorization": "Bearer own"},
        ),
    ],
)
async def test_clients_keys_are_shown_only_where_that_is_wanted(
    call: str, credentials: Credentials, shown: dict[str, str]
) -> None:
    asked = Asked(credentials=credentials)
    if call == "stream":
        await asked.chunks()
        [request] = asked.requests
    else:
        request = asked.backend.forward("POST", "/embeddings", CLIENT, b"{}")
    names = {name.decode() for name, _ in CLIENT}
    assert {n: v for n, v in request.headers.items() if n in names} == shown


# Places


def slots(limit: int = 1, most_waiting: int = 0) -> Slots:
    return Slots(limit, most_waiting, 10.0, lambda _: None)


async def test_a_place_is_held_until_the_stream_is_left() -> None:
    asked = Asked(slots=slots())
    async with asked.backend.stream(b"{}", []) as stream:
        async for _ in stream:
            with pytest.raises(BackendBusy):
                await asked.chunks()
    assert asked.counted("busy_total") == 1
    assert await asked.chunks()


@pytest.mark.parametrize("failure", [*PASSING, lambda: httpx.Response(400)])
async def test_a_failure_gives_its_place_back(failure: Callable[[], Answer]) -> None:
    asked = Asked(failure(), slots=slots(), attempts=1)
    with pytest.raises(GatewayError):
        await asked.chunks()
    assert await asked.chunks()


class Closing(httpx.AsyncByteStream):
    """A body that tells whether it was closed, and its connection with it."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._body

    async def aclose(self) -> None:
        self.closed = True


async def test_an_answer_is_closed_when_it_is_left() -> None:
    body = Closing(GOOD)
    asked = Asked(httpx.Response(200, stream=body, headers=EVENTS))
    async with asked.backend.stream(b"{}", []):
        assert not body.closed
    assert body.closed


@pytest.mark.parametrize(
    ("status", "body"), [(200, b'data: {"error": {"code": 502}}\n\n'), (200, b""), (503, b"no")]
)
async def test_an_answer_that_is_given_up_is_closed_before_the_next(
    status: int, body: bytes
) -> None:
    given_up = Closing(body)

    def again() -> httpx.Response:
        assert given_up.closed
        return good()

    asked = Asked(httpx.Response(status, stream=given_up, headers=EVENTS), again)
    async with asked.backend.stream(b"{}", []):
        assert given_up.closed
    assert len(asked.requests) == 2


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    asking = asyncio.Event()
    asked = Asked(httpx.Response(200, stream=Silent(asking), headers=EVENTS), slots=slots())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(asked.chunks())
        await asking.wait()
        task.cancel()
    assert await asked.chunks()


@given(
    limit=st.integers(1, 3),
    guests=st.lists(
        st.tuples(
            st.sampled_from(["good", "refused", "down", "broken", "silent"]),
            st.integers(0, 12),
        ),
        max_size=12,
    ),
)
def test_no_place_is_lost_whoever_leaves_and_whatever_fails(
    limit: int, guests: list[tuple[str, int]]
) -> None:
    asyncio.run(_lived_through(limit, guests))


async def _lived_through(limit: int, guests: list[tuple[str, int]]) -> None:
    """Let guests come, each for an answer of its kind, who leave after some turns of the loop."""
    answers: dict[str, Callable[[], Answer]] = {
        "good": good,
        "refused": lambda: httpx.Response(503),
        "down": lambda: httpx.ConnectError("refused"),
        "broken": lambda: broken(b'data: {"id": "a"}\n\n'),
        "silent": lambda: httpx.Response(200, stream=Silent(asyncio.Event()), headers=EVENTS),
    }
    asked = Asked(*(answers[kind]() for kind, _ in guests), slots=slots(limit, most_waiting=20))

    async def guest(turns: int) -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(swallow())
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()

    async def swallow() -> None:
        with suppress(GatewayError):
            await asked.chunks()

    async with asyncio.TaskGroup() as group:
        for _, turns in guests:
            group.create_task(guest(turns))
    asked.answers.clear()
    async with AsyncExitStack() as held:
        for _ in range(limit):
            async with asyncio.timeout(5):
                await held.enter_async_context(asked.backend.stream(b"{}", []))


# Requests that are passed through


async def test_a_request_passed_through_is_made_again_while_that_may_help() -> None:
    asked = Asked(httpx.Response(503), httpx.ConnectError("x"), httpx.Response(200, content=b"ok"))
    request = asked.backend.forward("POST", "/x", [], b"{}")
    async with asked.backend.exchange(request, repeatable=True) as answer:
        assert await answer.aread() == b"ok"
    assert len(asked.requests) == 3


async def test_a_refusal_of_one_passed_through_is_given_as_it_came() -> None:
    asked = Asked(httpx.Response(404, content=b"no"))
    async with asked.backend.exchange(asked.backend.forward("POST", "/x", [], b"{}")) as answer:
        assert (answer.status_code, await answer.aread()) == (404, b"no")
    assert len(asked.requests) == 1


async def test_what_may_not_be_done_twice_is_sent_once() -> None:
    asked = Asked(httpx.Response(503, content=b"no"))
    with pytest.raises(BackendRefused) as refused:
        async with asked.backend.exchange(asked.backend.forward("POST", "/x", [], b"{}")):
            pass
    assert refused.value.body() == b"no"
    assert len(asked.requests) == 1
