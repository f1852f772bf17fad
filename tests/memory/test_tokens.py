"""Counting tokens, without a network."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import tiktoken

from memgpt_proxy.memory.tokens import Calibration, TokenCounter
from tests.support.process import clean_environment

# The ids of "hello world", as OpenAI's tokenizer page shows them.
HELLO = {"cl100k_base": [15339, 1917], "o200k_base": [24912, 2375]}

OFFLINE = """
import socket, sys

def refuse(*_):
    raise OSError("no network here")

socket.socket.connect = socket.getaddrinfo = refuse
from memgpt_proxy.memory.tokens import TokenCounter
import tiktoken
TokenCounter(sys.argv[1])
print(tiktoken.get_encoding(sys.argv[1]).encode("hello world"))
"""


@pytest.mark.parametrize("table", HELLO)
def test_the_tables_come_with_the_installation(table: str) -> None:
    environment = clean_environment()
    environment.pop("TIKTOKEN_CACHE_DIR", None)
    command = [sys.executable, "-c", OFFLINE, table]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout == f"{HELLO[table]}\n", result.stderr


def test_text() -> None:
    counter = TokenCounter("cl100k_base")
    assert counter.text("hello world") == counter.remembered("hello world") == 2
    assert counter.text("") == 0
    assert counter.text("<|endoftext|>") > 1  # words of a person, not a control token


def test_a_head_is_as_long_as_asked() -> None:
    counter = TokenCounter("cl100k_base")
    assert counter.head("hello world", 1) == ("hello", 1)
    assert counter.head("hello world", 2) == ("hello world", 2)
    assert counter.head("hello world", 0) == ("", 0)
    head, _ = counter.head("🎂🎂🎂", 2)
    assert "🎂🎂🎂".startswith(head)


async def test_messages_count_their_words_and_calls() -> None:
    counter = TokenCounter("cl100k_base")
    empty = counter.messages([{"role": "user", "content": ""}])
    text = {"role": "user", "content": "hello world"}
    parts = {"role": "user", "content": [{"type": "text", "text": "hello world"}]}
    assert counter.messages([text]) == counter.messages([parts]) == empty + 2
    # Counted together, texts may differ by a token where they meet.
    assert counter.messages([text, parts]) == pytest.approx(2 * (empty + 2), abs=1)
    calls = [{"function": {"name": "f", "arguments": "hello world"}}]
    assert counter.messages([{"role": "assistant", "content": None, "tool_calls": calls}]) > empty
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
    assert counter.messages([image]) > 500


async def test_a_long_text_is_counted_the_same_off_the_loop() -> None:
    counter = TokenCounter("cl100k_base")
    long = [{"role": "user", "content": "hello world " * 20_000}]
    assert await counter.messages_off_loop(list(long)) == counter.messages(long)


def test_calibration_comes_to_the_backends_ratio() -> None:
    calibration = Calibration()
    assert calibration.ratio == 1.0
    for _ in range(60):
        calibration.learn(1000, 1300)
    assert calibration.ratio == pytest.approx(1.3, abs=0.01)


def test_calibration_is_never_below_one_nor_mad() -> None:
    calibration = Calibration()
    for counted, reported in [(1000, 100), (0, 100), (100, 0), (-1, 5)]:
        calibration.learn(counted, reported)
    assert calibration.ratio == 1.0
    calibration.learn(1, 1_000_000)
    assert calibration.ratio < 2


def test_calibration_takes_a_count_that_is_certain_at_once() -> None:
    calibration = Calibration()
    calibration.learn(1000, 1300)
    calibration.learn(1000, 2500.0, weight=1)
    assert calibration.ratio == 2.5


LONG_TEXTS = {
    "words": "the quick brown fox " * 5000,
    "one line without a space": "abcdefghij" * 10_000,
    "no letters": "=" * 100_000,
    "three bytes each": "記憶" * 20_000,
    "four bytes each": "🎂" * 20_000,
    "half a character": "word \ud83c " * 5000,
}


@pytest.mark.parametrize("text", LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_long_texts_are_counted_in_pieces(text: str) -> None:
    """Within a token a border, and only as far as it matters."""
    counter = TokenCounter("cl100k_base")
    whole = len(tiktoken.get_encoding("cl100k_base").encode_ordinary(text))
    assert whole <= counter.text(text) <= whole + len(text) // 10_000
    assert 1000 < counter.text(text, 1000) <= counter.text(text)
    assert counter.text(text, whole + 100) == counter.text(text)
    for tokens in (0, 10, 1000, whole // 2):
        head, taken = counter.head(text, tokens)
        assert taken == tokens
        clean = text.replace("\ud83c", "\ufffd")
        assert clean.startswith(head.replace("\ud83c", "\ufffd"))
        assert counter.text(head) <= tokens + 1
    assert counter.head(text, whole + 100) == (text, counter.text(text))


async def test_calls_of_every_kind_count() -> None:
    counter = TokenCounter("cl100k_base")
    long = "hello world " * 500
    calls: list[dict[str, Any]] = [
        {"tool_calls": [{"function": {"name": "f", "arguments": long}}]},
        {"tool_calls": [{"type": "custom", "custom": {"name": "f", "input": long}}]},
        {"function_call": {"name": "f", "arguments": long}},
    ]
    for call in calls:
        message = {"role": "assistant", "content": None, **call}
        assert counter.messages([message]) >= 1000
        assert await counter.messages_off_loop([message]) == counter.messages([message])
        assert 10 < counter.messages([message], 10) <= counter.messages([message])
