"""The output of a response: items that grow, and the events that tell of it.

Parts of parallel calls may come interleaved, and text behind calls; so every item stays open
until the turn is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson

from memgpt_proxy.agent.reply import Beside, CallPart, Delta, Kind, Raw, Text
from memgpt_proxy.api.responses.names import call_id, message_id
from memgpt_proxy.stores.records import NodeId

Event = dict[str, Any]
"""An event without its number."""


class Item(Protocol):
    """An item that grows."""

    def done(self, status: str) -> Iterator[Event]:
        """Tell its end."""
        ...

    def whole(self, status: str) -> dict[str, Any]:
        """Return the item as it is."""
        ...


class Output:
    """The items of one response, in the order in which they began."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self._items: list[Item] = []
        self._message: MessageItem | None = None
        self._calls: dict[int, CallItem] = {}

    def add(self, delta: Delta) -> Iterator[Event]:
        """Take more of the reply; tell what that changes."""
        match delta:
            case Text(text=text):
                yield from self.text(text, None)
            case CallPart():
                yield from self._call(delta)
            case Beside(field="refusal", value=str(text)):
                yield from self._said().part("refusal", text, None)
            case Beside(field="annotations", value=list(found)):
                yield from self._annotated(found)
            case Beside():
                pass  # chats alone have it
            case Raw(choices=choices):
                for choice in choices:
                    yield from self._raw(choice)

    def close(self, status: str) -> Iterator[Event]:
        """Tell the end of every item."""
        for item in self._items:
            yield from item.done(status)

    def whole(self, status: str) -> list[dict[str, Any]]:
        """Return the items as they are."""
        return [item.whole(status) for item in self._items]

    def text(self, text: str, logprobs: Any) -> Iterator[Event]:
        """Add text to the message, which it may begin."""
        if text or logprobs:
            yield from self._said().part("output_text", text, logprobs)

    def _raw(self, choice: Mapping[str, Any]) -> Iterator[Event]:
        delta = choice.get("delta") or {}
        logprobs = choice.get("logprobs") or {}
        yield from self.text(delta.get("content") or "", logprobs.get("content"))
        if refusal := delta.get("refusal"):
            yield from self._said().part("refusal", refusal, None)
        if annotations := delta.get("annotations"):
            yield from self._annotated(annotations)
        for piece in delta.get("tool_calls") or ():
            yield from self._call(_call_part(piece))

    def _annotated(self, annotations: Sequence[Any]) -> Iterator[Event]:
        for annotation in annotations:
            if isinstance(annotation, dict):
                yield from self._said().annotate(annotation)

    def _said(self) -> MessageItem:
        if self._message is None:
            self._message = MessageItem(message_id(self._node), len(self._items))
            self._items.append(self._message)
        return self._message

    def _call(self, part: CallPart) -> Iterator[Event]:
        call = self._calls.get(part.index)
        if call is None:
            name = call_id(self._node, len(self._calls), custom=part.kind is Kind.CUSTOM)
            call = self._calls[part.index] = CallItem(name, len(self._items), part)
            self._items.append(call)
            yield call.added()
        if part.arguments:
            yield call.more(part.arguments)


class MessageItem:
    """What is said: a text, a refusal, or both, each a content part."""

    def __init__(self, name: str, index: int) -> None:
        self._place = {"item_id": name, "output_index": index}
        self._parts: dict[str, _Part] = {}

    def part(self, kind: str, text: str, logprobs: Any) -> Iterator[Event]:
        """Add to the part of this kind."""
        yield from self._opened(kind)
        yield self._parts[kind].more(text, logprobs)

    def annotate(self, annotation: Mapping[str, Any]) -> Iterator[Event]:
        """Add a source of the text."""
        yield from self._opened("output_text")
        yield self._parts["output_text"].annotate(annotation)

    def done(self, status: str) -> Iterator[Event]:
        """Tell its end."""
        for part in self._parts.values():
            yield from part.done()
        index = self._place["output_index"]
        yield _event("output_item.done", output_index=index, item=self.whole(status))

    def whole(self, status: str) -> dict[str, Any]:
        """Return it as it is."""
        content = [part.whole() for part in self._parts.values()]
        return self._item(status, content)

    def _opened(self, kind: str) -> Iterator[Event]:
        if not self._parts:
            index = self._place["output_index"]
            yield _event("output_item.added", output_index=index, item=self._item("in_progress"))
        if kind not in self._parts:
            part = self._parts[kind] = _Part(
                kind, {**self._place, "content_index": len(self._parts)}
            )
            yield part.added()

    def _item(self, status: str, content: Sequence[Any] = ()) -> dict[str, Any]:
        name = self._place["item_id"]
        head = {"id": name, "type": "message", "status": status, "role": "assistant"}
        return {**head, "content": list(content)}


