"""A reply that ends after midnight: the next message is told the new day."""

from __future__ import annotations
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tests.e2e.chatting import Person, send
from tests.e2e.in_process import Calendar, dated_gateway
from tests.e2e.prompts import contents
from tests.support.backend import ScriptedBackend
from tests.support.replies import Gate, wait


def test_the_day_is_told_though_the_reply_ended_on_it(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
) -> None:
    calendar = Calendar(datetime(2026, 2, 7, 23, 59, 50, tzinfo=UTC))
    with (
        dated_gateway(tmp_path, backend.base_url, calendar) as url,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        person = Person(url, api_key, model)
        gate = Gate()
        backend.reply(wait(gate) + send("Hello."))
        asked = elsewhere.submit(person.say, "Good evening.")
        while not backend.requests:
            time.sleep(0.01)
        calendar.now = datetime(2026, 2, 8, 0, 0, 5, tzinfo=UTC)
        gate.open()
        asked.result(10)
        calendar.now = datetime(2026, 2, 8, 9, 0, 0, tzinfo=UTC)
        backend.reply(send("Sunday."))
        person.say("Which day is it?")
        told = [text for text in contents(backend.requests[-1]) if "Today is" in text]
    print(told)
    assert any("February 8" in text for text in told)


def test_a_retry_after_midnight_says_nothing_twice(
    backend: ScriptedBackend, tmp_path: Path, api_key: str, model: str
) -> None:
    from tests.e2e.prompts import recalled

    calendar = Calendar(datetime(2026, 2, 7, 23, 59, 50, tzinfo=UTC))
    with dated_gateway(tmp_path, backend.base_url, calendar) as url:
        person = Person(url, api_key, model)
        backend.reply(send("Hello."))
        person.say("Good evening.")  # its client did not get the answer in time
        calendar.now = datetime(2026, 2, 8, 0, 0, 5, tzinfo=UTC)
        backend.reply(send("Hello."))
        person.anew().say("Good evening.", extra_headers={"x-stainless-retry-count": "1"})
        found = recalled(backend, person, '"Good evening"')
    assert found == ["Good evening."]
