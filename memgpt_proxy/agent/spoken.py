"""What a call of ``send_message`` says: its ``message``, without thinking at its beginning."""

from __future__ import annotations

from memgpt_proxy.memory.alerts import BEGINNINGS
from memgpt_proxy.wire.arguments import parse_arguments
from memgpt_proxy.wire.string_field import StringFieldDecoder
from memgpt_proxy.wire.thinking import ThinkingGate

_FIELD = "message"


class SpokenMessage:
    """The message, decoded while the call's arguments arrive."""

    __slots__ = ("_decoder", "_gate")

    def __init__(self) -> None:
        self._decoder = StringFieldDecoder(_FIELD)
        self._gate = ThinkingGate(aside=BEGINNINGS)

    @property
    def found(self) -> bool:
        """Whether the message has begun."""
        return self._decoder.found

    def feed(self, arguments: str) -> str:
        """Take the next piece of the arguments' text; return what it adds to the message."""
        text = self._decoder.feed(arguments)
        return text if self._gate.passes else self._gate.feed(text)

    def close(self) -> str:
        """Return what was held back."""
        return self._gate.close()


def message_of(arguments: str) -> str | None:
    """Return the message in the whole text of the arguments; None where there is none."""
    message = (parse_arguments(arguments) or {}).get(_FIELD)
    if not isinstance(message, str):
        return None
    gate = ThinkingGate(aside=BEGINNINGS)
    return gate.feed(message) + gate.close()
