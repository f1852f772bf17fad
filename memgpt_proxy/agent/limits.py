"""``stop`` and ``max_tokens`` of a request, which are about the text that a person sees.

They are kept from the backend, where they would cut memory calls, and applied here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from memgpt_proxy.memory.tokens import TokenCounter

_WORD_END = re.compile(r"[^\W_](?=[^\w'’])")
"""Where a token ends: the tables join a letter to no other sign but an apostrophe."""


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
        self._tail = ""  # the word being written: it is counted whole, however it is cut

    def feed(self, text: str) -> str:
        """Take more text; return what of it (and of what was held back) is to be seen."""
        if self.reached:
            return ""
        if self._stop:
            text = self._before_stop(self._held + text)
        return self._shortened(text)

    def close(self) -> str:
        """Return what was held back as the possible beginning of a stop text."""
        held, self._held = self._held, ""
        if self.reached:
            return ""
        return self._shortened(held)

    def _before_stop(self, text: str) -> str:
        found = [(at + len(stop), at) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self.reached, self._held = "stop", ""
            _, at = min(found)  # the first to be complete, as if the text came letter by letter
            return text[:at]
        keep = max(_overlap(text, stop) for stop in self._stop)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _shortened(self, text: str) -> str:
        if self._left is None:
            return text
        seen, tail = len(self._tail), self._tail + text
        head, _ = self._counter.head(tail, self._left)
        if len(head) < len(tail):
            self.reached = "length"
            return head[seen:]
        border = max((match.end() for match in _WORD_END.finditer(tail)), default=0)
        if border:
            self._left -= self._counter.text(tail[:border])
        self._tail = tail[border:]
        return text


def _overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that begins ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
