"""Refusals in the words of real servers, and what they tell of the backend."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from memgpt_proxy.backend.refused import refused_traits
from memgpt_proxy.errors import BackendRefused, ErrorInStream
from memgpt_proxy.traits import Trait


def of_openai(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None}}


def of_pydantic(field: str) -> dict[str, Any]:
    told = {
        "type": "extra_forbidden",
        "loc": ["body", field],
        "msg": "Extra inputs are not permitted",
    }
    return {"detail": [told]}


WORDINGS = [
    (400, of_openai("registry.ollama.ai/library/gemma3:4b does not support tools"), "no_tools"),
    (500, of_openai("tools param requires --jinja flag"), "no_tools"),
    (
        400,
        {
            "object": "error",
            "message": '"auto" tool choice requires --enable-auto-tool-choice and '
            "--tool-call-parser to be set",
        },
        "no_tools",
    ),
    (404, of_openai("No endpoints found that support tool use."), "no_tools"),
    (400, of_openai("deepseek-reasoner does not support Function Calling"), "no_tools"),
    (400, of_openai("Function calling is not enabled for models/gemma-3-27b-it"), "no_tools"),
    (400, of_openai("Unrecognized request argument supplied: tools"), "functions"),
    (422, of_pydantic("tools"), "functions"),
    (400, of_openai("Unrecognized request argument supplied: functions"), "no_tools"),
    (400, of_openai("System role not supported"), "no_system"),
    (
        400,
        of_openai(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model."
        ),
        "no_system",
    ),
    (400, of_openai("Developer instruction is not enabled for models/gemma-3-27b-it"), "no_system"),
    (
        400,
        of_openai("Conversation roles must alternate user/assistant/user/assistant/..."),
        "alternating",
    ),
    (
        500,
        of_openai(
            "After the optional system message, conversation roles must alternate user and "
            "assistant roles except for tool calls and results."
        ),
        "alternating",
    ),
    (
        400,
        of_openai(
            'messages: roles must alternate between "user" and "assistant", but found multiple '
            '"user" roles in a row'
        ),
        "alternating",
    ),
    (
        400,
        of_openai(
            "'developer' is not one of ['system', 'assistant', 'user', 'function'] - "
            "'messages.0.role'"
        ),
        "no_developer",
    ),
    (422, of_openai("messages[0].role: unknown variant `developer`, expected"), "no_developer"),
    (422, of_pydantic("stream_options"), "no_stream_options"),
    (400, of_openai("'stream' does not support true with this model."), "no_stream"),
    (500, of_openai("Cannot use tools with stream"), "no_stream"),
    (400, of_openai("This model does not support streaming."), "no_stream"),
    (400, of_openai("This model does not support stream_options"), "no_stream_options"),
    (400, {"detail": "Stream must be set to true"}, "only_stream"),
    (400, of_openai("Requests with max_tokens > 4096 must have stream=true"), "only_stream"),
    (400, of_openai('json: unknown field "stream_options"'), "no_stream_options"),
    (
        400,
        of_openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead."
        ),
        "max_completion_tokens",
    ),
    (400, of_openai("Unrecognized request argument supplied: max_completion_tokens"), "max_tokens"),
    (
        400,
        [{"error": {"message": 'Unknown name "parallel_tool_calls": Cannot find field.'}}],
        "no_parallel_tool_calls",
    ),
    (
        400,
        of_openai("Unsupported parameter: 'parallel_tool_calls' is not supported with this model."),
        "no_parallel_tool_calls",
    ),
    (400, of_openai("deepseek-reasoner does not support this tool_choice"), "no_tool_choice"),
    (
        400,
        of_openai("The `reasoning_content` in the thinking mode must be passed back to the API."),
        "reasoning",
    ),
    (
        400,
        of_openai("The reasoning content in the thinking mode must be passed back to the API."),
        "reasoning",
    ),
    (
        400,
        of_openai("Missing `reasoning_content` field in the assistant message at message index 4."),
        "reasoning",
    ),
    (
        400,
        {
            "code": 20015,
            "message": "thinking is enabled but reasoning_content is missing in assistant tool "
            "call message at index 32",
            "data": None,
        },
        "reasoning",
    ),
    (
        400,
        of_openai(
            "preserved thinking (thinking.keep=all) requires reasoning_content on every assistant "
            "message, but assistant message at index 6 is missing reasoning_content"
        ),
        "reasoning",
    ),
    (400, of_openai("Unknown parameter: 'messages[2].reasoning_content'."), "no_reasoning"),
    (
        400,
        of_openai(
            "Additional properties are not allowed ('reasoning_details' was unexpected) - "
            "'messages.1'"
        ),
        "no_reasoning",
    ),
    (
        400,
        of_openai(
            "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : "
            "property 'reasoning' is unsupported)]"
        ),
        "no_reasoning",
    ),
    (422, of_pydantic("reasoning_content"), "no_reasoning"),
    (
        400,
        of_openai("messages.1.content.0: Invalid `signature` in `thinking` block"),
        "no_reasoning",
    ),
    # DeepSeek; Groq; an older llama.cpp; LM Studio; llama-cpp-python; llama.cpp
    (400, of_openai("This response_format type is unavailable now"), "no_json_schema"),
    (
        400,
        of_openai("This model does not support response format `json_schema`."),
        "no_json_schema",
    ),
    (
        500,
        of_openai(
            'response_format type must be one of "text" or "json_object", but got: json_schema'
        ),
        "no_json_schema",
    ),
    (400, {"error": "'response_format.type' must be 'text'"}, "no_json_schema"),
    (500, of_pydantic("response_format.type"), "no_json_schema"),
    (400, of_openai("Failed to initialize samplers: failed to parse grammar"), "no_json_schema"),
    (400, of_openai("tools: cannot use tools together with a response_format"), "no_json_schema"),
]


@pytest.mark.parametrize(("status", "body", "trait"), WORDINGS)
def test_what_servers_say(status: int, body: object, trait: str) -> None:
    first, *_ = refused_traits(BackendRefused(status, [], orjson.dumps(body)))
    assert first is Trait(trait)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "max_tokens is too large: 100000. This model supports at most 4096 tokens."),
        (400, "Invalid value for 'tool_choice': no function named 'x' was specified."),
        (400, "'temperature' is too high"),
        (400, "Unsupported value: 'reasoning_effort' does not support 'none' with this model."),
        (404, "The model `gpt-9` does not exist"),
        (401, "this key does not support tools"),
        (429, "Unrecognized request argument supplied: tools"),
        (503, "overloaded"),
    ],
)
def test_other_matters(status: int, message: str) -> None:
    refusal = BackendRefused(status, [], orjson.dumps(of_openai(message)))
    assert not refused_traits(refusal)


def test_it_may_stand_in_a_stream_or_be_no_json() -> None:
    told = ErrorInStream("x", {"message": "System role not supported"})
    assert [*refused_traits(told)] == [Trait.NO_SYSTEM]
    plain = BackendRefused(500, [], b"Jinja Exception: System role not supported")
    assert [*refused_traits(plain)] == [Trait.NO_SYSTEM]
