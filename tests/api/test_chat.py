"""What the endpoint asks of the agent, by a request's headers and body."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from memgpt_proxy.agent.mending import Mending
from memgpt_proxy.agent.profiles import Profiles
from memgpt_proxy.agent.request import NamedConversation, TurnRequest
from memgpt_proxy.api.admission import Admission
from memgpt_proxy.api.authentication import Authenticator
from memgpt_proxy.api.chat import ChatCompletions
from memgpt_proxy.api.endpoint import Endpoint
from memgpt_proxy.api.idempotency import IdempotencyKeys
from memgpt_proxy.api.passthrough import Passthrough
from memgpt_proxy.api.reading import RequestReader
from memgpt_proxy.api.request_headers import RequestHeaders
from memgpt_proxy.api.ui_tasks import TaskPrompts
from memgpt_proxy.backend.client import Backend, Route, Timeouts
from memgpt_proxy.errors import NoReply
from memgpt_proxy.memory.beginnings import Beginnings

HELLO: list[dict[str, Any]] = [{"role": "user", "content": "hello"}]
RESULT: list[dict[str, Any]] = [{"role": "tool", "tool_call_id": "c1", "content": "x"}]


class Asked:
    """In the agent's place: keeps what it was asked for, and has no reply."""

    def __init__(self) -> None:
        self.requests: list[TurnRequest] = []
        self.without_tools: str | None = None

    def lacks_tools(self, model: str) -> bool:
        return model == self.without_tools

    def mending(self, route: Route) -> Mending:
        return Mending(Profiles(), route)

    async def open(self, request: TurnRequest) -> Any:
        self.requests.append(request)
        raise NoReply("none")


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def post(
    asked: Asked, messages: list[dict[str, Any]], headers: dict[str, str]
) -> httpx.Response:
    authenticator = Authenticator(bytes(32), (), anonymous=True)
    silent = httpx.MockTransport(lambda _: httpx.Response(200, content=b"from the backend"))
    backend = Backend("http://backend/v1", silent, api_key=None, timeouts=Timeouts(1, 1))
    known = RequestHeaders(["X-OpenWebUI-Chat-Id"], ["X-OpenWebUI-Task"])
    admission = Admission(authenticator)
    passthrough = Passthrough(backend, admission)
    reader = RequestReader(
        authenticator, Beginnings(), known, TaskPrompts(), IdempotencyKeys(), max_body=2**20
    )
    chat = ChatCompletions(asked, reader, passthrough)  # type: ignore[arg-type]
    app = Endpoint(chat, admission, reader, keepalive=1)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client:
        body = json.dumps({"model": "m", "messages": messages})
        url = "http://gateway/v1/chat/completions"
        return await client.post(url, content=body, headers=headers)


async def test_an_ordinary_request(asked: Asked) -> None:
    assert (await post(asked, HELLO, {})).status_code == 502
    (request,) = asked.requests
    assert (request.conversation, request.writes, request.is_retry) == (None, True, False)


@pytest.mark.parametrize(
    ("headers", "name", "value"),
    [
        ({"X-MemGPT-Conversation": "a"}, "conversation", NamedConversation("a", resends=False)),
        ({"X-OpenWebUI-Chat-Id": "a"}, "conversation", NamedConversation("a", resends=True)),
        ({"X-MemGPT-Memory": "READ"}, "writes", False),
        ({"x-stainless-retry-count": "2"}, "is_retry", True),
    ],
)
async def test_headers_reach_the_turn(
    asked: Asked, headers: dict[str, str], name: str, value: object
) -> None:
    await post(asked, HELLO, headers)
    assert getattr(asked.requests[0], name) == value


@pytest.mark.parametrize("headers", [{"X-MemGPT-Memory": "off"}, {"X-OpenWebUI-Task": "emoji"}])
async def test_the_agent_is_not_asked(asked: Asked, headers: dict[str, str]) -> None:
    response = await post(asked, HELLO, headers)
    assert (response.status_code, response.content) == (200, b"from the backend")
    assert asked.requests == []


CALLS: list[dict[str, Any]] = [
    *HELLO,
    {"role": "assistant", "tool_calls": [{"id": "c1", "function": {"name": "f"}}]},
    *RESULT,
]


async def test_without_memory_the_agent_asks_a_backend_without_tools(asked: Asked) -> None:
    off = {"X-MemGPT-Memory": "off"}
    asked.without_tools = "m"
    assert (await post(asked, CALLS, off)).status_code == 502
    assert [request.remembers for request in asked.requests] == [False]
    for others in (HELLO, RESULT):  # of which the second is for the backend to refuse
        assert (await post(asked, others, off)).content == b"from the backend"
    asked.without_tools = "other"
    assert (await post(asked, CALLS, off)).content == b"from the backend"
    assert len(asked.requests) == 1


async def test_results_come_first_only_in_a_conversation_that_is_not_resent(asked: Asked) -> None:
    assert (await post(asked, RESULT, {})).status_code == 400
    assert (await post(asked, RESULT, {"X-OpenWebUI-Chat-Id": "a"})).status_code == 400
    assert asked.requests == []
    await post(asked, RESULT, {"X-MemGPT-Conversation": "a"})
    assert asked.requests[0].messages == RESULT
