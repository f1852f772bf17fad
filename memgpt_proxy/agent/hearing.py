"""Hearing a backend's answer: what of it goes on, and what it is when it is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.reply import Delta, StepListener
from memgpt_proxy.backend.client import ChunkStream
from memgpt_proxy.errors import BackendBroken, ErrorInStream
from memgpt_proxy.wire.chat import Chunk
from memgpt_proxy.wire.shape import MalformedChunk
from memgpt_proxy.wire.step import StepReader


def heard(
    chunks: Sequence[Chunk], reader: StepReader, listener: StepListener | CleanListener
) -> list[Delta]:
    """Return what goes to the client of these chunks. Raises BackendBroken."""
    try:
        return [delta for chunk in chunks for delta in listener.hear(chunk, reader.add(chunk))]
    except MalformedChunk as error:
        raise BackendBroken("The backend's answer is no chat completion.") from error


def broken(reader: StepReader, error: dict[str, Any]) -> BackendBroken:
    """Return what an error that was told within an answer means to the client."""
    told = error.get("message")
    message = told if isinstance(told, str) else "The backend reported an error in its answer."
    if reader.content or reader.calls:
        return BackendBroken(message)
    return ErrorInStream(message, error)


def check_whole(reader: StepReader, chunks: ChunkStream) -> None:
    """A stream that just ends is no answer: an end is said by ``[DONE]`` or a finish reason."""
    if not chunks.done and reader.finish_reason is None:
        raise BackendBroken("The backend's answer broke off.")
