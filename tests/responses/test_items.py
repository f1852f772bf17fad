"""Input items as messages of a chat."""

from __future__ import annotations

from typing import Any

import pytest

from memgpt_proxy.api.responses.items import messages_of
from memgpt_proxy.errors import InvalidRequest

USER = {"role": "user", "content": "Hello."}
REASONING = {"type": "reasoning", "id": "rs_1", "summary": []}


def fc(name: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": f"call_{name}", "name": name, "arguments": "{}"}


def made(name: str) -> dict[str, Any]:
    function = {"name": name, "arguments": "{}"}
    return {"id": f"call_{name}", "type": "function", "function": function}


def out(name: str, output: Any = "1") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": f"call_{name}", "output": output}


def result(name: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"call_{name}", "content": "1"}


def said(*parts: dict[str, Any]) -> dict[str, Any]:
    head = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
    return {**head, "content": list(parts)}


def words(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_messages_of_all_roles(role: str) -> None:
    plain = {"role": role, "content": "Hello."}
    assert messages_of([plain], newest_only=False) == [plain]
    kind = "output_text" if role == "assistant" else "input_text"
    item = {"type": "message", "role": role, "content": [{"type": kind, "text": "Hello."}]}
    assert messages_of([item], newest_only=False) == [plain]


def test_what_an_assistant_says_is_one_text() -> None:
    item = said(words("One. "), words("Two."))
    assert messages_of([item], newest_only=False) == [{"role": "assistant", "content": "One. Two."}]


def test_a_refusal() -> None:
    item = said({"type": "refusal", "refusal": "No."})
    assert messages_of([item], newest_only=False) == [
        {"role": "assistant", "content": None, "refusal": "No."}
    ]


def test_images_files_and_sounds() -> None:
    content = [
        {"type": "input_text", "text": "Look."},
        {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"},
        {"type": "input_file", "file_data": "data:x", "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]
    (message,) = messages_of([{"role": "user", "content": content}], newest_only=False)
    assert message["content"] == [
        {"type": "text", "text": "Look."},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:x", "filename": "a.pdf"}},
        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
    ]


@pytest.mark.parametrize("order", ["words first", "calls first", "words between"])
def test_calls_stand_in_the_message_beside_them(order: str) -> None:
    items = {
        "words first": [said(words("Look.")), REASONING, fc("f"), fc("g")],
        "calls first": [fc("f"), fc("g"), said(words("Look."))],
        "words between": [fc("f"), said(words("Look.")), fc("g")],
    }[order]
    assert messages_of([USER, *items, out("g"), out("f"), USER], newest_only=False) == [
        USER,
        {"role": "assistant", "content": "Look.", "tool_calls": [made("f"), made("g")]},
        result("g"),
        result("f"),
        USER,
    ]


def test_calls_one_after_the_other() -> None:
    items = [USER, fc("f"), out("f"), REASONING, fc("g"), out("g")]
    assert messages_of(items, newest_only=False) == [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [made("f")]},
        result("f"),
        {"role": "assistant", "content": None, "tool_calls": [made("g")]},
        result("g"),
    ]


def test_custom_calls() -> None:
    called = {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "SELECT 1"}
    given = {
        "type": "custom_tool_call_output",
        "call_id": "c",
        "output": [{"type": "input_text", "text": "1"}],
    }
    assert messages_of([USER, called, given], newest_only=False)[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}
            ],
        },
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]


def test_outputs_may_answer_calls_of_an_earlier_response() -> None:
    assert messages_of([out("f"), out("g"), USER], newest_only=True) == [
        result("f"),
        result("g"),
        USER,
    ]


@pytest.mark.parametrize(
    ("items", "newest_only", "message"),
    [
        (
            [USER, out("f")],
            False,
            "No tool call found for function call output with call_id call_f.",
        ),
        (
            [USER, out("f")],
            True,
            "No tool call found for function call output with call_id call_f.",
        ),
        (
            [fc("f"), out("f"), out("f")],
            False,
            "No tool call found for function call output with call_id call_f.",
        ),
        ([USER, fc("f"), USER], False, "No tool output found for function call call_f."),
        (
            [USER, fc("f"), fc("g"), out("f")],
            False,
            "No tool output found for function call call_g.",
        ),
    ],
)
def test_calls_and_outputs_have_to_meet(items: Any, newest_only: bool, message: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages_of(items, newest_only=newest_only)
    assert (refused.value.message, refused.value.param) == (message, "input")


@pytest.mark.parametrize(
    ("item", "param"),
    [
        (3, "input[1]"),
        ({"role": "tool", "content": "x"}, "input[1].role"),
        ({"role": "user"}, "input[1].content"),
        ({"role": "user", "content": [3]}, "input[1].content[0]"),
        ({"role": "user", "content": [{"type": "video"}]}, "input[1].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[1].content[0].text"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "input[1].content[0].file_id",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "u"}]},
            "input[1].content[0].file_url",
        ),
        ({"role": "assistant", "content": [{"type": "input_image"}]}, "input[1].content[0].type"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "input[1].name"),
        (
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": {}},
            "input[1].arguments",
        ),
        ({"type": "function_call_output", "output": "x"}, "input[1].call_id"),
        ({"type": "web_search_call", "id": "ws_1"}, "input[1].type"),
        ({"type": "mcp_call", "id": "m"}, "input[1].type"),
    ],
)
def test_a_mistake_names_its_place(item: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        messages_of([USER, item], newest_only=False)
    assert refused.value.param == param
