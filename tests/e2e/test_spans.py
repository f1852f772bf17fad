"""Spans over OTLP: which there are, what they belong to, and what they never hold."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from memgpt_proxy.app import create_app
from memgpt_proxy.config import Settings
from tests.conftest import StartGateway
from tests.e2e.chatting import assistant, send, user
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.otlp_receiver import OtlpReceiver, Span
from tests.support.process import clean_environment, free_port
from tests.support.replies import Usage, call, error, text

CALLER = "b7ad6b7169203331"
WORDS = "carnelian"
REQUEST = "POST /v1/chat/completions"
TURN = "invoke_agent memgpt"


@pytest.fixture(scope="module")
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as running:
        yield running


@pytest.fixture(scope="module")
def traced(
    backend_server: ScriptedBackend,
    receiver: OtlpReceiver,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GatewayProcess]:
    directory = tmp_path_factory.mktemp("traced")
    env = sent_to(receiver.endpoint)
    with GatewayProcess(directory, backend_server.base_url, "--otlp-traces", env=env) as process:
        yield process


@pytest.fixture
def gateway(traced: GatewayProcess, backend: ScriptedBackend) -> GatewayProcess:
    """A gateway that sends spans, shared: take a trace of your own (``trace``)."""
    return traced


@pytest.fixture
def trace() -> str:
    return uuid.uuid4().hex


def within(trace: str, *, sampled: bool = True) -> str:
    """The ``traceparent`` of a client's span."""
    return f"00-{trace}-{CALLER}-0{int(sampled)}"


def sent_to(endpoint: str) -> dict[str, str]:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}


def body(*, stream: bool) -> dict[str, object]:
    return {
        "model": "m",
        "messages": [{"role": "user", "content": WORDS}],
        "stream": stream,
    }


def ask(
    gateway: GatewayProcess, key: str, *, stream: bool = False, **headers: str
) -> httpx.Response:
    return httpx.post(
        f"{gateway.base_url}/chat/completions",
        json=body(stream=stream),
        headers={"authorization": f"Bearer {key}", **headers},
    )


def named(spans: list[Span], name: str) -> Span:
    (span,) = (each for each in spans if each.name == name)
    return span


@pytest.mark.parametrize("stream", [False, True])
def test_one_for_each_request_turn_step_call_and_store_operation(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
    stream: bool,
) -> None:
    appended = {"content": WORDS, "request_heartbeat": True}
    backend.reply(
        call("working_context_append", appended).but(
            usage=Usage(200, 20, cached=150, cache_written=40)
        ),
        send(WORDS).but(usage=Usage(300, 30)),
    )
    answer = ask(gateway, api_key, stream=stream, traceparent=within(trace))
    spans = receiver.wait_for(REQUEST, trace)
    assert receiver.resource["service.name"] == "memgpt-proxy"
    request = named(spans, REQUEST)
    assert (request.kind, request.parent, request.failed) == ("server", CALLER, False)
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["url.scheme"] == "http"
    assert request.attributes["memgpt.request.id"] == answer.headers["x-request-id"]
    turn = named(spans, TURN)
    assert (turn.kind, turn.parent) == ("internal", request.id)
    assert turn.attributes["gen_ai.usage.input_tokens"] == 500
    assert turn.attributes["memgpt.degraded"] is False
    first, second = (span for span in spans if span.name == "chat m")
    assert {first.kind, second.kind} == {"client"}
    assert {first.parent, second.parent} == {turn.id}
    assert first.attributes["gen_ai.usage.cache_read.input_tokens"] == 150
    assert first.attributes["gen_ai.usage.cache_write.input_tokens"] == 40
    if stream:
        assert first.attributes["gen_ai.request.stream"] is True
        assert 0 < first.attributes["gen_ai.response.time_to_first_chunk"] <= first.seconds
    else:
        of_streams = {"gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"}
        assert not of_streams & first.attributes.keys()
    assert first.attributes["gen_ai.response.finish_reasons"] == ["tool_calls"]
    assert first.attributes["gen_ai.response.model"] == "m"
    port = int(backend.base_url.split(":")[2].partition("/")[0])
    assert first.attributes["server.address"] == "127.0.0.1"
    assert first.attributes["server.port"] == port
    function = named(spans, "execute_tool working_context_append")
    assert (function.kind, function.parent) == ("internal", turn.id)
    assert function.attributes["gen_ai.tool.name"] == "working_context_append"
    write = named(spans, "write_context")
    assert (write.kind, write.parent) == ("client", function.id)
    assert write.attributes["db.system.name"] == "sqlite"
    assert named(spans, "commit").parent == turn.id
    sent = [recorded.headers["traceparent"] for recorded in backend.requests]
    assert sent == [f"00-{trace}-{step.id}-01" for step in (first, second)]