class _Part:
    """One content part of a message."""

    def __init__(self, kind: str, place: Mapping[str, Any]) -> None:
        self._kind = kind
        self._field = "text" if kind == "output_text" else "refusal"
        self._place = place
        self._texts: list[str] = []
        self._annotations: list[dict[str, Any]] = []
        self._logprobs: list[dict[str, Any]] = []

    def added(self) -> Event:
        return _event("content_part.added", **self._place, part=self.whole())

    def more(self, text: str, logprobs: Any) -> Event:
        self._texts.append(text)
        event = _event(f"{self._kind}.delta", **self._place, delta=text)
        if self._kind == "output_text":
            told = [_logprob(each) for each in logprobs or ()]
            self._logprobs += told
            event["logprobs"] = told
        return event

    def annotate(self, annotation: Mapping[str, Any]) -> Event:
        made = {"type": annotation.get("type"), **(annotation.get("url_citation") or {})}
        self._annotations.append(made)
        at = len(self._annotations) - 1
        return _event(
            "output_text.annotation.added", **self._place, annotation_index=at, annotation=made
        )

    def done(self) -> Iterator[Event]:
        whole = self.whole()
        event = _event(f"{self._kind}.done", **self._place)
        event[self._field] = whole[self._field]
        if self._kind == "output_text":
            event["logprobs"] = self._logprobs
        yield event
        yield _event("content_part.done", **self._place, part=whole)

    def whole(self) -> dict[str, Any]:
        text = "".join(self._texts)
        if self._kind == "refusal":
            return {"type": "refusal", "refusal": text}
        more = {"annotations": list(self._annotations), "logprobs": list(self._logprobs)}
        return {"type": "output_text", "text": text, **more}


class CallItem:
    """A call of one of the client's tools."""

    def __init__(self, name: str, index: int, first: CallPart) -> None:
        custom = first.kind is Kind.CUSTOM
        self._place = {"item_id": name, "output_index": index}
        self._field = "input" if custom else "arguments"
        self._event = "custom_tool_call_input" if custom else "function_call_arguments"
        self._head = {
            "id": name,
            "type": "custom_tool_call" if custom else "function_call",
            "call_id": first.id or f"call_{first.index}",
            "name": first.name or "",
        }
        self._texts: list[str] = []

    def added(self) -> Event:
        """Tell its beginning."""
        item = self.whole("in_progress")
        return _event("output_item.added", output_index=self._place["output_index"], item=item)

    def more(self, text: str) -> Event:
        """Add to what it is called with."""
        self._texts.append(text)
        return _event(f"{self._event}.delta", **self._place, delta=text)

    def done(self, status: str) -> Iterator[Event]:
        """Tell its end."""
        whole = self.whole(status)
        event = _event(f"{self._event}.done", **self._place)
        event[self._field] = whole[self._field]
        if self._field == "arguments":
            event["name"] = self._head["name"]
        yield event
        yield _event("output_item.done", output_index=self._place["output_index"], item=whole)

    def whole(self, status: str) -> dict[str, Any]:
        """Return it as it is."""
        return {**self._head, "status": status, self._field: "".join(self._texts)}


def _event(kind: str, **fields: Any) -> Event:
    return {"type": f"response.{kind}", **fields}


def _logprob(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the probability of a token; chats and responses tell it in the same words."""
    return {
        "token": told.get("token"),
        "bytes": told.get("bytes") or [],
        "logprob": told.get("logprob"),
        "top_logprobs": [_logprob_alone(each) for each in told.get("top_logprobs") or ()],
    }


def _logprob_alone(told: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "token": told.get("token"),
        "bytes": told.get("bytes") or [],
        "logprob": told.get("logprob"),
    }


def _call_part(piece: Mapping[str, Any]) -> CallPart:
    """Return a piece of a call as a backend gave it."""
    kind = Kind.CUSTOM if piece.get("custom") is not None else Kind.FUNCTION
    called = piece.get(kind.value) or {}
    text = called.get("input" if kind is Kind.CUSTOM else "arguments") or ""
    if not isinstance(text, str):
        text = orjson.dumps(text).decode()
    return CallPart(piece.get("index") or 0, piece.get("id"), called.get("name"), text, kind)
