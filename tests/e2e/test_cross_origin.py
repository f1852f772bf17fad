"""Pages of other origins in a browser, by WHATWG's Fetch: https://fetch.spec.whatwg.org/#http-cors-protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartGateway, missing_part
from tests.support.backend import ScriptedBackend
from tests.support.browser import BROWSER, told_by_a_page
from tests.support.gateway import GatewayProcess
from tests.support.listener import introduce
from tests.support.replies import Gate, text, wait

LOCAL = "http://localhost:5173"
FOREIGN = "https://chat.example"
ASKS = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type,x-stainless-lang",
}


def _needs_a_browser() -> None:
    if BROWSER is None:
        missing_part("no Chromium on the PATH: install it from the system's packages")


def preflight(origin: str, at: str, **more: str) -> httpx.Response:
    return httpx.options(at, headers={"origin": origin, **ASKS, **more})


def ask(gateway: GatewayProcess, origin: str, **headers: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello."}]}
    return httpx.post(
        f"{gateway.base_url}/chat/completions", json=body, headers={"origin": origin, **headers}
    )


def cors(answer: httpx.Response) -> dict[str, str]:
    told = answer.headers.items()
    return {name: value for name, value in told if name.startswith("access-control-")}


@pytest.mark.parametrize(
    "origin",
    [LOCAL, "http://localhost", "http://127.0.0.1:8000", "https://[::1]:1", "https://localhost"],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/memgpt/traces"])
def test_a_page_of_this_machine_is_let_in_before_it_has_a_key(
    gateway: GatewayProcess, origin: str, path: str
):
    answer = preflight(origin, gateway.origin + path)
    assert answer.status_code == 200
    told = cors(answer)
    assert told["access-control-allow-origin"] == origin
    assert told["access-control-allow-headers"] == ASKS["access-control-request-headers"]
    assert {"POST", "GET", "DELETE"} <= {*told["access-control-allow-methods"].split(", ")}
    assert "access-control-allow-credentials" not in told
    assert "Origin" in answer.headers["vary"]
    assert answer.content == b""


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",
        "http://localhost.example:80",
        "http://evil-localhost:80",
        "http://localhost:80.example",
        "http://127.0.0.1.example",
        "file://",
    ],
)
def test_other_pages_are_not(gateway: GatewayProcess, origin: str):
    answer = preflight(origin, f"{gateway.base_url}/chat/completions")
    assert (answer.status_code, cors(answer)) == (403, {})
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "cors_origins" in answer.json()["error"]["message"]


def test_a_page_of_the_internet_may_ask_for_this_machine_where_it_is_named(
    start_gateway: StartGateway,
):
    gateway = start_gateway("--cors-origins", FOREIGN)
    private = {"access-control-request-private-network": "true"}
    answer = preflight(FOREIGN, f"{gateway.base_url}/models", **private)
    assert cors(answer)["access-control-allow-private-network"] == "true"
    assert preflight(LOCAL, f"{gateway.base_url}/models", **private).status_code == 403


def test_any_page_where_that_is_set(start_gateway: StartGateway):
    gateway = start_gateway("--cors-origins", "*")
    answer = preflight(FOREIGN, f"{gateway.base_url}/models")
    assert cors(answer)["access-control-allow-origin"] == "*"


def test_no_page_where_that_is_set(start_gateway: StartGateway):
    gateway = start_gateway("--cors-origins", "none")
    assert preflight(LOCAL, f"{gateway.base_url}/models").status_code == 403


def test_answers_and_errors_are_shown_to_the_page(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
):
    backend.reply(text("Hi."))
    answer = ask(gateway, LOCAL, authorization=f"Bearer {api_key}")
    shown = {"access-control-allow-origin": LOCAL, "access-control-expose-headers": "*"}
    assert (answer.status_code, cors(answer)) == (200, shown)
    refused = ask(gateway, LOCAL)
    assert (refused.status_code, cors(refused)) == (401, shown)


def test_the_backend_hears_of_no_page(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
):
    backend.reply(text("Hi."))
    key = {"authorization": f"Bearer {api_key}"}
    ask(gateway, LOCAL, **key)
    backend.reply(text("Hi."))
    ask(gateway, LOCAL, **key, **{"x-memgpt-memory": "off"})
    assert len(backend.requests) == 2
    assert all("origin" not in each.headers for each in backend.requests)


def test_a_backends_own_word_to_pages_is_not_passed_on(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str
):
    own = {"access-control-allow-origin": "*", "access-control-allow-credentials": "true"}
    backend.reply(text("Hi.").but(headers=own))
    headers = {"authorization": f"Bearer {api_key}", "x-memgpt-memory": "off"}
    answer = ask(gateway, FOREIGN, **headers)
    assert (answer.status_code, cors(answer)) == (200, {})


def test_a_request_of_no_page_is_answered_as_ever(gateway: GatewayProcess, api_key: str):
    answer = httpx.get(f"{gateway.base_url}/models", headers={"authorization": f"Bearer {api_key}"})
    assert (answer.status_code, cors(answer), "vary" in answer.headers) == (200, {}, False)


def test_a_foreign_page_gets_nothing_of_an_anonymous_gateway(
    start_gateway: StartGateway, backend: ScriptedBackend
):
    gateway = start_gateway("--anonymous")
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Remember: evil."}]})
    simple: dict[str, Any] = {"content": body, "headers": {"content-type": "text/plain"}}
    simple["headers"]["origin"] = FOREIGN  # such a request has no preflight
    refused = httpx.post(f"{gateway.base_url}/chat/completions", **simple)
    assert (refused.status_code, cors(refused)) == (403, {})
    assert backend.requests == []
    backend.reply(text("Hi."))
    simple["headers"]["origin"] = gateway.origin  # a page that the gateway itself serves
    assert httpx.post(f"{gateway.base_url}/chat/completions", **simple).status_code == 200


def test_a_password_in_a_foreign_pages_url_is_no_key(
    start_gateway: StartGateway, backend: ScriptedBackend
):
    gateway = start_gateway("--anonymous")
    # What a form sends to http://ann:secret@127.0.0.1 has a header without a preflight: RFC 7617.
    refused = ask(gateway, FOREIGN, authorization="Basic YW5uOnNlY3JldA==")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert backend.requests == []


def hosted(gateway: GatewayProcess, host: str, path: str = "/v1/models", **headers: str) -> Any:
    """Ask as a browser does whose page's host is named so and was made to mean this machine."""
    return httpx.get(gateway.origin + path, headers={"host": host, **headers})


