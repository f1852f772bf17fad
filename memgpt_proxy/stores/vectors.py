"""What search by meaning asks of a store: vectors of messages and passages beside their texts.

Vectors are derived from texts, and can be made again from them: they are no part of a backup,
and one that is missing is only not found by meaning. All have the length 1, so that their
product is their similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

from memgpt_proxy.stores.records import Hit, Namespace, Owner

Vector = NDArray[np.float32]
"""What a text means to an embedding model: float32, of length 1."""


class Kind(StrEnum):
    """What is embedded."""

    MESSAGE = "message"
    PASSAGE = "passage"


@dataclass(frozen=True, slots=True)
class Space:
    """What makes vectors comparable: the model they come from, and their dimensions."""

    model: str
    dimensions: int


@dataclass(frozen=True, slots=True)
class Name:
    """Names a message or a passage of any namespace."""

    owner: Owner
    kind: Kind
    id: str


@dataclass(frozen=True, slots=True)
class Text:
    """A text that can be embedded."""

    name: Name
    text: str


@dataclass(frozen=True, slots=True)
class Embedded:
    """A text's vector; None where the model does not take the text."""

    name: Name
    vector: Vector | None


@dataclass(frozen=True, slots=True)
class Near:
    """What was found by meaning. ``similarity`` is the cosine: 1 for the same."""

    hit: Hit
    similarity: float


Place = NewType("Place", str)
"""Where a search for texts without vectors stands; its form is the store's own."""

BEGINNING = Place("")


@dataclass(frozen=True, slots=True)
class Lacking:
    """Texts without vectors, oldest first.

    Attributes:
        place: Everything before it has its vectors.
        more: There may be more behind it than these.
    """

    texts: Sequence[Text]
    place: Place
    more: bool


class VectorStore(Protocol):
    """Keeps vectors, one of each text in a space, and finds the nearest."""

    async def open(self) -> None:
        """Make it ready; create what is missing. Raises StoreUnavailable."""
        ...

    async def close(self) -> None:
        """Let go of every resource."""
        ...

    async def put_vectors(self, space: Space, vectors: Sequence[Embedded]) -> None:
        """Store vectors, in place of those that these texts have; each text's once at the most."""
        ...

    async def nearest(
        self, namespace: Namespace, kind: Kind, space: Space, vector: Vector, *, limit: int
    ) -> tuple[Near, ...]:
        """Return what is most similar, best first; abandoned messages after all others.

        Hidden passages and vectors of other spaces are never among them.
        """
        ...

    async def lacking(self, space: Space, after: Place, *, limit: int) -> Lacking:
        """Look for texts of all namespaces that lack a vector in ``space``, oldest first.

        One call looks through a bounded number of texts, and may find none where there are more.
        """
        ...

    async def remove_others(self, space: Space) -> None:
        """Remove vectors of other spaces that nobody uses any more."""
        ...
