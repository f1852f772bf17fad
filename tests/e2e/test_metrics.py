"""``/metrics``, scraped while people talk."""

from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, assistant, send, user
from tests.support.backend import ScriptedBackend
from tests.support.replies import Usage, error, text


def scraped(person: Person) -> dict[str, float]:
    response = httpx.get(f"{person.base_url.removesuffix('/v1')}/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(response.text)
    return {s.name: s.value for family in families for s in family.samples if not s.labels}


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
