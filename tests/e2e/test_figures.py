"""The conversations of the MemGPT poster, through the ``openai`` package.

Expected strings are the poster's (Figs. 1, 2, 4, 6 and 8 of *MemGPT: Towards LLMs as Operating
Systems*). Each is played twice: with the scripted backend as the model, where every word the model
reads can be checked, and with the demo backend, which makes up its mind by itself.
"""

from __future__ import annotations

import itertools
import random
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest

from memgpt_proxy.demo.server import create_app as create_demo
from tests.e2e.chatting import (
    WAYS,
    Person,
    assistant,
    results,
    send,
    user,
)
from tests.e2e.in_process import Calendar, dated_gateway, served
from tests.support.backend import Recorded, ScriptedBackend
from tests.support.replies import Reply, call, text

CAKE = "fun my bf james baked me a birthday cake"
BROKE_UP = "actually james and i broke up"
SIX_FLAGS = (
    'Showing 3 of 3 results (page 1/1): [01/24/2024] "lol yeah six flags", '
    '[01/14/2024] "I love six flags been like 100 times", '
    '[10/12/2023] "james and I actually first met at six flags"'
)

Gateway = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def calendar() -> Calendar:
    return Calendar(datetime(2024, 2, 7, 18, tzinfo=UTC))


@pytest.fixture
def scripted(tmp_path: Path, backend: ScriptedBackend, calendar: Calendar) -> Gateway:
    """A gateway in front of the scripted backend, on the data directory of the test."""
    return partial(dated_gateway, tmp_path, backend.base_url, calendar)


@pytest.fixture
def demo(tmp_path: Path, calendar: Calendar) -> Iterator[Gateway]:
    """A gateway in front of the demo backend, on the same data directory."""
    with served(create_demo()) as origin:
        yield partial(dated_gateway, tmp_path, f"{origin}/v1", calendar)


@pytest.fixture(params=[WAYS["whole"], WAYS["streamed"]], ids=["whole", "streamed"])
def someone(request: pytest.FixtureRequest, api_key: str, model: str) -> Callable[..., Person]:
    """Somebody at a gateway: the same person at every gateway of a test."""
    way = request.param

    def person(base_url: str, model: str = model) -> Person:
        return Person(base_url, api_key, model, way)

    return person


def last_words(body: dict[str, Any]) -> str:
    content = body["messages"][-1]["content"]
    assert isinstance(content, str)
    return content


def working_context(recorded: Recorded) -> list[str]:
    """The lines of the working context that a prompt shows."""
    system = recorded.body["messages"][0]["content"]
    section = system.partition("# Working context (")[2].partition("# External context")[0]
    return section.splitlines()[1:-1]


def known(backend: ScriptedBackend, scripted: Gateway, someone: Callable[..., Person]) -> list[str]:
    """What a fresh conversation is told about the person."""
    backend.reply(send("Hi."))
    with scripted() as base_url:
        someone(base_url).say("hi")
    return working_context(backend.requests[-1])


# Figure 1: under memory pressure the model saves what it learned


def playing_figure_1(body: dict[str, Any]) -> Reply:
    if body["messages"][0]["content"].startswith("You keep the summary"):
        return text("They talked about a birthday cake.")
    *_, words, alert = (message["content"] or "" for message in body["messages"])
    if words == CAKE and alert.startswith("System Alert: Memory Pressure"):
        facts = ("Birthday is February 7", "Boyfriend named James")
        saves = [
            call("working_context_append", {"content": fact, "request_heartbeat": True})
            for fact in facts
        ]
        return reduce(add, saves)
    return send("Happy birthday! 🎂")


def test_figure_1_memory_pressure(
    backend: ScriptedBackend, scripted: Gateway, someone: Callable[..., Person]
):
    backend.script(playing_figure_1)
    with scripted(context_window=2048) as base_url:
        person = someone(base_url)
        person.said = [assistant("How was your day today?")]
        assert person.say(CAKE).text == "Happy birthday! 🎂"
        opening, day, cake, alert = backend.requests[0].body["messages"][1:]
        assert opening == assistant("How was your day today?")
        assert day == user("System Alert: Today is Wednesday, February 7, 2024.")
        assert cake == user(CAKE)
        assert alert["content"].startswith("System Alert: Memory Pressure")
        used = [result.partition(" / ")[0] for result in results(backend.requests[1])]
        assert used == ["Appended. Working context: 22", "Appended. Working context: 44"]
        for number in range(12):
            person.say(f"{number} " + "and then we went on talking " * 12)
        prompt = backend.requests[-1]
        assert working_context(prompt) == ["Birthday is February 7", "Boyfriend named James"]
        assert CAKE not in [message["content"] for message in prompt.body["messages"]]


