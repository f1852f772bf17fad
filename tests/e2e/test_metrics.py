"""``/metrics``, scraped while people talk."""

from __future__ import annotations

import time

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, Way, assistant, send, streamed, user, whole
from tests.support.backend import ScriptedBackend
from tests.support.replies import Usage, call, error, text
from tests.support.scrape import Sample, samples


def scrape(person: Person) -> list[Sample]:
    """What ``/metrics`` says once nothing is running: what follows a reply is done then."""
    deadline = time.monotonic() + 10
    while True:
        response = httpx.get(f"{person.base_url.removesuffix('/v1')}/metrics")
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/plain; version=")
        found = samples(response.text)
        if any(each.name == "memgpt_active_streams" and not each.value for each in found):
            return found
        assert time.monotonic() < deadline, "requests never end"


def scraped(person: Person) -> dict[str, float]:
    return {each.name: each.value for each in scrape(person) if not each.labels}


def series(person: Person, name: str) -> dict[tuple[str, ...], float]:
    """The values of one metric, by those of its labels, in the order of their names."""
    found = [each for each in scrape(person) if each.name == name and each.value]
    return {tuple(value for _, value in sorted(s.labels.items())): s.value for s in found}


@pytest.fixture
def person(start_gateway: StartGateway, api_key: str, model: str) -> Person:
    gateway = start_gateway("--context-window", "4096")
    return Person(gateway.base_url, api_key, model)


def test_turns_and_the_miss_of_their_counts(backend: ScriptedBackend, person: Person) -> None:
    backend.reply(send("Yes.").but(usage=Usage(prompt=100_000)), send("No.").but(usage=None))
    person.say("hello")
    person.say("hello?")
    counts = scraped(person)
    assert counts["memgpt_turns_total"] == 2
    assert counts["memgpt_degraded_turns_total"] == 0
    assert counts["memgpt_token_count_miss_count"] == 1
    assert counts["memgpt_token_count_miss_sum"] > 10  # instructions and functions are no 10 000


def test_a_flush_whose_summary_fails(backend: ScriptedBackend, person: Person) -> None:
    person.said = [speak(f"tea {n} " * 60) for n in range(12) for speak in (user, assistant)]
    backend.reply(error(500), send("Yes.").but(usage=None))
    assert person.say("the newest").text == "Yes."
    counts = scraped(person)
    assert counts["memgpt_flushes_total"] == 1
    assert counts["memgpt_failed_summaries_total"] == 1
    assert 2 <= counts["memgpt_evicted_messages_total"] <= 24


def test_a_summary_is_a_call_of_its_model(
    backend: ScriptedBackend, person: Person, model: str
) -> None:
    """What it takes is paid for like a step, and no step of the turn."""
    person.said = [speak(f"tea {n} " * 60) for n in range(12) for speak in (user, assistant)]
    backend.reply(
        text("So far.").but(usage=Usage(900, 40, cached=10)),
        send("Yes.").but(usage=Usage(300, 30)),
    )
    person.say("the newest")
    calls = series(person, "gen_ai_client_inference_duration_seconds_count")
    assert calls == {("", "chat", model): 2}
    usage = "gen_ai_client_inference_usage"
    assert series(person, f"{usage}_input_tokens_total") == {(model,): 1200}
    assert series(person, f"{usage}_output_tokens_total") == {(model,): 70}
    assert series(person, f"{usage}_cache_read_input_tokens_total") == {(model,): 10}
    assert series(person, "gen_ai_invoke_agent_inference_calls_sum") == {(model,): 1}


def test_pressure_is_counted_once_a_fill(backend: ScriptedBackend, person: Person) -> None:
    backend.script(
        lambda body: text("So far.") if "tools" not in body else send("Yes.").but(usage=None)
    )
    counts = scraped(person)
    for number in range(60):
        if counts["memgpt_flushes_total"]:
            break
        person.say(f"tea {number} " * 60)
        counts = scraped(person)
    assert counts["memgpt_memory_pressure_alerts_total"] == counts["memgpt_flushes_total"] == 1


