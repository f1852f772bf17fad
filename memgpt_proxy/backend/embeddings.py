"""Embeddings: texts out, vectors in, by OpenAI's ``POST /embeddings``."""

from __future__ import annotations

import asyncio
import re
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from memgpt_proxy.backend.client import Backend
from memgpt_proxy.backend.retrying import Retries, may_pass
from memgpt_proxy.errors import (
    ABOUT_THE_TEXT,
    BackendBroken,
    BackendRefused,
    BackendTimeout,
    BackendUnreachable,
    GatewayError,
)
from memgpt_proxy.failures import failure
from memgpt_proxy.telemetry import Telemetry

Vector = NDArray[np.float32]

MOST_TEXTS = 32
"""Texts of one request: text-embeddings-inference takes no more, as it is delivered."""

MOST_CHARACTERS = 48_000
"""Characters of one request, unless it is a single text."""

LONGEST_TEXT = 8000
"""Characters of a text that are embedded, some 2 000 tokens; the rest is cut off."""

SHORTEST_CUT = 200
"""A text of no more characters that is refused is not refused for its length."""

_LARGE_ANSWER = 2**16
"""Bytes of an answer that is read beside the event loop."""

_HARMLESS = "A text that any embedding model takes."
_TOO_LONG = re.compile(rb"too (?:large|long)|exceed|maximum context length", re.IGNORECASE)


class Embeddings:
    """An embedding model behind a server.

    Args:
        server: Where it is; may be the backend itself.
        model: Its name there.
        telemetry: Takes how long each call has taken, its tokens, and which failed.
    """

    def __init__(
        self, server: Backend, model: str, telemetry: Telemetry, retries: Retries | None = None
    ) -> None:
        self.model = model
        self._server = server
        self._telemetry = telemetry
        self._retries = retries or Retries()
        self._longest = LONGEST_TEXT
        self._encoded = True
        self._answered = False

    @property
    def where(self) -> str:
        """The model and its server, for a log."""
        server = self._server.server
        return f"{self.model} at {server['server.address']}:{server['server.port']}"

    async def embed(self, texts: Sequence[str]) -> list[Vector | None]:
        """Return the vector of each text, of length 1; None where the model does not take it.

        Made for work in the background: failures that may pass are tried again. Raises
        BackendRefused, BackendUnreachable, BackendTimeout or BackendBroken when they do not.
        """
        vectors: list[Vector | None] = []
        for batch in batches([text[: self._longest] for text in texts]):
            vectors += await self._embed_batch(batch)
        return vectors

    async def embed_query(self, text: str) -> Vector:
        """Return the vector of a text, tried once. Raises the same errors as ``embed``."""
        (vector,) = await self._ask([text[: self._longest]])
        if vector is None:
            raise BackendBroken("The embedding server's answer has a vector without direction.")
        return vector

    async def _embed_batch(self, texts: Sequence[str]) -> list[Vector | None]:
        """Embed texts; where one is at fault, the others all the same."""
        try:
            return await self._ask_again(texts)
        except (BackendRefused, BackendBroken) as error:
            if not _is_about_the_texts(error) and not await self._breaks_at_them(error):
                raise
            refusal = error
        if len(texts) == 1:
            return [await self._embed_head(texts[0], refusal)]
        half = len(texts) // 2
        return await self._embed_batch(texts[:half]) + await self._embed_batch(texts[half:])

    async def _embed_head(self, text: str, refusal: GatewayError) -> Vector | None:
        """Embed as much of a refused text as the model takes.

        Raises the refusal when the model does not take any text. What was too long teaches how
        much of other texts to send.
        """
        if len(text) <= SHORTEST_CUT:
            if await self._takes_nothing():
                raise refusal
            return None
        length = len(text) // 2
        (vector,) = await self._embed_batch([text[:length]])
        if vector is not None and _TOO_LONG.search(refusal.body()):
            self._longest = max(min(self._longest, length), SHORTEST_CUT)
        return vector

    async def _breaks_at_them(self, error: BackendRefused | BackendBroken) -> bool:
        """Return whether a server that fails takes other texts: Ollama answers 500 for a NaN."""
        fails = isinstance(error, BackendBroken) or error.status == 500
        return fails and not await self._takes_nothing()

    async def _takes_nothing(self) -> bool:
        try:
            await self._ask_again([_HARMLESS])
        except GatewayError:
            return True
        return False

    async def _ask_again(self, texts: Sequence[str]) -> list[Vector | None]:
        """Ask until there is an answer, or a failure that would not pass."""
        for attempt in range(1, self._retries.attempts):
            try:
                return await self._ask(texts)
            except (BackendRefused, BackendUnreachable, BackendTimeout, BackendBroken) as error:
                if not _may_pass(error):
                    raise
                pause = min(self._retries.pause_after(error, attempt), self._retries.longest)
            await asyncio.sleep(pause)
        return await self._ask(texts)

    async def _ask(self, texts: Sequence[str]) -> list[Vector | None]:
        """Ask once; a server that knows no base64 is recognised by its first refusal."""
        try:
            return await self._timed(texts)
        except BackendRefused as error:
            if self._answered or not self._encoded or error.status not in (400, 422):
                raise
        self._encoded = False
        try:
            return await self._timed(texts)
        finally:
            self._encoded = not self._answered

    async def _timed(self, texts: Sequence[str]) -> list[Vector | None]:
        began, failed = time.perf_counter(), ""
        try:
            return await self._post(texts)
        except BaseException as error:
            failed = failure(error)
            raise
        finally:
            seconds = time.perf_counter() - began
            self._telemetry.turns.embedded(self.model, failed, seconds)

    async def _post(self, texts: Sequence[str]) -> list[Vector | None]:
        request: dict[str, Any] = {"model": self.model, "input": list(texts)}
        if self._encoded:
            request["encoding_format"] = "base64"
        answer = await self._server.post("/embeddings", orjson.dumps(request))
        if len(answer) < _LARGE_ANSWER:
            embedded = read_answer(answer, len(texts))
        else:
            embedded = await asyncio.to_thread(read_answer, answer, len(texts))
        self._answered = True
        if embedded.tokens is not None:
            self._telemetry.turns.embedding_tokens(self.model, embedded.tokens)
        return embedded.vectors


