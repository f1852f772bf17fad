"""The turn as a pure state machine: what a step gave goes in, what to do next comes out.

Chaining (the paper, section 2.3): a call that asks for a heartbeat, a
retrieval and a failed call continue the turn; anything else yields. A turn that yields
without a word to the user is run again, and one that will not end is ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any, TypeVar

import orjson

from memgpt_proxy.agent.executor import CallResult, FunctionCall
from memgpt_proxy.agent.functions import FUNCTIONS, SEND_MESSAGE, asks_heartbeat
from memgpt_proxy.agent.reply import (
    CUT_SHORT,
    ClientCall,
    Kind,
    Offer,
    Reply,
    Step,
    StepCall,
    said_message,
)
from memgpt_proxy.memory import alerts
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.values import dataclass
from memgpt_proxy.wire.arguments import is_json, parse_arguments

_REMINDERS = 2
"""How often a turn without a reply is run again before its last step."""

_FILTERED = "content_filter"


@dataclass(frozen=True, slots=True)
class RunStep:
    """Run the model once more.

    ``last``: it may only reply. ``aside``: it may only call memory functions, with room for them.
    """

    last: bool
    aside: bool = False


@dataclass(frozen=True, slots=True)
class Execute:
    """Run these calls, in order."""

    calls: tuple[FunctionCall, ...]


@dataclass(frozen=True, slots=True)
class Finish:
    """The turn is over. ``reason`` is OpenAI's finish_reason; None when nobody was answered."""

    reason: str | None


Called = TypeVar("Called", StepCall, ClientCall)

Action = RunStep | Execute | Finish


