"""A clean step: its answer goes to the client as the backend gave it, all choices of it.

While memory functions are on offer, what looks like the answer may still prove to be a thought
beside a call of one: it is held back until the step ends, or until it is certain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from memgpt_proxy.agent.functions import SEND_MESSAGE
from memgpt_proxy.agent.reply import (
    CUT_SHORT,
    Audio,
    ClientCall,
    Delta,
    Kind,
    Offer,
    Raw,
    Reply,
    Step,
    StepCall,
    new_call_id,
    step_call,
    step_calls,
)
from memgpt_proxy.agent.shown import ShownText
from memgpt_proxy.agent.spoken import message_of
from memgpt_proxy.agent.told_calls import ToldCalls
from memgpt_proxy.wire.chat import Choice, Chunk, ToolCallDelta
from memgpt_proxy.wire.content import Call
from memgpt_proxy.wire.step import Progress, StepReader, more_of
from memgpt_proxy.wire.thinking import Beginning

_SHOWN = ("role", "content", "refusal", "audio", "annotations")
"""What of a delta a client may see as it is: reasoning has many names."""
_OF_A_CHOICE = ("stop_reason", "native_finish_reason")
"""What of a choice goes along, beside what OpenAI names."""


class CleanListener:
    """Listens to a clean step.

    Args:
        reply: The turn's reply, which takes up the first choice.
        offer: The functions of this turn.
        holds: Nothing is shown before it is certain that it is the answer.
        json: The answer is a JSON object: what begins like one is the answer.
        shows: The answer is for the client; else only calls of ours are heard.
        beginning: Where the text of each choice begins.
        written: Calls of the client's tools are written as text, too.
    """

    def __init__(
        self,
        reply: Reply,
        offer: Offer,
        *,
        holds: bool,
        json: bool = False,
        shows: bool = True,
        beginning: Beginning = Beginning.OUTSIDE,
        written: bool = False,
    ) -> None:
        self._reply = reply
        self._offer = offer
        self._streams = False
        self._holds = holds
        self._json = json
        self._shows = shows
        self._beginning = beginning
        self._written = frozenset(offer.theirs if written else ())
        self._choices: dict[int, _Choice] = {}
        self._held: list[Raw] = []

    @property
    def is_open(self) -> bool:
        """Whether more has to come: a choice has begun, and its end was not told."""
        return not all(each.ended for each in self._choices.values())

    def hear(self, chunk: Chunk, progress: Progress) -> list[Delta]:
        """Take a chunk; return what goes to the client now."""
        choices = []
        for choice in chunk.get("choices") or ():
            index = choice.get("index") or 0
            known = self._choices.get(index) or self._choices.setdefault(
                index, _Choice(index, self._offer, self._beginning, self._written)
            )
            if (shown := known.hear(choice)) is not None:
                choices.append(shown)
        more = more_of(chunk)
        if choices or more:
            self._held.append(Raw(choices, more))
        return self._release() if self._flows() else []

    def close(self, reader: StepReader) -> tuple[list[Delta], Step]:
        """Return what is left for the client, and the step: its first choice is remembered."""
        rest = [shown for each in self._choices.values() for shown in each.close()]
        if rest:
            self._held.append(Raw(rest, {}))
        ours = next((each.ours for each in self._choices.values() if each.ours), ())
        is_answer = self._streams or (self._shows and not ours and self._says(reader))
        if not is_answer:
            return [], Step("", ours, reader.finish_reason, reasoning=reader.reasoning)
        return self._release(), self._answered(reader, ours)

    def note(self) -> None:
        """Have the reply say what was shown by now: the step may break off."""
        first = self._choices.get(0)
        if self._streams and first is not None and first.text.seen:
            self._reply.messages[:] = [first.text.seen]

    def _flows(self) -> bool:
        """Return whether what comes is certainly the answer.

        Nothing is before it says something: a step may have calls of ours and no more.
        """
        if not self._streams and self._shows:
            self._streams = any(map(self._begins_answer, self._choices.values()))
        return self._streams

    def _begins_answer(self, choice: _Choice) -> bool:
        return (not self._holds and choice.says) or (self._json and choice.text.begins_object)

    def _release(self) -> list[Delta]:
        held, self._held = self._held, []
        return list(held)

    def _says(self, reader: StepReader) -> bool:
        """Return whether there is an answer at all; one that was cut short may be empty."""
        cut = reader.finish_reason in CUT_SHORT
        return cut or any(each.says for each in self._choices.values())

    def _answered(self, reader: StepReader, ours: tuple[StepCall, ...]) -> Step:
        first = self._choices.get(0)
        if first is None or not (first.says or self._says(reader)):
            return Step("", ours, reader.finish_reason, reasoning=reader.reasoning)
        text, calls = first.text.seen, first.theirs
        self._reply.messages[:] = [text]
        self._reply.refusal, self._reply.audio = first.refusal, first.audio
        for place, call in enumerate(calls):
            self._reply.call(ClientCall(place, call.id, call.name, call.arguments, call.kind))
        return Step(
            text,
            (*calls, *ours),
            reader.finish_reason,
            first.refusal,
            first.audio,
            reader.reasoning,
        )


class _Choice:
    """One choice of a clean step; calls of ``written`` may stand in its text."""

    def __init__(
        self, index: int, offer: Offer, beginning: Beginning, written: frozenset[str]
    ) -> None:
        self._index = index
        self._offer = offer
        self._reader = StepReader(offer.known)
        self._ours = offer.own
        self._calls = ToldCalls(offer)
        self.ended = False
        self.text = ShownText(self._ours, beginning, written)
        self.audio: Audio | None = None
        self._call_id = new_call_id()

    @property
    def refusal(self) -> str:
        """The refusal so far."""
        return self._reader.refusal

    @property
    def says(self) -> bool:
        """Whether there is anything in it for the client."""
        return bool(self.text.seen or self.refusal or self.audio or self.theirs)

    @property
    def ours(self) -> tuple[StepCall, ...]:
        """Calls that are not for the client, those apart that only say something."""
        found = [
            StepCall(f"{self._call_id}_{n}", call.name, call.text, cut=call.cut)
            for n, call in enumerate(self.text.calls)
            if call.name in self._ours
        ]
        calls = [each for each in step_calls(self._reader) if not self._offer.is_theirs(each.name)]
        return tuple(call for call in (*calls, *found) if _message(call) is None)

    @property
    def theirs(self) -> list[StepCall]:
        """Calls for the client to run."""
        calls = [step_call(call) for call in self._reader.calls if self._offer.is_theirs(call.name)]
        if self._offer.legacy:
            return [StepCall(call.id, call.name, call.arguments, Kind.LEGACY) for call in calls]
        return calls

    def hear(self, choice: Choice) -> Choice | None:
        """Take a piece of it; return what of that a client may see, None for nothing."""
        if self.ended:  # some servers tell the usage in an empty piece behind the end
            return None
        progress = self._reader.add({"choices": [cast("Choice", {**choice, "index": 0})]})
        delta = self._shown_delta(choice, progress)
        logprobs = choice.get("logprobs")
        if progress.content or progress.reasoned:
            text, logprobs = self.text.feed(progress.content, logprobs, reasoned=progress.reasoned)
            if progress.content or text:
                delta["content"] = text
        reason = choice.get("finish_reason")
        if reason:
            self.ended = True
            delta, logprobs = self._with_rest(delta, logprobs, cut=reason in CUT_SHORT)
        if not delta and not reason and not logprobs:
            return None
        return self._piece(choice, delta, logprobs, self._true(reason))

    def close(self) -> Iterable[Choice]:
        """Return what is left of a choice for which no end was told."""
        if self.ended:
            return
        delta, logprobs = self._with_rest({}, None, cut=False)
        if delta or logprobs:
            yield self._piece({}, delta, logprobs, None)

    def _piece(
        self, choice: Choice, delta: dict[str, Any], logprobs: Any, reason: str | None
    ) -> Choice:
        more = {name: value for name in _OF_A_CHOICE if (value := choice.get(name)) is not None}
        told = {"index": self._index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return cast("Choice", told | more)

    def _shown_delta(self, choice: Choice, progress: Progress) -> dict[str, Any]:
        given = cast("dict[str, Any]", choice.get("delta") or {})
        delta = {name: given[name] for name in _SHOWN if name in given}
        if isinstance(delta.get("content"), list):
            delta["content"] = ""
        if isinstance(audio := delta.get("audio"), dict):
            self._hear_audio(audio)
        return delta | self._calls.delta(progress.calls, given.get("tool_calls") or ())

    def _hear_audio(self, audio: dict[str, Any]) -> None:
        before = self.audio or Audio("", "")
        said = before.transcript + (audio.get("transcript") or "")
        self.audio = Audio(before.id or audio.get("id") or "", said)

    def _with_rest(
        self, delta: dict[str, Any], logprobs: Any, *, cut: bool
    ) -> tuple[dict[str, Any], Any]:
        """Add what was held back of the text, and what was said by ``send_message``."""
        rest, logprobs = self.text.close(logprobs, cut=cut)
        if found := [call for call in self.text.calls if call.name not in self._ours]:
            delta = {**delta, **self._hear_written(found)}
        if not self.theirs:
            rest += self.text.say("".join(filter(None, map(_message, self._our_calls()))))
        if rest:
            delta = {**delta, "content": (delta.get("content") or "") + rest}
        return delta, logprobs

    def _hear_written(self, found: Sequence[Call]) -> dict[str, Any]:
        """Take calls of the client's tools out of the text; return the fields that tell them."""
        pieces: list[ToolCallDelta] = [
            {"index": at, "function": {"name": call.name, "arguments": call.text or "{}"}}
            for at, call in enumerate(found, len(self._reader.calls))
        ]
        chunk: Chunk = {"choices": [{"delta": {"tool_calls": pieces}}]}
        return self._calls.delta(self._reader.add(chunk).calls, pieces)

    def _our_calls(self) -> list[StepCall]:
        return [step_call(call) for call in self._reader.calls if call.name in self._ours]

    def _true(self, reason: str | None) -> str | None:
        """Return the reason for the end: calls, where and only where a client sees one.

        Backends take one for the other, and have words of their own.
        """
        if not reason or reason in CUT_SHORT:
            return reason or None
        if not self.theirs:
            return "stop"
        return "function_call" if self._offer.legacy else "tool_calls"


def _message(call: StepCall) -> str | None:
    """Return what a call of ``send_message`` says; None for any other, and for an empty one."""
    if call.name != SEND_MESSAGE:
        return None
    return message_of(call.arguments) or None
