"""Several backends behind one gateway: routing, retries, fallbacks, places, keys."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import httpx
import openai
import pytest
import tiktoken
import yaml

from memgpt_proxy.app import create_app
from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import Settings
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, data_of, error_of, results, send, streamed, user, whole
from tests.e2e.in_process import served
from tests.e2e.prompts import remember, system
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.process import free_port
from tests.support.replies import (
    Gate,
    Reply,
    call,
    choices,
    error,
    event,
    hang,
    reasoning,
    text,
    wait,
)

SOON = {"retry-after-ms": "1"}
OVERLOADED = event({"error": {"message": "Overloaded", "type": "overloaded_error"}})


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[ScriptedBackend, ScriptedBackend]]:
    with ScriptedBackend() as first, ScriptedBackend() as second:
        yield first, second


@pytest.fixture
def pair(
    servers: tuple[ScriptedBackend, ScriptedBackend],
) -> Iterator[tuple[ScriptedBackend, ScriptedBackend]]:
    """Two scripted backends, their scripts empty."""
    for server in servers:
        server.reset()
    yield servers
    unexpected = [server.unexpected for server in servers]
    for server in servers:
        server.reset()
    assert unexpected == [0, 0]


class Start(Protocol):
    """Starts a gateway in front of backends; gives its base URL."""

    def __call__(self, *entries: dict[str, Any], **file: Any) -> str: ...


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def started(*entries: dict[str, Any], **file: Any) -> str:
            described = tmp_path / "backends.yaml"
            described.write_text(yaml.safe_dump({"backends": list(entries), **file}))
            settings = Settings(data_dir=tmp_path / "data", backends_file=described)
            app = create_app(settings, "", several=read_backends(settings))
            return stack.enter_context(served(app)) + "/v1"

        yield started


def entry(name: str, server: ScriptedBackend | str, *models: str, **more: Any) -> dict[str, Any]:
    url = server if isinstance(server, str) else server.base_url
    return {"name": name, "url": url, "models": list(models), **more}


def nobody() -> str:
    """A base URL where nothing listens."""
    return f"http://127.0.0.1:{free_port()}/v1"


def person(base_url: str, model: str = "one", key: str = "sk-client") -> Person:
    return Person(base_url, key, model)


def models_asked(server: ScriptedBackend) -> list[str]:
    return [request.body["model"] for request in server.requests]


def post(base_url: str, path: str, content: Any, **headers: str) -> httpx.Response:
    named = {"authorization": "Bearer sk-client", **headers}
    return httpx.post(f"{base_url}{path}", json=content, headers=named, timeout=30)


# Routing


def test_a_model_is_asked_where_it_is_and_memory_is_one(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    sam = person(
        start(entry("a", first, "one"), entry("b", second, "two*", aliases={"t": "two-2"}))
    )
    first.reply(send("Hello"))
    second.reply(send("Again"), send("And again"))
    assert sam.say("My name is Sam").text == "Hello"
    sam.model = "two-1"
    assert sam.say("And now?").text == "Again"
    sam.model = "t"
    assert sam.say("And by another name?").text == "And again"
    assert models_asked(first) == ["one"]
    assert models_asked(second) == ["two-1", "two-2"]
    assert [m["content"] for m in second.requests[1].body["messages"] if m["role"] == "user"][
        -3:
    ] == ["My name is Sam", "And now?", "And by another name?"]


def test_the_answer_names_the_model_as_its_backend_does(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(entry("a", pair[0], aliases={"fast": "one-mini"}))
    pair[0].reply(send("Hi"))
    assert person(base_url, "fast").say("Hello").model == "one-mini"


@pytest.mark.parametrize("path", ["/chat/completions", "/embeddings", "/completions"])
def test_a_model_that_none_takes_is_not_found(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, path: str
) -> None:
    base_url = start(entry("a", pair[0], "one"))
    response = post(base_url, path, {"model": "x", "messages": [user("Hello")], "input": "a"})
    assert response.status_code == 404
    told = error_of(response)
    assert (told["type"], told["code"]) == ("invalid_request_error", "model_not_found")
    with pytest.raises(openai.NotFoundError):
        person(base_url, "x").say("Hello")


def test_or_goes_to_the_default(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(entry("a", pair[0], "one"), entry("b", pair[1]), default="b")
    pair[1].reply(send("Hi"))
    assert person(base_url, "x").say("Hello").text == "Hi"
    httpx.get(f"{base_url}/files", headers={"authorization": "Bearer k"})
    assert [request.path for request in pair[1].passed] == ["/v1/files"]


def test_models_are_listed_once_where_they_go_with_aliases(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    first.models = [{"id": "one", "object": "model", "x": 1}, {"id": "two", "object": "model"}]
    second.models = [{"id": "two", "object": "model", "created": 5}, {"id": "lost", "object": "m"}]
    base_url = start(
        entry("a", first, "one", aliases={"fast": "one"}),
        entry("b", second, "two"),
        entry("c", nobody(), "asleep", "pattern-*"),
    )
    with openai.OpenAI(base_url=base_url, api_key="k", max_retries=0) as client:
        listed = {model.id: model for model in client.models.list()}
    assert list(listed) == ["one", "two", "fast", "asleep"]
    assert listed["two"].created == 5
    assert listed["fast"].to_dict()["x"] == 1
    assert listed["asleep"].owned_by == "c"


def test_one_model_is_described_by_its_backend(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(entry("a", pair[0]), entry("b", pair[1], aliases={"t": "org/two"}))
    httpx.get(f"{base_url}/models/t", headers={"authorization": "Bearer k"})
    assert [request.path for request in pair[1].passed] == ["/v1/models/org/two"]
    response = httpx.get(f"{base_url}/models/x", headers={"authorization": "Bearer k"})
    assert error_of(response)["code"] == "model_not_found"


def test_other_paths_go_by_model_too_and_only_the_name_changes(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    base_url = start(entry("a", first, "one"), entry("b", second, "two", aliases={"e": "embed"}))
    sent = b'{ "model": "two",  "input": "\\u00e4", "zeros": 1.0 }'
    headers = {"authorization": "Bearer k", "content-type": "application/json"}
    same = httpx.post(f"{base_url}/embeddings", content=sent, headers=headers)
    assert same.content == sent
    renamed = post(base_url, "/embeddings", {"model": "e", "input": ["ä"], "dimensions": 2})
    assert renamed.json() == {"model": "embed", "input": ["ä"], "dimensions": 2}
    assert [request.path for request in second.passed] == ["/v1/embeddings"] * 2
    assert first.passed == []


@pytest.mark.parametrize("sent", [b"{no JSON", b"[1]", b'{"model": 7}', b'{"input": "a"}', b""])
def test_a_body_without_a_model_goes_to_the_default_as_it_is(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, sent: bytes
) -> None:
    base_url = start(entry("a", pair[0], "one"), entry("b", pair[1]), default="b")
    headers = {"authorization": "Bearer k", "content-type": "application/json"}
    httpx.post(f"{base_url}/embeddings", content=sent, headers=headers)
    assert [request.raw for request in pair[1].passed] == [sent]


def test_what_may_make_something_is_sent_once(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", nobody(), "one"), entry("b", pair[1], "two"), fallbacks={"one": ["two"]}
    )
    request = {"model": "one", "input": "a"}
    assert post(base_url, "/embeddings", request).json()["model"] == "two"
    response = post(base_url, "/fine_tuning/jobs", request)
    assert (response.status_code, error_of(response)["code"]) == (502, "backend_unreachable")
    assert [asked.path for asked in pair[1].passed] == ["/v1/embeddings"]


def test_chats_without_memory_go_by_model_too(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", nobody(), "one"), entry("b", pair[1], "two"), fallbacks={"one": ["two"]}
    )
    pair[1].reply(text("Plain"))
    request = {"model": "one", "messages": [user("Hello")]}
    response = post(base_url, "/chat/completions", request, **{"x-memgpt-memory": "off"})
    assert response.json()["choices"][0]["message"]["content"] == "Plain"
    assert pair[1].requests[0].body == {**request, "model": "two"}


# Keys


def test_a_clients_key_goes_only_where_that_is_wanted(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = pair
    monkeypatch.setenv("OWN_KEY", "sk-own")
    base_url = start(
        entry("own", first, "one", api_key_env="OWN_KEY", headers={"X-Team": "blue"}),
        entry("none", second, "two"),
        entry("client", second, "three", pass_client_key=True),
    )
    first.reply(send("1"))
    second.reply(send("2"), send("3"))
    for model in ("one", "two", "three"):
        person(base_url, model).say("Hello")
        post(base_url, "/embeddings", {"model": model, "input": "a"}, cookie="c=sk-client")

    def shown(request: Recorded) -> str | None:
        return request.headers.get("authorization")

    assert [shown(request) for request in first.requests + first.passed] == ["Bearer sk-own"] * 2
    assert first.requests[0].headers["x-team"] == "blue"
    assert [shown(request) for request in second.requests] == [None, "Bearer sk-client"]
    assert [shown(request) for request in second.passed] == [None, "Bearer sk-client"]
    assert "sk-client" not in str([r.headers for r in (*first.passed, second.passed[0])])


def test_a_fallback_does_not_take_the_clients_key_along(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one", pass_client_key=True, retries=0),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(error(503))
    pair[1].reply(send("Hi"))
    assert person(base_url).say("Hello").text == "Hi"
    assert pair[0].requests[0].headers["authorization"] == "Bearer sk-client"
    assert "sk-client" not in str(pair[1].requests[0].headers)


# Retries


@pytest.mark.parametrize(
    "failure", [error(503), error(429, headers=SOON), text("").die_after(events=0)]
)
def test_what_passes_is_not_seen_and_stored_once(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, failure: Any
) -> None:
    base_url = start(entry("a", pair[0], "*"))
    sam = person(base_url)
    pair[0].reply(failure, send("Hello"), send("Sam"))
    assert sam.say("My name is Sam").text == "Hello"
    assert sam.say("Who am I?").text == "Sam"
    asked = [m["content"] for m in pair[0].requests[2].body["messages"] if m["role"] == "user"]
    assert asked.count("My name is Sam") == 1
    assert pair[0].requests[0].raw == pair[0].requests[1].raw
    metrics = httpx.get(base_url.removesuffix("/v1") + "/metrics").text
    assert 'memgpt_backend_retries_total{backend="a"} 1.0' in metrics


def test_what_gives_up_on_a_whole_answer_is_asked_for_a_stream_at_once(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    """The same again would take as long, and the backend is well."""
    pair[0].script(lambda body: send("Long.") if body["stream"] else error(504))
    base_url = start(
        entry("a", pair[0], "one", retries=2),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    sam = person(base_url)
    assert [sam.say("Hello").text, sam.say("Again").text] == ["Long.", "Long."]
    assert [request.body["stream"] for request in pair[0].requests] == [False, True, True]
    assert pair[1].requests == []


def test_a_long_pause_is_the_clients_to_make(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    sam = person(start(entry("a", pair[0], "*")))
    headers = {"retry-after": "3600", "x-ratelimit-reset-tokens": "1h", "x-request-id": "r-1"}
    pair[0].reply(error(429, headers=headers))
    with pytest.raises(openai.RateLimitError) as limited:
        sam.say("Hello")
    told = limited.value.response.headers
    assert {name: told[name] for name in headers} == headers
    assert len(pair[0].requests) == 1


# Fallbacks


@pytest.mark.parametrize("way", ["down", "error", "limited"])
def test_another_model_answers_where_one_cannot(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, way: str
) -> None:
    first, second = pair
    base_url = start(
        entry("a", nobody() if way == "down" else first, "one", retries=1),
        entry("b", second, "two"),
        fallbacks={"one": ["two"]},
    )
    if way == "error":
        first.reply(error(500, headers=SOON), error(502))
    if way == "limited":
        first.reply(error(429, headers={"retry-after": "3600"}))
    second.reply(send("From two"), send("Again"))
    sam = person(base_url)
    assert sam.say("My name is Sam").text == "From two"
    assert models_asked(second) == ["two"]
    metrics = httpx.get(base_url.removesuffix("/v1") + "/metrics").text
    assert 'memgpt_backend_fallbacks_total{backend="a"} 1.0' in metrics
    sam.model = "two"
    sam.say("And again")
    asked = [m["content"] for m in second.requests[1].body["messages"] if m["role"] == "user"]
    assert asked.count("My name is Sam") == 1


THOUGHT = reasoning("Hm.") + call("send_message", {"message": "Hello"})
AMID = {
    "thinking": THOUGHT.die_after(events=2),
    "held content": text("Hello, this is a story").die_after(events=4),
    "a memory call": call("archival_storage_search", {"query": "a long one"}).die_after(events=4),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("amid", AMID.values(), ids=[*AMID])
def test_another_model_answers_where_one_breaks_off_before_a_word(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, amid: Any, stream: bool
) -> None:
    base_url = start(
        entry("a", pair[0], "one", retries=0),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(amid)
    pair[1].reply(send("From two"))
    sam = person(base_url)
    sam.way = streamed if stream else whole
    assert sam.say("Hello").text == "From two"
    assert [len(server.requests) for server in pair] == [1, 1]


OFF = {"X-MemGPT-Memory": "off"}


@pytest.mark.parametrize("profile", [["no_tools"], ["functions"]])
@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_another_model_answers_with_memory_off_too(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, profile: list[str], path: str
) -> None:
    """A request that is written for its backend, or translated, as one that goes as it came."""
    base_url = start(
        entry("a", pair[0], "one", retries=0, profile=profile),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(error(503))
    pair[1].reply(text("From two"))
    function = {"name": "get_weather", "parameters": {"type": "object"}}
    asked: dict[str, Any] = {"model": "one", "tools": [{"type": "function", "function": function}]}
    asked["messages"] = [user("Hello")]
    if path == "/responses":
        asked = {"model": "one", "tools": [{"type": "function", **function}], "input": "Hello"}
    headers = {"authorization": "Bearer k", **OFF}
    answer = httpx.post(base_url + path, json=asked, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert "From two" in answer.text
    (sent,) = pair[1].requests
    assert sent.body["model"] == "two"
    assert sent.body["tools"][0]["function"] == function


def test_a_mistake_is_no_reason_to_ask_another(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one"), entry("b", pair[1], "two"), fallbacks={"one": ["two"]}
    )
    pair[0].reply(error(400), error(401))
    with pytest.raises(openai.BadRequestError):
        person(base_url).say("Hello")
    with pytest.raises(openai.AuthenticationError):
        person(base_url).say("Hello")
    assert pair[1].requests == []


def test_the_last_error_is_told_where_all_fail(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", nobody(), "one"),
        entry("b", pair[1], "two", retries=0),
        fallbacks={"one": ["two"]},
    )
    pair[1].reply(error(503, {"error": {"message": "from two"}}))
    with pytest.raises(openai.InternalServerError, match="from two"):
        person(base_url).say("Hello")


def test_a_fallbacks_prompt_is_made_for_its_own_window(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start, encoding: tiktoken.Encoding
) -> None:
    first, second = pair
    first.models = [{"id": "one", "context_window": 100_000}]
    second.models = [{"id": "two", "context_window": 4096}]
    sam = person(
        start(
            entry("a", first, "one", retries=0),
            entry("b", second, "two"),
            fallbacks={"one": ["two"]},
        )
    )
    for number in range(12):
        first.reply(send(f"Noted {number}. " + "Very well. " * 60))
        sam.say(f"Note {number}: " + "the harbour is calm. " * 60)
    first.reply(error(503), send("Back"))
    second.script(lambda body: send("From two") if "tools" in body else text("A summary."))
    assert sam.say("Where were we?").text == "From two"
    long, short = (json.dumps(s.requests[-1].body["messages"]) for s in (first, second))
    assert len(encoding.encode(long)) > 6000
    assert len(encoding.encode(short)) < 4096 - 1024
    assert "Where were we?" in short
    assert set(models_asked(second)) == {"two"}
    assert sam.say("And now?").text == "Back"


def test_a_turn_goes_on_elsewhere_in_its_middle(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    base_url = start(
        entry("a", first, "one", retries=0), entry("b", second, "two"), fallbacks={"*": ["two"]}
    )
    first.reply(
        call("working_context_append", {"content": "Sam.", "request_heartbeat": True}), error(502)
    )
    second.reply(send("Noted"), send("Sam"))
    sam = person(base_url)
    assert sam.say("My name is Sam").text == "Noted"
    assert len(results(second.requests[0])) == 1
    sam.model = "two"
    assert sam.anew().ask([user("Who am I?")]).text == "Sam"
    assert "Sam." in second.requests[1].body["messages"][0]["content"]


def test_what_was_said_is_not_said_again_by_another(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one"), entry("b", pair[1], "two"), fallbacks={"one": ["two"]}
    )
    pair[0].reply(send("Hello, this is a long story").die_after(events=7))
    request = {"model": "one", "messages": [user("Hello")], "stream": True}
    events = data_of(post(base_url, "/chat/completions", request).content)
    said = [choice["delta"].get("content") for e in events for choice in e.get("choices", ())]
    assert "".join(filter(None, said)).startswith("Hello")
    assert events[-1]["error"]["code"] == "backend_broken"
    assert pair[1].requests == []
    assert len(pair[0].requests) == 1


def test_no_choice_is_told_by_two(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    """An error as an event of its own is in no place of an answer once that has begun."""
    base_url = start(
        entry("a", pair[0], "one", retries=0),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    gate = Gate()
    # From its first answer on its clean answers are streamed.
    pair[0].reply(
        choices(text("Red."), text("Green.")),
        choices(Reply(), text("Blue.")) + wait(gate) + OVERLOADED,
    )
    request = {"model": "one", "messages": [user("Hello")], "n": 2, "stream": True}
    post(base_url, "/chat/completions", request)
    headers = {"authorization": "Bearer sk-client"}
    url, told = f"{base_url}/chat/completions", b""
    with httpx.stream("POST", url, json=request, headers=headers, timeout=30) as response:
        for read in response.iter_raw():
            told += read
            gate.open()
    events = data_of(told)
    said = [choice["delta"].get("content") for e in events for choice in e.get("choices", ())]
    assert "".join(filter(None, said)) == "Blue."
    assert events[-1]["error"]["message"] == "Overloaded"
    assert pair[1].requests == []


def test_a_message_that_broke_off_before_a_word_silences_nobody(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one", retries=0),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(send("Hello").die_after(events=3))
    pair[1].reply(text("From two"))
    sam = person(base_url)
    sam.way = streamed
    assert sam.say("Hello").text == "From two"
    assert [len(server.requests) for server in pair] == [1, 1]


def test_a_regeneration_that_all_refuse_undoes_nothing(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one", retries=0),
        entry("b", pair[1], "two", retries=0),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(remember("Name is Ann"), error(503), send("Yes."))
    pair[1].reply(error(503))
    ann = person(base_url)
    ann.say("I am Ann.")
    with pytest.raises(openai.InternalServerError):
        ann.ask(ann.said[:-1])
    ann.anew().say("Do you know me?")
    assert "Name is Ann" in system(pair[0].requests[-1])


def test_a_prompt_that_is_too_long_is_shortened_and_not_taken_elsewhere(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    sam = person(
        start(entry("a", first, "one"), entry("b", second, "two"), fallbacks={"one": ["two"]})
    )
    first.reply(send("Yes. " * 300), send("Well. " * 300))
    sam.say("First: " + "words and words. " * 200)
    sam.say("Second: " + "words and words. " * 200)
    told = {
        "error": {
            "message": "This model's maximum context length is 3000 tokens. However, your messages "
            "resulted in 4000 tokens.",
            "code": "context_length_exceeded",
        }
    }
    first.reply(error(400, told))
    first.script(lambda body: send("Healed") if "tools" in body else text("A summary."))
    assert sam.say("Third").text == "Healed"
    assert second.requests == []


def test_an_error_in_place_of_an_answer_is_taken_elsewhere(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    base_url = start(
        entry("a", pair[0], "one", retries=0),
        entry("b", pair[1], "two"),
        fallbacks={"one": ["two"]},
    )
    pair[0].reply(OVERLOADED)
    pair[1].reply(send("Hi"))
    assert person(base_url).say("Hello").text == "Hi"


def test_one_that_keeps_failing_is_not_waited_for(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    first, second = pair
    base_url = start(
        entry("a", first, "one", retries=0), entry("b", second, "two"), fallbacks={"one": ["two"]}
    )
    first.reply(*[error(500)] * 5)
    second.script(lambda _: send("Hi"))
    for number in range(8):
        assert person(base_url).ask([user(f"Hello {number}")]).text == "Hi"
    assert len(first.requests) == 5
    metrics = httpx.get(base_url.removesuffix("/v1") + "/metrics").text
    assert 'memgpt_backend_left_out{backend="a"} 1.0' in metrics


# Places and time


def test_others_wait_for_a_place_until_a_stream_ends(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    gate, server = Gate(), pair[0]
    base_url = start(entry("a", server, "*", max_concurrent=1))
    server.reply(text("Slow") + wait(gate), send("Quick"))
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(person(base_url).ask, [user("First")])
        server.wait_for_requests(1)
        quick = pool.submit(person(base_url).ask, [user("Second")])
        _wait_for_metric(base_url, 'memgpt_backend_waiting_requests{backend="a"} 1.0')
        assert len(server.requests) == 1
        gate.open()
        assert (slow.result(10).text, quick.result(10).text) == ("Slow", "Quick")


def test_a_full_line_is_told_to_come_again(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    gate, server = Gate(), pair[0]
    base_url = start(entry("a", server, "*", max_concurrent=1, max_waiting=0, wait_seconds=3))
    server.reply(wait(gate) + text("Slow"), send("Later"))
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(person(base_url).ask, [user("First")])
        server.wait_for_requests(1)
        with pytest.raises(openai.InternalServerError) as busy:
            person(base_url).say("Second")
        assert busy.value.status_code == 503
        assert busy.value.code == "backend_busy"
        assert busy.value.response.headers["retry-after"] == "3"
        gate.open()
        slow.result(10)
    assert person(base_url).ask([user("Third")]).text == "Later"


def test_a_client_that_leaves_gives_its_place_to_the_next(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    server = pair[0]
    base_url = start(entry("a", server, "*", max_concurrent=1))
    server.reply(send("Slow") + hang(), send("Mine"))
    request = {"model": "m", "messages": [user("First")], "stream": True}
    headers = {"authorization": "Bearer k"}
    url = f"{base_url}/chat/completions"
    with httpx.stream("POST", url, json=request, headers=headers, timeout=30) as response:
        next(response.iter_bytes())
    server.requests[0].wait_disconnected()
    assert person(base_url).ask([user("Second")]).text == "Mine"


def test_each_timeout_says_which_it_was(
    pair: tuple[ScriptedBackend, ScriptedBackend], start: Start
) -> None:
    server = pair[0]
    base_url = start(
        entry("begins", server, "one", first_byte_timeout_seconds=0.05, retries=0),
        entry("goes-on", server, "two", idle_timeout_seconds=0.05, first_byte_timeout_seconds=20),
    )
    server.reply(hang())
    with pytest.raises(
        openai.InternalServerError, match="silent for too long before its answer"
    ) as late:
        person(base_url, "one").say("Hello")
    assert (late.value.status_code, late.value.code) == (504, "backend_timeout")
    server.reply(text("So") + hang())
    with pytest.raises(openai.APIError, match="silent for too long within its answer"):
        streamed(base_url, "sk-client", model="two", messages=[user("Hello")])


def _wait_for_metric(base_url: str, line: str) -> None:
    asked = threading.Event()
    for _ in range(500):
        if line in httpx.get(base_url.removesuffix("/v1") + "/metrics").text:
            return
        asked.wait(0.01)
    raise AssertionError(f"{line!r} never came")


# As a process


def test_a_file_of_backends_is_served_and_greeted(
    pair: tuple[ScriptedBackend, ScriptedBackend], start_gateway: StartGateway, tmp_path: Path
) -> None:
    file = tmp_path / "backends.yaml"
    described = [entry("a", pair[0], "one"), entry("b", pair[1], "two")]
    file.write_text(yaml.safe_dump({"backends": described}))
    gateway = start_gateway("--backends-file", str(file), backend_url=None)
    pair[1].reply(send("Hi"))
    assert person(gateway.base_url, "two").say("Hello").text == "Hi"
    greeting = (tmp_path / "gateway-0" / "gateway.log").read_text()
    assert '"model": "one"' in greeting
    assert "Answering with a, b." in greeting
