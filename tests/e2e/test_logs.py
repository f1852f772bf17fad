"""What a gateway logs: a line for each request, found by its id, and nobody's words or keys."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import clean_environment, until
from tests.support.replies import Usage, call, error

SECRET_WORDS = "carnelian"
MADE = re.compile(r"req-[0-9a-f]{16}-[0-9a-f]+")


def records(gateway: GatewayProcess, of: str | None = None) -> list[dict[str, Any]]:
    """What was logged, all of it or that of one request."""
    lines = [line for line in gateway.log().splitlines() if line.startswith('{"time"')]
    told = [json.loads(line) for line in lines]
    return [each for each in told if of in (None, each.get("request_id"))]


def answered(gateway: GatewayProcess, of: str | None = None, count: int = 1) -> dict[str, Any]:
    """The last line of the access log about a request, once there are so many."""

    def found() -> list[dict[str, Any]]:
        told = records(gateway, of)
        return [each for each in told if each["logger"] == "memgpt_proxy.access"]

    until(lambda: len(found()) >= count)
    return found()[-1]


def ask(
    gateway: GatewayProcess, key: str, request_id: str | None = None, *, stream: bool = False
) -> httpx.Response:
    asked = {"model": "m", "messages": [{"role": "user", "content": SECRET_WORDS}]}
    named = {"x-request-id": request_id} if request_id else {}
    return httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={**asked, "stream": stream},
        headers={"authorization": f"Bearer {key}", **named},
    )


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_logged_with_what_it_took(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str, stream: bool
) -> None:
    """Only of a stream it counts when the first token came."""
    backend.reply(send("Yes.").but(usage=Usage(100, 10)))
    answer = ask(gateway, api_key, stream=stream)
    made = answer.headers["x-request-id"]
    assert MADE.fullmatch(made)
    line = answered(gateway, made)
    assert line["level"] == "info"
    assert (line["method"], line["path"]) == ("POST", "/v1/chat/completions")
    assert (line["status"], line["steps"], line["tokens"]) == (200, 1, 110)
    assert line["degraded"] is False
    assert line["seconds"] > 0
    assert ("first_token_seconds" in line) is stream
    if stream:
        assert 0 < line["first_token_seconds"] <= line["seconds"]


def test_an_id_that_the_client_gives_is_taken(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
) -> None:
    backend.reply(send("Yes."), send("Yes."))
    answer = ask(gateway, api_key, f"of-{api_key}")
    assert answer.headers["x-request-id"] == f"of-{api_key}"
    assert answered(gateway, f"of-{api_key}")["status"] == 200
    unfit = ask(gateway, api_key, 'a "quoted" one')
    assert MADE.fullmatch(unfit.headers["x-request-id"])


def test_the_backends_own_id_stays_in_the_answer(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
) -> None:
    backend.reply(send("Yes.").but(headers={"x-request-id": "of-the-backend"}))
    answer = ask(gateway, api_key, f"of-{api_key}")
    assert answer.headers.get_list("x-request-id") == ["of-the-backend"]
    assert answered(gateway, f"of-{api_key}")["backend_request_id"] == "of-the-backend"


def test_an_id_of_the_backend_that_is_unfit_for_a_log_is_none(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
) -> None:
    backend.reply(send("Yes.").but(headers={"x-request-id": 'a "quoted" one'}))
    ask(gateway, api_key, f"of-{api_key}")
    assert "backend_request_id" not in answered(gateway, f"of-{api_key}")


def test_a_line_tells_the_model_and_which_key_asked(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
) -> None:
    """A key by digits that its owner begins with in the store, the same for all of its users."""
    backend.script(lambda _: send("Yes."))
    keys = [api_key, f"{api_key}-other", api_key]
    for number, key in enumerate(keys):
        ask(gateway, key, f"{number}-{api_key}")
    lines = [answered(gateway, f"{number}-{api_key}") for number in range(3)]
    assert {line["model"] for line in lines} == {"m"}
    first, other, again = (line["key"] for line in lines)
    assert first == again != other
    assert re.fullmatch(r"\d{12}", first)
    database = sqlite3.connect(gateway.data_dir / "memory.db")
    owners = {owner for (owner,) in database.execute("SELECT DISTINCT namespace FROM nodes")}
    database.close()
    assert sum(owner.startswith(first) for owner in owners) == 1


def test_a_key_that_is_not_accepted_is_not_told(gateway: GatewayProcess, api_key: str) -> None:
    httpx.get(f"{gateway.base_url}/models", headers={"x-request-id": f"of-{api_key}"})
    assert "key" not in answered(gateway, f"of-{api_key}")


def test_every_line_of_a_request_bears_its_id(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
) -> None:
    backend.reply(error(500))
    failed = ask(gateway, api_key)
    assert failed.status_code == 500
    answered(gateway, failed.headers["x-request-id"])
    lines = records(gateway, failed.headers["x-request-id"])
    assert [line["message"] for line in lines] == ["answered 500 backend_refused", "answered"]
    assert lines[0]["level"] == "warning"


def test_the_access_log_can_be_turned_off(
    start_gateway: StartGateway, backend: ScriptedBackend, api_key: str
) -> None:
    gateway = start_gateway("--no-access-log")
    backend.reply(send("Yes."), error(500))
    ask(gateway, api_key)
    ask(gateway, api_key)
    until(lambda: bool(records(gateway)))
    assert [line["message"] for line in records(gateway)] == ["answered 500 backend_refused"]


def test_a_person_reads_text(
    start_gateway: StartGateway, backend: ScriptedBackend, api_key: str
) -> None:
    gateway = start_gateway("--log-format", "text")
    backend.reply(send("Yes.").but(usage=Usage(100, 10)))
    ask(gateway, api_key, "the-one", stream=True)
    line = re.compile(
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO memgpt_proxy\.access \[the-one\]: "
        r"POST /v1/chat/completions 200, \d+\.\d ms, key \d{12}, model m, first token \d+\.\d ms, "
        r"steps 1, tokens 110$",
        re.MULTILINE,
    )
    until(lambda: bool(line.search(gateway.log())))


def test_programs_read_nothing_but_json(
    start_gateway: StartGateway, backend: ScriptedBackend, api_key: str
) -> None:
    gateway = start_gateway("--log-format", "json")
    backend.reply(send("Yes."))
    ask(gateway, api_key)
    answered(gateway)
    assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log().splitlines()]
    assert gateway.base_url in lines[0]["message"]


def test_why_it_cannot_start_is_json_too(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "memgpt_proxy", "serve", "--log-format", "json"]
    command += ["--data-dir", str(tmp_path), "--port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [*command, str(port)], env=clean_environment(), capture_output=True, check=False
        )
    assert (ended.returncode, ended.stdout) == (1, b"")
    [line] = ended.stderr.splitlines()
    told = json.loads(line)
    assert told["level"] == "critical"
    assert told["message"].startswith(f"cannot listen on 127.0.0.1:{port}: ")


@pytest.mark.parametrize("level", ["info", "debug"])
def test_nobodys_words_and_keys_are_logged(
    level: str, start_gateway: StartGateway, backend: ScriptedBackend, api_key: str, model: str
) -> None:
    gateway = start_gateway("--log-level", level)
    told = {"message": f"no such thing as {SECRET_WORDS}", "type": "invalid"}
    kept = {"content": SECRET_WORDS, "request_heartbeat": True}
    backend.reply(
        call("working_context_append", kept),
        call("archival_storage_insert", kept),
        call("recall_storage_search", {"query": SECRET_WORDS}),
        send(SECRET_WORDS),
        error(500, {"error": told}),
        send("Half of").die_after(events=2),
    )
    person = Person(gateway.base_url, api_key, model)
    person.say(SECRET_WORDS, user=f"{SECRET_WORDS}-user")
    for _ in range(2):
        assert ask(gateway, api_key).status_code >= 500
    url = f"{gateway.origin}/memgpt/working-context"
    httpx.get(url, params={"user": SECRET_WORDS}, headers={"authorization": f"Bearer {api_key}"})
    answered(gateway, count=4)
    assert SECRET_WORDS not in gateway.log()
    assert api_key not in gateway.log()
