"""What servers say when a prompt is too long, and what only resembles it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memgpt_proxy.backend.overflow import Overflow, error_overflow, refusal_overflow


def openai(message: str, code: Any = "context_length_exceeded") -> dict[str, Any]:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": "messages",
            "code": code,
        }
    }


def vllm(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


# Each: the body as the server sends it, and (window, prompt, completion, by the answer).
TOLD: dict[str, tuple[Any, tuple[int | None, int | None, int | None, bool]]] = {
    "OpenAI": (
        openai(
            "This model's maximum context length is 8192 tokens. However, your messages resulted "
            "in 8545 tokens. Please reduce the length of the messages."
        ),
        (8192, 8545, None, False),
    ),
    "OpenAI, functions": (
        openai(
            "This model's maximum context length is 4097 tokens. However, your messages resulted "
            "in 4294 tokens (4000 in the messages, 294 in the functions). Please reduce the length "
            "of the messages or functions."
        ),
        (4097, 4294, None, False),
    ),
    "OpenAI, completion": (
        openai(
            "This model's maximum context length is 4097 tokens. However, you requested 4268 "
            "tokens (4012 in the messages, 256 in the completion). Please reduce the length of "
            "the messages or completion."
        ),
        (4097, 4012, 256, True),
    ),
    "OpenAI, functions and completion": (
        openai(
            "This model's maximum context length is 16385 tokens. However, you requested 16500 "
            "tokens (12404 in the messages, 96 in the functions, and 4000 in the completion). "
            "Please reduce the length of the messages, functions, or completion."
        ),
        (16385, 12500, 4000, True),
    ),
    "OpenAI, in its first wording": (
        openai(
            "This model's maximum context length is 4097 tokens, however you requested 4231 "
            "tokens (3975 in your prompt; 256 for the completion). Please reduce your prompt; or "
            "completion length.",
            None,
        ),
        (4097, 3975, 256, True),
    ),
    "OpenAI, newer models": (
        openai("Your input exceeds the context window of this model. Please adjust your input."),
        (None, None, None, False),
    ),
    "vLLM until 0.8": (
        {
            "object": "error",
            "message": "This model's maximum context length is 16384 tokens. However, you "
            "requested 122946 tokens (112946 in the messages, 10000 in the completion). Please "
            "reduce the length of the messages or completion.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        (16384, 112946, 10000, False),
    ),
    "vLLM": (
        vllm(
            "This model's maximum context length is 8192 tokens. However, you requested 64 output "
            "tokens and your prompt contains 10000 input tokens, for a total of 10064 tokens. "
            "Please reduce the length of the input prompt or the number of requested output tokens."
        ),
        (8192, 10000, 64, False),
    ),
    "vLLM, cut before it is counted": (
        vllm(
            "This model's maximum context length is 128000 tokens. However, you requested 65535 "
            "output tokens and your prompt contains at least 62466 input tokens, for a total of at "
            "least 128001 tokens. (parameter=input_tokens, value=62466)"
        ),
        (128000, None, 65535, True),
    ),
    "vLLM, characters": (
        vllm(
            "This model's maximum context length is 8192 tokens. However, you requested 64 output "
            "tokens and your prompt contains 100000 characters (more than 81280 characters, which "
            "is the upper bound for 8128 input tokens)."
        ),
        (8192, None, 64, True),
    ),
    "vLLM, max_tokens": (
        vllm(
            "'max_tokens' or 'max_completion_tokens' is too large: 32768. This model's maximum "
            "context length is 40960 tokens and your request has 9519 input tokens (32768 > 40960 "
            "- 9519)."
        ),
        (40960, 9519, None, True),
    ),
    "vLLM, max_tokens above the window": (
        vllm(
            "max_completion_tokens=131072 cannot be greater than "
            "max_model_len=max_total_tokens=65536. Please request fewer output tokens."
        ),
        (65536, None, 131072, True),
    ),
    "vLLM, multimodal": (
        vllm("The decoder prompt (length 12324) is longer than the maximum model length of 8192."),
        (8192, 12324, None, False),
    ),
    "SGLang": (
        vllm(
            "Requested token count exceeds the model's maximum context length of 262144 tokens. "
            "You requested a total of 337844 tokens: 206772 tokens from the input messages and "
            "131072 tokens for the completion. Please reduce the number of tokens."
        ),
        (262144, 206772, 131072, True),
    ),
    "SGLang, Together": (
        vllm("The input (516368 tokens) is longer than the model's context length (8193 tokens)."),
        (8193, 516368, None, False),
    ),
    "text-generation-inference": (
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. "
            "Given: 2019 `inputs` tokens and 30 `max_new_tokens`",
            "error_type": "validation",
        },
        (2048, 2019, 30, True),
    ),
    "llama.cpp": (
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size. try increasing the "
                "context size or enable context shift",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 14429,
                "n_ctx": 8192,
            }
        },
        (8192, 14429, None, False),
    ),
    "llama.cpp, as others pass it on": (
        {
            "error": {
                "code": 400,
                "message": "request (5584 tokens) exceeds the available context size (4096 "
                "tokens), try increasing it",
                "type": "exceed_context_size_error",
            }
        },
        (4096, 5584, None, False),
    ),
    "llama.cpp, a type alone": (
        {"error": {"message": "No.", "type": "exceed_context_size_error"}},
        (None, None, None, False),
    ),
    "llama.cpp, before it had a type": (
        {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size. try increasing the "
                "context size or enable context shift",
                "type": "server_error",
            }
        },
        (None, None, None, False),
    ),
    "Ollama on llama.cpp": (
        {
            "error": json.dumps(
                {
                    "error": {
                        "code": 400,
                        "message": "request (5024 tokens) exceeds the available context size (4096 "
                        "tokens), try increasing it",
                        "type": "exceed_context_size_error",
                    }
                }
            )
        },
        (4096, 5024, None, False),
    ),
    "Ollama": (
        openai("prompt too long; exceeded max context length by 100918 tokens", None),
        (None, None, None, False),
    ),
    "llama-cpp-python": (
        openai("Requested tokens (2285) exceed context window of 2048", None),
        (2048, 2285, None, False),
    ),
    "Anthropic": (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 205371 tokens > 200000 maximum",
            },
        },
        (200000, 205371, None, False),
    ),
    "Anthropic, max_tokens": (
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "input length and `max_tokens` exceed context limit: 188059 + 20000 > "
                "200000, decrease input length or `max_tokens` and try again",
            },
        },
        (200000, 188059, 20000, True),
    ),
    "Mistral": (
        {
            "object": "error",
            "message": "Prompt contains 140000 tokens and 0 draft tokens, too large for model "
            "with 131072 maximum context length",
            "type": "invalid_request_invalid_args",
            "code": "3051",
        },
        (131072, 140000, None, False),
    ),
    "Groq": (
        openai("Please reduce the length of the messages or completion."),
        (None, None, None, True),
    ),
    "OpenRouter": (
        {
            "error": {
                "message": "This endpoint's maximum context length is 200000 tokens. However, you "
                "requested about 5028244 tokens (4945291 of text input, 2953 of tool input, 80000 "
                "in the output). Please reduce the length of either one, or use the "
                '"middle-out" transform to compress your prompt automatically.',
                "code": 400,
                "metadata": {"provider_name": None},
            }
        },
        (200000, 4948244, 80000, False),
    ),
    "OpenRouter, the answer": (
        {
            "error": {
                "message": "This endpoint's maximum context length is 131072 tokens. However, you "
                "requested about 141607 tokens (10535 of text input, 131072 in the output).",
                "code": 400,
            }
        },
        (131072, 10535, 131072, True),
    ),
    "OpenRouter, text only": (
        {
            "error": {
                "message": "This endpoint's maximum context length is 32768 tokens. However, you "
                "requested about 42832 tokens (42832 of text input).",
                "code": 400,
            }
        },
        (32768, 42832, None, False),
    ),
    "OpenRouter, a provider's own words": (
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {
                    "raw": json.dumps(
                        vllm(
                            "Input length 131393 exceeds the maximum allowed input length of "
                            "131040 tokens."
                        )
                    ),
                    "provider_name": "Poolside",
                },
            }
        },
        (131040, 131393, None, False),
    ),
    "xAI": (
        {
            "code": "invalid-argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 537812 "
            "tokens.",
        },
        (131072, 537812, None, False),
    ),
    "Gemini": (
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1196265) exceeds the maximum number of "
                    "tokens allowed (1048575).",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        (1048575, 1196265, None, False),
    ),
    "LM Studio": (
        {
            "error": "Trying to keep the first 15857 tokens when context the overflows. However, "
            "the model is loaded with context length of only 4096 tokens, which is not enough."
        },
        (4096, 15857, None, False),
    ),
    "LM Studio, later": (
        {"error": "Cannot truncate prompt with n_keep (11378) >= n_ctx (4096)"},
        (4096, 11378, None, False),
    ),
    "LM Studio, without numbers": (
        {
            "error": "The number of tokens to keep from the initial prompt is greater than the "
            "context length. Try to load the model with a larger context length."
        },
        (None, None, None, False),
    ),
    "Moonshot": (
        openai(
            "Invalid request: Your request exceeded model token limit: 262144 (requested: 300000)",
            None,
        ),
        (262144, None, None, False),
    ),
    "Bedrock": (
        openai("bedrock error: Input is too long for requested model.", None),
        (None, None, None, False),
    ),
    "a code alone": (openai("Too long."), (None, None, None, False)),
}


@pytest.mark.parametrize(("body", "told"), TOLD.values(), ids=TOLD)
def test_what_servers_tell(
    body: Any, told: tuple[int | None, int | None, int | None, bool]
) -> None:
    assert refusal_overflow(400, json.dumps(body).encode()) == Overflow(*told)
    assert error_overflow(body) == Overflow(*told)


def test_plain_text_is_read_too() -> None:
    told = refusal_overflow(400, b"prompt is too long: 3 tokens > 2 maximum\n")
    assert told == Overflow(2, 3, None, by_answer=False)


def test_the_inner_object_of_a_stream_is_read_too() -> None:
    error = {"type": "exceed_context_size_error", "n_prompt_tokens": 90, "n_ctx": 64, "message": ""}
    assert error_overflow(error) == Overflow(64, 90, None, by_answer=False)


OTHERS: dict[str, tuple[int, Any]] = {
    "OpenAI: too many tokens a minute": (
        429,
        openai(
            "Request too large for gpt-4 in organization org-1 on tokens per min (TPM): Limit "
            "10000, Requested 14000. The input or output tokens must be reduced in order to run "
            "successfully.",
            "rate_limit_exceeded",
        ),
    ),
    "Groq: too many tokens a minute": (
        413,
        openai(
            "Request too large for model `qwen3` in organization `org_x` service tier `on_demand` "
            "on tokens per minute (TPM): Limit 8000, Requested 8894, please reduce your message "
            "size and try again.",
            "rate_limit_exceeded",
        ),
    ),
    "OpenAI: more output than the model has": (
        400,
        openai(
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, "
            "whereas you provided 100000.",
            "invalid_value",
        ),
    ),
    "Anthropic: more output than the model has": (
        400,
        openai(
            "max_tokens: 64000 > 8192, which is the maximum allowed number of output tokens", None
        ),
    ),
    "Bedrock: throttled": (400, openai("ThrottlingException: Too many tokens, please wait", None)),
    "no such model": (404, openai("maximum context length is 5 tokens", "model_not_found")),
    "a validation error that repeats the prompt": (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "temperature"],
                    "msg": "Input should be a valid number",
                    "input": {"content": "why: maximum context length is 8192 tokens"},
                }
            ]
        },
    ),
    "an unknown field": (400, openai("Unrecognized request argument supplied: logit", None)),
    "empty": (400, {}),
    "null": (500, None),
}


@pytest.mark.parametrize(("status", "body"), OTHERS.values(), ids=OTHERS)
def test_other_refusals_are_left_alone(status: int, body: Any) -> None:
    assert refusal_overflow(status, json.dumps(body).encode()) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "n_ctx", "code", "raw"]), inner
        )
    ),
)


@given(body=st.binary(max_size=50) | JSON.map(lambda value: json.dumps(value).encode()))
def test_nothing_is_made_of_just_anything(body: bytes) -> None:
    assert refusal_overflow(400, body) is None