@dataclass(slots=True)
class Turn:
    """One turn of a model.

    Attributes:
        reply: What the client has been told.
        offer: The functions that may be called.
        max_steps: Steps at the most; the last may only reply.
        added: Messages to put behind the prompt, since they were last taken.
        steps: Steps run so far.
    """

    reply: Reply
    offer: Offer
    max_steps: int
    added: list[Message] = field(default_factory=list)
    steps: int = 0
    _calls: tuple[StepCall, ...] = ()
    _results: dict[int, CallResult] = field(default_factory=dict)
    _running: dict[int, FunctionCall] = field(default_factory=dict)
    _finish_reason: str | None = None
    _made: set[tuple[str, object]] = field(default_factory=set)
    _reminders: int = 0
    _aside: bool = False

    def begin(self) -> Action:
        """Return the first action."""
        return RunStep(last=False)

    def take_added(self) -> list[Message]:
        """Return the messages added since this was last asked."""
        added, self.added = self.added, []
        return added

    def may_repeat(self) -> None:
        """Results were taken out of the prompt: to have one again, its call is made again."""
        self._made.clear()

    def stepped(self, step: Step) -> Action:
        """Take a finished step."""
        self.steps += 1
        if self._is_cut_off(step):
            self._aside = True
            return RunStep(last=False, aside=True)
        if not step.calls:
            return self._answered(step)
        self.added.append(_assistant(step))
        self._calls = step.calls
        self._results, self._running = {}, {}
        for index, call in enumerate(step.calls):
            self._sort(index, call)
        self._finish_reason = step.finish_reason
        if self._running:
            return Execute(tuple(self._running.values()))
        return self.executed(())

    def executed(self, results: Sequence[CallResult]) -> Action:
        """Take the results of the calls that were to be run."""
        self._results |= dict(zip(self._running, results, strict=True))
        self._answer_calls()
        if self.reply.calls:
            return self._end(self._finish_reason, whole="tool_calls")
        if self._replied and self._is_cut_short:
            return self._end(self._finish_reason)
        if self._replied and self.offer.clean:  # what was shown is the whole answer
            return self._end(self._finish_reason)
        if self.steps >= self.max_steps:
            return Finish("stop" if self._replied else None)
        if self._goes_on():
            return self._run_again()
        return Finish("stop") if self._replied else self._remind()

    @property
    def _is_cut_short(self) -> bool:
        return bool(self.reply.limit.reached) or self._finish_reason in CUT_SHORT

    @property
    def _replied(self) -> bool:
        return self.reply.answered or bool(self.reply.limit.reached)

    def _is_cut_off(self, step: Step) -> bool:
        """Return whether a call of ours was cut off by a limit that is about the answer.

        It is made again, once in a turn, without that limit.
        """
        if not self.offer.clean or self._aside or self.steps >= self.max_steps - 1:
            return False
        ours = (call for call in step.calls if not self.offer.is_theirs(call.name))
        return any(call.cut or not is_json(call.arguments or "{}") for call in ours)

    def _sort(self, index: int, call: StepCall) -> None:
        """Decide a call at once where that is possible, else have it run."""
        if self.offer.is_theirs(call.name):
            return
        is_heard = call.name == SEND_MESSAGE and self.offer.hears
        function = FUNCTIONS.get(call.name) if is_heard or call.name in self.offer.ours else None
        if function is None:
            self._results[index] = CallResult(
                f"Error: there is no function {call.name}.", failed=True
            )
            return
        arguments = parse_arguments(call.arguments)
        if call.name == SEND_MESSAGE:
            self._results[index] = self._sent(arguments is not None)
        elif call.cut:  # what can be read of it is not all that was meant
            self._results[index] = CallResult(
                "Error: the answer was cut off inside this call, and nothing was done. "
                "Make it again, with less in it.",
                failed=True,
            )
        elif self._is_repeated(call, arguments):
            self._results[index] = CallResult(
                "Error: you made this very call before in this turn; its result stands above. "
                "Do something else, or reply.",
                failed=not self._replied,  # who repeats itself after the reply is through
            )
        else:
            self._running[index] = FunctionCall(call.id, function, arguments)

    def _sent(self, readable: bool) -> CallResult:
        if self._replied:
            return CallResult("Message sent.")
        why = "message is empty" if readable else "the arguments are not a JSON object"
        return CallResult(f"Error: {why}; the user has heard nothing.", failed=True)

    def _is_repeated(self, call: StepCall, arguments: Mapping[str, Any] | None) -> bool:
        made = (call.name, call.arguments if arguments is None else _plain(arguments))
        repeated = made in self._made
        self._made.add(made)
        return repeated

    def _answer_calls(self) -> None:
        """Put each result behind the step, in the order of the calls."""
        for index, call in enumerate(self._calls):
            if result := self._results.get(index):
                self.added.append({"role": "tool", "tool_call_id": call.id, "content": result.text})

    def _goes_on(self) -> bool:
        if any(result.failed for result in self._results.values()):
            return True
        if any(call.function.retrieval or call.heartbeat for call in self._running.values()):
            return True
        sent = (call for call in self._calls if call.name == SEND_MESSAGE)
        return any(asks_heartbeat(parse_arguments(call.arguments)) for call in sent)

    def _answered(self, step: Step) -> Action:
        """Take a step of plain content only."""
        if step.content or step.refusal or step.audio:
            said = said_message(step.content, (), step.refusal, step.audio)
            self.added.append({**said, **step.reasoning})
        if self._replied or step.finish_reason == _FILTERED:
            return self._end(step.finish_reason)
        if self.steps >= self.max_steps:
            return Finish(None)
        return self._remind()

    def _end(self, finish_reason: str | None, *, whole: str = "stop") -> Finish:
        reached = self.reply.limit.reached
        return Finish(reached or (finish_reason if finish_reason in CUT_SHORT else whole))

    def _remind(self) -> Action:
        self._reminders += 1
        if self._reminders > _REMINDERS:
            self.steps = max(self.steps, self.max_steps - 1)
        elif not self.offer.must_call:
            self.added.append(alerts.user_waiting(self._voice))
        return self._run_again()

    def _run_again(self) -> RunStep:
        last = self.steps >= self.max_steps - 1
        if last and not self._replied and not self.offer.must_call:
            self.added.append(alerts.last_step(self._voice))
        return RunStep(last=last)

    @property
    def _voice(self) -> str | None:
        return SEND_MESSAGE if SEND_MESSAGE in self.offer.ours else None


def _assistant(step: Step) -> Message:
    return {**said_message(step.content, written(step.calls), step.refusal), **step.reasoning}


def written(calls: Sequence[Called]) -> list[Called]:
    """Return calls as backends take them back."""
    return [replace(call, arguments=_written(call)) for call in calls]


def _written(call: StepCall | ClientCall) -> str:
    return call.arguments if call.kind is Kind.CUSTOM else _valid(call.arguments)


def _plain(arguments: Mapping[str, Any]) -> frozenset[tuple[str, Any]]:
    """Return arguments to compare calls by; none of our functions takes a nested one."""
    return frozenset((k, v) for k, v in arguments.items() if isinstance(v, str | int | float))


def _valid(arguments: str) -> str:
    """Return arguments that backends take back: chat templates parse them as JSON."""
    if is_json(arguments):
        return arguments
    return orjson.dumps(parse_arguments(arguments) or {}).decode()
