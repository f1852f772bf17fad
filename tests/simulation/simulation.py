"""One simulation: random clients and one scripted model on one gateway, checked turn by turn.

Everything random comes from one seed. A failure names the seed, the turn and what led to it.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from memgpt_proxy.stores.sqlite import SqliteStore
from tests.simulation import checks
from tests.simulation.backend import Backend, Hold, Prompt
from tests.simulation.client import (
    REWRITINGS,
    Conversation,
    Entry,
    Kind,
    said_by_user,
)
from tests.simulation.gateway import Answer, Calendar, Gateway
from tests.simulation.ledger import Ledger, Node
from tests.simulation.world import CITIES, GREETINGS, Fact, World

RETRY = {"x-stainless-retry-count": "1"}
WORKING_CONTEXT = 1500
"""Characters: some thirty facts, so that it is full soon."""
_OFTEN = 200
_NOTES_EVERY = 25
"""Turns: all of archival storage is compared in each of the first, and then now and then."""
_EVERYTHING_EVERY = 500
_MAIN = 0.7
"""Part of the turns that the one long conversation has, where there is one."""
_NEAR = 12
"""Messages back from the newest that a regeneration or an edit of the last one changes."""
_LAST_STEPS = 12

Deed = Callable[[Conversation], Fact | None]
"""What a person does next: changes the history, and returns the fact that it asks for."""


class Failed(AssertionError):
    """A check failed; says in which simulation, where, and after what."""


class Simulation:
    """Conversations of one person with one gateway.

    Args:
        kinds: Which clients there are.
        mishaps: Part of the requests that break off, or are sent twice.
        most: Conversations at a time.
    """

    def __init__(
        self,
        directory: Path,
        seed: int,
        *,
        window: int = 4096,
        kinds: tuple[Kind, ...] = tuple(Kind),
        mishaps: float = 0.08,
        most: int = 6,
        **settings: Any,
    ) -> None:
        self.rng = random.Random(seed)
        self.world = World(self.rng)
        self.ledger = Ledger()
        self.backend = Backend()
        self.calendar = Calendar()
        self.conversations: list[Conversation] = []
        self.main: Conversation | None = None
        self.turns = 0
        self.prompts: list[Prompt] = []
        self._seed = seed
        self._window = window
        self._kinds = kinds
        self._mishaps = mishaps
        self._most = most
        self._named = 0
        self._requests = 0
        self._log: deque[str] = deque(maxlen=_LAST_STEPS)
        settings = {"working_context_limit": WORKING_CONTEXT, **settings}
        self.gateway = Gateway(
            directory, self.backend, self.calendar, context_window=window, **settings
        )

    async def __aenter__(self) -> Self:
        await self.gateway.start()
        self.database = checks.Database(self.gateway.database)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.database.close()
        await self.gateway.stop()

    async def run(self, turns: int) -> None:
        """Let so many turns pass, and check everything now and then and at the end."""
        for number in range(1, turns + 1):
            await self.turn(self._whose_turn())
            if number % _EVERYTHING_EVERY == 0 or number == turns:
                await self._told(self.check_everything())

    async def turn(self, conversation: Conversation, deed: Deed | None = None) -> None:
        """Let one conversation go on by one turn, in one way or another."""
        self.turns += 1
        self._pass_time()
        if self.rng.random() < 0.01:
            await self.restart()
        deed = deed or self._deed(conversation)
        self._log.append(f"{self.turns} {conversation}: {deed.__name__}")
        asked = deed(conversation)
        await self._told(self._exchange(conversation, asked))

    async def restart(self) -> None:
        """Stop the gateway and start it anew on what it has stored."""
        self._log.append("restart")
        await self.gateway.stop()
        await self.gateway.start()

    def open(self, kind: Kind, **traits: Any) -> Conversation:
        """Begin a conversation with a client of this kind."""
        self._named += 1
        rng = self.rng
        given: dict[str, Any] = {
            "rewriting": rng.choice(list(REWRITINGS)),
            "system": rng.choice((None, "You are kind.")),
            "system_changes": rng.random() < 0.3,
            "has_tools": rng.random() < 0.5,
            **traits,
        }
        conversation = Conversation(f"chat-{self._named}", kind, rng, **given)
        self.conversations.append(conversation)
        if len(self.conversations) > self._most:
            self.conversations.remove(rng.choice(self.conversations[:-1]))
        return conversation

    def open_main(self, kind: Kind, **traits: Any) -> Conversation:
        """Begin the conversation that most turns go to from now on."""
        self.main = self.open(kind, **traits)
        self.conversations.remove(self.main)
        return self.main

    async def check_everything(self) -> None:
        """Check all of recall storage and all that was ever written."""
        checks.check_recall(self.database.said(), self.ledger.said)
        checks.check_working_context(self.database.working_context(), self.ledger.writes)
        checks.check_notes(self.database.notes(), self.ledger.writes)

    async def _told(self, work: Awaitable[None]) -> None:
        try:
            await work
        except AssertionError as error:
            steps = "\n  ".join(self._log)
            raise Failed(f"seed {self._seed}, turn {self.turns}: {error}\n  {steps}") from error

    def _whose_turn(self) -> Conversation:
        if self.main and self.rng.random() < _MAIN:
            return self.main
        if len(self.conversations) < 2 or self.rng.random() < 0.08:
            return self.open(self.rng.choice(self._kinds))
        return self.rng.choice(self.conversations)

    def _pass_time(self) -> None:
        self.calendar.move(seconds=self.rng.randrange(1, 900))
        if self.rng.random() < 0.04:
            self.calendar.move(days=self.rng.randrange(1, 4))

    # What a person does next. Each leaves a history whose last message wants an answer; it
    # returns the fact that was asked for, if one was.

    def _deed(self, conversation: Conversation) -> Deed:
        history = conversation.history
        if not history:
            return self._opens
        if history[-1].awaits_tools:
            return self._runs_tools
        weights: dict[Deed, int] = {
            self.remarks: 30,
            self._states: 20,
            self._asks: 15 if self.ledger.facts else 0,
            self._shows_a_picture: 3,
            self._pastes_a_book: 1,
            self._asks_for_weather: 8 if conversation.has_tools else 0,
            self._says_the_same_again: 3,
            **self._changes(conversation),
        }
        (deed,) = self.rng.choices(list(weights), list(weights.values()))
        return deed

    def _changes(self, conversation: Conversation) -> dict[Deed, int]:
        """Return what a person can do to what was said already."""
        is_named = conversation.kind is Kind.UI
        today = self._today() == conversation.opened_on
        if conversation.kind is Kind.NEWEST or not conversation.is_at_reply():
            return {}
        changes: dict[Deed, int] = {}
        if conversation.last_of("user") > 0 or (today or is_named):
            changes[self._regenerates] = 8
        if conversation.last_of("user") > 0 or is_named:
            changes[self._edits_the_last] = 5
        if conversation.alternatives:
            changes[self._goes_on_from_an_alternative] = 15
        if conversation.kind is not Kind.SLIDING and len(conversation.history) > 6:
            changes |= {self._edits_amid: 3, self._deletes_amid: 3, self._edits_and_truncates: 2}
        return changes

    def _opens(self, conversation: Conversation) -> Fact | None:
        conversation.opened_on = self._today()
        if self.rng.random() < 0.4:
            conversation.say(said_by_user(self.rng.choice(GREETINGS)))
            return None
        return self.rng.choice((self.remarks, self._states))(conversation)

    def remarks(self, conversation: Conversation) -> None:
        conversation.say(said_by_user(self.world.remark()))

    def _states(self, conversation: Conversation) -> None:
        conversation.say(self._statement())

    def _statement(self) -> Entry:
        fact = self.world.fact()
        return said_by_user(self.world.statement(fact), fact)

    def _asks(self, conversation: Conversation) -> Fact:
        fact = self.rng.choice(list(self.ledger.facts.values()))
        conversation.say(said_by_user(self.world.question(fact)))
        return fact

    def _shows_a_picture(self, conversation: Conversation) -> None:
        conversation.say(said_by_user(self.world.remark(), image=True))

    def _pastes_a_book(self, conversation: Conversation) -> None:
        conversation.say(said_by_user(self.world.book()))

    def _says_the_same_again(self, conversation: Conversation) -> None:
        conversation.say(said_by_user("Go on."))

    def _asks_for_weather(self, conversation: Conversation) -> None:
        cities = self.rng.sample(CITIES, self.rng.choice((1, 2, 3)))
        conversation.say(said_by_user(f"Weather in {' and '.join(cities)}? {self.world.topic()}"))

    def _runs_tools(self, conversation: Conversation) -> None:
        for call in conversation.history[-1].message["tool_calls"]:
            city = call["function"]["arguments"].split('"')[-2]
            text = f"It is {self.world.words(1)} in {city}."
            message = {"role": "tool", "tool_call_id": call["id"], "content": text}
            conversation.say(Entry(message, text))

    def _regenerates(self, conversation: Conversation) -> None:
        alternatives = conversation.alternatives
        dropped = conversation.drop_reply()
        conversation.alternatives = [*alternatives, *dropped] if len(dropped) == 1 else []

    def _goes_on_from_an_alternative(self, conversation: Conversation) -> None:
        chosen = self.rng.choice(conversation.alternatives)
        conversation.drop_reply()
        conversation.say(chosen)
        self.rng.choice((self.remarks, self._states))(conversation)

    def _edits_the_last(self, conversation: Conversation) -> None:
        conversation.drop_reply()
        self._retract(*conversation.truncate(conversation.last_of("user")))
        self.rng.choice((self.remarks, self._states))(conversation)

    def _edits_amid(self, conversation: Conversation) -> None:
        index = self._amid(conversation, "user")
        self._retract(conversation.edit(index, self._statement()))
        self.remarks(conversation)

    def _deletes_amid(self, conversation: Conversation) -> None:
        index = self._amid(conversation, self.rng.choice(("user", "assistant")))
        if not conversation.history[index].awaits_tools:
            self._retract(conversation.delete(index))
        self.remarks(conversation)

    def _edits_and_truncates(self, conversation: Conversation) -> None:
        self._retract(*conversation.truncate(self._amid(conversation, "user")))
        self._states(conversation)

    def _amid(self, conversation: Conversation, role: str) -> int:
        """Return the index of one of the last messages of a role, but not of the first."""
        history = conversation.history
        near = range(max(1, len(history) - _NEAR), len(history))
        return self.rng.choice([i for i in near if history[i].role == role] or [len(history) - 2])

    def _retract(self, *entries: Entry) -> None:
        for entry in entries:
            if entry.fact:
                self.ledger.facts.pop(entry.fact.value, None)

    def _today(self) -> str:
        return self.calendar.now.date().isoformat()

    # One exchange with the gateway, and what must hold after it.

    async def _exchange(self, conversation: Conversation, asked: Fact | None) -> None:
        mishap = self._mishap(conversation)
        if mishap is None:
            answer = await self._ask(conversation)
        else:
            self._log.append(mishap.__name__)
            answer = await mishap(conversation)
        assert asked is None or not answer.whole or asked.value in answer.text, (
            f"asked for {asked}, answered {answer.text!r}"
        )

    def _mishap(
        self, conversation: Conversation
    ) -> Callable[[Conversation], Awaitable[Answer]] | None:
        if self.rng.random() > self._mishaps:
            return None
        return self.rng.choice((self._leaves_at_once, self._leaves_amid, self._loses_the_reply))

    async def _leaves_at_once(self, conversation: Conversation) -> Answer:
        """The client gives up before the model has begun, and tries again."""
        hold = Hold(after=None)
        body = self._body(conversation, stream=True)
        await self.gateway.ask(body, conversation.headers(), hold)
        self.backend.take_prompts()
        checks.check_recall(self.database.newly_said(), [])
        self._pass_some_seconds()
        return await self._ask(conversation, retry=True)

    async def _leaves_amid(self, conversation: Conversation) -> Answer:
        """The client leaves amid the reply; it tries again, or keeps what it has of it."""
        hold = Hold(after=self.rng.randrange(60))
        answer = await self._ask(conversation, hold=hold)
        if answer.whole:
            return answer
        keeps = answer.text.strip() and self.rng.random() < 0.5
        if keeps:
            return answer
        if conversation.history[-1].role == "assistant":
            conversation.drop_last()
        self._pass_some_seconds()
        return await self._ask(conversation, retry=True)

    async def _loses_the_reply(self, conversation: Conversation) -> Answer:
        """The reply is made and stored, but never arrives: the same request comes again."""
        answer = await self._ask(conversation)
        if answer.calls:
            return answer
        conversation.drop_last()
        self._pass_some_seconds()
        return await self._ask(conversation, retry=True)

    def _pass_some_seconds(self) -> None:
        self.calendar.move(seconds=self.rng.randrange(1, 5))

    async def exchange(self, conversation: Conversation, hold: Hold | None = None) -> Answer:
        """Send a history as it is now, and check what comes of it."""
        self.turns += 1
        return await self._ask(conversation, hold=hold)

    async def _ask(
        self, conversation: Conversation, *, hold: Hold | None = None, retry: bool = False
    ) -> Answer:
        """Send the history as this client does, check what comes of it, and keep the reply."""
        headers = {**conversation.headers(), **(RETRY if retry else {})}
        stream = hold is not None or self.rng.random() < 0.5
        history = list(conversation.history[-200:])
        answer = await self.gateway.ask(self._body(conversation, stream=stream), headers, hold)
        self.prompts = self.backend.take_prompts()
        assert answer.status == 200, f"{answer.status}: {answer.text}"
        assert "x-memgpt-degraded" not in answer.headers, "memory was away"
        for prompt in self.prompts:
            checks.check_prompt(prompt, history, self._window)
        self._check_answer(answer)
        await self._record(conversation, answer)
        return answer

    def _body(self, conversation: Conversation, *, stream: bool) -> bytes:
        self._requests += 1
        return conversation.body(seed=self._requests, stream=stream)

    def _check_answer(self, answer: Answer) -> None:
        """The client has what the model said to it, nothing else."""
        steps = [prompt.step for prompt in self.prompts if not prompt.is_summary]
        said = [step.message for step in steps if step.message is not None]
        text = "\n\n".join(said) or steps[-1].content
        calls = [call for call in steps[-1].calls if call.name == "get_weather"]
        checks.check_no_leak(answer.text)
        if not answer.whole:
            assert text.startswith(answer.text), f"{answer.text!r} is no beginning of {text!r}"
            return
        assert answer.text == (text if said or not calls else ""), f"{answer.text!r} for {text!r}"
        assert [call["id"] for call in answer.calls] == [call.id for call in calls]

    async def _record(self, conversation: Conversation, answer: Answer) -> None:
        """Enter the turn into the ledger and compare."""
        at = self.calendar.now.timestamp()
        change = conversation.changed < len(conversation.history) - _NEAR
        tip = self._place(conversation, at)
        if answer.text or answer.calls:
            entry = conversation.take(answer)
            tip = self._place(conversation, at)
            if tip.utterance and tip.utterance.at != at:  # said before by another turn: replaced
                self.ledger.rewrite(tip)
            self.ledger.write(tip, checks.written(self.prompts))
            entry.utterance = tip.utterance
        self.ledger.go_to(tip, depth=None if change else 2 * _NEAR)
        checks.check_recall(self.database.newly_said(), self.ledger.take_fresh())
        checks.check_working_context(self.database.working_context(), self.ledger.writes)
        if self.turns < _OFTEN or self.turns % _NOTES_EVERY == 0:
            checks.check_notes(self.database.notes(), self.ledger.writes)
        await self._check_ranking(tip)

    def _place(self, conversation: Conversation, at: float) -> Node:
        """Give each message of the history that has none its place in the ledger."""
        history, start = conversation.history, conversation.changed
        node = (start and history[start - 1].node) or self._root(conversation)
        for entry in history[start:]:
            node = self.ledger.place(
                node,
                entry.role,
                entry.text,
                at,
                owner=conversation.name,
                again=entry.utterance,
                called=entry.calls,
            )
            if entry.fact and entry.utterance is None:
                self.ledger.facts[entry.fact.value] = entry.fact
            entry.node, entry.utterance = node, node.utterance
        conversation.changed = len(history)
        return node

    def _root(self, conversation: Conversation) -> Node:
        is_shared = conversation.kind in (Kind.FULL, Kind.SLIDING)
        name = conversation.opened_on if is_shared else conversation.name
        return self.ledger.root(name, is_shared=is_shared)

    async def _check_ranking(self, tip: Node) -> None:
        """Where a message has alternatives, the one that stands is found first."""
        for node in islice(tip.path(), 4):
            replies = node.parent.children.values() if node.parent else ()
            asked = node.parent.utterance if node.parent else None
            if len(replies) > 1 and asked and (topic := checks.topic_of(asked.text)):
                said = [r.utterance for r in replies if r.utterance and topic in r.utterance.text]
                checks.check_ranking(await self.search(topic), said)

    async def search(self, query: str) -> list[str]:
        """Search recall storage as any process could."""
        store = SqliteStore(self.gateway.database)
        await store.open()
        try:
            page = await store.search_messages(self.gateway.namespace, query, limit=50, offset=0)
        finally:
            await store.close()
        return [hit.text for hit in page.hits]