def test_what_the_conventions_give_to_a_call_of_a_model_alone(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    appended = {"content": WORDS, "request_heartbeat": True}
    backend.reply(call("working_context_append", appended), send(WORDS))
    ask(gateway, api_key, traceparent=within(trace))
    spans = receiver.wait_for(REQUEST, trace)
    of_a_call = {"gen_ai.provider.name", "gen_ai.usage.cache_read.input_tokens"}
    told = {span.name for span in spans if of_a_call & span.attributes.keys()}
    assert told == {"chat m"}


def test_a_stream_that_breaks_amid_the_reply(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    backend.reply(send("Half of the reply").die_after(events=6))
    answer = ask(gateway, api_key, stream=True, traceparent=within(trace))
    assert answer.status_code == 200
    spans = receiver.wait_for(REQUEST, trace)
    request, turn, step = (named(spans, name) for name in (REQUEST, TURN, "chat m"))
    assert (turn.parent, step.parent) == (request.id, turn.id)
    assert {turn.attributes["error.type"], step.attributes["error.type"]} == {"backend_broken"}
    assert named(spans, "commit").parent == turn.id


def test_a_client_that_leaves(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    backend.reply(send("Half of the reply").but(hang=True))
    headers = {"authorization": f"Bearer {api_key}", "traceparent": within(trace)}
    url = f"{gateway.base_url}/chat/completions"
    with httpx.stream("POST", url, json=body(stream=True), headers=headers) as answer:
        assert next(answer.iter_lines())
    spans = receiver.wait_for(REQUEST, trace)
    request, turn, step = (named(spans, name) for name in (REQUEST, TURN, "chat m"))
    assert (turn.parent, step.parent) == (request.id, turn.id)
    assert {turn.attributes["error.type"], step.attributes["error.type"]} == {"cancelled"}
    assert named(spans, "commit").parent == turn.id


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_a_summary_is_a_call_of_the_model_too(
    start_gateway: StartGateway,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
    *,
    fails: bool,
    streamed: bool,
) -> None:
    gateway = start_gateway(
        *("--otlp-traces", "--context-window", "4096"),
        *(() if streamed else ("--backend-profile", "no_stream")),
        env=sent_to(receiver.endpoint),
    )
    written = text("So far.").but(usage=Usage(900, 40))
    backend.reply(error(500) if fails else written, send("Yes."))
    said = [speak(f"tea {n} " * 60) for n in range(12) for speak in (user, assistant)]
    httpx.post(
        f"{gateway.base_url}/chat/completions",
        json={"model": "m", "messages": [*said, user("the newest")]},
        headers={"authorization": f"Bearer {api_key}", "traceparent": within(trace)},
    )
    spans = receiver.wait_for(REQUEST, trace)
    told = {f"00-{trace}-{span.id}-01": span for span in spans if span.name == "chat m"}
    assert len(told) == 2
    summary, step = (told[recorded.headers["traceparent"]] for recorded in backend.requests)
    assert {summary.parent, step.parent} == {named(spans, TURN).id}
    assert (summary.kind, summary.failed, step.failed) == ("client", fails, False)
    assert summary.attributes.get("error.type") == ("500" if fails else None)
    assert summary.attributes["gen_ai.request.model"] == "m"
    assert summary.attributes.get("gen_ai.request.stream") == (True if streamed else None)
    told_tokens = summary.attributes.get("gen_ai.usage.input_tokens")
    assert told_tokens == (None if fails else 900)


def test_no_words_and_no_keys(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    query = {"query": WORDS}
    backend.reply(call("recall_storage_search", query), send(WORDS))
    ask(gateway, api_key, traceparent=within(trace))
    receiver.wait_for(REQUEST, trace)
    told = b"".join(receiver.raw)
    assert WORDS.encode() not in told
    assert api_key.encode() not in told


def test_a_failure_shows(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    backend.reply(error(500))
    assert ask(gateway, api_key, traceparent=within(trace)).status_code == 500
    spans = receiver.wait_for(REQUEST, trace)
    for name in (REQUEST, TURN, "chat m"):
        span = named(spans, name)
        assert span.failed
        assert span.attributes["error.type"] == "500"


def test_what_is_forwarded_belongs_to_its_request(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    headers = {"authorization": f"Bearer {api_key}", "traceparent": within(trace)}
    httpx.post(f"{gateway.base_url}/embeddings", json={"input": "x"}, headers=headers)
    name = "POST /v1/embeddings"
    request = named(receiver.wait_for(name, trace), name)
    assert request.parent == CALLER
    assert backend.passed[-1].headers["traceparent"] == f"00-{trace}-{request.id}-01"


def test_what_the_client_does_not_sample_is_not_sent(
    gateway: GatewayProcess,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    backend.reply(send("Yes."), send("Yes."))
    ask(gateway, api_key, traceparent=within(trace, sampled=False))
    later = uuid.uuid4().hex
    ask(gateway, api_key, traceparent=within(later))
    receiver.wait_for(REQUEST, later)
    assert receiver.spans_of(trace) == []
    sent = backend.requests[0].headers["traceparent"]
    assert sent.startswith(f"00-{trace}-")
    assert sent.endswith("-00")


def test_a_receiver_that_is_away_harms_nothing(
    start_gateway: StartGateway, backend: ScriptedBackend, api_key: str
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    gateway = start_gateway("--otlp-traces", env=sent_to(nowhere))
    backend.reply(send("Yes."), send("Yes."))
    for _ in range(2):
        assert ask(gateway, api_key).status_code == 200
    assert gateway.stop() == 0
    assert WORDS not in gateway.log()


def test_the_last_spans_are_sent_when_it_is_stopped(
    start_gateway: StartGateway,
    receiver: OtlpReceiver,
    backend: ScriptedBackend,
    api_key: str,
    trace: str,
) -> None:
    env = {**sent_to(receiver.endpoint), "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    gateway = start_gateway("--otlp-traces", env=env)
    backend.reply(send("Yes."))
    ask(gateway, api_key, traceparent=within(trace))
    assert receiver.spans_of(trace) == []
    assert gateway.stop() == 0
    assert named(receiver.spans_of(trace), REQUEST).kind == "server"


def test_without_them_nothing_of_opentelemetry_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path;"
        "from memgpt_proxy.app import create_app; from memgpt_proxy.config import Settings;"
        "create_app(Settings(data_dir=Path(sys.argv[1])), 'http://127.0.0.1:9/v1');"
        "import memgpt_proxy.serve;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "data")]
    assert subprocess.run(command, env=clean_environment(), check=False).returncode == 0


def test_where_it_is_not_installed_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "memgpt_proxy.telemetry.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    settings = Settings(data_dir=tmp_path / "data", otlp_traces=True)
    with pytest.raises(ValueError, match=r"\.venv/bin/pip install -e '\.\[otel\]'"):
        create_app(settings, "http://127.0.0.1:9/v1")
