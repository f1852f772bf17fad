"""The gateway and its check where all that goes out goes through a proxy, as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.support.backend import ScriptedBackend
from tests.support.certificates import self_signed
from tests.support.egress_proxy import EgressProxy
from tests.support.embedding_server import EmbeddingServer
from tests.support.listener import introduce
from tests.support.process import clean_environment
from tests.support.replies import Gate, text, wait

pytestmark = pytest.mark.slow  # a process, or several, for each test

PASSWORD = "secret-of-the-proxy"
URL = "https://backend.example/v1"
"""What the proxy alone resolves."""

HELLO = [openai.types.chat.ChatCompletionUserMessageParam(role="user", content="Hello")]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls") / "backend.pem", "backend.example")


@pytest.fixture
def far(certificate: Path) -> Iterator[ScriptedBackend]:
    """A backend that speaks TLS, out there."""
    with ScriptedBackend(certificate=certificate) as started:
        yield started


@pytest.fixture
def proxy(far: ScriptedBackend) -> Iterator[EgressProxy]:
    with EgressProxy({"backend.example": far.port}, who=f"gateway:{PASSWORD}") as started:
        yield started


def variables(proxy: EgressProxy, certificate: Path) -> dict[str, str]:
    url = proxy.url.replace("//", f"//gateway:{PASSWORD}@")
    return {"HTTPS_PROXY": url, "http_proxy": url, "SSL_CERT_FILE": str(certificate)}


def client(base_url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=base_url, api_key="sk-egress", max_retries=0)


def test_replies_are_streamed_through_it(
    start_gateway: StartGateway, proxy: EgressProxy, far: ScriptedBackend, certificate: Path
) -> None:
    gateway = start_gateway(backend_url=URL, env=variables(proxy, certificate))
    introduce(far, gateway)
    with client(gateway.base_url) as asking:
        for words in ("Good ", "morning."), ("Good ", "night."):
            gate = Gate()
            far.reply(text(words[0]) + wait(gate) + text(words[1]))
            heard = ""
            for chunk in asking.chat.completions.create(model="m", messages=HELLO, stream=True):
                heard += (chunk.choices and chunk.choices[0].delta.content) or ""
                gate.open()
            assert heard == "".join(words)
        assert [model.id for model in asking.models.list()] == ["scripted"]
    assert set(proxy.lines) == {"CONNECT backend.example:443"}
    assert proxy.connections == 2, "one to ask for models at the start, one for all the rest"
    gateway.stop()
    told = gateway.log()
    assert f"backend.example is reached through the proxy at {proxy.url}" in told
    assert PASSWORD not in told


def test_the_embedding_server_is_reached_through_it(
    start_gateway: StartGateway, proxy: EgressProxy, backend: ScriptedBackend, certificate: Path
) -> None:
    """By http, so that the proxy reads it; the backend is on this machine."""
    with EmbeddingServer() as embedding:
        proxy.hosts = {"embedding.example": int(embedding.base_url.split(":")[2].split("/")[0])}
        model = ("--embedding-model", "e", "--embedding-url", "http://embedding.example/v1")
        gateway = start_gateway(*model, env=variables(proxy, certificate))
        backend.reply(text("Hello."))
        with client(gateway.base_url) as asking:
            asking.chat.completions.create(model="m", messages=HELLO)
        embedding.wait_until_embedded("e", "Hello", "Hello.")
    assert set(proxy.lines) == {"POST http://embedding.example/v1/embeddings"}


@pytest.mark.parametrize("status", [407, 403])
def test_a_proxy_that_refuses(
    status: int, start_gateway: StartGateway, proxy: EgressProxy, certificate: Path
) -> None:
    given = variables(proxy, certificate)
    if status == 407:
        given["HTTPS_PROXY"] = proxy.url
    proxy.status = status
    gateway = start_gateway("--log-format", "json", backend_url=URL, env=given)
    question = {"model": "m", "messages": HELLO}
    for path, body in (("chat/completions", question), ("files", {})):
        answer = httpx.post(
            f"{gateway.base_url}/{path}", json=body, headers={"authorization": "Bearer sk-egress"}
        )
        assert answer.status_code == 502
        error = answer.json()["error"]
        assert error["code"] == "backend_unreachable"
        assert error["message"] == f"The proxy on the way to the backend refuses ({status})."
    gateway.stop()
    told = [json.loads(line)["message"] for line in gateway.log().splitlines()]
    why = ": it asks for user and password" if status == 407 else ""
    refusal = f"the proxy at {proxy.url} refuses the way to backend.example:443{why} ({status})"
    doubt = f"({refusal}): is HTTPS_PROXY right, or has NO_PROXY to name it?"
    assert any(line.endswith(f"which cannot be reached now {doubt}") for line in told)
    assert f"{URL} does not answer: {refusal}" in told
    assert PASSWORD not in gateway.log()


def run(
    directory: Path, command: str, env: Mapping[str, str], *options: str
) -> subprocess.CompletedProcess[str]:
    """Run a command that has to end by itself."""
    result = subprocess.run(
        [sys.executable, "-m", "memgpt_proxy", command, "--data-dir", "data", *options],
        cwd=directory,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert PASSWORD not in result.stdout + result.stderr
    return result


def refused(directory: Path, env: Mapping[str, str], *options: str) -> str:
    """Have a start fail; return the one line that it says."""
    result = run(directory, "serve", env, "--port", "0", *options)
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    return line


def test_no_start_with_what_is_no_proxy(tmp_path: Path) -> None:
    backends = tmp_path / "backends.yaml"
    backends.write_text(f"backends: [{{name: far, url: '{URL}', pass_client_key: true}}]")
    wrong = {"HTTPS_PROXY": f"http://gateway:12/{PASSWORD}@proxy:3128"}
    for where in (("--backend-url", URL), ("--backends-file", str(backends))):
        line = refused(tmp_path, wrong, *where)
        assert line.startswith("Error: HTTPS_PROXY has to be the URL of an HTTP proxy, such as ")
    socks = {"ALL_PROXY": f"socks5://gateway:{PASSWORD}@proxy:1080"}
    line = refused(tmp_path, socks, "--backend-url", URL)
    assert line.startswith("Error: ALL_PROXY names a SOCKS proxy")


def test_what_nothing_goes_through_may_be_anything(start_gateway: StartGateway) -> None:
    """As a desktop sets it for its browser; the backend is on this machine."""
    gateway = start_gateway(env={"ALL_PROXY": "socks5://127.0.0.1:1080"})
    assert "proxy at" not in gateway.log()


def test_the_check_takes_the_same_way(
    tmp_path: Path, proxy: EgressProxy, certificate: Path
) -> None:
    given = variables(proxy, certificate)
    well = run(tmp_path, "check", given, "--backend-url", URL)
    assert well.returncode == 0, well.stdout
    assert f"through the proxy at {proxy.url}" in well.stdout
    with EmbeddingServer() as embedding:
        proxy.hosts = {"embedding.example": int(embedding.base_url.split(":")[2].split("/")[0])}
        model = ("--embedding-model", "e", "--embedding-url", "http://embedding.example/v1")
        anonymous = {**given, "https_proxy": proxy.url}
        without = run(tmp_path, "check", anonymous, "--backend-url", URL, *model)
    assert without.returncode == 1
    told = [line for line in without.stdout.splitlines() if "proxy at" in line]
    assert told[0].startswith("FAIL  backend ")
    assert told[0].endswith("it asks for user and password (407): check HTTPS_PROXY and NO_PROXY")
    assert told[1].startswith("ok    embedding model ")
    socks = {"HTTPS_PROXY": f"socks5://gateway:{PASSWORD}@proxy"}
    wrong = run(tmp_path, "check", socks, "--backend-url", URL)
    assert "HTTPS_PROXY names a SOCKS proxy" in wrong.stdout