def batches(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield the texts in order, as many together as one request may have."""
    start = size = 0
    for end, text in enumerate(texts):
        if end > start and (end - start == MOST_TEXTS or size + len(text) > MOST_CHARACTERS):
            yield texts[start:end]
            start, size = end, 0
        size += len(text)
    if texts[start:]:
        yield texts[start:]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer holds.

    Attributes:
        vectors: In the order of its indices, each of length 1; None for one without direction.
        tokens: ``usage.prompt_tokens``; None where it does not say.
    """

    vectors: list[Vector | None]
    tokens: int | None


def read_answer(answer: bytes, count: int) -> Answer:
    """Read an answer, whose floats may be listed, or in base64 (float32, little-endian).

    Raises BackendBroken when it does not have ``count`` vectors of one size.
    """
    try:
        told = orjson.loads(answer)
        data = told["data"]
        by_index = {entry["index"]: _floats(entry["embedding"]) for entry in data}
        vectors = np.stack([by_index[index] for index in range(count)])
    except (KeyError, TypeError, ValueError, OverflowError, Base64Error) as error:
        raise BackendBroken("The embedding server's answer is none.") from error
    if vectors.ndim != 2 or len(data) != count or not vectors.shape[1]:
        raise BackendBroken("The embedding server's answer has not one vector for each text.")
    return Answer([_of_length_one(vector) for vector in vectors], _tokens(told.get("usage")))


def _tokens(usage: object) -> int | None:
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens >= 0 else None


def _floats(embedding: object) -> NDArray[np.float64]:
    if isinstance(embedding, str):
        return np.frombuffer(b64decode(embedding, validate=True), "<f4").astype(np.float64)
    return np.array(embedding, np.float64)


def _of_length_one(vector: NDArray[np.float64]) -> Vector | None:
    with np.errstate(over="ignore"):
        length = np.linalg.norm(vector)
    if not np.isfinite(length) or length == 0:
        return None
    return (vector / length).astype(np.float32)


def _is_about_the_texts(error: GatewayError) -> bool:
    """Whether other texts may be taken. llama.cpp answers 500 when one is too long for it."""
    if isinstance(error, BackendBroken):
        return False
    if error.status in ABOUT_THE_TEXT:
        return True
    return error.status == 500 and _TOO_LONG.search(error.body()) is not None


def _may_pass(error: GatewayError) -> bool:
    if isinstance(error, BackendRefused) and _is_about_the_texts(error):
        return False
    return may_pass(error)
