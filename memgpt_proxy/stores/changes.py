"""What a write does to a namespace: what others are told of it, and what waits for a store.

A change can be carried out again: records have their own ids.
"""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.stores.records import Known, Passage, TurnId, TurnRecord, WorkingContext
from memgpt_proxy.values import dataclass


@dataclass(frozen=True, slots=True)
class Committed:
    """A turn has left something behind.

    Attributes:
        known: Which of its nodes were there before.
    """

    record: TurnRecord
    known: Known = None


@dataclass(frozen=True, slots=True)
class Inserted:
    """Passages have come."""

    passages: Sequence[Passage]


@dataclass(frozen=True, slots=True)
class Shown:
    """What these turns have stored was hidden, or shown again."""

    turns: Sequence[TurnId]
    hidden: bool


@dataclass(frozen=True, slots=True)
class Edited:
    """The working context has come to this version."""

    context: WorkingContext


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Something has changed; what, is better asked of the store."""


Change = Committed | Inserted | Shown | Edited | Uncertain
