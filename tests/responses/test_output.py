"""The events of a response: what they add up to is the response, whatever the reply."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types.responses import Response, ResponseStreamEvent

from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.reply import Beside, CallPart, Delta, Kind, Raw, Reply, Text
from memgpt_proxy.agent.request import TurnResult
from memgpt_proxy.api.responses.names import new_node
from memgpt_proxy.api.responses.request import input_of, read_request
from memgpt_proxy.api.responses.response import Telling, usage_of
from memgpt_proxy.config import Settings
from memgpt_proxy.errors import BackendBroken, BackendRefused, GatewayError
from memgpt_proxy.memory.tokens import TokenCounter
from tests.responses.asking import gathered

COUNTER = TokenCounter(Settings().tokenizer)
TEXTS = st.text(max_size=12)
CALLS = st.sampled_from(list(Kind)[:2])
REASONS = st.sampled_from(["stop", "length", "content_filter", "tool_calls"])


@st.composite
def call_parts(draw: st.DrawFn) -> list[Delta]:
    """Pieces of parallel calls, interleaved as a backend may send them."""
    kinds = draw(st.lists(CALLS, max_size=3))
    pieces: list[list[Delta]] = [
        [
            CallPart(index, f"call_{index}", f"tool_{index}", draw(TEXTS), kind),
            *[CallPart(index, None, None, t, kind) for t in draw(st.lists(TEXTS, max_size=3))],
        ]
        for index, kind in enumerate(kinds)
    ]
    order: list[Delta] = []
    while any(pieces):
        order.append(draw(st.sampled_from([each for each in pieces if each])).pop(0))
    return order


def raw(delta: dict[str, Any], logprobs: Any = None) -> Raw:
    choice: Any = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": None}
    return Raw([choice], {})


def token(text: str) -> dict[str, Any]:
    top = {"token": text, "bytes": [], "logprob": -0.1}
    return {"token": text, "bytes": list(text.encode()), "logprob": -0.5, "top_logprobs": [top]}


SAID = st.one_of(
    TEXTS.map(Text),
    TEXTS.map(lambda text: Beside("refusal", text)),
    TEXTS.map(lambda text: raw({"content": text})),
    TEXTS.map(lambda text: raw({"content": text}, {"content": [token(text)]})),
    TEXTS.map(lambda text: raw({"refusal": text})),
)


@st.composite
def replies(draw: st.DrawFn) -> list[list[Delta]]:
    """A reply, as many deltas at a time as a network read brings."""
    deltas = draw(call_parts())
    for said in draw(st.lists(SAID, max_size=6)):
        deltas.insert(draw(st.integers(0, len(deltas))), said)
    reads = []
    while deltas:
        size = draw(st.integers(1, len(deltas)))
        reads.append(deltas[:size])
        deltas = deltas[size:]
    return reads


def telling(**fields: Any) -> Telling:
    given = {"model": "m", "input": "Hello.", **fields}
    request = read_request(given, input_of(given), newest_only=False)
    return Telling(request, new_node(), stored=True)


def typed(events: list[dict[str, Any]]) -> list[Any]:
    return [construct_type(type_=ResponseStreamEvent, value=event) for event in events]


def result(reason: str = "stop") -> TurnResult:
    usage: Any = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    return TurnResult(Reply(TextLimit((), None, COUNTER)), reason, usage, degraded=False)


@given(reads=replies(), reason=REASONS)
def test_events_add_up_to_the_response(reads: list[list[Delta]], reason: str) -> None:
    told = telling()
    events = told.opening()
    for deltas in reads:
        events += told.add(deltas)
    events += told.finish(result(reason))
    response = gathered(typed(events))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    said = [text for deltas in reads for delta in deltas if (text := _text(delta))]
    assert response.output_text == "".join(said)
    cut = reason in ("length", "content_filter")
    assert response.status == ("incomplete" if cut else "completed")
    Response.model_validate(events[-1]["response"] | {"model": "m"})  # its types are as promised


def _text(delta: Delta) -> str:
    match delta:
        case Text(text=text):
            return text
        case Raw(choices=(choice,)):
            return (choice.get("delta") or {}).get("content") or ""  # type: ignore[return-value]
        case _:
            return ""


def test_a_source_is_an_annotation() -> None:
    cited = {"url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    told = telling()
    events = told.opening() + told.add([Text("Hi")])
    events += told.add([Beside("annotations", [{"type": "url_citation", "url_citation": cited}])])
    response = gathered(typed(events + told.finish(result())))
    (item,) = response.model_dump()["output"]
    assert item["content"][0]["annotations"] == [{"type": "url_citation", **cited}]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BackendBroken("It broke off."), "server_error", "It broke off."),
        (BackendRefused(429, [], b'{"error": {"message": "slow"}}'), "rate_limit_exceeded", "slow"),
        (
            BackendRefused(500, [], b"<html>"),
            "server_error",
            "The backend answered with status 500.",
        ),
    ],
)
def test_a_failure_amid_the_stream(error: GatewayError, code: str, message: str) -> None:
    told = telling()
    events = told.opening() + told.add([Text("Hel")]) + told.fail(error)
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"] == {"code": code, "message": message}
    assert last["response"]["output"][0]["content"][0]["text"] == "Hel"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))


def test_usage_has_the_names_of_responses() -> None:
    usage: Any = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert usage_of(usage) == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 15,
    }


def test_a_response_repeats_what_was_asked_for() -> None:
    told = telling(metadata={"a": "b"}, temperature=0.5, truncation="auto", top_p=0.9)
    response = told.opening()[0]["response"]
    assert response["metadata"] == {"a": "b"}
    assert (response["temperature"], response["top_p"], response["truncation"]) == (
        0.5,
        0.9,
        "auto",
    )
