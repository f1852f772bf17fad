"""Embedding what is stored, in the background: no turn waits for it or fails by it.

What this process writes is embedded at once. What it missed, what others left behind and what
another model has embedded is found in the store: all of it at the start, later what is new.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

from memgpt_proxy.errors import ABOUT_THE_KEY, BackendBroken, BackendRefused, GatewayError
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Owner
from memgpt_proxy.stores.vectors import (
    BEGINNING,
    Embedded,
    Space,
    Text,
    Vector,
    VectorStore,
)
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

TOGETHER = 32
"""Texts that are embedded, then stored, at once."""

WINDOW = 128
"""Texts without vectors of which some are taken at random: so replicas that embed the same
store anew mostly do not take the same."""

MOST_WAITING = 1024
"""Texts just written that wait; what is more is found in the store."""

MOST_CHARACTERS = 8000
"""Characters of a text that count: what is said at greater length is told by its beginning."""

UNRELATED = (
    "The bus to the airport leaves at half past nine.",
    "Two cups of flour, a pinch of salt and an egg.",
    "Her thesis is about the migration of eels.",
    "The server returned an error after the upgrade.",
    "They painted the garden fence green last summer.",
    "Inflation fell for the third quarter in a row.",
    "He plays the cello in a small orchestra.",
    "Please sign the contract and send it back to us.",
)
"""Sentences that have nothing to do with each other: see ``Measure``."""


class Embeddings(Protocol):
    """An embedding model. Its calls raise GatewayError when there is no answer."""

    @property
    def model(self) -> str:
        """Its name."""
        ...

    @property
    def where(self) -> str:
        """The model and its server, for a log."""
        ...

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector | None]:
        """Return the vector of each text, None where the model does not take it; patiently."""
        ...

    async def embed_query(self, text: str) -> Vector:
        """Return a text's vector; tried once."""
        ...


@dataclass(frozen=True, slots=True)
class Measure:
    """What a model's vectors are like.

    Attributes:
        floor: The similarity that texts have which have nothing to do with each other. Models
            differ widely in it, so it is measured.
    """

    space: Space
    floor: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the embedder waits, in seconds; each time a random part more or less.

    Attributes:
        sweep: Between two searches for what others have left without vectors.
        retry: After a failure, at first; twice as long after each further one.
        longest: After many failures.
    """

    sweep: float = 600.0
    retry: float = 2.0
    longest: float = 120.0


class Embedder:
    """Embeds texts of a store; ``run`` does it, for as long as its owner lets it."""

    def __init__(
        self,
        store: VectorStore,
        embeddings: Embeddings,
        telemetry: Telemetry,
        pace: Pace | None = None,
    ) -> None:
        self._store = store
        self._embeddings = embeddings
        self._telemetry = telemetry
        self._pace = pace or Pace()
        self._written: deque[Text] = deque()
        self._on_their_way: list[Text] = []
        self._woken = asyncio.Event()
        self._place = BEGINNING
        self._sweep_at = 0.0
        self.idle = asyncio.Event()
        """Set while there is nothing to embed."""
        self.measure: Measure | None = None
        """What the model's vectors are like; None until it has answered."""

    def wrote(self, texts: Iterable[Text]) -> None:
        """Take note of texts that were just stored; returns at once."""
        self._written.extend(
            replace(each, text=each.text[:MOST_CHARACTERS])
            if len(each.text) > MOST_CHARACTERS
            else each
            for each in texts
        )
        if len(self._written) > MOST_WAITING:
            self._written.clear()
            self._begin_again()
        self.idle.clear()
        self._woken.set()

    def forget(self, owner: Owner) -> None:
        """Embed nothing of an owner that waits."""
        kept = [text for text in self._written if text.name.owner != owner]
        self._written = deque(kept)
        self._on_their_way = [each for each in self._on_their_way if each.name.owner != owner]

    def waiting(self) -> int:
        """Return how many texts were stored that have no vector yet, as far as is known."""
        return len(self._written)

    async def run(self) -> None:
        """Embed what there is and what comes, until cancelled; wait while a part is away."""
        failures = 0
        while True:
            try:
                await self._go_on()
                failures = 0
            except (GatewayError, StoreError) as error:
                failures += 1
                if failures == 1:
                    log.warning("embedding waits: %s", self._why(error))
                pause = self._pace.retry * 2 ** min(failures - 1, 16)
                await asyncio.sleep(_about(min(pause, self._pace.longest)))

    async def _go_on(self) -> None:
        """Embed some of what is to be embedded, or wait until there is something."""
        measure = self.measure or await self._take_measure()
        if self._written:
            await self._embed_written(measure.space)
        if self._sweep_at <= asyncio.get_running_loop().time():
            await self._sweep(measure.space)
        elif not self._written:
            await self._rest()

    async def _take_measure(self) -> Measure:
        vectors = [each for each in await self._embeddings.embed(UNRELATED) if each is not None]
        if len(vectors) < 2:
            raise BackendBroken("The embedding model takes no texts.")
        floor = max(float(one @ other) for one, other in combinations(vectors, 2))
        self.measure = Measure(Space(self._embeddings.model, len(vectors[0])), floor)
        return self.measure

    async def _embed_written(self, space: Space) -> None:
        count = min(TOGETHER, len(self._written))
        self._on_their_way = batch = [self._written.popleft() for _ in range(count)]
        try:
            await self._embed(space, batch)
        except (GatewayError, StoreError):  # but what was forgotten meanwhile
            self._written.extendleft(reversed(self._on_their_way))
            raise

    async def _sweep(self, space: Space) -> None:
        """Embed some of what the store has without vectors; be done with it when there is none."""
        lacking = await self._store.lacking(space, self._place, limit=WINDOW)
        self._place = lacking.place
        if lacking.texts:
            count = min(TOGETHER, len(lacking.texts))
            await self._embed(space, random.sample(lacking.texts, count))
        elif not lacking.more:
            await self._store.remove_others(space)
            now = asyncio.get_running_loop().time()
            self._sweep_at = now + _about(self._pace.sweep)

    async def _embed(self, space: Space, texts: Sequence[Text]) -> None:
        vectors = await self._embeddings.embed([each.text[:MOST_CHARACTERS] for each in texts])
        if any(each is not None and len(each) != space.dimensions for each in vectors):
            self.measure = None
            self._begin_again()
            raise BackendBroken("The embedding model is another one now, by the same name.")
        embedded = [
            Embedded(each.name, vector) for each, vector in zip(texts, vectors, strict=True)
        ]
        await self._store.put_vectors(space, embedded)
        self._telemetry.texts_embedded(sum(each is not None for each in vectors))

    def _why(self, error: GatewayError | StoreError) -> str:
        """Return what embedding waits for, and the setting to look at where a key is refused."""
        if isinstance(error, StoreError):
            return str(error)
        refused = isinstance(error, BackendRefused) and error.status in ABOUT_THE_KEY
        hint = " Is embedding_api_key set, and right?" if refused else ""
        return f"{self._embeddings.where}: {error}{hint}"

    def _begin_again(self) -> None:
        """Have everything in the store looked through once more."""
        self._place, self._sweep_at = BEGINNING, 0.0

    async def _rest(self) -> None:
        """Return when something was written, or others may have left something behind."""
        self.idle.set()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._sweep_at):
                await self._woken.wait()
        self._woken.clear()


def _about(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - to spread replicas
