"""The Python client of a memory, in both of its kinds, against a gateway."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, assert_type

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.api import shapes
from memgpt_proxy.client import AsyncMemory, Event, Memory, MemoryRefused, _EventReader
from tests.e2e.chatting import Person, send
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import call


class Waited:
    """An ``AsyncMemory`` whose every operation is waited for, as a ``Memory``'s is."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._memory = AsyncMemory(*args, **options)

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._memory, name)

        def waited(*args: Any, **options: Any) -> Any:
            asked = operation(*args, **options)
            return self._all(asked) if inspect.isasyncgen(asked) else self._runner.run(asked)

        return waited

    def _all(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(items, None)

        while (item := self._runner.run(following())) is not None:
            yield item

    def close(self) -> None:
        self._runner.run(self._memory.aclose())
        self._runner.close()


Open = Callable[..., Any]


@pytest.fixture(params=[Memory, Waited], ids=["sync", "async"])
def opened(request: pytest.FixtureRequest, gateway: GatewayProcess, api_key: str) -> Iterator[Open]:
    """Open the memory of the test's key, or of another."""
    made: list[Any] = []

    def make(user: str | None = None, *, key: str = api_key, origin: str = gateway.origin) -> Any:
        made.append(request.param(origin, key, user, timeout=20))
        return made[-1]

    yield make
    for each in made:
        each.close()


def live(backend: ScriptedBackend, person: Person, **options: Any) -> None:
    noted = call("working_context_append", {"content": "Cat: Mia", "request_heartbeat": True})
    backend.reply(noted, send("A cat!"))
    person.say("My cat is Mia.", **options)


def test_all_that_a_memory_holds_is_seen(
    backend: ScriptedBackend, person: Person, opened: Open
) -> None:
    live(backend, person)
    memory = opened()
    context = memory.working_context()
    assert (context.version, context.content, context.limit) == (1, "Cat: Mia", 8000)
    said = memory.messages()
    assert [(each.role, each.content) for each in said.data] == [
        ("assistant", "A cat!"),
        ("user", "My cat is Mia."),
    ]
    assert (said.total, said.page, said.pages) == (2, 1, 1)
    assert [each.content for each in memory.messages("mia", page=1, limit=1).data] == [
        "My cat is Mia."
    ]
    today = datetime.now(UTC).date()
    assert memory.messages(start_date=today.replace(year=2000), end_date=today).total == 2
    (trace,) = memory.traces(limit=1).data
    assert trace.steps[0].calls[0].name == "working_context_append"
    assert memory.traces(limit=1, before=memory.traces(limit=1).before).data == []


def test_it_is_edited_and_noted(opened: Open) -> None:
    memory = opened()
    edited = memory.edit_working_context(0, "Name: Sam")
    assert (edited.version, edited.content) == (1, "Name: Sam")
    with pytest.raises(MemoryRefused, match="changed meanwhile") as refused:
        memory.edit_working_context(0, "Name: Max")
    assert (refused.value.status, refused.value.code) == (409, "working_context_changed")
    assert memory.insert("The safe's code is 4711.").inserted == 1
    assert [each.content for each in memory.passages("safe").data] == ["The safe's code is 4711."]
    assert memory.passages(limit=1).total == 1


def test_users_are_apart_and_are_erased_together(opened: Open) -> None:
    for user in (None, "ann", "bob"):
        opened(user).edit_working_context(0, f"Name: {user}")
    assert opened("ann").working_context().content == "Name: ann"
    assert opened("ann").erase().erased.working_contexts == 1
    assert opened("bob").working_context().content == "Name: bob"
    erased = opened().erase(all_users=True)
    assert (erased.erased.working_contexts, erased.users) == (2, 2)
    assert opened("bob").working_context().version == 0


def test_it_is_exported_and_imported(
    backend: ScriptedBackend, person: Person, opened: Open, api_key: str
) -> None:
    live(backend, person)
    exported = b"".join(opened().export())
    other = opened(key=f"{api_key}-other")
    assert other.import_from(exported).imported["message"] == 2
    assert other.working_context().content == "Cat: Mia"
    with pytest.raises(MemoryRefused) as refused:
        opened("ann").import_from(b"no export")
    assert refused.value.status == 400


def test_events_are_heard(backend: ScriptedBackend, person: Person, opened: Open) -> None:
    events = opened().events()
    with ThreadPoolExecutor(1) as elsewhere:
        hearing = elsewhere.submit(lambda: [next(events).kind for _ in range(6)])
        while not hearing.done():  # until it listens nothing is heard
            live(backend, person.anew())
    assert {"step", "turn_ended"} <= set(hearing.result())
    events.close()


def test_what_is_wrong_is_told(opened: Open, gateway: GatewayProcess) -> None:
    with pytest.raises(MemoryRefused) as refused:
        opened().messages("x", start_date=datetime.now(UTC).date())
    assert (refused.value.status, refused.value.param) == (400, "query")
    with pytest.raises(MemoryRefused) as refused:
        opened().messages(limit=101)
    assert refused.value.param == "limit"
    with pytest.raises(MemoryRefused) as refused:
        list(opened(key="").export())
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    with pytest.raises(httpx.ConnectError):
        opened(origin="http://127.0.0.1:1").working_context()


def test_a_base_url_will_do(opened: Open, gateway: GatewayProcess) -> None:
    assert opened(origin=gateway.base_url).working_context().version == 0
    assert opened(origin=f"{gateway.base_url}/").working_context().version == 0


def test_what_is_no_answer_of_a_gateway_is_told_by_its_status(
    opened: Open, backend: ScriptedBackend
) -> None:
    origin = backend.base_url.removesuffix("/v1")
    with pytest.raises(MemoryRefused) as refused:
        opened(origin=origin).working_context()
    assert (refused.value.status, refused.value.code) == (404, None)


async def test_both_close_behind_a_block(gateway: GatewayProcess, api_key: str) -> None:
    with Memory(gateway.origin, api_key) as memory:
        assert_type(memory.working_context(), shapes.WorkingContext)
    async with AsyncMemory(gateway.origin, api_key) as waiting:
        assert_type(await waiting.working_context(), shapes.WorkingContext)
    with pytest.raises(RuntimeError, match="closed"):
        memory.working_context()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting.working_context()


def test_operations_tell_what_they_do() -> None:
    for kind in (Memory, AsyncMemory):
        memory = kind("http://127.0.0.1:1", "k")
        assert inspect.getdoc(memory.messages)
        assert list(inspect.signature(memory.edit_working_context).parameters) == [
            "version",
            "content",
        ]


STREAM = (
    b": listening\n\n"
    b'event: step\ndata: {"content":"a\xe2\x80\xa8b: c"}\n\n'
    b": keep-alive\n\n"
    b"event: memory_erased\ndata: {}\n\n"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_events_come_in_reads_of_any_size(borders: list[int]) -> None:
    reader, events = _EventReader(), []
    for start, end in zip([0, *borders], [*borders, len(STREAM)], strict=True):
        events += reader.feed(STREAM[start:end])
    assert events == [Event("step", {"content": "a\u2028b: c"}), Event("memory_erased", {})]
