"""Hearing a backend's answer: what of it goes on, and what it is when it is no answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.reply import Delta, Offer, Step, StepListener
from memgpt_proxy.backend.client import ChunkStream
from memgpt_proxy.errors import BackendBroken, ErrorInStream
from memgpt_proxy.traits import Profile, Trait
from memgpt_proxy.wire.chat import Chunk
from memgpt_proxy.wire.content import ContentGate
from memgpt_proxy.wire.listed_calls import ListedCalls
from memgpt_proxy.wire.shape import MalformedChunk
from memgpt_proxy.wire.step import StepReader


class Hearing:
    """One answer while it arrives.

    Args:
        listener: Says what of it the client may see.
        offer: The functions that it may call.
        listed: Finds calls in its text, where the backend knows no others.

    Attributes:
        reader: What has come of it.
    """

    def __init__(
        self,
        listener: StepListener | CleanListener,
        offer: Offer,
        listed: ListedCalls | None = None,
    ) -> None:
        self.reader = StepReader(offer.known, alone=not offer.clean)
        self._listener = listener
        self._listed = listed

    @property
    def is_ended(self) -> bool:
        """Whether the end was told of all that has begun."""
        return self.reader.finish_reason is not None and not self._listener.is_open

    def hear(self, chunks: Sequence[Chunk]) -> list[Delta]:
        """Return what goes to the client of these chunks. Raises BackendBroken."""
        return self._heard(chunks if self._listed is None else self._listed.read(chunks))

    def close(self) -> tuple[list[Delta], Step]:
        """Return what is left for the client, and the step. Raises BackendBroken."""
        held = [] if self._listed is None else self._heard(self._listed.close())
        rest, step = self._listener.close(self.reader)
        return [*held, *rest], step

    def note(self) -> None:
        """Have the reply say what was shown by now: the answer may break off."""
        self._listener.note()

    def _heard(self, chunks: Sequence[Chunk]) -> list[Delta]:
        reader, listener = self.reader, self._listener
        try:
            return [delta for chunk in chunks for delta in listener.hear(chunk, reader.add(chunk))]
        except MalformedChunk as error:
            raise BackendBroken("The backend's answer is no chat completion.") from error


def calls_in_text(offer: Offer, profile: Profile) -> ListedCalls | None:
    """Return what finds calls in the text of an answer, where the backend knows no others."""
    if Trait.NO_TOOLS not in profile:
        return None
    return ListedCalls({*offer.ours, *offer.theirs})


def writes_calls(text: str, offer: Offer) -> bool:
    """Return whether a text has calls in it."""
    gate = ContentGate(sorted(offer.known), own=sorted(offer.own))
    gate.feed(text)
    return bool(gate.close()[1])


def broken(reader: StepReader, error: dict[str, Any]) -> BackendBroken:
    """Return what an error that was told within an answer means to the client."""
    told = error.get("message")
    message = told if isinstance(told, str) else "The backend reported an error in its answer."
    if reader.content or reader.calls:
        return BackendBroken(message)
    return ErrorInStream(message, error)


def check_whole(hearing: Hearing, chunks: ChunkStream) -> None:
    """A stream that just ends is no answer: an end is said by ``[DONE]`` or finish reasons."""
    if not chunks.done and not hearing.is_ended:
        raise BackendBroken("The backend's answer broke off.")
