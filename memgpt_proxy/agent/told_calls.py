"""The calls of a clean step that are for the client, in OpenAI's shape whatever the backend's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.agent.reply import Offer, step_call
from memgpt_proxy.wire.step import CallInProgress

_READ = frozenset({"index", "id", "type", "function", "custom"})
"""What of a piece is told anew; all else goes along with it."""


class ToldCalls:
    """Numbers the client's calls without ours, and tells the id and the name of each once."""

    __slots__ = ("_offer", "_places")

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._places: dict[int, int] = {}

    def delta(
        self, calls: Sequence[tuple[CallInProgress, str]], pieces: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Return the fields of a delta that tell what was added to the client's calls.

        Args:
            calls: The calls that a chunk touched, each with its new arguments' text.
            pieces: The same as they came.
        """
        told = []
        for at, (call, arguments) in enumerate(calls):
            if call.name and self._offer.is_theirs(call.name):
                piece = pieces[at] if at < len(pieces) else {}
                more = {name: value for name, value in piece.items() if name not in _READ}
                told.append(more | self._piece(call, arguments))
        if not told:
            return {}
        if self._offer.legacy:
            return {"function_call": told[0]["function"]} if told[0]["index"] == 0 else {}
        return {"tool_calls": told}

    def _piece(self, call: CallInProgress, arguments: str) -> dict[str, Any]:
        kind, text = ("custom", "input") if call.custom else ("function", "arguments")
        place = self._places.get(call.index)
        if place is not None:
            return {"index": place, kind: {text: arguments}}
        self._places[call.index] = place = len(self._places)
        named = step_call(call)
        function = {"name": named.name, text: named.arguments}
        return {"index": place, "id": named.id, "type": kind, kind: function}
