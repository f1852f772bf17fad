"""Asking for responses as users do: by the ``openai`` package, in its ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import httpx
import openai
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response

Way = Callable[..., Response]


def whole(base_url: str, api_key: str, **request: Any) -> Response:
    with openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        return client.responses.create(**request)


def streamed(base_url: str, api_key: str, **request: Any) -> Response:
    with openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
        return gathered(client.responses.create(**request, stream=True))


def whole_async(base_url: str, api_key: str, **request: Any) -> Response:
    async def ask() -> Response:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
            return await client.responses.create(**request)

    return asyncio.run(ask())


def streamed_async(base_url: str, api_key: str, **request: Any) -> Response:
    async def ask() -> Response:
        async with openai.AsyncOpenAI(base_url=base_url, api_key=api_key, max_retries=0) as client:
            stream = await client.responses.create(**request, stream=True)
            return gathered([event async for event in stream])

    return asyncio.run(ask())


WAYS: dict[str, Way] = {
    "whole": whole,
    "streamed": streamed,
    "whole, async": whole_async,
    "streamed, async": streamed_async,
}


def gathered(events: Iterable[Any]) -> Response:
    """Return the response at the end of a stream, insisting on what a stream promises.

    The items as their deltas have built them are those of the response; so are the items that
    the package's own accumulator has built.
    """
    state = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    items: dict[int, Any] = {}
    last: Any = None
    for number, event in enumerate(events):
        assert event.sequence_number == number
        assert last is None or last.type not in ENDS, "an event after the end"
        state.handle_event(event)
        _take(items, event)
        last = event
    assert last is not None
    assert last.type in ENDS
    response: Response = last.response
    told = [item.model_dump(exclude_unset=True) for item in response.output]
    assert [items[index] for index in sorted(items)] == told
    snapshot = state._ResponseStreamState__current_snapshot  # type: ignore[attr-defined]
    assert [_words(item) for item in snapshot.output] == [_words(item) for item in response.output]
    return response


ENDS = ("response.completed", "response.incomplete", "response.failed")


def _take(items: dict[int, Any], event: Any) -> None:
    """Build items by their events alone."""
    kind = event.type.removeprefix("response.")
    if kind == "output_item.added":
        assert event.output_index == len(items)
        assert event.item.status == "in_progress"
        items[event.output_index] = event.item.model_dump(exclude_unset=True)
    elif kind == "output_item.done":
        item = items[event.output_index]
        item["status"] = event.item.status
        assert item == event.item.model_dump(exclude_unset=True)
    elif kind.startswith(("function_call_arguments", "custom_tool_call_input")):
        _take_call(_of(items, event), event, "input" if "custom" in kind else "arguments")
    elif hasattr(event, "content_index"):
        _take_part(_of(items, event)["content"], event, kind)


def _take_call(item: Any, event: Any, field: str) -> None:
    if event.type.endswith(".delta"):
        item[field] += event.delta
    else:
        assert item[field] == getattr(event, field)


def _take_part(content: list[Any], event: Any, kind: str) -> None:
    if kind == "content_part.added":
        assert event.content_index == len(content)
        content.append(event.part.model_dump(exclude_unset=True))
        return
    part = content[event.content_index]
    match kind:
        case "content_part.done":
            assert part == event.part.model_dump(exclude_unset=True)
        case "output_text.delta":
            part["text"] += event.delta
            part["logprobs"] += [each.model_dump(exclude_unset=True) for each in event.logprobs]
        case "refusal.delta":
            part["refusal"] += event.delta
        case "output_text.annotation.added":
            assert event.annotation_index == len(part["annotations"])
            part["annotations"].append(event.annotation.model_dump(exclude_unset=True))
        case "output_text.done":
            assert part["text"] == event.text
        case "refusal.done":
            assert part["refusal"] == event.refusal
        case _:
            raise AssertionError(f"an unknown event: {kind}")


def _of(items: dict[int, Any], event: Any) -> Any:
    item = items[event.output_index]
    assert item["id"] == event.item_id
    return item


def _words(item: Any) -> Any:
    """What the package's accumulator gathers of an item: no refusals, no custom input."""
    if item.type == "message":
        return [getattr(part, "text", None) for part in item.content]
    return getattr(item, "arguments", None)


@dataclass(slots=True)
class Asker:
    """Somebody with an API key and a model; each ``ask`` is one request."""

    base_url: str
    api_key: str
    model: str
    way: Way = whole

    def ask(self, given: Any, **options: Any) -> Response:
        request = {"model": self.model, "input": given, **options}
        return self.way(self.base_url, self.api_key, **request)

    def post(self, **request: Any) -> httpx.Response:
        """The response as it is on the wire."""
        headers = {"authorization": f"Bearer {self.api_key}"}
        url = f"{self.base_url}/responses"
        body = {"model": self.model, "input": "Hello.", **request}
        return httpx.post(url, json=body, headers=headers, timeout=30)


def calls(response: Response) -> list[tuple[str, str, str]]:
    """The function calls of a response, by id, name and arguments."""
    found = (item for item in response.output if item.type == "function_call")
    return [(item.call_id, item.name, item.arguments) for item in found]


def output(call_id: str, text: str) -> dict[str, Any]:
    """What a tool has given."""
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def tool(name: str, **properties: str) -> dict[str, Any]:
    """A function tool; properties by name and JSON type."""
    kinds = {each: {"type": kind} for each, kind in properties.items()}
    parameters = {"type": "object", "properties": kinds}
    return {"type": "function", "name": name, "parameters": parameters, "strict": False}
