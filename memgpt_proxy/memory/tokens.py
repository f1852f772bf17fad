"""Counting tokens, with tables that come with the installation."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import tiktoken

_TABLES = Path(__file__).parent.parent / "tables"
_PER_MESSAGE = 4
_PER_CALL = 8
PER_PART = 765
"""What OpenAI bills for one image of 1024 × 1024 in high detail; other parts are no larger."""
_LONG_TEXT = 64 * 1024
"""Characters beyond which counting leaves the event loop: above some 5 ms of work."""
_PIECE = 16 * 1024
"""Characters that are counted at a time, so that a book is not read to its end in vain. A
border between two pieces makes one token more at the most."""


class TokenCounter:
    """Counts tokens by one tiktoken table.

    Counts are of the table, not of the backend's own tokenizer; ``Calibration``
    carries the difference.
    """

    def __init__(self, table: str) -> None:
        os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(_TABLES))
        encoding = tiktoken.get_encoding(table)
        # The table once more, for what is not done here: a fifth of the process's memory.
        vars(encoding).pop("_mergeable_ranks", None)
        self._encode = encoding.encode_ordinary
        self._decode = encoding.decode
        self._remembered = lru_cache(maxsize=128)(self.text)

    def text(self, text: str, enough: int = sys.maxsize) -> int:
        """Return the tokens of ``text``.

        Args:
            enough: Counting stops once there are more; the result is then just above it.
        """
        tokens = 0
        for piece in _pieces(text):
            tokens += len(self._encode(piece))
            if tokens > enough:
                break
        return tokens

    def head(self, text: str, tokens: int) -> tuple[str, int]:
        """Return the beginning of ``text`` that takes ``tokens`` at most, and what it takes."""
        kept: list[str] = []
        left = tokens
        for piece in _pieces(text):
            encoded = self._encode(piece)
            if len(encoded) > left:
                kept.append(self._decode(encoded[:left], errors="ignore"))
                return "".join(kept), tokens
            kept.append(piece)
            left -= len(encoded)
        return text, tokens - left

    def settled(self, text: str, open_tokens: int) -> tuple[int, int]:
        """Return how much of ``text`` is before its last ``open_tokens``, whole characters only.

        Returns:
            Its characters and its tokens. What follows them is counted by itself the same.
        """
        encoded = self._encode(text)
        for tokens in range(len(encoded) - open_tokens, 0, -1):
            with suppress(UnicodeDecodeError):  # the border cuts a character
                return len(self._decode(encoded[:tokens], errors="strict")), tokens
        return 0, 0

    def remembered(self, text: str) -> int:
        """Return the tokens of a text that comes again, such as a system prompt."""
        return self._remembered(text)

    def messages(self, messages: Iterable[Mapping[str, Any]], enough: int = sys.maxsize) -> int:
        """Return the tokens of messages in OpenAI's shape, roles and calls included.

        Their texts are counted in one go: each call of the tokenizer lets other threads
        run, and to come back from that costs more than the counting itself.

        Args:
            enough: Counting stops once there are more; the result is then just above it.
        """
        fixed, text = _gathered(messages)
        return fixed + self.text(text, enough - fixed)

    async def messages_off_loop(
        self, messages: Iterable[Mapping[str, Any]], enough: int = sys.maxsize
    ) -> int:
        """Return the same, without keeping the event loop from its work."""
        fixed, text = _gathered(messages)
        if len(text) > _LONG_TEXT:
            return fixed + await asyncio.to_thread(self.text, text, enough - fixed)
        return fixed + self.text(text, enough - fixed)


class Calibration:
    """How many tokens of a backend's own one of ours is, learned from its ``usage``.

    The ratio follows the counts slowly, so that one odd answer does not shift the
    window, and is never taken below one: a prompt must fit.
    """

    _WEIGHT = 0.2
    _SANE = (0.5, 4.0)

    def __init__(self) -> None:
        self._ratio = 1.0

    @property
    def ratio(self) -> float:
        """Backend's tokens per token of ours, at least 1."""
        return max(1.0, self._ratio)

    def learn(self, counted: int, reported: float, weight: float = _WEIGHT) -> None:
        """Take one prompt's count by us and by the backend.

        Args:
            weight: What it counts for beside all before; 1 leaves nothing of those.
        """
        if counted <= 0 or reported <= 0:
            return
        low, high = self._SANE
        seen = min(high, max(low, reported / counted))
        self._ratio += weight * (seen - self._ratio)


def _pieces(text: str) -> Iterator[str]:
    if len(text) <= _PIECE:
        return iter((text,))
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _gathered(messages: Iterable[Mapping[str, Any]]) -> tuple[int, str]:
    """Return the tokens of what is not text, and all texts."""
    texts: list[str] = []
    fixed = 0
    for message in messages:
        fixed += _PER_MESSAGE + _gather(message, texts)
    return fixed, "\n".join(texts)


def _gather(message: Mapping[str, Any], texts: list[str]) -> int:
    """Add a message's texts to ``texts``; return the tokens of what is not text."""
    fixed = 0
    content = message.get("content")
    if isinstance(content, str):
        texts.append(content)
    elif isinstance(content, list):
        found = [part.get("text") for part in content if isinstance(part, dict)]
        texts += [text for text in found if isinstance(text, str)]
        fixed += PER_PART * sum(1 for text in found if not isinstance(text, str))
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str):
        texts.append(reasoning)
    for call in message.get("tool_calls") or ():
        _gather_call(call.get("function") or call.get("custom"), texts)
        fixed += _PER_CALL
    if called := message.get("function_call"):
        _gather_call(called, texts)
        fixed += _PER_CALL
    return fixed


def _gather_call(call: Any, texts: list[str]) -> None:
    if isinstance(call, dict):
        texts.append(f"{call.get('name')}{call.get('arguments') or call.get('input') or ''}")
