"""The text of one choice of a clean step, without thinking and without calls of ours."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from itertools import accumulate
from typing import Any

from memgpt_proxy.memory.alerts import BEGINNINGS
from memgpt_proxy.wire.content import Call, ContentGate
from memgpt_proxy.wire.thinking import Beginning


class ShownText:
    """Text on its way to the client, with the probabilities of its tokens.

    Args:
        ours: Calls of them that are written as text are taken out.
        beginning: Where the text begins.
        others: Functions of which the same holds, where such a call can mean nothing else.
    """

    def __init__(
        self,
        ours: Collection[str],
        beginning: Beginning = Beginning.OUTSIDE,
        others: Collection[str] = (),
    ) -> None:
        aside = BEGINNINGS if ours else {}
        known = sorted({*ours, *others})
        self._gate = ContentGate(known, beginning, own=sorted(ours), aside=aside)
        self._pending: list[dict[str, Any]] = []
        self._parts: list[str] = []
        self._taken = 0  # characters that came
        self._length = 0  # and that were seen of them
        self.calls: list[Call] = []
        self.begins_object = False
        """Whether it begins like a JSON object."""

    @property
    def seen(self) -> str:
        """All text that the client has."""
        return "".join(self._parts)

    def feed(self, text: str, logprobs: Any, *, reasoned: bool = False) -> tuple[str, Any]:
        """Take text; return what of it (and of what was held back) is to be seen.

        Args:
            logprobs: The probabilities of its tokens, as the backend gives them.
            reasoned: Reasoning came apart from it.
        """
        self._taken += len(text)
        released = self._gate.reasoned() if reasoned else ""
        return self._with_probabilities(released + self._gate.feed(text), logprobs)

    def close(self, logprobs: Any, *, cut: bool = False) -> tuple[str, Any]:
        """Return what was held back; ``cut``: the text was cut short."""
        rest, calls = self._gate.close(cut=cut)
        self.calls += calls
        return self._with_probabilities(rest, logprobs)

    def say(self, text: str) -> str:
        """Add text that came otherwise; return it."""
        if text.strip() and not any(self._parts):
            self.begins_object = text.lstrip().startswith("{")
        if text:
            self._parts.append(text)
        return text

    def _with_probabilities(self, released: str, logprobs: Any) -> tuple[str, Any]:
        """Return ``released`` with the probabilities of its own tokens, held back like it."""
        self.say(released)
        self._length += len(released)
        if not isinstance(logprobs, dict) and not self._pending:
            return released, logprobs
        given = logprobs if isinstance(logprobs, dict) else {}
        self._pending += [each for each in given.get("content") or () if isinstance(each, dict)]
        shown = self._take(released)
        if not shown and not given.get("refusal"):
            return released, None
        return released, {"refusal": None, **given, "content": shown or None}

    def _take(self, released: str) -> list[dict[str, Any]]:
        """Return the tokens of this text; those before them were taken out with their text."""
        if self._length == self._taken:  # all is seen
            shown, self._pending = self._pending, []
            return shown
        ends = list(accumulate(len(_bytes(entry)) for entry in self._pending))
        text = released.encode("utf-8", "surrogatepass")
        start = b"".join(map(_bytes, self._pending)).rfind(text) if text else -1
        if start < 0:
            return []
        first, last = bisect_right(ends, start), bisect_left(ends, start + len(text)) + 1
        shown, self._pending = self._pending[first:last], self._pending[last:]
        return shown


def _bytes(entry: dict[str, Any]) -> bytes:
    """Return the bytes of a token; a token may be a part of a character."""
    try:
        return bytes(entry["bytes"])
    except (KeyError, TypeError, ValueError):
        return str(entry.get("token") or "").encode("utf-8", "surrogatepass")
