"""What the owner of a key sees of its own memory: live events, traces, the working context."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest

from memgpt_proxy.stores.events import MOST_OF_A_NAMESPACE
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, error_of, send, tool, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.redis_server import RedisServer
from tests.support.replies import Gate, Usage, call, error, text, wait

APPEND = "working_context_append"


class Listening:
    """A stream of live events, read on demand."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        assert next(self._lines) == ": listening", "the stream begins once it hears everything"

    def next(self) -> tuple[str, dict[str, Any]]:
        """The kind and the content of the next event; comments are passed over."""
        kind, data = "", ""
        for line in self._lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                data = line.removeprefix("data: ")
            elif not line and kind:
                return kind, json.loads(data)
        raise AssertionError("the stream has ended")

    def comment(self) -> str:
        return next(line for line in self._lines if line.startswith(":"))

    def until(self, last: str) -> list[tuple[str, dict[str, Any]]]:
        """All events up to one of this kind."""
        events = [self.next()]
        while events[-1][0] != last:
            events.append(self.next())
        return events


def headers(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@contextmanager
def listening(gateway: GatewayProcess, key: str, **query: str) -> Iterator[Listening]:
    url = f"{gateway.origin}/memgpt/events"
    with httpx.stream("GET", url, params=query, headers=headers(key), timeout=20) as response:
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Listening(response)


def get(gateway: GatewayProcess, path: str, key: str, **query: Any) -> httpx.Response:
    return httpx.get(f"{gateway.origin}/memgpt/{path}", params=query, headers=headers(key))


def remembering(backend: ScriptedBackend, words: str) -> None:
    backend.reply(
        call(APPEND, {"content": words, "request_heartbeat": True}).but(
            usage=Usage(prompt=100, completion=10)
        ),
        send("I shall remember.").but(usage=Usage(prompt=150, completion=5)),
    )


def test_a_turn_is_heard_while_it_runs(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    remembering(backend, "Likes tea")
    with listening(gateway, person.api_key) as ear:
        assert person.say("I like tea.").text == "I shall remember."
        events = ear.until("turn_ended")
    assert [kind for kind, _ in events] == [
        "turn_began",
        "step",
        "function_called",
        "working_context_changed",
        "step",
        "turn_ended",
    ]
    told = dict(events)
    assert len({content["turn"] for _, content in events}) == 1
    assert told["turn_began"]["model"] == person.model
    assert told["function_called"]["name"] == APPEND
    assert json.loads(told["function_called"]["arguments"])["content"] == "Likes tea"
    assert told["function_called"]["result"].startswith("Appended.")
    assert told["function_called"]["failed"] is False
    assert told["working_context_changed"]["content"] == "Likes tea"
    assert told["working_context_changed"]["version"] == 1
    assert told["turn_ended"]["finish_reason"] == "stop"
    assert told["turn_ended"]["degraded"] is False
    assert told["turn_ended"]["error"] is None
    assert told["turn_ended"]["usage"]["prompt_tokens"] == 250
    current = get(gateway, "working-context", person.api_key).json()
    assert current == {"version": 1, "content": "Likes tea", "limit": 8000}


def test_events_come_before_the_turn_has_ended(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    gate = Gate()
    backend.reply(call(APPEND, {"content": "x", "request_heartbeat": True}), wait(gate) + send("y"))
    with listening(gateway, person.api_key) as ear, ThreadPoolExecutor(1) as elsewhere:
        asked = elsewhere.submit(person.say, "hello")
        assert ear.until("function_called")
        assert not asked.done()
        gate.open()
        assert asked.result(10).text == "y"
        assert ear.until("turn_ended")


def test_nobody_hears_another(backend: ScriptedBackend, gateway: GatewayProcess, person: Person):
    backend.script(lambda _: send("Yes."))
    other = Person(gateway.base_url, f"{person.api_key}-other", person.model)
    with (
        listening(gateway, person.api_key) as own,
        listening(gateway, person.api_key, user="ann") as ann,
        listening(gateway, other.api_key) as theirs,
    ):
        other.say("hello from another key")
        person.say("hello from ann", user="ann")
        person.say("hello from nobody in particular")
        heard = {ear: ear.until("turn_ended") for ear in (own, ann, theirs)}
        turns = {ear: {content["turn"] for _, content in heard[ear]} for ear in heard}
    assert all(len(named) == 1 for named in turns.values())
    assert len(set().union(*turns.values())) == 3
    for key, query in ((person.api_key, {}), (person.api_key, {"user": "ann"})):
        (trace,) = get(gateway, "traces", key, **query).json()["data"]
        assert {trace["turn"]} == turns[ann if query else own]


def test_traces_tell_what_turns_did(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    assert get(gateway, "traces", person.api_key).json() == {"data": [], "before": None}
    remembering(backend, "Likes tea. " + "x" * 2000)
    person.say("I like tea.")
    backend.reply(text("Hm.").but(usage=Usage(prompt=7, completion=3)))
    person.say("And coffee.")
    second, first = get(gateway, "traces", person.api_key).json()["data"]
    assert second["created"] > first["created"]
    assert first["model"] == person.model
    assert first["usage"]["total_tokens"] == 265
    assert (first["degraded"], first["error"], first["finish_reason"]) == (False, None, "stop")
    one, two = first["steps"]
    assert (one["usage"]["prompt_tokens"], two["usage"]["prompt_tokens"]) == (100, 150)
    (made,) = one["calls"]
    assert made["name"] == APPEND
    assert made["arguments"].startswith('{"content": "Likes tea.')
    assert len(made["arguments"]) == 1001
    assert made["result"].startswith("Appended.")
    assert 0 <= made["seconds"] <= first["seconds"]
    assert [made["name"] for made in two["calls"]] == ["send_message"]
    assert second["steps"][0]["calls"] == []


def test_only_a_call_that_was_run_has_a_result(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    noted = call(APPEND, {"content": "x", "request_heartbeat": True})
    backend.reply(noted, noted, call("no_such_function", {}), call("get_weather", {"city": "Oslo"}))
    person.options["tools"] = [tool("get_weather", city="string")]
    person.ask([user("How is the weather?")])
    backend.reply(send("Cold."))
    person.options.clear()
    person.ask([user("And here?")])
    second, first = get(gateway, "traces", person.api_key).json()["data"]
    calls = [each for trace in (first, second) for step in trace["steps"] for each in step["calls"]]
    of_a_run = {"name", "arguments", "result", "failed", "seconds"}
    assert [(each["name"], set(each)) for each in calls] == [
        (APPEND, of_a_run),
        (APPEND, {"name", "arguments"}),
        ("no_such_function", {"name", "arguments"}),
        ("get_weather", {"name", "arguments"}),
        ("send_message", {"name", "arguments"}),
    ]


def test_traces_come_in_pages(backend: ScriptedBackend, gateway: GatewayProcess, person: Person):
    backend.script(lambda _: send("Yes."))
    for n in range(5):
        person.say(f"number {n}")
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = get(gateway, "traces", person.api_key, **query).json()
        seen += [trace["turn"] for trace in page["data"]]
        if page["before"] is None:
            break
        query["before"] = page["before"]
    assert len(seen) == len(set(seen)) == 5


def test_a_turn_that_the_backend_refuses_leaves_no_trace(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    backend.reply(error(401), send("Yes."))
    with listening(gateway, person.api_key) as ear, pytest.raises(Exception, match="401"):
        person.say("hello")
    with listening(gateway, person.api_key) as ear:
        person.ask([user("hello")])
        assert ear.until("turn_ended")
    assert len(get(gateway, "traces", person.api_key).json()["data"]) == 1


def test_who_only_reads_memory_leaves_no_trace(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
):
    backend.reply(send("Yes."))
    person.ask([user("hello")], extra_headers={"X-MemGPT-Memory": "read"})
    assert get(gateway, "traces", person.api_key).json()["data"] == []


def test_a_flush_is_told(backend: ScriptedBackend, start_gateway: StartGateway, person: Person):
    gateway = start_gateway("--context-window", "4096")
    person.base_url = gateway.base_url
    person.said = [speak(f"tea {n} " * 60) for n in range(12) for speak in (user, assistant)]
    backend.reply(error(500), send("Yes.").but(usage=None))
    with listening(gateway, person.api_key) as ear:
        person.say("the newest")
        told = dict(ear.until("turn_ended"))
    assert 2 <= told["queue_flushed"]["evicted"] <= 24
    (trace,) = get(gateway, "traces", person.api_key).json()["data"]
    assert trace["flushes"] == [{"evicted": told["queue_flushed"]["evicted"]}]


def test_traces_may_be_off(backend: ScriptedBackend, start_gateway: StartGateway, api_key: str):
    gateway = start_gateway("--no-traces")
    backend.reply(send("Yes."))
    Person(gateway.base_url, api_key, "m").say("hello")
    assert get(gateway, "traces", api_key).json()["data"] == []


def test_traces_outlive_the_gateway(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway()
    backend.reply(send("Yes."))
    Person(gateway.base_url, api_key, "m").say("hello")
    gateway.restart()
    assert len(get(gateway, "traces", api_key).json()["data"]) == 1


def test_a_silent_stream_is_kept_alive(start_gateway: StartGateway, api_key: str):
    gateway = start_gateway("--keepalive-seconds", "0.1")
    with listening(gateway, api_key) as ear:
        assert [ear.comment() for _ in range(3)] == [": keep-alive"] * 3


def test_listeners_are_bounded_and_free_their_places(gateway: GatewayProcess, api_key: str):
    for _ in range(2):
        with ExitStack() as stack:
            ears = [listening(gateway, api_key) for _ in range(MOST_OF_A_NAMESPACE)]
            heard = [stack.enter_context(ear) for ear in ears]
            refused = get(gateway, "events", api_key)
            assert len(heard) == MOST_OF_A_NAMESPACE
        assert refused.status_code == 503
        assert error_of(refused)["code"] == "too_many_listeners"
        deadline = time.monotonic() + 10
        while try_to_listen(gateway, api_key) != 200:
            assert time.monotonic() < deadline, "who has left frees its place"


def try_to_listen(gateway: GatewayProcess, key: str) -> int:
    url = f"{gateway.origin}/memgpt/events"
    with httpx.stream("GET", url, headers=headers(key)) as response:
        return response.status_code


def test_a_gateway_that_stops_waits_for_no_listener(start_gateway: StartGateway, api_key: str):
    gateway: GatewayProcess = start_gateway()
    with listening(gateway, api_key):
        os.kill(gateway.pid, signal.SIGTERM)
        assert gateway.stop() == 0
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize("path", ["events", "traces", "working-context"])
def test_there_is_nothing_without_a_key(gateway: GatewayProcess, path: str):
    answer = httpx.get(f"{gateway.origin}/memgpt/{path}")
    assert answer.status_code == 401
    assert error_of(answer)["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"limit": "9" * 5000}, "limit"),
        ({"before": "x"}, "before"),
        ({"before": "nan_x"}, "before"),
        ({"before": ""}, "before"),
    ],
)
def test_a_bad_page_is_named(
    gateway: GatewayProcess, api_key: str, query: dict[str, str], param: str
):
    answer = get(gateway, "traces", api_key, **query)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


def wait_for_readers(redis: RedisServer, count: int) -> None:
    """Wait until so many processes read live events."""
    deadline = time.monotonic() + 10
    told = f"\r\n:{count}\r\n"
    while not redis.ask("PUBSUB", "NUMSUB", "memgpt:events:{wanted}").endswith(told):
        assert time.monotonic() < deadline


@pytest.mark.redis
def test_a_turn_at_one_replica_is_heard_at_another(
    backend: ScriptedBackend, start_gateway: StartGateway, redis_server: RedisServer, api_key: str
):
    secret = {"MEMGPT_NAMESPACE_SECRET": "a secret of the whole fleet"}
    here, there = (start_gateway("--redis-url", redis_server.url, env=secret) for _ in range(2))
    backend.script(lambda _: send("Yes."))
    wait_for_readers(redis_server, 2)
    with listening(there, api_key) as ear, listening(there, api_key, user="ann") as ann:
        Person(here.base_url, api_key, "m").say("hello")
        kinds = [kind for kind, _ in ear.until("turn_ended")]
        Person(here.base_url, api_key, "m").say("hello", user="ann")
        assert ann.next()[0] == "turn_began"
    assert kinds == ["turn_began", "step", "turn_ended"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "events"),
        ("GET", "traces"),
        ("GET", "working-context"),
        ("GET", "export"),
        ("POST", "import"),
        ("DELETE", "memory"),
    ],
)
@pytest.mark.parametrize(
    ("given", "meant"),
    [("usr", "Did you mean 'user'?"), ("User", "Did you mean 'user'?"), ("zzz", "It takes 'user'")],
)
def test_a_parameter_that_there_is_not_is_refused(
    gateway: GatewayProcess, api_key: str, method: str, path: str, given: str, meant: str
):
    url = f"{gateway.origin}/memgpt/{path}"
    answer = httpx.request(method, url, params={given: "ann"}, headers=headers(api_key))
    told = answer.json()["error"]
    assert (answer.status_code, told["type"], told["param"], told["code"]) == (
        400,
        "invalid_request_error",
        given,
        "unknown_parameter",
    )
    assert told["message"].startswith(f"Unknown query parameter: '{given}'. {meant}")


def test_a_user_who_is_named_twice_is_refused(gateway: GatewayProcess, api_key: str):
    url = f"{gateway.origin}/memgpt/working-context?user=ann&user=bob"
    answer = httpx.get(url, headers=headers(api_key))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "user")


def test_a_stranger_is_not_told_which_parameters_there_are(gateway: GatewayProcess):
    assert httpx.get(f"{gateway.origin}/memgpt/traces?usr=ann").status_code == 401


def test_a_path_that_there_is_not_is_told_those_there_are(gateway: GatewayProcess, api_key: str):
    answer = get(gateway, "trace", api_key)
    told = (
        "Not Found: GET /memgpt/trace. Of a memory there are /memgpt/archival-storage, "
        "/memgpt/events, /memgpt/export, /memgpt/import, /memgpt/memory, /memgpt/recall-storage, "
        "/memgpt/traces and /memgpt/working-context."
    )
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, told)
    elsewhere = httpx.get(f"{gateway.origin}/chat/completions")
    told = (
        "Not Found: GET /chat/completions. The API is under /v1: a client's base URL is "
        f"{gateway.base_url}"
    )
    assert (elsewhere.status_code, elsewhere.json()["error"]["message"]) == (404, told)


def test_a_method_that_a_path_does_not_take_is_told_those_it_takes(
    gateway: GatewayProcess, api_key: str
):
    answer = httpx.get(f"{gateway.origin}/memgpt/memory", headers=headers(api_key))
    told = "Method Not Allowed: GET /memgpt/memory. It takes DELETE."
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE")
    assert answer.json()["error"]["message"] == told
