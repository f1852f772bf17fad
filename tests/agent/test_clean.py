"""What of a clean step the client sees, and what is taken out of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.reply import Kind, Offer, Raw, Reply, Step, StepCall
from memgpt_proxy.wire.merge import ChoiceMerger
from memgpt_proxy.wire.step import StepReader
from tests.agent.build import call, delta, new_reply, said

MEMORY = ("working_context_append", "recall_storage_search")
APPEND = call("working_context_append", id="m1", content="Likes blue")
WEATHER = call("get_weather", id="w1", city="Lisbon")


def listen(
    *chunks: Any,
    theirs: tuple[str, ...] = (),
    ours: tuple[str, ...] = MEMORY,
    holds: bool = True,
    **how: Any,
) -> tuple[Reply, list[Any], list[Any], Step]:
    """Return the reply, the choices shown at once, those shown at the end, and the step."""
    reply, reader = new_reply(), StepReader()
    legacy, unnamed = how.pop("legacy", False), how.pop("unnamed", False)
    offer = Offer(ours, frozenset(theirs), clean=True, legacy=legacy, unnamed=unnamed)
    listener = CleanListener(reply, offer, holds=holds, **how)
    heard = [d for chunk in chunks for d in listener.hear(chunk, reader.add(chunk))]
    rest, step = listener.close(reader)
    return reply, shown(heard), shown(rest), step


def shown(deltas: list[Any]) -> list[Any]:
    return [choice for d in deltas if isinstance(d, Raw) for choice in d.choices]


def merged(choices: list[Any]) -> Any:
    merger = ChoiceMerger()
    merger.add({"choices": choices})
    return merger.choices()


def test_an_answer_is_handed_on_with_all_its_choices() -> None:
    second = {"choices": [{"index": 1, "delta": {"content": "Hey"}, "finish_reason": "stop"}]}
    chunks = [delta({"content": "Hi"}), second, delta({}, "stop")]
    reply, at_once, held, step = listen(*chunks, holds=False)
    assert [(c["index"], c["delta"], c["finish_reason"]) for c in at_once] == [
        (0, {"content": "Hi"}, None),
        (1, {"content": "Hey"}, "stop"),
        (0, {}, "stop"),
    ]
    assert held == []
    assert reply.messages == ["Hi"]
    assert step == Step("Hi", (), "stop")


def test_what_may_prove_to_be_a_thought_is_held_back_until_the_end() -> None:
    reply, at_once, held, _ = listen(*said(content="Blue.").chunks())
    assert at_once == []
    assert merged(held)[0]["message"]["content"] == "Blue."
    assert reply.messages == ["Blue."]


def test_a_thought_beside_a_call_of_ours_is_kept_back() -> None:
    reply, at_once, held, step = listen(*said(APPEND, content="Let me save that.").chunks())
    assert (at_once, held, reply.answered) == ([], [], False)
    assert step == Step("", (StepCall("m1", APPEND.name, APPEND.arguments),), "tool_calls")


def test_json_is_the_answer_as_soon_as_it_begins() -> None:
    chunks = [*said(content='  {"colour": "blue"}').chunks()]
    _, at_once, held, _ = listen(*chunks, json=True)
    assert merged(at_once + held)[0]["message"]["content"].strip() == '{"colour": "blue"}'
    assert len(at_once) > 1


def test_a_call_beside_json_that_was_shown_is_run_and_the_answer_stands() -> None:
    reply, at_once, held, step = listen(*said(APPEND, content='{"a": 1}').chunks(), json=True)
    (choice,) = merged(at_once + held)
    assert choice["message"]["content"] == '{"a": 1}'
    assert "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop"
    assert reply.messages == ['{"a": 1}']
    assert [each.name for each in step.calls] == ["working_context_append"]


def test_a_call_of_ours_in_any_choice_comes_first() -> None:
    head = {"name": APPEND.name, "arguments": APPEND.arguments}
    calls = {"tool_calls": [{"index": 0, "id": "m1", "function": head}]}
    second = {"choices": [{"index": 1, "delta": calls, "finish_reason": "tool_calls"}]}
    reply, at_once, held, step = listen(delta({"content": "Hi"}, "stop"), second)
    assert (at_once, held, reply.answered) == ([], [], False)
    assert [each.name for each in step.calls] == ["working_context_append"]


REASONING = {
    "reasoning_content": "secret",
    "reasoning": "secret",
    "reasoning_details": [{"text": "secret"}],
    "thinking_blocks": ["secret"],
}


def test_no_reasoning_is_shown() -> None:
    chunks = [delta(REASONING), delta({**REASONING, "content": "Hi"}), delta({}, "stop")]
    _, at_once, _, _ = listen(*chunks, holds=False)
    assert [choice["delta"] for choice in at_once] == [{"content": "Hi"}, {}]


def test_no_thinking_in_the_content_is_shown_nor_its_probabilities() -> None:
    tokens = ["<th", "ink>", "sec", "ret", "</think>", "Bl", "ue", "<", "3"]
    chunks = [with_probability(token) for token in tokens]
    _, at_once, held, step = listen(*chunks, delta({}, "stop"), holds=False)
    (choice,) = merged(at_once + held)
    assert choice["message"]["content"] == step.content == "Blue<3"
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == ["Bl", "ue", "<", "3"]


@pytest.mark.parametrize(
    "tokens", [["Bl", "ue"], ["{", '"a"', ": ", "1}"], ["<", "b>"], ["é", "\n", "x"]]
)
def test_probabilities_stay_with_their_text(tokens: list[str]) -> None:
    chunks = [with_probability(token) for token in tokens]
    _, at_once, held, _ = listen(*chunks, delta({}, "stop"), holds=False)
    (choice,) = merged(at_once + held)
    assert choice["message"]["content"] == "".join(tokens)
    assert [entry["token"] for entry in choice["logprobs"]["content"]] == tokens


def with_probability(token: str) -> Any:
    entry = {"token": token, "logprob": -0.5, "bytes": list(token.encode()), "top_logprobs": []}
    chunk = delta({"content": token})
    chunk["choices"][0]["logprobs"] = {"content": [entry], "refusal": None}
    return chunk


def test_calls_of_the_clients_tools_are_the_answer() -> None:
    reply, _, held, step = listen(*said(WEATHER).chunks(), theirs=("get_weather",))
    assert [(c.id, c.name, c.arguments) for c in reply.calls] == [
        ("w1", "get_weather", '{"city": "Lisbon"}')
    ]
    (choice,) = merged(held)
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city": "Lisbon"}'
    assert step.calls == (StepCall("w1", "get_weather", '{"city": "Lisbon"}'),)
    assert reply.message()["content"] is None


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "eos"])
def test_calls_are_the_reason_for_the_end_where_there_are_any(reason: str) -> None:
    piece = {"index": 0, "id": "w1", "function": {"name": "get_weather", "arguments": "{}"}}
    chunks = [delta({"tool_calls": [piece]}), delta({}, reason)]
    _, _, held, _ = listen(*chunks, theirs=("get_weather",))
    assert merged(held)[0]["finish_reason"] == "tool_calls"
    _, _, held, _ = listen(delta({"content": "Hi"}, reason))
    assert merged(held)[0]["finish_reason"] == "stop"


@pytest.mark.parametrize("holds", [False, True])
def test_a_call_that_nobody_has_offered_is_not_for_the_client(holds: bool) -> None:
    reply, at_once, held, step = listen(*said(WEATHER).chunks(), holds=holds)
    assert (at_once, held, reply.calls) == ([], [], [])
    assert step.calls == (StepCall("w1", "get_weather", '{"city": "Lisbon"}'),)


def test_a_call_of_a_tool_whose_name_is_not_known_is_the_clients() -> None:
    reply, _, held, _ = listen(*said(WEATHER).chunks(), unnamed=True)
    assert [call.name for call in reply.calls] == ["get_weather"]
    assert merged(held)[0]["finish_reason"] == "tool_calls"


def test_legacy_calls_are_kept_as_such() -> None:
    pieces = [{"name": "get_weather", "arguments": ""}, {"arguments": "{}"}]
    chunks = [delta({"function_call": piece}) for piece in pieces]
    reply, _, held, step = listen(
        *chunks, delta({}, "function_call"), theirs=("get_weather",), legacy=True
    )
    (choice,) = merged(held)
    called = {"name": "get_weather", "arguments": "{}"}
    assert choice["message"]["function_call"] == called
    assert choice["finish_reason"] == "function_call"
    assert step.calls[0].kind is Kind.LEGACY
    assert reply.message()["function_call"] == called


def test_a_legacy_call_of_ours_is_not_shown() -> None:
    pieces = [{"name": APPEND.name, "arguments": ""}, {"arguments": APPEND.arguments}]
    chunks = [delta({"function_call": piece}) for piece in pieces]
    _, at_once, held, step = listen(*chunks, delta({}, "function_call"), holds=False, legacy=True)
    assert "working_context_append" not in json.dumps(at_once + held)
    assert [each.name for each in step.calls] == [APPEND.name]


def test_what_is_said_by_send_message_is_the_answer() -> None:
    reply, at_once, held, step = listen(*said(call("send_message", message="Blue.")).chunks())
    (choice,) = merged(at_once + held)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Blue.", "stop")
    assert "tool_calls" not in choice["message"]
    assert (reply.messages, step.content, step.calls) == (["Blue."], "Blue.", ())


def test_a_call_of_ours_written_as_text_is_a_call() -> None:
    written = json.dumps({"name": APPEND.name, "arguments": {"content": "Likes blue"}})
    reply, at_once, held, step = listen(*said(content=written).chunks(), json=True)
    assert (at_once, held, reply.answered) == ([], [], False)
    assert [each.name for each in step.calls] == [APPEND.name]


def test_an_empty_answer_is_none() -> None:
    reply, at_once, held, step = listen(delta({"role": "assistant", "content": ""}, "stop"))
    assert (at_once, held, reply.answered) == ([], [], False)
    assert step == Step("", (), "stop")


def test_an_empty_answer_that_was_cut_short_is_handed_on() -> None:
    reply, _, held, _ = listen(delta({"content": ""}, "length"))
    assert merged(held)[0]["finish_reason"] == "length"
    assert reply.answered


def test_a_refusal_is_an_answer() -> None:
    reply, _, held, step = listen(delta({"refusal": "I can"}), delta({"refusal": "not."}, "stop"))
    assert merged(held)[0]["message"]["refusal"] == reply.refusal == step.refusal == "I cannot."


def test_speech_is_an_answer_and_its_words_are_remembered() -> None:
    audio = {"id": "audio_1", "data": "AAAA", "transcript": "Hello.", "expires_at": 9}
    reply, _, held, _ = listen(delta({"audio": audio}, "stop"))
    assert merged(held)[0]["message"]["audio"] == audio
    assert reply.words == "Hello."
    assert reply.message() == {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}


def test_nothing_of_a_step_aside_is_shown() -> None:
    reply, at_once, held, step = listen(*said(APPEND, content="Hm.").chunks(), shows=False)
    assert (at_once, held, reply.answered) == ([], [], False)
    assert [each.name for each in step.calls] == [APPEND.name]


def test_nothing_that_a_backend_adds_is_shown() -> None:
    chunk = delta({"content": "Hi", "x": "secret"}, "stop")
    chunk |= {"__verbose": "secret"}
    chunk["choices"][0]["x"] = "secret"
    _, at_once, _, _ = listen(chunk, holds=False)
    assert "secret" not in json.dumps(at_once)
