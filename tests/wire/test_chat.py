from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.wire.chat import Completion, add_usage, completion_to_chunk


def test_a_completion_becomes_one_chunk():
    completion: Completion = {
        "id": "c1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "f"}},
                        {"id": "b", "type": "function", "function": {"name": "g"}},
                    ],
                },
                "finish_reason": "tool_calls",
            },
            {"index": 1, "message": {"role": "assistant", "content": "hi"}, "logprobs": None},
        ],
        "usage": {"total_tokens": 3},
    }
    assert completion_to_chunk(completion) == {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "delta": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f"}},
                        {"index": 1, "id": "b", "type": "function", "function": {"name": "g"}},
                    ],
                },
                "finish_reason": "tool_calls",
            },
            {"index": 1, "delta": {"role": "assistant", "content": "hi"}, "logprobs": None},
        ],
        "usage": {"total_tokens": 3},
    }


def test_a_completion_without_choices():
    assert completion_to_chunk(cast("Completion", {"error": {"message": "no"}})) == {
        "object": "chat.completion.chunk",
        "error": {"message": "no"},
        "choices": [],
    }


def test_usage_is_summed_with_its_details():
    first: Any = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": None,
        "cost": 0.5,
        "tier": "a",
    }
    second: Any = {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "prompt_tokens_details": {"cached_tokens": None, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.25,
        "tier": "b",
        "queue_ms": 7,
    }
    assert add_usage(first, second) == {
        "prompt_tokens": 11,
        "completion_tokens": 7,
        "total_tokens": 18,
        "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.75,
        "tier": "a",
        "queue_ms": 7,
    }
    assert first["prompt_tokens"] == 10
    assert add_usage(None, first) == first


@given(st.lists(st.dictionaries(st.sampled_from(["prompt_tokens", "other"]), st.integers(0))))
def test_any_number_of_usages(usages):
    total = None
    for usage in usages:
        total = add_usage(total, usage)
    for name in ("prompt_tokens", "other"):
        assert (total or {}).get(name, 0) == sum(usage.get(name, 0) for usage in usages)
