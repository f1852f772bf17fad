"""Every other path: to the backend and back, byte for byte."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

import httpx
import openai
import pytest

from tests.conftest import StartGateway
from tests.e2e.raw_server import raw_server, read_request
from tests.support.backend import ECHO_WHEN_EMPTY, ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import free_port

BINARY = bytes(range(256)) * 5


@pytest.fixture
def client(gateway: GatewayProcess, api_key: str) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {api_key}"}
    with httpx.Client(base_url=gateway.base_url, headers=headers, timeout=30) as client:
        yield client


def test_models_are_the_backends(backend: ScriptedBackend, gateway: GatewayProcess, api_key: str):
    backend.models.append({"id": "org/other:7b", "object": "model", "created": 1, "owned_by": "x"})
    with openai.OpenAI(base_url=gateway.base_url, api_key=api_key, max_retries=0) as client:
        assert [model.id for model in client.models.list()] == ["scripted", "org/other:7b"]


async def test_models_are_the_backends_for_an_async_client(
    backend: ScriptedBackend, gateway: GatewayProcess, api_key: str
):
    async with openai.AsyncOpenAI(
        base_url=gateway.base_url, api_key=api_key, max_retries=0
    ) as client:
        assert [model.id async for model in client.models.list()] == ["scripted"]


@pytest.mark.parametrize(
    "body", [b'{"model":\t"e", "input": ["\xc3\xa4"]}\n', BINARY, b"{not json"]
)
def test_a_body_goes_both_ways_byte_for_byte(
    backend: ScriptedBackend, client: httpx.Client, api_key: str, body: bytes
):
    kind = {"content-type": "application/x-odd; charset=none"}
    response = client.post("/embeddings", content=body, headers=kind)
    assert (response.status_code, response.content) == (200, body)
    assert response.headers["content-type"] == kind["content-type"]
    (arrived,) = backend.passed
    assert arrived.raw == body
    assert arrived.headers["authorization"] == f"Bearer {api_key}"
    assert arrived.headers["content-type"] == kind["content-type"]


def test_an_answer_is_not_written_anew(backend: ScriptedBackend, client: httpx.Client):
    assert client.get("/batches").content == ECHO_WHEN_EMPTY


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_goes_through(backend: ScriptedBackend, client: httpx.Client, method: str):
    response = client.request(method, "/files/file-1")
    assert response.headers["x-echo-method"] == method
    assert response.content == ECHO_WHEN_EMPTY


def test_a_head_request_has_no_body(backend: ScriptedBackend, client: httpx.Client):
    response = client.head("/files/file-1")
    assert (response.status_code, response.content) == (200, b"")
    assert response.headers["x-echo-method"] == "HEAD"


@pytest.mark.parametrize(
    "target",
    [
        "/v1/files?limit=2&after=a%20b&after=c+d&empty=",
        "/v1/files/a%2Fb%20c",
        "/v1/models/org%2Fmodel%3A7b?x=%2B",
        "/v1/files/%E2%82%AC/~tilde;param",
        "/v1//double//slash",
        "/v1/chat/completions/abc?limit=1",
    ],
)
def test_a_target_goes_through_as_it_is_written(
    backend: ScriptedBackend, gateway: GatewayProcess, client: httpx.Client, target: str
):
    # As httpx would take liberties with a URL, its target is given by hand.
    request = client.build_request("GET", "/files")
    request.extensions["target"] = target.encode()
    assert client.send(request).headers["x-echo-target"] == target


def test_an_upload_goes_through_whole(backend: ScriptedBackend, client: httpx.Client):
    document = os.urandom(3 * 2**20)
    response = client.post("/files", files={"file": ("a.bin", document)}, data={"purpose": "x"})
    (arrived,) = backend.passed
    assert document in arrived.raw
    assert response.content == arrived.raw
    assert arrived.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert int(arrived.headers["content-length"]) == len(arrived.raw)


def test_an_upload_of_unknown_length_goes_through(backend: ScriptedBackend, client: httpx.Client):
    pieces = [os.urandom(70_000) for _ in range(30)]
    response = client.post("/files", content=iter(pieces))
    (arrived,) = backend.passed
    assert arrived.raw == b"".join(pieces) == response.content
    assert arrived.headers["transfer-encoding"] == "chunked"


def test_a_compressed_answer_stays_compressed(backend: ScriptedBackend, client: httpx.Client):
    with client.stream("POST", "/some/gzip", content=BINARY) as response:
        packed = b"".join(response.iter_raw())
    assert response.headers["content-encoding"] == "gzip"
    assert packed == gzip.compress(BINARY, mtime=0)


def test_a_compressed_request_stays_compressed(backend: ScriptedBackend, client: httpx.Client):
    packed = gzip.compress(BINARY, mtime=0)
    client.post("/files", content=packed, headers={"content-encoding": "gzip"})
    (arrived,) = backend.passed
    assert arrived.raw == packed
    assert arrived.headers["content-encoding"] == "gzip"


def test_a_stream_goes_through_byte_for_byte(backend: ScriptedBackend, client: httpx.Client):
    events = b': comment\r\n\r\ndata: {"a": 1}\r\n\r\ndata: [DONE]\n\n'
    response = client.post("/completions/stream", content=events)
    assert response.content == events
    assert response.headers["content-type"] == "text/event-stream"


def test_a_stream_arrives_as_it_is_written(start_gateway: StartGateway, api_key: str):
    more = threading.Event()

    def slow(reader: BinaryIO, writer: BinaryIO) -> None:
        read_request(reader)
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        writer.write(head + b"data: one\n\n")
        writer.flush()
        more.wait(10)
        writer.write(b"data: two\n\n")

    with raw_server(slow) as url:
        gateway = start_gateway(backend_url=url)
        headers = {"authorization": f"Bearer {api_key}"}
        with httpx.stream("POST", f"{gateway.base_url}/completions", headers=headers) as response:
            arriving = response.iter_raw()
            assert next(arriving) == b"data: one\n\n"
            more.set()
            assert b"".join(arriving) == b"data: two\n\n"


@pytest.mark.parametrize("status", ["204 No Content", "301 Moved", "418 Teapot", "503 Away"])
def test_status_and_headers_are_the_backends(
    start_gateway: StartGateway, api_key: str, status: str
):
    body = b"" if status.startswith("204") else b"odd \x00 body"

    def odd(reader: BinaryIO, writer: BinaryIO) -> None:
        read_request(reader)
        lines = ["set-cookie: a=1", "set-cookie: b=2", "location: /elsewhere", "x-odd: \xe4"]
        length = [] if status.startswith("204") else [f"content-length: {len(body)}"]
        head = "\r\n".join([f"HTTP/1.1 {status}", *lines, *length, "connection: close"])
        writer.write(head.encode("latin-1") + b"\r\n\r\n" + body)

    with raw_server(odd) as url:
        gateway = start_gateway(backend_url=url)
        headers = {"authorization": f"Bearer {api_key}"}
        response = httpx.get(f"{gateway.base_url}/files", headers=headers)
    assert response.status_code == int(status[:3])
    assert response.content == body
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["location"] == "/elsewhere"
    assert (b"x-odd", b"\xe4") in [(name.lower(), value) for name, value in response.headers.raw]


def test_a_client_that_leaves_cancels(start_gateway: StartGateway, api_key: str):
    left = threading.Event()

    def waits(reader: BinaryIO, writer: BinaryIO) -> None:
        read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: one\n\n")
        writer.flush()
        assert reader.read(1) == b""
        left.set()

    with raw_server(waits) as url:
        gateway = start_gateway(backend_url=url)
        headers = {"authorization": f"Bearer {api_key}"}
        with httpx.stream("POST", f"{gateway.base_url}/completions", headers=headers) as response:
            assert next(response.iter_raw()) == b"data: one\n\n"
        assert left.wait(10), "the backend was never left"


def test_an_answer_that_breaks_off_is_not_passed_for_whole(
    start_gateway: StartGateway, api_key: str
):
    def dies(reader: BinaryIO, writer: BinaryIO) -> None:
        read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")

    with raw_server(dies) as url:
        gateway = start_gateway(backend_url=url)
        headers = {"authorization": f"Bearer {api_key}"}
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{gateway.base_url}/files", headers=headers)


def test_no_key_is_refused_here_too(backend: ScriptedBackend, gateway: GatewayProcess):
    response = httpx.get(f"{gateway.base_url}/files")
    assert response.status_code == 401
    assert response.json()["error"]["code"] == "invalid_api_key"
    assert backend.passed == []


def test_the_backends_key_takes_the_clients_place(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
):
    gateway = start_gateway("--backend-api-key", "sk-the-backends-own")
    bearer = {"authorization": f"Bearer {api_key}", "x-other": "goes on"}
    others = ("cookie", "x-api-key", "api-key", "openai-organization", "openai-project")
    headers = {**bearer, **dict.fromkeys(others, f"{api_key}-too")}
    httpx.get(f"{gateway.base_url}/files", headers=headers)
    assert backend.passed[0].headers["authorization"] == "Bearer sk-the-backends-own"
    assert backend.passed[0].headers["x-other"] == "goes on"
    assert api_key not in json.dumps(backend.passed[0].headers)


# Routes of the gateway itself


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_is_told_to_anyone(gateway: GatewayProcess, path: str):
    response = httpx.get(f"{gateway.origin}{path}")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/nowhere", 404),
        ("POST", "/chat/completions", 404),
        ("POST", "/healthz", 405),
    ],
)
def test_unknown_routes_have_openais_error_shape(
    gateway: GatewayProcess, method: str, path: str, status: int
):
    response = httpx.request(method, f"{gateway.origin}{path}")
    assert response.status_code == status
    assert set(response.json()["error"]) == {"message", "type", "param", "code"}
    assert "/v1" in response.json()["error"]["message"]


def test_a_backend_that_is_away_is_logged_once_and_when_it_is_back(start_gateway: StartGateway):
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    gateway = start_gateway("--log-format", "text", backend_url=url)
    asked = partial(httpx.get, f"{gateway.base_url}/models", headers={"authorization": "Bearer k"})
    away = "WARNING memgpt_proxy.backend.client"
    for _ in range(3):
        assert asked().status_code == 502
    assert gateway.log().count(away) == 1
    assert f": {url} does not answer: " in gateway.log()
    with ScriptedBackend(port) as back:
        assert asked().status_code == 200
        assert f"{url} answers again" in gateway.log()
        assert back.unexpected == 0
    assert asked().status_code == 502
    assert gateway.log().count(away) == 2