def test_figure_1_with_the_demo_model(
    backend: ScriptedBackend, scripted: Gateway, demo: Gateway, someone: Callable[..., Person]
):
    with demo() as base_url:
        person = someone(base_url, "demo")
        person.said = [assistant("How was your day today?")]
        assert person.say(CAKE).text
        assert "February 7" in person.anew().say("When is my birthday?").text
        assert "James" in person.anew().say("Who is my boyfriend?").text
    assert sorted(known(backend, scripted, someone)) == [
        "Birthday is February 7",
        "Boyfriend named James",
    ]


# Figure 2: what was said long ago is found


def say_six_flags(
    backend: ScriptedBackend, calendar: Calendar, scripted: Gateway, someone: Callable[..., Person]
) -> None:
    """Three conversations, on the poster's three days; the assistant talks of something else."""
    backend.script(lambda _: send("Tell me more."))
    with scripted() as base_url:
        for (year, month, day), words in (
            ((2023, 10, 12), "james and I actually first met at six flags"),
            ((2024, 1, 14), "I love six flags been like 100 times"),
            ((2024, 1, 24), "lol yeah six flags"),
        ):
            calendar.set(year, month, day)
            someone(base_url).say(words)


def test_figure_2_recall(
    backend: ScriptedBackend, calendar: Calendar, scripted: Gateway, someone: Callable[..., Person]
):
    say_six_flags(backend, calendar, scripted, someone)
    calendar.set(2024, 2, 7)
    backend.reply(
        call("recall_storage_search", {"query": "six flags"}),
        send("Did you go to six flags with James? You first met there!"),
    )
    with scripted() as base_url:
        answer = someone(base_url).say("Where did we meet, james and I?")
    assert results(backend.requests[-1]) == [SIX_FLAGS]
    assert answer.text == "Did you go to six flags with James? You first met there!"


def test_figure_2_with_the_demo_model(
    backend: ScriptedBackend,
    calendar: Calendar,
    scripted: Gateway,
    demo: Gateway,
    someone: Callable[..., Person],
):
    say_six_flags(backend, calendar, scripted, someone)
    calendar.set(2024, 2, 7)
    with demo() as base_url:
        answer = someone(base_url, "demo").say("Did I ever mention six flags?")
    assert answer.text.startswith("I found 3 results about six flags: ")
    for words in re.findall(r'"([^"]+)"', SIX_FLAGS):
        assert words in answer.text
    for day in ("October 12, 2023", "January 14, 2024", "January 24, 2024"):
        assert day in answer.text


# Figure 4: a correction replaces


def test_figure_4_replace(
    backend: ScriptedBackend, calendar: Calendar, scripted: Gateway, someone: Callable[..., Person]
):
    old, new = "Boyfriend named James", "Ex-boyfriend named James"
    replaced = {"old_content": old, "new_content": new, "request_heartbeat": True}
    backend.reply(
        call("working_context_append", {"content": "Birthday is February 7"})
        + call("working_context_append", {"content": old})
        + send("Nice!"),
        call("working_context_replace", replaced),
        send("Sorry to hear that - hope you're OK!"),
    )
    with scripted() as base_url:
        someone(base_url).say(CAKE)
        calendar.set(2024, 2, 14)
        answer = someone(base_url).say(BROKE_UP)
    assert answer.text == "Sorry to hear that - hope you're OK!"
    assert backend.requests[1].body["messages"][1:] == [
        user("System Alert: Today is Wednesday, February 14, 2024."),
        user(BROKE_UP),
    ]
    assert results(backend.requests[2]) == ["Replaced. Working context: 47 / 8 000 characters."]
    assert known(backend, scripted, someone) == ["Birthday is February 7", new]


def test_figure_4_with_the_demo_model(
    backend: ScriptedBackend,
    calendar: Calendar,
    scripted: Gateway,
    demo: Gateway,
    someone: Callable[..., Person],
):
    with demo() as base_url:
        someone(base_url, "demo").say(CAKE)
        calendar.set(2024, 2, 14)
        assert someone(base_url, "demo").say(BROKE_UP).text
        told = someone(base_url, "demo").say("Who is my boyfriend?").text
    assert "ex-boyfriend is James" in told
    assert sorted(known(backend, scripted, someone)) == [
        "Birthday is February 7",
        "Ex-boyfriend named James",
    ]


# Figure 6: documents, page by page


def keep(backend: ScriptedBackend, scripted: Gateway, person: Person, texts: list[str]) -> None:
    """Put texts into archival storage, as the model would: one call each."""
    calls = [call("archival_storage_insert", {"content": each}) for each in texts]
    backend.reply(reduce(add, calls).but(piece=500) + send("Kept."))
    with scripted() as base_url:
        person.base_url = base_url
        assert person.say("Keep these.").text == "Kept."


