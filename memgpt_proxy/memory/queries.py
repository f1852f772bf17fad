"""Vectors of queries: kept for the next page, and never waited for long."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass

from memgpt_proxy.errors import ABOUT_THE_TEXT, BackendRefused, GatewayError
from memgpt_proxy.memory.embedding import Embeddings
from memgpt_proxy.stores.vectors import Vector
from memgpt_proxy.telemetry import Telemetry

log = logging.getLogger(__name__)

KEPT = 256
"""Queries whose vectors are kept: 400 KB at 384 dimensions."""


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long a query waits for its vector, and none is asked for after a failure."""

    wait: float = 2.0
    pause: float = 5.0


class Queries:
    """Embeds queries, as far as the embedding server is there."""

    def __init__(
        self, embeddings: Embeddings, telemetry: Telemetry, patience: Patience | None = None
    ) -> None:
        self._embeddings = embeddings
        self._telemetry = telemetry
        self._patience = patience or Patience()
        self._kept: OrderedDict[str, Vector] = OrderedDict()
        self._paused_until = 0.0

    async def vector(self, query: str) -> Vector | None:
        """Return the vector of a query; None where it cannot be had in time."""
        if (kept := self._kept.get(query)) is not None:
            self._kept.move_to_end(query)
            return kept
        vector = await self._asked(query)
        if vector is None:
            self.go_without()
        else:
            self._keep(query, vector)
        return vector

    def go_without(self) -> None:
        """A search goes by words alone."""
        self._telemetry.searched_by_words()

    async def _asked(self, query: str) -> Vector | None:
        loop = asyncio.get_running_loop()
        if loop.time() < self._paused_until:
            return None
        try:
            async with asyncio.timeout(self._patience.wait):
                return await self._embeddings.embed_query(query)
        except (GatewayError, TimeoutError) as error:
            log.warning("searching by words alone: %s", str(error) or "no vector came in time")
            if not (isinstance(error, BackendRefused) and error.status in ABOUT_THE_TEXT):
                self._paused_until = loop.time() + self._patience.pause
            return None

    def _keep(self, query: str, vector: Vector) -> None:
        self._kept[query] = vector
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
