"""Log records as lines."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from memgpt_proxy.telemetry.exchange import CURRENT, Exchange, request_id
from memgpt_proxy.telemetry.logs import EXCHANGE, JsonFormatter, Seldom, TextFormatter

EXCHANGED = Exchange("req-1", "POST", "/v1/chat/completions", "/v1/chat/completions", status=200)


def record(message: str, *arguments: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("memgpt_proxy.x", logging.WARNING, "", 0, message, arguments, None)
    made.created = 1_770_458_400.25  # 2026-02-07, 10:00 UTC
    for name, value in more.items():
        setattr(made, name, value)
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = JsonFormatter().format(made)
    assert "\n" not in line
    told: dict[str, Any] = json.loads(line)
    return told


def test_a_record_is_one_object() -> None:
    assert as_json(record("gone: %s", "x")) == {
        "time": "2026-02-07T10:00:00.250+00:00",
        "level": "warning",
        "logger": "memgpt_proxy.x",
        "message": "gone: x",
    }


def test_a_traceback_is_a_part_of_it() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        told = as_json(record("failed", exc_info=sys.exc_info()))
    assert told["exception"].endswith("ValueError: wrong")


def test_what_cannot_be_written_as_utf_8_is_escaped() -> None:
    assert as_json(record("half \ud83d"))["message"] == "half \ud83d"


ATTEMPT_AGAIN = """
import logging, sys
from memgpt_proxy.telemetry.logs import configure
configure("debug", as_json=True, stream=sys.stdout)
logging.getLogger("elastic_transport.transport").warning("Retrying request after failure")
logging.getLogger("elastic_transport.node_pool").warning("Node <n> has failed")
"""


def test_attempts_that_are_made_again_do_not_flood_the_log() -> None:
    command = [sys.executable, "-c", ATTEMPT_AGAIN]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    [line] = told.splitlines()
    assert json.loads(line)["message"] == "Node <n> has failed"


NODES_AWAY = """
import asyncio, sys
from contextlib import suppress
from memgpt_proxy.stores.elasticsearch.client import Connection, connect, send
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.telemetry.logs import configure
configure("info", as_json=True, stream=sys.stdout)

async def ask():
    client = connect(Connection(["http://127.0.0.1:1", "http://127.0.0.1:2"]))
    for _ in range(4):
        with suppress(StoreUnavailable):
            await send(client, "GET", "/")
    for node in client.transport.node_pool.all():
        client.transport.node_pool.mark_live(node)
    with suppress(StoreUnavailable):
        await send(client, "GET", "/")
    await client.close()

asyncio.run(ask())
"""


def test_a_node_that_is_away_is_told_of_once() -> None:
    command = [sys.executable, "-c", NODES_AWAY]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    messages = [json.loads(line)["message"] for line in told.splitlines()]
    for port in (1, 2):
        mine = [message for message in messages if f":{port})" in message]
        assert ["failed" in message for message in mine] == [True, False, True]
    assert len(messages) == 6


RECEIVER_AWAY = """
import logging, sys
from memgpt_proxy.telemetry.logs import configure
configure("info", as_json=True, stream=sys.stdout)
exporter = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
for attempt in range(3):
    exporter.warning("Transient error %s, retrying in %.2fs.", "refused", attempt)
exporter.error("Failed to export spans batch")
logging.getLogger("memgpt_proxy").warning("of another")
"""


def test_a_receiver_of_spans_that_is_away_does_not_flood_the_log() -> None:
    command = [sys.executable, "-c", RECEIVER_AWAY]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    messages = [json.loads(line)["message"] for line in told.splitlines()]
    assert messages == ["Transient error refused, retrying in 0.00s.", "of another"]


def test_what_is_told_seldom_is_told_again() -> None:
    now = 1000.0
    seldom = Seldom(60.0, clock=lambda: now)
    assert [seldom.filter(record("away")) for _ in range(3)] == [True, False, False]
    now = 1059.0
    assert not seldom.filter(record("away"))
    now = 1060.0
    assert [seldom.filter(record("away")) for _ in range(2)] == [True, False]


NOBODY_LOGS_IT = """
import sys, threading, warnings
from memgpt_proxy.telemetry.logs import configure
configure("info", as_json=True, stream=sys.stderr)
warnings.warn("old", UserWarning)
def fail(): raise ValueError("of a thread")
thread = threading.Thread(target=fail)
thread.start()
thread.join()
raise ValueError("of all")
"""


def test_warnings_and_what_ends_a_thread_or_the_process_are_records_too() -> None:
    command = [sys.executable, "-c", NOBODY_LOGS_IT]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    warned, thread, process = map(json.loads, ended.stderr.splitlines())
    assert warned["level"] == "warning"
    assert "UserWarning: old" in warned["message"]
    assert (thread["level"], process["level"]) == ("critical", "critical")
    assert thread["exception"].endswith("ValueError: of a thread")
    assert process["exception"].endswith("ValueError: of all")


@pytest.fixture
def at_hand() -> Any:
    token = CURRENT.set(EXCHANGED)
    yield
    CURRENT.reset(token)


@pytest.mark.usefixtures("at_hand")
def test_the_request_at_hand_is_named() -> None:
    assert as_json(record("gone"))["request_id"] == "req-1"
    assert TextFormatter().format(record("gone")).endswith("WARNING memgpt_proxy.x [req-1]: gone")


def test_an_exchange_is_told() -> None:
    told = as_json(record("answered", **{EXCHANGE: EXCHANGED}))
    assert (told["request_id"], told["status"]) == ("req-1", 200)
    assert "steps" not in told, "nothing of a turn where there was none"
    line = TextFormatter().format(record("answered", **{EXCHANGE: EXCHANGED}))
    assert "[req-1]: POST /v1/chat/completions 200, " in line


@pytest.mark.parametrize("given", [b"abc-123", b"a" * 128, b"1.2:3/4+5=6_7"])
def test_an_id_that_is_fit_is_taken(given: bytes) -> None:
    assert request_id(given) == given.decode()


@pytest.mark.parametrize("given", [None, b"", b"a" * 129, b"a b", b"a\nb", "ä".encode(), b'"'])
def test_another_is_made_anew(given: bytes | None) -> None:
    made = {request_id(given), request_id(given)}
    assert len(made) == 2
    assert all(each.startswith("req-") for each in made)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("qwen 3:0.6b", "model qwen 3:0.6b"),
        ("m\n2026-02-07 10:00:00,000 INFO x: y", r'model "m\n2026-02-07 10:00:00,000 INFO x: y"'),
        ("m, key of-bob", 'model "m, key of-bob"'),
        ("m\x1b[2K\u2028", r'model "m\u001b[2K\u2028"'),
    ],
)
def test_no_name_of_a_client_s_looks_like_more_of_the_log(model: str, told: str) -> None:
    exchange = replace(EXCHANGED, model=model)
    line = TextFormatter().format(record("answered", **{EXCHANGE: exchange}))
    assert told in line
    assert len(line.splitlines()) == 1