LAUREATES = [f"The Nobel Prize in Physics of {1901 + n} went to laureate {n}." for n in range(124)]


def test_figure_6_pages_of_documents(
    backend: ScriptedBackend, scripted: Gateway, someone: Callable[..., Person]
):
    others = [f"The Nobel Peace Prize of {year}." for year in range(1901, 1931)]
    keep(backend, scripted, someone(""), LAUREATES + others)
    searches = [
        call("archival_storage_search", {"query": "nobel physics", "page": page})
        for page in range(1, 15)
    ]
    with scripted(max_steps=20) as base_url:
        backend.reply(*searches, send("Wilhelm Conrad Röntgen."))
        answer = someone(base_url).say("Who won the first nobel prize in physics?")
    assert answer.text == "Wilhelm Conrad Röntgen."
    pages = [results(request)[0] for request in backend.requests[2:]]
    for number, page in enumerate(pages[:12], 1):
        assert page.startswith(f"Showing 10 of 124 results (page {number}/13): ")
    assert pages[12].startswith("Showing 4 of 124 results (page 13/13): ")
    assert pages[13].startswith("Showing 0 of 124 results (page 14/13)")
    assert "past the end" in pages[13]
    shown = [words for page in pages[:13] for words in re.findall(r'"([^"]*)"', page)]
    assert sorted(shown) == sorted(LAUREATES)


def test_figure_6_with_the_demo_model(
    backend: ScriptedBackend, scripted: Gateway, demo: Gateway, someone: Callable[..., Person]
):
    keep(backend, scripted, someone(""), LAUREATES)
    with demo() as base_url:
        person = someone(base_url, "demo")
        first = person.say("Search my documents for nobel physics.").text
        second = person.say("more").text
    assert first.startswith("I found 124 results about nobel physics (page 1 of 13): ")
    assert second.startswith("I found 124 results about nobel physics (page 2 of 13): ")
    shown = re.findall(r"“(The Nobel[^”]*)”", first + second)
    assert len(set(shown)) == 20


# Figure 8: a value that is a key


def nested_pairs(levels: int) -> tuple[list[str], list[str]]:
    """140 pairs of UUIDs, as in the paper, and a chain among them: a key and what it leads to."""
    rng = random.Random(levels)
    ids = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(280)]
    chain = ids[: levels + 2]
    rest = ids[levels + 2 :]
    pairs = list(itertools.pairwise(chain))
    pairs += list(zip(rest[::2], rest[1::2], strict=False))
    lines = [f"{key}: {value}" for key, value in pairs[:140]]
    rng.shuffle(lines)
    return lines, chain


def following(body: dict[str, Any]) -> Reply:
    """A model that looks up a key, then its value, until a value is no key."""
    calls = [message for message in body["messages"] if message.get("tool_calls")]
    question = next(m["content"] for m in body["messages"] if "value of" in (m["content"] or ""))
    key = question.split()[-1].rstrip("?")
    if body["messages"][-1]["role"] == "tool":
        searched = re.search(r"[0-9a-f-]{36}", str(calls[-1]["tool_calls"]))
        assert searched is not None
        key = searched[0]
        found = re.search(rf"{key}: ([0-9a-f-]{{36}})", last_words(body))
        if found is None:
            return send(f"It is {key}.")
        key = found[1]
    return call("archival_storage_search", {"query": key})


@pytest.mark.parametrize("levels", range(5))
def test_figure_8_nested_keys(
    backend: ScriptedBackend, scripted: Gateway, someone: Callable[..., Person], levels: int
):
    lines, chain = nested_pairs(levels)
    assert len(lines) == 140
    keep(backend, scripted, someone(""), lines)
    backend.script(following)
    with scripted() as base_url:
        answer = someone(base_url).say(f"What is the value of the key {chain[0]}?")
    assert answer.text == f"It is {chain[-1]}."
    found = [results(request)[0] for request in backend.requests[2:]]
    assert len(found) == levels + 2
    assert found[0] == f'Showing 1 of 1 results (page 1/1): "{chain[0]}: {chain[1]}"'
    assert all(page.startswith("Showing 2 of 2 results (page 1/1): ") for page in found[1:-1])
    assert found[-1] == f'Showing 1 of 1 results (page 1/1): "{chain[-2]}: {chain[-1]}"'


@pytest.mark.parametrize("levels", range(5))
def test_figure_8_with_the_demo_model(
    backend: ScriptedBackend,
    scripted: Gateway,
    demo: Gateway,
    someone: Callable[..., Person],
    levels: int,
):
    lines, chain = nested_pairs(levels)
    keep(backend, scripted, someone(""), lines)
    with demo() as base_url:
        answer = someone(base_url, "demo").say(f"What is the value of the key {chain[0]}?")
    assert answer.text == f"The value is {chain[-1]}."
