"""Talking to the gateway as its users do: by the ``openai`` package, in its four ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx
import openai
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.support.backend import Recorded
from tests.support.replies import Reply, call, event, wait

Messages = list[dict[str, Any]]


@dataclass(slots=True)
class Answer:
    """A reply as a client has it in the end, whichever way it came.

    ``calls`` are the client's own tool calls as (id, name, arguments).
    """

    text: str = ""
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    finish_reason: str | None = None
    usage: CompletionUsage | None = None
    id: str = ""
    model: str = ""
    created: int = 0

    def message(self) -> dict[str, Any]:
        """What a client puts into its history."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            message["tool_calls"] = [
                {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}
                for id, name, arguments in self.calls
            ]
        return message


Way = Callable[..., Answer]
"""Asks once: ``way(base_url, api_key, model=…, messages=…, …)``."""


def whole(base_url: str, api_key: str, **request: Any) -> Answer:
    with openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        return from_completion(client.chat.completions.create(**request))


def streamed(base_url: str, api_key: str, **request: Any) -> Answer:
    with openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        return from_chunks(client.chat.completions.create(**request, stream=True))


def whole_async(base_url: str, api_key: str, **request: Any) -> Answer:
    async def ask() -> Answer:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
            return from_completion(await client.chat.completions.create(**request))

    return asyncio.run(ask())


def streamed_async(base_url: str, api_key: str, **request: Any) -> Answer:
    async def ask() -> Answer:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
            stream = await client.chat.completions.create(**request, stream=True)
            return from_chunks([chunk async for chunk in _chunks(stream)])

    return asyncio.run(ask())


async def _chunks(stream: AsyncIterator[Any]) -> AsyncIterator[ChatCompletionChunk]:
    async for chunk in stream:
        yield chunk


WAYS: dict[str, Way] = {
    "whole": whole,
    "streamed": streamed,
    "whole, async": whole_async,
    "streamed, async": streamed_async,
}


def from_completion(completion: ChatCompletion) -> Answer:
    choice = completion.choices[0]
    calls = [
        (call.id, call.function.name, call.function.arguments)
        for call in choice.message.tool_calls or []
        if call.type == "function"
    ]
    return Answer(
        text=choice.message.content or "",
        calls=calls,
        finish_reason=choice.finish_reason,
        usage=completion.usage,
        id=completion.id,
        model=completion.model,
        created=completion.created,
    )


def from_chunks(chunks: Iterable[ChatCompletionChunk]) -> Answer:
    """Gather a stream, insisting on what a stream promises."""
    answer = Answer()
    calls: list[list[str]] = []
    for chunk in chunks:
        assert answer.finish_reason is None or not chunk.choices, "a delta after the end"
        answer.usage = chunk.usage or answer.usage
        answer.id, answer.model, answer.created = chunk.id, chunk.model, chunk.created
        for choice in chunk.choices:
            assert choice.index == 0
            answer.text += choice.delta.content or ""
            answer.finish_reason = choice.finish_reason or answer.finish_reason
            for delta in choice.delta.tool_calls or []:
                _add_call(calls, delta)
    answer.calls = [(id, name, arguments) for id, name, arguments in calls]
    return answer


def _add_call(calls: list[list[str]], delta: Any) -> None:
    if delta.index == len(calls):
        assert delta.id, "a call's first delta has its id"
        assert delta.type == "function"
        calls.append([delta.id, delta.function.name, ""])
    assert delta.index < len(calls), "indices are dense and in order"
    calls[delta.index][2] += delta.function.arguments or ""


@dataclass(slots=True)
class Person:
    """Somebody with an API key and a model; each ``ask`` is one request.

    ``said`` keeps the history as an ordinary client would; ``anew`` forgets it.
    """

    base_url: str
    api_key: str
    model: str
    way: Way = whole
    options: dict[str, Any] = field(default_factory=dict)
    said: Messages = field(default_factory=list)

    def ask(self, messages: Messages, **options: Any) -> Answer:
        """Send exactly these messages."""
        request = {"model": self.model, "messages": messages, **self.options, **options}
        return self.way(self.base_url, self.api_key, **request)

    def say(self, text: str, **options: Any) -> Answer:
        """Go on with the conversation, history resent."""
        self.said.append(user(text))
        answer = self.ask(self.said, **options)
        self.said.append(answer.message())
        return answer

    def anew(self) -> Person:
        """A fresh conversation of the same person."""
        return Person(self.base_url, self.api_key, self.model, self.way, self.options)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def tool_result(id: str, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def tool(name: str, **properties: str) -> dict[str, Any]:
    """A client's own tool; properties by name and JSON type."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
    }
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def send(message: str, **more: Any) -> Reply:
    """The scripted model says something to the user."""
    return call("send_message", {"message": message, **more})


def call_in_pieces(name: str, *pieces: Any) -> Reply:
    """A call whose arguments come in these pieces; a Gate among them holds the stream."""
    head = {"index": 0, "id": "call_p", "type": "function"}
    reply = event(_tool_delta({**head, "function": {"name": name, "arguments": ""}}))
    for piece in pieces:
        if isinstance(piece, str):
            reply += event(_tool_delta({"index": 0, "function": {"arguments": piece}}))
        else:
            reply += wait(piece)
    return reply.but(finish_reason="tool_calls")


def _tool_delta(call: dict[str, Any]) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "pieces",
        "choices": [choice],
    }


def raw(base_url: str, api_key: str, **request: Any) -> httpx.Response:
    """The response as it is on the wire."""
    headers = {"authorization": f"Bearer {api_key}"}
    return httpx.post(f"{base_url}/chat/completions", json=request, headers=headers, timeout=30)


def data_of(response: bytes) -> list[Any]:
    """The events of a stream, parsed; ``[DONE]`` and error events among them."""
    events = [part for part in response.decode().split("\n\n") if part and part[0] != ":"]
    assert all(event.startswith("data: ") for event in events)
    payloads = [event.removeprefix("data: ") for event in events]
    return [p if p == "[DONE]" else json.loads(p) for p in payloads]


def results(recorded: Recorded) -> list[str]:
    """The results of function calls that a prompt ends with, in order."""
    found: list[str] = []
    for message in reversed(recorded.body["messages"]):
        if message["role"] != "tool":
            break
        found.insert(0, message["content"])
    return found


def offered(recorded: Recorded) -> list[str]:
    """The names of the functions that a request offers."""
    return [tool["function"]["name"] for tool in recorded.body.get("tools", [])]


def error_of(response: httpx.Response) -> dict[str, Any]:
    """The error of a response, which has OpenAI's shape."""
    assert response.headers["content-type"] == "application/json"
    told = response.json()
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    assert isinstance(told["error"]["message"], str)
    return told["error"]