def test_a_window_that_was_healed(backend: ScriptedBackend, person: Person) -> None:
    told = {"message": "prompt is too long: 4000 tokens > 3000 maximum", "type": "invalid"}
    backend.script(
        lambda body: (
            text("So far.")
            if "tools" not in body
            else error(400, {"error": told})
            if len(body["messages"]) > 12
            else send("Yes.").but(usage=None)
        )
    )
    person.said = [speak(f"tea {n} " * 30) for n in range(6) for speak in (user, assistant)]
    assert person.say("the newest").text == "Yes."
    assert scraped(person)["memgpt_healed_windows_total"] == 1


@pytest.mark.parametrize("way", [streamed, whole])
def test_a_turn_of_two_steps_is_measured(
    backend: ScriptedBackend, person: Person, model: str, way: Way
) -> None:
    """Only of streams it counts when they began."""
    person.way = way
    streams = way is streamed
    appended = {"content": "Likes tea.", "request_heartbeat": True}
    backend.reply(
        call("working_context_append", appended).but(usage=Usage(200, 20, cached=150)),
        send("Noted.").but(usage=Usage(300, 30, reasoning=12, cache_written=90)),
    )
    person.say("I like tea.")
    counts = scraped(person)
    assert counts["memgpt_turns_total"] == 1
    assert counts["memgpt_active_streams"] == 0
    assert counts["process_resident_memory_bytes"] > 0
    assert series(person, "http_server_request_duration_seconds_count") == {
        ("POST", "200", "/v1/chat/completions"): 1
    }
    assert series(person, "gen_ai_invoke_agent_duration_seconds_count") == {("", model): 1}
    assert series(person, "gen_ai_invoke_agent_inference_calls_sum") == {(model,): 2}
    assert series(person, "gen_ai_server_time_to_first_token_seconds_count") == (
        {(model,): 1} if streams else {}
    )
    steps = {("", "chat", model): 2.0}
    assert series(person, "gen_ai_client_inference_duration_seconds_count") == steps
    first = "gen_ai_client_inference_time_to_first_chunk_seconds_count"
    assert series(person, first) == ({("chat", model): 2} if streams else {})
    usage = "gen_ai_client_inference_usage"
    assert series(person, f"{usage}_input_tokens_total") == {(model,): 500}
    assert series(person, f"{usage}_output_tokens_total") == {(model,): 50}
    assert series(person, f"{usage}_cache_read_input_tokens_total") == {(model,): 150}
    assert series(person, f"{usage}_cache_write_input_tokens_total") == {(model,): 90}
    assert series(person, f"{usage}_reasoning_output_tokens_total") == {(model,): 12}
    of_each = "gen_ai_client_inference_operation"
    assert series(person, f"{of_each}_input_tokens_sum") == {("chat", model): 500}
    assert series(person, f"{of_each}_input_tokens_count") == {("chat", model): 2}
    assert series(person, f"{of_each}_output_tokens_sum") == {("chat", model): 50}
    assert series(person, "gen_ai_execute_tool_duration_seconds_count") == {
        ("", "working_context_append"): 1
    }
    asked = series(person, "db_client_operation_duration_seconds_count")
    assert asked[("commit", "sqlite", "")] == 1
    assert asked[("write_context", "sqlite", "")] == 1


def test_the_second_turn_finds_its_memory_hot(backend: ScriptedBackend, person: Person) -> None:
    backend.reply(send("Yes."), send("Yes."))
    person.say("hello")
    person.say("hello?")
    assert series(person, "memgpt_hot_reads_total") == {("miss",): 1, ("hit",): 1}


def test_failures_are_told_apart(backend: ScriptedBackend, person: Person, model: str) -> None:
    backend.reply(send("Yes."), error(429), error(418), send("Yes.").die_after(events=2))
    person.say("hello")
    for _ in range(3):
        with pytest.raises(openai.APIError):
            person.ask([user("hello")])
    failed = series(person, "gen_ai_client_inference_duration_seconds_count")
    kinds = {"", "429", "_OTHER", "backend_broken"}
    assert failed == {(kind, "chat", model): 1.0 for kind in kinds}
    turns = series(person, "gen_ai_invoke_agent_duration_seconds_count")
    assert turns == {(kind, model): 1.0 for kind in kinds}


def test_a_model_is_told_apart_once_its_backend_knows_it(
    backend: ScriptedBackend, person: Person
) -> None:
    backend.reply(error(404))
    with pytest.raises(openai.NotFoundError):
        person.say("hello")
    failed = series(person, "gen_ai_client_inference_duration_seconds_count")
    assert failed == {("404", "chat", "other"): 1}
