"""Requests made from OpenAI's own types, right, nearly right and wrong, and any bytes at all.

None may end in a 500, each error has OpenAI's shape, and what is forwarded is answered.
``scripts/fuzz 10000`` sends so many; without it a share of them is sent.
"""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.chatting import data_of, error_of
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.official_types import ANYTHING, messages, request_fields, values
from tests.support.replies import Reply, call, text

REQUESTS = int(os.environ.get("FUZZ_REQUESTS", "600"))
"""How many are sent in all."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60 + REQUESTS)]

FUZZED = settings(
    max_examples=REQUESTS // 4,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
HELLO = {"role": "user", "content": "Hello."}
FIELDS = request_fields()


def answer(request: Any) -> Reply:
    """What a backend says that does as it is told."""
    choice = request.get("tool_choice")
    names = [_name(tool) for tool in request.get("tools") or ()]
    if choice == "required" and names:
        return call(names[-1], "{}")
    return text('{"fine": true}')


def _name(tool: Any) -> str:
    declared = tool.get("function") or tool.get("custom")
    return str(declared.get("name") if isinstance(declared, dict) else None)


class Asking:
    """Sends bodies to the gateway and judges the answers."""

    def __init__(self, backend: ScriptedBackend, gateway: GatewayProcess, api_key: str) -> None:
        backend.script(answer)
        self._backend = backend
        self._gateway = gateway
        self._logged = len(gateway.log())
        self._url = f"{gateway.base_url}/chat/completions"
        headers = {"authorization": f"Bearer {api_key}", "content-type": "application/json"}
        self._client = httpx.Client(headers=headers, timeout=30)

    def send(self, body: bytes) -> httpx.Response:
        """Send a body; whatever it is, the answer is an answer or a clear error."""
        self._backend.requests.clear()
        response = self._client.post(self._url, content=body)
        if response.status_code == 200:
            check_answer(response)
            check_forwarded(self._backend)
        else:
            assert response.status_code == 400, (response.status_code, response.text)
            told = error_of(response)
            assert told["type"] == "invalid_request_error"
            assert told["message"]
            assert told["param"] is None or isinstance(told["param"], str)
            assert self._backend.requests == []
        return response

    def finish(self) -> None:
        """After all that the gateway answers as ever, and has nothing to report."""
        assert self.send(written({"model": "fuzzed", "messages": [HELLO]})).status_code == 200
        assert "Traceback" not in self._gateway.log()[self._logged :]
        self._client.close()


def check_answer(response: httpx.Response) -> None:
    if response.headers["content-type"].startswith("text/event-stream"):
        *chunks, done = data_of(response.content)
        assert done == "[DONE]"
        ends = [choice for chunk in chunks for choice in chunk["choices"]]
        assert [choice["finish_reason"] for choice in ends][-1] is not None
        assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    else:
        told = response.json()
        assert told["object"] == "chat.completion"
        assert all(choice["finish_reason"] for choice in told["choices"])
        assert told["usage"]["total_tokens"] >= 0


def check_forwarded(backend: ScriptedBackend) -> None:
    """What arrived at the backend is a request."""
    for sent in backend.requests:
        assert sent.body["messages"]
        assert all(message["role"] for message in sent.body["messages"])


@pytest.fixture
def asking(backend: ScriptedBackend, gateway: GatewayProcess, api_key: str) -> Any:
    asked = Asking(backend, gateway, api_key)
    yield asked
    asked.finish()


def written(request: Any) -> bytes:
    return json.dumps(request).encode()


VALID = st.fixed_dictionaries(
    {"model": st.just("fuzzed"), "messages": messages()},
    optional={name: values(FIELDS[name]) for name in FIELDS.keys() - {"model", "messages"}}
    | {"stream": st.booleans()},
)
"""Requests of the right types; what they say need make no sense."""

FEW = st.fixed_dictionaries(
    {"model": st.just("fuzzed"), "messages": st.lists(st.just(HELLO), min_size=1, max_size=2)},
    optional={"stream": st.booleans()},
)


@st.composite
def nearly_valid(draw: st.DrawFn) -> Any:
    """A valid request of which one value, at any depth, is another, missing or doubled."""
    request = draw(VALID)
    for _ in range(draw(st.integers(1, 2))):
        place: Any = request
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and draw(st.booleans()):
                place = place[key]
                continue
            change(draw, place, key)
            break
    return request


def change(draw: st.DrawFn, place: Any, key: Any) -> None:
    how = draw(st.sampled_from(["other", "other", "gone", "listed"]))
    if how == "gone":
        del place[key]
    else:
        place[key] = draw(ANYTHING) if how == "other" else [place[key]]


def one_field() -> st.SearchStrategy[Any]:
    """A plain request with one field that may be anything."""
    return st.builds(
        lambda request, name, value: {**request, name: value},
        FEW,
        st.sampled_from(sorted(FIELDS)),
        ANYTHING,
    )


@FUZZED
@given(request=VALID)
def test_requests_of_the_right_types(asking: Asking, request: Any):
    response = asking.send(written(request))
    if response.status_code == 400:
        assert error_of(response)["param"], "a request that is JSON has a parameter at fault"


@FUZZED
@given(request=nearly_valid() | one_field())
def test_requests_of_nearly_the_right_types(asking: Asking, request: Any):
    asking.send(written(request))


ODD_NUMBERS = [b"1e999", b"-1e999", b"NaN", b"Infinity", b"9" * 400, b"1e-999", b"-0", b"01", b"1."]
ODD_TEXTS = [
    b'"\\ud800"',
    b'"\\udfff\\ud800"',
    b'"\xff"',
    b'"\\u0000"',
    b'"\xed\xa0\x80"',
    b'"\\x"',
]
ODD_SHAPES = [b"[" * 2000 + b"]" * 2000, b'{"a":' * 300 + b"1" + b"}" * 300, b"[" * 900, b""]
ODD = st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS, *ODD_SHAPES])
PLACE = b'"\\u0001here"'


@st.composite
def odd_json(draw: st.DrawFn) -> bytes:
    """A request with something that JSON can nearly say and few expect; or with doubled keys."""
    request: Any = draw(FEW | VALID)
    name = draw(st.sampled_from([*sorted(FIELDS), "content", "role"]))
    if name in ("content", "role"):
        request["messages"].append({**HELLO, name: "\u0001here"})
    else:
        request[name] = "\u0001here"
    body = written(request).replace(PLACE, draw(ODD))
    if draw(st.booleans()):
        doubled = draw(st.sampled_from(sorted(FIELDS)))
        body = b'{"%s": %s, %s' % (doubled.encode(), draw(ODD) or b"1", body[1:])
    return body


@st.composite
def broken_bytes(draw: st.DrawFn) -> bytes:
    """Any bytes; or a request cut short, with a byte changed, behind a mark or between others."""
    body = written(draw(FEW))
    at = draw(st.integers(0, len(body) - 1))
    ways = [
        draw(st.binary(max_size=64)),
        written(draw(ANYTHING)),
        body[:at],
        body[:at] + draw(st.binary(min_size=1, max_size=3)) + body[at + 1 :],
        b"\xef\xbb\xbf" + body,
        body.decode().encode("utf-16"),
        body + draw(st.sampled_from([b"\x00", b"{}", b"]", b" ", b"\n"])),
    ]
    return draw(st.sampled_from(ways))


@FUZZED
@given(body=odd_json())
def test_requests_with_what_few_expect(asking: Asking, body: bytes):
    asking.send(body)


@FUZZED
@given(body=broken_bytes())
def test_any_bytes(asking: Asking, body: bytes):
    asking.send(body)
