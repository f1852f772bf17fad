"""Whose memories a key has: those of its users, so that all of them can be erased together.

A user's namespace is a hash that tells nothing of the key's. So which there are is written down, as
names of empty passages in a namespace that the key has for this alone: its *register*. They have no
text, since that would be embedded, and shown to the server that does it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from memgpt_proxy.stores.protocols import ArchivalStore, StoreError
from memgpt_proxy.stores.records import ROOT, Namespace, Passage

log = logging.getLogger(__name__)

NOTED_SECONDS = 300.0
"""For so long a user who was written down, and of whom something is there, is not written down
again. Another process may have erased the register since, which this one does not hear of."""

_MOST_NOTED = 50_000
_PAGE = 1000
_ALWAYS = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class _Noted:
    """Where a user was written down, and until when that is believed."""

    register: Namespace
    until: float


class Users:
    """The registers of all keys.

    Args:
        clock: Returns seconds that never go back.
    """

    def __init__(self, store: ArchivalStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._noted: dict[Namespace, _Noted] = {}

    async def note(self, register: Namespace, user: Namespace, *, anew: bool = False) -> None:
        """Write down that a key has this user, before anything of theirs is stored.

        Where the store fails, the next turn does it: a conversation does not fail for it.

        Args:
            anew: Whatever was written down before: nothing of theirs is there, so that another
                process may have erased it, and the register too.
        """
        now = self._clock()
        noted = self._noted.get(user)
        if not anew and noted is not None and noted.until > now:
            return
        try:
            await self._store.insert_passages(register, [entry_of(user)])
        except StoreError as error:
            log.warning("a user of a key was not written down: %s", error)
            return
        if len(self._noted) >= _MOST_NOTED:
            self._noted.clear()
        self._noted[user] = _Noted(register, now + NOTED_SECONDS)

    async def of(self, register: Namespace) -> AsyncIterator[Namespace]:
        """Yield the users who are written down. Raises StoreError."""
        offset = 0
        while True:
            page = await self._store.passages_between(
                register, *_ALWAYS, limit=_PAGE, offset=offset
            )
            for hit in page.hits:
                yield Namespace(hit.id)
            offset += _PAGE
            if offset >= page.total:
                return

    def forget(self, user: Namespace) -> None:
        """Take a user for one who is not written down: the register is going to be erased."""
        self._noted.pop(user, None)

    async def note_again(self, register: Namespace) -> None:
        """Write down who has come while a register was being erased."""
        came = [user for user, noted in self._noted.items() if noted.register == register]
        for user in came:
            await self.note(register, user, anew=True)


def entry_of(user: Namespace) -> Passage:
    """Return what a register has of a user."""
    return Passage(user, "", time.time(), ROOT)