REBOUND = [
    "rebound.example",
    "rebound.example:8484",
    "127.0.0.1.rebound.example",
    "localhost.example",
    "[::1].example",
]


@pytest.mark.parametrize("options", [["--anonymous"], [], ["--accepted-keys", "k", "--anonymous"]])
def test_a_name_of_the_internet_that_means_this_machine_is_refused(
    start_gateway: StartGateway, backend: ScriptedBackend, options: list[str]
):
    gateway = start_gateway(*options)
    at_the_start = len(backend.requests)
    for host in REBOUND:
        for path in ("/v1/models", "/memgpt/export", "/metrics", "/nothing"):
            for headers in ({}, {"authorization": "Bearer k"}, {"origin": f"http://{host}"}):
                answer = hosted(gateway, host, path, **headers)
                assert answer.status_code == 403, (path, headers)
                assert answer.json()["error"]["code"] == "host_not_allowed"
                assert cors(answer) == {}
        told = hosted(gateway, host).json()["error"]
        assert repr(host) in told["message"]
        assert {"cors_origins", "accepted_keys"} <= {*re.findall(r"\w+", told["message"])}
        assert told["type"] == "invalid_request_error"
    assert len(backend.requests) == at_the_start


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LocalHost:8484", "localhost.", "chat.localhost:1", "127.0.0.1:8484"),
        *("127.9.9.9", "[::1]:8484", "[::ffff:127.0.0.1]", "192.168.1.7:8080", "gateway:8484"),
        *("host.docker.internal:8484", "nas.local", ""),
    ],
)
def test_addresses_and_names_that_nobody_can_register_are_this_machines(
    gateway: GatewayProcess, host: str, api_key: str
):
    key = {"authorization": f"Bearer {api_key}"}
    assert hosted(gateway, host, **key).status_code == 200


@pytest.mark.parametrize(
    ("options", "host"),
    [
        (["--anonymous", "--cors-origins", "https://chat.example"], "chat.example"),
        (["--anonymous", "--cors-origins", "https://chat.example:*"], "Chat.Example:8443"),
        (["--anonymous", "--cors-origins", "*"], "anything.example"),
        (["--accepted-keys", "k"], "chat.example"),
        (["--host", "0.0.0.0"], "chat.example"),
    ],
)
def test_names_are_taken_that_are_named_or_do_not_matter(
    start_gateway: StartGateway, options: list[str], host: str
):
    gateway = start_gateway(*options)
    answer = hosted(gateway, host, authorization="Bearer k")
    assert answer.status_code == 200
    assert hosted(gateway, "other.example", authorization="Bearer k").status_code == (
        403 if host.lower().startswith("chat.example") and "--anonymous" in options else 200
    )


def test_probes_and_metrics_are_for_no_page(gateway: GatewayProcess):
    for path in ("/healthz", "/metrics"):
        answer = httpx.get(gateway.origin + path, headers={"origin": LOCAL})
        assert (answer.status_code, cors(answer)) == (200, {})


STREAM = """
const answer = await fetch("%s/v1/chat/completions", {
  method: "POST",
  headers: {authorization: "Bearer %s", "content-type": "application/json"},
  body: JSON.stringify({model: "m", stream: true, messages: [{role: "user", content: "Hi."}]}),
})
const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
let heard = ""
while (!heard.includes("Once")) heard += (await reader.read()).value
await tell({begun: heard})
for (let part; !(part = await reader.read()).done; ) heard += part.value
return {heard, status: answer.status, id: answer.headers.get("x-request-id")}
"""


def test_a_page_in_a_real_browser_streams_a_reply(
    start_gateway: StartGateway, backend: ScriptedBackend, tmp_path: Path
):
    _needs_a_browser()
    gateway = start_gateway("--reply-mode", "content")
    introduce(backend, gateway)
    gate = Gate()
    backend.reply(text("Once upon ") + wait(gate) + text("a time."))
    script = STREAM % (gateway.origin, "sk-stop")
    told = told_by_a_page(script, tmp_path, on_the_way=lambda begun: gate.open())
    assert told["status"] == 200
    assert told["id"], "headers are exposed"
    assert told["heard"].endswith("data: [DONE]\n\n")


def test_a_page_of_another_origin_is_kept_out_by_a_real_browser(
    gateway: GatewayProcess, backend: ScriptedBackend, api_key: str, tmp_path: Path
):
    _needs_a_browser()
    script = f"""
    const headers = {{authorization: "Bearer {api_key}"}}
    const asked = fetch("{gateway.base_url}/models", {{headers}})
    return await asked.then(answer => answer.status, error => error.name)
    """
    assert told_by_a_page(script, tmp_path, host="chat.localhost") == "TypeError"
