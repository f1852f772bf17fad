"""What a memory holds, for the owner of its key to see, to search and to edit."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, error_of, send, user
from tests.e2e.in_process import served
from tests.e2e.prompts import contents, search, system
from tests.e2e.test_owner import get, headers
from tests.support.backend import ScriptedBackend
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.gateway import GatewayProcess
from tests.support.redis_server import RedisServer
from tests.support.replies import call


def ask(
    gateway: GatewayProcess, method: str, path: str, key: str, body: object, **query: Any
) -> httpx.Response:
    url = f"{gateway.origin}/memgpt/{path}"
    return httpx.request(method, url, params=query, headers=headers(key), json=body)


def edit(gateway: GatewayProcess, key: str, version: int, content: str, **query: Any) -> Any:
    body = {"version": version, "content": content}
    return ask(gateway, "PUT", "working-context", key, body, **query)


def insert(gateway: GatewayProcess, key: str, content: str, **query: Any) -> Any:
    return ask(gateway, "POST", "archival-storage", key, {"content": content}, **query)


def texts(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [entry["content"] for entry in answer.json()["data"]]


class TestWorkingContext:
    def test_an_edit_is_what_the_next_conversation_begins_with(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        written = edit(gateway, person.api_key, 0, "Boyfriend named James")
        assert written.json() == {"version": 1, "content": "Boyfriend named James", "limit": 8000}
        assert get(gateway, "working-context", person.api_key).json() == written.json()
        backend.reply(send("Hi!"))
        person.say("hello")
        assert "Boyfriend named James" in system(backend.requests[-1])

    def test_a_conversation_under_way_is_told(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        """The prompt stays as it was, so that it stays cached; what changed stands behind it."""
        edit(gateway, person.api_key, 0, "Boyfriend named James")
        backend.reply(send("Hi!"), send("Oh."))
        person.say("hello")
        edit(gateway, person.api_key, 1, "Ex-boyfriend named James")
        person.say("so")
        assert "Ex-boyfriend" not in system(backend.requests[-1])
        (told,) = [text for text in contents(backend.requests[-1]) if "Ex-boyfriend" in text]
        assert told.startswith("System Alert: ")
        assert "- Boyfriend named James" in told

    def test_an_edit_of_another_version_is_refused(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        edit(gateway, person.api_key, 0, "Name: Sam")
        added = call("working_context_append", {"content": "Likes tea", "request_heartbeat": True})
        backend.reply(added, send("Noted."))
        person.say("I like tea.")
        for version in (0, 1, 3):
            refused = edit(gateway, person.api_key, version, "Name: Max")
            assert refused.status_code == 409
            assert error_of(refused)["code"] == "working_context_changed"
        assert edit(gateway, person.api_key, 2, "Name: Max").json()["version"] == 3

    def test_the_same_once_more_is_no_edit(self, gateway: GatewayProcess, api_key: str) -> None:
        assert edit(gateway, api_key, 0, "Name: Sam").json()["version"] == 1
        assert edit(gateway, api_key, 1, "Name: Sam").json()["version"] == 1

    def test_it_may_be_emptied(self, gateway: GatewayProcess, api_key: str) -> None:
        edit(gateway, api_key, 0, "Name: Sam")
        assert edit(gateway, api_key, 1, "").json() == {"version": 2, "content": "", "limit": 8000}

    def test_its_limit_holds(self, start_gateway: StartGateway, api_key: str) -> None:
        gateway = start_gateway("--working-context-limit", "500")
        refused = edit(gateway, api_key, 0, "x" * 501)
        assert refused.status_code == 400
        assert error_of(refused)["param"] == "content"
        assert edit(gateway, api_key, 0, "x" * 500).json()["limit"] == 500

    def test_what_is_longer_than_a_lower_limit_can_be_made_shorter(
        self, start_gateway: StartGateway, tmp_path: Path, api_key: str
    ) -> None:
        data = ("--data-dir", str(tmp_path / "data"))
        gateway = start_gateway(*data)
        edit(gateway, api_key, 0, "x" * 900)
        gateway.stop()
        gateway = start_gateway(*data, "--working-context-limit", "500")
        assert edit(gateway, api_key, 1, "y" * 901).status_code == 400
        assert edit(gateway, api_key, 1, "y" * 700).json()["version"] == 2

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"content": "x"}, "version"),
            ({"version": 0}, "content"),
            ({"version": "0", "content": "x"}, "version"),
            ({"version": True, "content": "x"}, "version"),
            ({"version": 0, "content": 7}, "content"),
            ({"version": 0, "content": "x", "user": "ann"}, "user"),
            ([], None),
        ],
    )
    def test_a_body_that_is_wrong_is_told(
        self, gateway: GatewayProcess, api_key: str, body: object, param: str | None
    ) -> None:
        refused = ask(gateway, "PUT", "working-context", api_key, body)
        assert refused.status_code == 400
        assert error_of(refused)["param"] == param
        assert get(gateway, "working-context", api_key).json()["version"] == 0


class TestRecallStorage:
    def test_all_that_was_said_newest_first(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        before = time.time()
        backend.reply(send("Hi!"), send("Cake!"))
        person.say("hello")
        person.say("my bf james baked me a birthday cake")
        listed = get(gateway, "recall-storage", person.api_key).json()
        assert [(entry["role"], entry["content"]) for entry in listed["data"]] == [
            ("assistant", "Cake!"),
            ("user", "my bf james baked me a birthday cake"),
            ("assistant", "Hi!"),
            ("user", "hello"),
        ]
        assert {
            set(entry) == {"id", "role", "content", "created", "abandoned"}
            for entry in listed["data"]
        } == {True}
        assert all(before <= entry["created"] <= time.time() for entry in listed["data"])
        assert len({entry["id"] for entry in listed["data"]}) == 4
        assert (listed["total"], listed["page"], listed["pages"]) == (4, 1, 1)

    def test_pages(self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person) -> None:
        backend.script(lambda _: send("Yes."))
        for number in range(7):
            person.say(f"six flags {number}")
        pages = [
            get(gateway, "recall-storage", person.api_key, query="six flags", page=page, limit=3)
            for page in (1, 2, 3, 4)
        ]
        assert [texts(page) for page in pages] == [
            ["six flags 6", "six flags 5", "six flags 4"],
            ["six flags 3", "six flags 2", "six flags 1"],
            ["six flags 0"],
            [],
        ]
        assert {(page.json()["total"], page.json()["pages"]) for page in pages} == {(7, 3)}

    def test_what_was_left_is_marked(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        backend.reply(send("One."), send("Two."))
        person.ask([user("count")])
        person.ask([user("count")])
        data = get(gateway, "recall-storage", person.api_key).json()["data"]
        assert {entry["content"]: entry["abandoned"] for entry in data} == {
            "count": False,
            "One.": True,
            "Two.": False,
        }

    def test_days(self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person) -> None:
        backend.reply(send("Hi!"))
        person.say("hello")
        now = datetime.now(UTC)
        earlier, later = now - timedelta(days=2), now + timedelta(days=2)

        def between(start: datetime | None, end: datetime | None) -> int:
            days = {"start_date": start, "end_date": end}
            query = {name: day.date().isoformat() for name, day in days.items() if day}
            total: int = get(gateway, "recall-storage", person.api_key, **query).json()["total"]
            return total

        assert between(earlier, later) == 2
        assert between(earlier, None) == between(None, later) == 2
        assert between(later, None) == between(None, earlier) == 0
        year_one, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
        assert between(year_one, last) == 2

    def test_a_day_is_one_of_the_time_zone(
        self, backend: ScriptedBackend, tmp_path: Path, api_key: str
    ) -> None:
        """In the last hour of February 6 in UTC it is February 7 in Berlin already."""
        now = datetime(2024, 2, 6, 23, 30, tzinfo=UTC)
        settings = Settings(data_dir=tmp_path / "data", time_zone="Europe/Berlin")
        with served(create_app(settings, backend.base_url, clock=lambda: now)) as origin:
            backend.reply(send("Hi!"))
            Person(f"{origin}/v1", api_key, "m").say("hello")
            for day, total in (("2024-02-06", 0), ("2024-02-07", 2)):
                query = {"start_date": day, "end_date": day}
                url = f"{origin}/memgpt/recall-storage"
                answer = httpx.get(url, params=query, headers=headers(api_key))
                assert answer.json()["total"] == total

    @pytest.mark.parametrize(
        ("query", "param"),
        [
            ({"page": "0"}, "page"),
            ({"page": "x"}, "page"),
            ({"limit": "0"}, "limit"),
            ({"limit": "101"}, "limit"),
            ({"start_date": "yesterday"}, "start_date"),
            ({"end_date": "2024-02-30"}, "end_date"),
            ({"query": "x", "start_date": "2024-02-07"}, "query"),
            ({"search": "x"}, "search"),
        ],
    )
    def test_a_query_that_is_wrong_is_told(
        self, gateway: GatewayProcess, api_key: str, query: dict[str, str], param: str
    ) -> None:
        refused = get(gateway, "recall-storage", api_key, **query)
        assert refused.status_code == 400
        assert error_of(refused)["param"] == param


class TestArchivalStorage:
    def test_a_note_is_found_by_its_owner_and_by_the_model(
        self, backend: ScriptedBackend, gateway: GatewayProcess, person: Person
    ) -> None:
        assert insert(gateway, person.api_key, "The safe's code is 4711.").json() == {"inserted": 1}
        found = get(gateway, "archival-storage", person.api_key, query="safe").json()
        (entry,) = found["data"]
        assert set(entry) == {"id", "content", "created"}
        assert (entry["content"], found["total"]) == ("The safe's code is 4711.", 1)
        told = search(backend, person, "archival_storage_search", query="safe")
        assert told == 'Showing 1 of 1 results (page 1/1): "The safe\'s code is 4711."'

    def test_a_long_text_becomes_passages(self, gateway: GatewayProcess, api_key: str) -> None:
        paragraphs = [f"Paragraph {number}. " + "word " * 150 for number in range(9)]
        inserted = insert(gateway, api_key, "\n\n".join(paragraphs)).json()["inserted"]
        assert inserted == 9
        listed = get(gateway, "archival-storage", api_key, limit=5, page=2).json()
        assert (listed["total"], listed["page"], listed["pages"]) == (9, 2, 2)
        assert len(listed["data"]) == 4

    def test_the_same_once_more_stores_nothing(self, gateway: GatewayProcess, api_key: str) -> None:
        insert(gateway, api_key, "Mia is four.")
        insert(gateway, api_key, "Mia is four.")
        assert texts(get(gateway, "archival-storage", api_key)) == ["Mia is four."]

    @pytest.mark.parametrize("content", ["", " \n"])
    def test_nothing_is_no_note(self, gateway: GatewayProcess, api_key: str, content: str) -> None:
        refused = insert(gateway, api_key, content)
        assert refused.status_code == 400
        assert error_of(refused)["param"] == "content"


def test_users_of_a_key_are_apart(gateway: GatewayProcess, api_key: str) -> None:
    edit(gateway, api_key, 0, "Name: Ann", user="ann")
    insert(gateway, api_key, "Ann's note", user="ann")
    assert get(gateway, "working-context", api_key).json()["version"] == 0
    assert get(gateway, "working-context", api_key, user="bob").json()["version"] == 0
    assert texts(get(gateway, "archival-storage", api_key)) == []
    assert texts(get(gateway, "archival-storage", api_key, user="ann")) == ["Ann's note"]


@pytest.mark.parametrize(
    "path", ["working-context", "recall-storage", "archival-storage", "traces", "export", "events"]
)
def test_no_cache_keeps_what_is_told(gateway: GatewayProcess, api_key: str, path: str) -> None:
    """Nor does one on the way, where a gateway takes requests without a key."""
    url = f"{gateway.origin}/memgpt/{path}"
    with httpx.stream("GET", url, headers=headers(api_key)) as answer:
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "working-context"),
        ("GET", "recall-storage"),
        ("GET", "archival-storage"),
        ("POST", "archival-storage"),
    ],
)
class TestAtTheDoor:
    def test_there_is_nothing_without_a_key(
        self, gateway: GatewayProcess, method: str, path: str
    ) -> None:
        answer = httpx.request(method, f"{gateway.origin}/memgpt/{path}")
        assert answer.status_code == 401
        assert error_of(answer)["code"] == "invalid_api_key"

    def test_it_counts_against_the_key_s_limit(
        self, start_gateway: StartGateway, api_key: str, method: str, path: str
    ) -> None:
        gateway = start_gateway("--requests-per-minute", "1")
        ask(gateway, method, path, api_key, {"version": 0, "content": "x"})
        assert ask(gateway, method, path, api_key, {}).status_code == 429


def test_other_methods_are_told_which_there_are(gateway: GatewayProcess, api_key: str) -> None:
    refused = ask(gateway, "DELETE", "working-context", api_key, None)
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "PUT"}


@pytest.mark.elasticsearch
@pytest.mark.redis
def test_what_one_replica_writes_the_other_shows(
    backend: ScriptedBackend,
    start_gateway: StartGateway,
    elasticsearch: ElasticsearchNode,
    redis_server: RedisServer,
    api_key: str,
) -> None:
    shared = {
        "MEMGPT_ELASTICSEARCH_URL": elasticsearch.url,
        "MEMGPT_ELASTICSEARCH_PREFIX": f"contents_{api_key[-8:]}",
        "MEMGPT_REDIS_URL": redis_server.url,
        "MEMGPT_NAMESPACE_SECRET": "a secret of the whole fleet",
    }
    one, other = start_gateway(env=shared), start_gateway(env=shared)
    backend.script(lambda _: send("Yes."))
    for number, (writer, reader) in enumerate([(one, other), (other, one)]):
        assert edit(writer, api_key, number, f"Version {number}").status_code == 200
        seen = get(reader, "working-context", api_key).json()
        assert (seen["version"], seen["content"]) == (number + 1, f"Version {number}")
        insert(writer, api_key, f"note {number}")
        assert texts(get(reader, "archival-storage", api_key))[0] == f"note {number}"
        Person(writer.base_url, api_key, "m").say(f"message {number}")
        listed = get(reader, "recall-storage", api_key)
        assert texts(listed)[:2] == ["Yes.", f"message {number}"]
        assert listed.json()["data"][0]["role"] == "assistant"
    for number, writer in enumerate([one, other, one], 2):
        written = edit(writer, api_key, number, f"Version {number}")
        assert written.status_code == 200, "whichever replica the version was read from"
