"""A book of two million tokens, pasted into a conversation over a window of 8 192."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
import tiktoken

from memgpt_proxy.stores.records import Namespace, Passage
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, results, send, user
from tests.e2e.in_process import Calendar, dated_gateway
from tests.e2e.prompts import contents
from tests.support.backend import DEADLINE, Recorded, ScriptedBackend
from tests.support.book import Book, write_book
from tests.support.replies import Reply, call, text

WINDOW = 8192
TOKENS = 2_000_000
CHARACTERS = 9_800_000


@pytest.fixture(scope="module")
def book() -> Book:
    return write_book(CHARACTERS, seed=7)


def counted(encoding: tiktoken.Encoding, recorded: Recorded) -> int:
    """Tokens of a whole request, its JSON included."""
    return len(encoding.encode_ordinary(recorded.raw.decode()))


def stored(database: Path) -> dict[str, int]:
    """How much the database holds; of passages also how many different ones."""
    statement = """SELECT (SELECT count(*) FROM nodes),
        (SELECT count(*) FROM passages), (SELECT count(DISTINCT text) FROM passages)"""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        nodes, passages, different = connection.execute(statement).fetchone()
    finally:
        connection.close()
    return {"nodes": nodes, "passages": passages, "different": different}


def reader(body: dict[str, Any]) -> Reply:
    """A model that looks up whatever it is asked, and says what it found."""
    if body["messages"][0]["content"].startswith("You keep the summary"):
        return text("They talk about a book.")
    *_, last = body["messages"]
    if last["role"] == "tool":
        return send(last["content"])
    if "Message Archived." in last["content"]:
        return send("What a book.")
    said = [message["content"] for message in body["messages"] if message["role"] == "user"]
    asked = [words for words in said if not words.startswith("System Alert:")]
    return call("archival_storage_search", {"query": asked[-1]})


def test_a_book_is_answered_over_a_small_window(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    api_key: str,
    model: str,
    encoding: tiktoken.Encoding,
    book: Book,
) -> None:
    assert len(encoding.encode_ordinary(book.text)) >= TOKENS
    gateway = start_gateway("--context-window", str(WINDOW))
    database = gateway.data_dir / "memory.db"
    person = Person(gateway.base_url, api_key, model)
    backend.script(reader)

    assert person.say(book.text).text == "What a book."
    *_, head, alert = contents(backend.requests[0])
    assert book.text.startswith(head.removesuffix("…"))
    taken_in = stored(database)
    assert f"in {taken_in['passages']} passages" in alert
    assert taken_in["passages"] == taken_in["different"]
    # Cut at borders, so each is shorter than 1 200 characters, and longer than half of that.
    assert len(book.text) / 1200 <= taken_in["passages"] <= len(book.text) / 600

    for fact in (book.facts[0], book.facts[len(book.facts) // 2], book.facts[-1]):
        question = f"Where was the {fact.thing} of {fact.owner} marked {fact.code}?"
        found = person.say(question).text
        assert found.startswith("Showing ")
        assert fact.sentence in found
        (seen,) = results(backend.requests[-1])
        assert seen == found
    # The whole history came with each question, the book in it.
    assert stored(database) == {**taken_in, "nodes": 8}
    assert all(counted(encoding, request) <= WINDOW for request in backend.requests)


class Halfway:
    """Holds the first insertion of many passages in its middle until it is let go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.cancelled = threading.Event()
        self._go_on = threading.Event()
        self._insert = SqliteStore.insert_passages
        # A function, so that it is bound to the store.
        patch.setattr(SqliteStore, "insert_passages", lambda *given: self._halves(*given))

    def let_go(self) -> None:
        self._go_on.set()

    async def _halves(
        self, store: SqliteStore, namespace: Namespace, passages: Sequence[Passage]
    ) -> None:
        middle = len(passages) // 2
        await self._insert(store, namespace, passages[:middle])
        if not self.reached.is_set():
            self.reached.set()
            await self._held()
        await self._insert(store, namespace, passages[middle:])

    async def _held(self) -> None:
        try:
            assert await asyncio.to_thread(self._go_on.wait, DEADLINE), "it was never let go"
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
def halfway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Halfway]:
    held = Halfway(monkeypatch)
    yield held
    held.let_go()


@pytest.fixture
def base_url(tmp_path: Path, backend: ScriptedBackend, halfway: Halfway) -> Iterator[str]:
    """A gateway in this process, so that its store can be held."""
    calendar = Calendar(datetime(2024, 2, 7, 12, tzinfo=UTC))
    with dated_gateway(tmp_path, backend.base_url, calendar, context_window=WINDOW) as url:
        yield url
        halfway.let_go()


def test_others_are_answered_while_a_book_is_taken_in(
    backend: ScriptedBackend, base_url: str, halfway: Halfway, tmp_path: Path, book: Book
) -> None:
    backend.script(reader)
    pasting = Person(base_url, "sk-pasting", "a-model")
    answers: list[str] = []
    paste = threading.Thread(target=lambda: answers.append(pasting.say(book.text).text))
    paste.start()
    assert halfway.reached.wait(DEADLINE)
    backend.reply(send("Hello."))
    other = Person(base_url, "sk-other", "a-model")
    assert other.say("hi").text == "Hello."
    assert answers == []
    halfway.let_go()
    paste.join(DEADLINE)
    assert answers == ["What a book."]
    after = stored(tmp_path / "memory.db")
    assert after["passages"] == after["different"]


def test_a_paste_that_is_broken_off_is_taken_in_when_it_comes_again(
    backend: ScriptedBackend, base_url: str, halfway: Halfway, tmp_path: Path, book: Book
) -> None:
    backend.script(reader)
    database = tmp_path / "memory.db"
    leaving = HTTPConnection("127.0.0.1", httpx.URL(base_url).port)
    request = json.dumps({"model": "a-model", "messages": [user(book.text)], "stream": True})
    leaving.request("POST", "/v1/chat/completions", request, {"authorization": "Bearer sk-pasting"})
    assert halfway.reached.wait(DEADLINE)
    leaving.close()
    assert halfway.cancelled.wait(DEADLINE)
    broken_off = stored(database)
    assert broken_off["nodes"] == 0
    assert broken_off["passages"] > 0

    person = Person(base_url, "sk-pasting", "a-model")
    assert person.say(book.text).text == "What a book."
    *_, alert = contents(backend.requests[1])
    whole = stored(database)
    assert f"in {whole['passages']} passages" in alert
    assert whole["passages"] == whole["different"] > broken_off["passages"]
    assert whole["nodes"] == 2
