"""Answers with all that is in them, as the ``openai`` package gives them, streamed or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import openai
from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletion

from tests.e2e.chatting import Person

ENDS = {"stop", "length", "tool_calls", "content_filter", "function_call"}


@dataclass(slots=True)
class Exact:
    """An answer: its choices by index, each with message, finish_reason and logprobs.

    Attributes:
        fields: What it says beside its choices; of a stream, what its last chunks say.
        chunks: The chunks of a stream, as objects.
    """

    choices: list[dict[str, Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    chunks: list[dict[str, Any]] = field(default_factory=list)

    @property
    def message(self) -> dict[str, Any]:
        """The message of the first choice."""
        message: dict[str, Any] = self.choices[0]["message"]
        return message


def ask(person: Person, stream: bool, **request: Any) -> Exact:
    """Ask by the ``openai`` package; the fields of an answer must be those that it knows."""
    asked = {"model": person.model, **request}
    with openai.OpenAI(base_url=person.base_url, api_key=person.api_key, max_retries=0) as client:
        create: Any = client.chat.completions.create
        if not stream:
            completion: ChatCompletion = create(**asked)
            told = completion.to_dict()
            choices: Any = told.pop("choices")
            return Exact(choices, told)
        return gathered([chunk.to_dict() for chunk in create(**asked, stream=True)])


def gathered(chunks: list[dict[str, Any]]) -> Exact:
    """Gather a stream as OpenAI's own package does, insisting on how each choice ends."""
    choices: dict[int, dict[str, Any]] = {}
    fields: dict[str, Any] = {}
    heads = {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in chunks}
    assert len(heads) == 1, "all chunks of a stream begin alike"
    for chunk in chunks:
        fields |= {name: value for name, value in chunk.items() if name != "choices"}
        if chunk.get("usage"):
            assert chunk["choices"] == []
        for choice in chunk["choices"]:
            _gather(choices, choice)
    assert choices, "an answer has choices"
    assert all(choice["finish_reason"] in ENDS for choice in choices.values())
    return Exact([choices[index] for index in sorted(choices)], fields, chunks)


def _gather(choices: dict[int, dict[str, Any]], choice: dict[str, Any]) -> None:
    index = choice["index"]
    empty = {"index": index, "message": {}, "finish_reason": None, "logprobs": None}
    known: Any = choices.setdefault(index, empty)
    assert known["finish_reason"] is None, "a delta after the end"
    known["message"] = accumulate_delta(known["message"], choice["delta"])
    known["finish_reason"] = choice["finish_reason"]
    if logprobs := choice.get("logprobs"):
        before = known["logprobs"] or {"content": []}
        known["logprobs"] = {"content": before["content"] + (logprobs["content"] or [])}
