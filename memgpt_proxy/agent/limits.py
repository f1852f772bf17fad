"""``stop`` and ``max_tokens`` of a request, which are about the text that a person sees.

They are kept from the backend, where they would cut memory calls, and applied here.
"""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.memory.tokens import TokenCounter

_OPEN = 16
"""Tokens at the end of a text that may become others as it goes on: those of a word being written,
and some before it. A token before them stays."""

_MOST_BYTES = 4
"""Of a character, and of a token for each of them at the most."""


class TextLimit:
    """Ends the visible text where the client wants it ended.

    Args:
        stop: Texts before which it ends (OpenAI's ``stop``).
        max_tokens: Its length at the most, in tokens; None for no limit.
    """

    def __init__(self, stop: Sequence[str], max_tokens: int | None, counter: TokenCounter) -> None:
        self.reached: str | None = None
        """The finish reason, ``stop`` or ``length``, once the text has ended here."""
        self._stop = [text for text in stop if text]
        self._left = max_tokens
        self._counter = counter
        self._held = ""
        self._tail = ""  # what is not counted for good yet: it is counted whole, however it is cut
        self._seen = 0  # characters of that which are seen

    @property
    def is_none(self) -> bool:
        """Whether nothing ends the text."""
        return not self._stop and self._left is None

    def feed(self, text: str) -> str:
        """Take more text; return what of it (and of what was held back) is to be seen."""
        if self.reached:
            return ""
        if self._stop:
            text = self._before_stop(self._held + text)
        return self._shortened(text, ended=self.reached is not None)

    def close(self) -> str:
        """Return what was held back: it may have begun a stop text, or ended a word sooner."""
        held, self._held = self._held, ""
        if self.reached:
            return ""
        return self._shortened(held, ended=True)

    def _before_stop(self, text: str) -> str:
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.reached, self._held = "stop", ""
            _, at = min(found)  # the first to be complete, as if the text came letter by letter
            return text[:at]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _shortened(self, text: str, *, ended: bool) -> str:
        if self._left is None:
            return text
        self._tail += text
        if not ended and len(self._tail) * _MOST_BYTES <= self._left:
            return self._show(len(self._tail))  # it is short enough, whatever it takes
        head, _ = self._counter.head(self._tail, self._left)
        if len(head) == len(self._tail):
            return self._counted(self._left, ended=ended)
        if ended or self._counter.settled(self._tail, _OPEN)[1] >= self._left:
            self.reached = "length"
        return self._show(len(head))

    def _counted(self, left: int, *, ended: bool) -> str:
        """Show all, and be done with what of it will be counted so whatever follows."""
        text = self._show(len(self._tail))
        length, tokens = self._counter.settled(self._tail, 0 if ended else _OPEN)
        self._left = left - tokens
        self._tail, self._seen = self._tail[length:], self._seen - length
        return text

    def _show(self, end: int) -> str:
        """Return what of the tail up to ``end`` has not been seen."""
        text = self._tail[self._seen : end]
        self._seen = max(self._seen, end)
        return text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
