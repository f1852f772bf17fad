"""Names of functions as models spell them, from public reports of each."""

from __future__ import annotations

import pytest

from memgpt_proxy.wire.call_names import true_name

KNOWN = ("send_message", "get_weather")


@pytest.mark.parametrize(
    "written",
    [
        "send_message",
        " send_message ",
        "functions.send_message",
        "functions.send_message:0",  # Kimi
        "default_api.send_message",  # Gemini
        "default_api:send_message",
        "tools.send_message",
        "call:send_message",  # Gemma
        "send_message<|channel|>commentary",  # gpt-oss
        "send_message<|channel|>json",
        "<|constrain|>send_message",
        "send_message<｜tool▁sep｜>",  # DeepSeek
    ],
)
def test_the_function_that_is_meant(written: str) -> None:
    assert true_name(written, KNOWN) == "send_message"


@pytest.mark.parametrize(
    "written", ["", "fly", "functions.fly", "send_messages", "my.send_message"]
)
def test_one_that_nobody_knows_stays_as_it_is(written: str) -> None:
    assert true_name(written, KNOWN) == written


def test_a_clients_own_name_goes_first() -> None:
    assert true_name("tools.send_message", [*KNOWN, "tools.send_message"]) == "tools.send_message"
