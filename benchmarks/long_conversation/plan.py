"""At which messages what is measured, and how the conversations get there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx

from benchmarks.long_conversation.client import Conversation, Sends

WARM_UP_TURNS = 3
MEASURED_PART = 20
"""A conversation is measured while it grows by this part, so that «at message 10» is true."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The lengths to measure at, and how many turns at each."""

    lengths: tuple[int, ...]
    turns: int

    def turns_of_one(self, length: int) -> int:
        """How many turns of one conversation are measured."""
        return max(1, min(self.turns, length // MEASURED_PART))

    async def conversations(
        self, gateway: httpx.AsyncClient, length: int, sends: Sends
    ) -> AsyncIterator[Conversation]:
        """Conversations of ``length`` messages, as many as the turns need.

        They grow by turns at full speed. One that is measured with all of it sent grows with
        the last messages sent, which leaves the very same in the store, and its last turns
        before the measured ones send all.
        """
        growing = Sends.LAST if sends is Sends.ALL else sends
        for number in range(-(-self.turns // self.turns_of_one(length))):
            conversation = Conversation(f"{sends.name} {length} {number}")
            await conversation.grow(gateway, length - 2 * WARM_UP_TURNS, growing)
            await conversation.grow(gateway, length, sends)
            yield conversation
