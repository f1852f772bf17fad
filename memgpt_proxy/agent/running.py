"""A running turn: the thin shell around the pure turn, which does the I/O that it asks for.

``run`` steps and executes until the turn finishes, and commits; ``settle`` does what can
wait until the client has its reply.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

import orjson

from memgpt_proxy.agent.clean import CleanListener
from memgpt_proxy.agent.committing import Commit
from memgpt_proxy.agent.executor import CallResult, FunctionCall
from memgpt_proxy.agent.faculties import Faculties
from memgpt_proxy.agent.functions import SEND_MESSAGE
from memgpt_proxy.agent.habits import Habit
from memgpt_proxy.agent.healing import Prepare, Prepared
from memgpt_proxy.agent.hearing import (
    Hearing,
    broken,
    calls_in_text,
    check_whole,
    writes_calls,
)
from memgpt_proxy.agent.limits import TextLimit
from memgpt_proxy.agent.recovery import Attempt, Recovery
from memgpt_proxy.agent.reply import CUT_SHORT, Delta, Reply, Step, StepListener, said_message
from memgpt_proxy.agent.request import ReplySink, TurnRequest, TurnResult
from memgpt_proxy.agent.solitary import is_about_fields
from memgpt_proxy.agent.thinking import Thinker, thinking_asked
from memgpt_proxy.agent.turn import Execute, Finish, RunStep, Turn, written
from memgpt_proxy.backend.client import Route
from memgpt_proxy.backend.headers import RawHeaders, about_the_call
from memgpt_proxy.backend.refused import failed_call
from memgpt_proxy.errors import GatewayError, NoReply
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Node, NodeId, QueueState, Role
from memgpt_proxy.traits import Trait
from memgpt_proxy.wire.chat import Chunk, Usage, add_usage, reasoning_tokens
from memgpt_proxy.wire.step import StepReader

log = logging.getLogger(__name__)

_FORGOTTEN = CallResult(
    "Error: this memory was erased a moment ago. Reply with what you know.", failed=True
)


class RunningTurn:
    """One turn on its way. Made by ``Agent.open``; used once."""

    def __init__(
        self,
        faculties: Faculties,
        request: TurnRequest,
        routes: Sequence[Route],
        prepared: Prepared,
        prepare: Prepare,
    ) -> None:
        self._can = faculties
        self._request = request
        self._answering = False  # something of the step's answer was told
        limit = TextLimit(request.stop, request.max_tokens, faculties.counter)
        self._reply = Reply(limit)
        self._trace = faculties.tracer.begin(request.namespace, request.model)
        self._kept = Commit(faculties, request, self._reply, prepared)
        self._take(prepared)
        texts = _switching(request.application, self._context.queue.nodes)
        self._thinks = thinking_asked(request.options, texts)
        self._recovery = Recovery(
            faculties.windows, faculties.profiles, faculties.telemetry, routes, prepare
        )
        self._recorded = 0  # messages of the reply that stand in the main context
        self._usage: Usage | None = None
        self._more: Mapping[str, Any] = {}
        self._unreported = 0  # tokens of a prompt that the backend has taken, but not told of
        self._accepted = False

    def _take(self, prepared: Prepared) -> None:
        """Begin with what is prepared."""
        opening, steps = prepared.opening, prepared.steps
        self._opening = opening
        self._context = opening.context
        self._steps = steps
        self._window = prepared.window
        self._place = prepared.place
        self._turn = Turn(self._reply, steps.offer, self._can.max_steps)
        self._tools = self._can.counter.remembered(steps.tools_text)
        self._trace.began(opening.author.turn, opening.undone)

    @property
    def degraded(self) -> bool:
        """Whether it runs without memory, or could not be stored, or not yet."""
        return self._kept.degraded

    @property
    def _route(self) -> Route:
        return self._recovery.route

    @property
    def _thinker(self) -> Thinker:
        return Thinker(self._route.key, self._route.model, self._thinks)

    @property
    def tokens(self) -> int:
        """Tokens that its steps have used so far, prompts and answers."""
        usage = self._total_usage()
        told = (usage.get("prompt_tokens") or 0) + (usage.get("completion_tokens") or 0)
        return told + self._unreported

    async def run(self, sink: ReplySink) -> TurnResult:
        """Run the turn to its end; what came of it is stored when this returns.

        It is stored too, as far as it came, when the turn is cancelled or breaks off once
        the backend has accepted it.

        Raises:
            GatewayError: The backend failed, or the model came to no reply.
        """
        finish = None
        try:
            finish = await self._run(sink)
        finally:
            try:
                if not await self._commit(complete=finish is not None):
                    await self._kept.put_back()
            finally:  # the client may leave at the commit
                reason = finish.reason if finish is not None else None
                self._trace.ended(
                    degraded=self.degraded,
                    usage=self._usage,
                    tokens=self.tokens,
                    finish_reason=reason,
                )
        if finish.reason is None:
            raise NoReply("The model came to no reply within the steps allowed for one turn.")
        return TurnResult(
            self._reply, finish.reason, self._total_usage(), self.degraded, self._more
        )

    async def settle(self) -> None:
        """Flush the queue if this turn has filled it: after the reply, so that nobody waits."""
        if (reply := self._kept.reply) is None or not self._opening.remembers:
            return
        if not self._is_over() or self._kept.is_erased():
            return
        try:
            with self._can.queue_manager.flushing(self._request.namespace, reply):
                if state := await self._flush(reply):
                    await self._kept.store_flushed(state)
        except StoreError:
            log.warning("the queue could not be flushed; it will be in a later turn", exc_info=True)

    def keep_trace(self) -> None:
        """Keep what it did, for its owner, once the client has its reply."""
        if self._accepted and self._request.writes and not self._kept.is_erased():
            self._trace.keep()

    async def _run(self, sink: ReplySink) -> Finish:
        self._warn_of_pressure()
        action = self._turn.begin()
        while True:
            match action:
                case RunStep() as run:
                    step = await self._step(sink, run)  # it may begin the turn anew
                    action = self._turn.stepped(step)
                case Execute(calls=calls):
                    action = self._turn.executed(await self._execute(calls))
                case Finish():
                    self._take_added()
                    return action
                case _:
                    assert_never(action)

    async def _step(self, sink: ReplySink, run: RunStep) -> Step:
        """Run one step; make it anew and retry where that may help (see ``recovery``)."""
        self._take_added()
        asked = run
        while True:
            await self._make_room()
            longest = self._window.longest_answer(self._prompt)
            body = self._steps.body(self._context, last=run.last, longest=longest, aside=run.aside)
            by_call = self._is_by_call(run)
            sent = self._recovery.write(body, by_call=by_call)
            try:
                step = await self._stream(sink, sent, run)
            except GatewayError as error:
                if (unread := await self._unread(sink, error, run)) is not None:
                    return unread
                attempt = self._attempt(body, by_call)
                run = await self._again(error, attempt, run, tried_plain=run is not asked)
            else:
                self._recovery.succeeded()
                if run is not asked:
                    self._can.solitary.learn(self._route.key)
                return step

    async def _again(
        self, error: GatewayError, attempt: Attempt, run: RunStep, *, tried_plain: bool
    ) -> RunStep:
        """Prepare to send a failed step again and return it; raises what the client is told."""
        before = self._route
        if again := await self._recovery.after(error, attempt):
            if self._route is not before:
                self._context.forget_reasoning()  # no other model can go on from it
            if again.prepared is not None:
                self._take_up(again.prepared)
            return run
        if not tried_plain and self._may_be_plain(error, run):
            return RunStep(last=True)
        if (cause := self._recovery.cause(error, self._steps.offer.own)) is not error:
            raise cause from None
        raise error

    def _attempt(self, body: bytes, by_call: bool) -> Attempt:
        steps = self._steps
        offer = steps.offer if self._accepted else None
        remembers = bool(steps.offer.ours)
        return Attempt(body, self._prompt, steps.answer, offer, self._answering, by_call, remembers)

    def _is_by_call(self, run: RunStep) -> bool:
        """Return whether calls are all that a step's answer has to have."""
        return run.aside or SEND_MESSAGE in self._steps.offer.ours

    def _may_be_plain(self, error: GatewayError, run: RunStep) -> bool:
        """Return whether the backend may take a step without the functions that we added."""
        offer = self._steps.offer
        added = offer.awaits_client and offer.ours and not run.last
        return bool(added) and is_about_fields(error)

    def _take_up(self, prepared: Prepared) -> None:
        """Go on with what is prepared; what the backend has accepted stays begun."""
        if self._accepted:
            self._window = prepared.window
            if prepared.steps.offer == self._steps.offer:
                self._steps = prepared.steps
            self._place = replace(self._place, room=prepared.place.room)  # the turn is the same
        else:
            self._kept.begin(prepared)
            self._take(prepared)
            self._warn_of_pressure()

    async def _stream(self, sink: ReplySink, body: bytes, run: RunStep) -> Step:
        """Send one step's request, showing the client what it may see as it comes."""
        profile = self._recovery.profile
        streamed = self._steps.is_streamed(profile)
        with self._trace.step(self._route.backend.server, streamed=streamed):
            listed = calls_in_text(self._steps.offer, profile)
            hearing = Hearing(self._listener(run), self._steps.offer, listed)
            try:
                await self._hear(sink, body, hearing)
            except asyncio.CancelledError:
                if not streamed:  # it was at work, although nothing has come of it yet
                    self._unreported = self._prompt
                raise
            finally:
                hearing.note()  # it may have broken off
            return await self._heard(sink, hearing, run)

    async def _heard(
        self, sink: ReplySink, hearing: Hearing, run: RunStep, deltas: Sequence[Delta] = ()
    ) -> Step:
        """End a step: the client gets what is left of it, behind deltas that it did not get yet."""
        rest, step = hearing.close()
        if deltas or rest:
            await self._tell(sink, [*deltas, *rest])
        self._learn(hearing.reader, step, run)
        return step

    async def _unread(self, sink: ReplySink, error: GatewayError, run: RunStep) -> Step | None:
        """Return the step that a server could not read, where its refusal repeats the call."""
        written, offer = failed_call(error), self._steps.offer
        if self._request.clean or not written or not writes_calls(written, offer):
            return None
        hearing = Hearing(self._listener(run), offer)
        deltas = hearing.hear([{"choices": [{"delta": {"content": written}}]}])
        if not self._accepted:
            await self._accept(sink, hearing.reader, about_the_call(error.headers))
        return await self._heard(sink, hearing, run, deltas)

    async def _hear(self, sink: ReplySink, body: bytes, hearing: Hearing) -> None:
        """Hear a step to its end, or until the client has enough."""
        reader = hearing.reader
        headers = self._trace.headers(self._request.headers)
        self._answering = False
        async with self._route.backend.stream(body, headers) as chunks:
            self._unreported = self._prompt
            async for several in chunks:
                self._trace.chunk_came()
                deltas = self._heard_of(several, hearing)
                if reader.error is not None:
                    raise broken(reader, reader.error)
                if not self._accepted:
                    await self._accept(sink, reader, chunks.headers)
                if deltas:
                    await self._tell(sink, deltas)
                if self._reply.limit.reached:
                    break
            else:
                check_whole(hearing, chunks)

    def _heard_of(self, chunks: Sequence[Chunk], hearing: Hearing) -> list[Delta]:
        """Hear chunks, until the client has enough: of what follows then, not all may have come."""
        if self._reply.limit.is_none:
            return hearing.hear(chunks)
        deltas: list[Delta] = []
        for chunk in chunks:
            deltas += hearing.hear((chunk,))
            if self._reply.limit.reached:
                break
        return deltas

    async def _tell(self, sink: ReplySink, deltas: Sequence[Delta]) -> None:
        if not self._answering:
            self._answering = True
            self._trace.spoke()
        await sink.write(deltas)

    async def _accept(self, sink: ReplySink, reader: StepReader, headers: RawHeaders) -> None:
        """The backend takes the turn: from now on it is remembered, whatever happens."""
        self._accepted = True
        await sink.begin(reader, headers)
        await self._kept.take_in()

    async def _execute(self, calls: Sequence[FunctionCall]) -> list[CallResult]:
        results = []
        for call in calls:
            self._trace.call_began(call)
            erased = self._kept.is_erased()
            result = _FORGOTTEN if erased else await self._can.executor.run(self._place, call)
            self._trace.called(call, result)
            if result.context is not None:
                self._kept.wrote(result.context)
            results.append(result)
        return results

    def _listener(self, run: RunStep) -> StepListener | CleanListener:
        offer = self._steps.offer
        beginning = self._can.thinking.of(self._thinker)
        if not self._request.clean:
            return StepListener(self._reply, offer, self._habit(), beginning)
        may_remember = bool(offer.ours) and not run.last
        habit = self._can.clean_habits.of(self._route.key)
        return CleanListener(
            self._reply,
            offer,
            holds=may_remember and habit is not Habit.CONTENT,
            json=_is_json(self._request.options),
            shows=not run.aside,
            beginning=beginning,
            written=Trait.NO_TOOLS in self._recovery.profile,
        )

    def _habit(self) -> Habit:
        """Without ``send_message`` among the functions, content is the only voice."""
        offer = self._steps.offer
        if offer.must_call and offer.ours:
            return Habit.HELD
        if SEND_MESSAGE not in offer.ours:
            return Habit.CONTENT
        return self._can.habits.of(self._route.key)

    def _learn_clean(self, reader: StepReader, step: Step) -> None:
        ours = [call for call in step.calls if not self._steps.offer.is_theirs(call.name)]
        self._can.clean_habits.learn(
            self._route.key, sent=False, content=bool(reader.content), called=bool(ours)
        )

    def _learn(self, reader: StepReader, step: Step, run: RunStep) -> None:
        self._can.thinking.learn(
            self._thinker,
            reader.content,
            reasoned=reader.reasoned or reasoning_tokens(reader.usage) > 0,
            cut=reader.finish_reason in CUT_SHORT,
        )
        if self._request.clean and self._steps.offer.ours and not run.last:
            self._learn_clean(reader, step)
        if SEND_MESSAGE in self._steps.offer.ours:
            names = [call.name for call in step.calls]
            self._can.habits.learn(
                self._route.key,
                sent=SEND_MESSAGE in names,
                content=bool(step.content),
                called=bool(names),
            )
        counted, self._unreported = self._prompt, 0
        usage = reader.usage or self._estimated(counted, step)
        self._trace.step_ended(step, usage, reader.model)
        self._usage = add_usage(self._usage, usage)
        self._more = reader.more
        if reader.usage is None:
            return
        reported = reader.usage.get("prompt_tokens", 0)
        self._can.telemetry.prompt_reported(counted * self._window.ratio, reported)
        self._can.windows.calibration(self._route.name).learn(counted, reported)

    @property
    def _prompt(self) -> int:
        """Tokens of the prompt as it stands, by our count."""
        return self._context.tokens + self._tools

    def _estimated(self, prompt: int, step: Step) -> Usage:
        """Return the usage of a step whose backend reports none."""
        written = "".join([step.content, *(f"{c.name}{c.arguments}" for c in step.calls)])
        answer = self._can.counter.text(written)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        }

    def _take_added(self) -> None:
        for message in self._turn.take_added():
            self._context.add(message)
        self._recorded = len(self._reply.messages)

    def _warn_of_pressure(self) -> None:
        if not self._steps.offer.ours:
            return
        warning = self._can.queue_manager.pressure(self._context, self._window, self._tools)
        if warning is not None:
            self._can.telemetry.pressure_signalled()
            self._context.add(warning)

    async def _make_room(self) -> None:
        """Flush inside the turn only where the prompt would not fit."""
        if not self._is_over():
            return
        if self._opening.remembers:
            await self._flush_within()
        if self._context.fit(self._window.usable - self._tools):
            self._turn.may_repeat()

    async def _flush_within(self) -> None:
        if not self._accepted and await self._can.queue_manager.flushed(
            self._request.namespace, self._opening.parent
        ):
            self._take_up(await self._recovery.anew())
            if not self._is_over():
                return
        try:
            await self._flush(self._opening.author.node)
        except StoreError:
            log.warning("memory is away: the queue is cut without a summary", exc_info=True)

    def _is_over(self) -> bool:
        return self._can.queue_manager.needs_flush(self._context, self._window, self._tools)

    async def _flush(self, at: NodeId) -> QueueState | None:
        before = self._context.queue.state.start
        state = await self._can.queue_manager.flush(
            self._request.namespace,
            self._context,
            self._window,
            self._tools,
            at=at,
            model=self._route.name,
            headers=self._request.headers,
        )
        if state is not None:
            self._trace.queue_flushed(state.start - before)
        return state

    def _take_rest(self, *, complete: bool) -> None:
        """Let the main context hold all that was said, and the reasoning that goes back."""
        rest = self._reply.text_from(self._recorded)
        if not complete and (rest or self._reply.calls):
            self._context.add(said_message(rest, written(self._reply.calls)))
        if not self._keeps_reasoning():
            self._context.forget_reasoning()

    async def _commit(self, *, complete: bool) -> bool:
        """Store the turn if the backend has accepted it; return whether it is stored."""
        if not self._accepted:
            return False
        self._take_rest(complete=complete)
        return await self._kept.store(self._context, complete=complete)

    def _keeps_reasoning(self) -> bool:
        """Return whether it is needed again: amid the client's calls, or by this backend always."""
        return bool(self._reply.calls) or Trait.REASONING in self._can.profiles.of(self._route)

    def _total_usage(self) -> Usage:
        return self._usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


def _switching(application: str, nodes: Sequence[Node]) -> Iterator[Any]:
    """Give the texts of a prompt in which a chat template may find what switches thinking."""
    yield application
    for node in nodes:
        if node.role is Role.USER and "think" in node.entries:
            for entry in orjson.loads(node.entries):
                yield entry.get("content")


def _is_json(options: Mapping[str, Any]) -> bool:
    """Return whether the answer is to be a JSON object."""
    form = options.get("response_format")
    return isinstance(form, dict) and form.get("type") in ("json_object", "json_schema")
