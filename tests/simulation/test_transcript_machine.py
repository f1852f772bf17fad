"""The transcript as a state machine: any lists of messages, sent in any order, to a real store.

The words are few, so that transcripts repeat, share beginnings and parts, and contradict each
other in every way. What must hold is little, and holds always: what was sent is where the
conversation stands, sending it again changes nothing, and no word is stored that was not said.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from memgpt_proxy.memory.intake import Branch, take_in
from memgpt_proxy.memory.names import names
from memgpt_proxy.memory.reconcile import Named, Place, Reconciler, Transcript, history
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import content_id, root_of
from memgpt_proxy.stores.records import (
    ROOT,
    Conversation,
    Fork,
    Namespace,
    Node,
    TurnRecord,
)
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.simulation.checks import Database

pytestmark = pytest.mark.slow

NAMESPACE = Namespace("a" * 32)
COUNTER = TokenCounter("cl100k_base")
TEXTS = st.sampled_from(["Hi", "Okay.", "Go on.", "And then?", "A long story about tea."])
USER = TEXTS.map(lambda text: {"role": "user", "content": text})
ASSISTANT = TEXTS.map(lambda text: {"role": "assistant", "content": text})
HISTORY = st.lists(st.one_of(USER, ASSISTANT), max_size=6)
NAMES = st.sampled_from([None, "one", "two"])

Message = dict[str, Any]


class TranscriptMachine(RuleBasedStateMachine):
    """Sends transcripts and stores what is new in them, each at a time of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._resources = contextlib.ExitStack()
        self._runner = self._resources.enter_context(asyncio.Runner())
        directory = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
        self.store = SqliteStore(directory / "memory.db")
        self._runner.run(self.store.open())
        self.database = Database(directory / "memory.db")
        self.reconciler = Reconciler(self.store)
        self.now = datetime(2026, 2, 7, 9, tzinfo=UTC)
        self.sent: Counter[tuple[str, str]] = Counter()
        self.known: set[tuple[str, str]] = set()
        self.last: tuple[list[Message], str | None] | None = None

    def teardown(self) -> None:
        self.database.close()
        self._runner.run(self.store.close())
        self._resources.close()

    @rule(history=HISTORY, newest=USER, name=NAMES, reply=ASSISTANT)
    def converse(
        self, history: list[Message], newest: Message, name: str | None, reply: Message
    ) -> None:
        """Send a history with a new message; its reply is stored too."""
        messages = [*history, newest]
        place = self._send(messages, name)
        path = self._path(place)
        said = [content_id(message) for message in messages]
        assert [node.content for node in path[-len(said) :]] == said, "it stands where it was sent"
        self._store([*messages, reply], name)
        self.last = ([*messages, reply], name)

    @precondition(lambda self: self.last)
    @rule(newest=USER)
    def go_on(self, newest: Message) -> None:
        """Send the last transcript with its reply, and one more message: only that is new."""
        assert self.last
        messages, name = self.last
        before = self.database.said()
        place = self._send([*messages, newest], name)
        assert len(place.new) <= 1, "history is known"
        assert sum((self.database.said() - before).values()) <= 1
        self.last = None

    @precondition(lambda self: self.last)
    @rule()
    def resend(self) -> None:
        """The very same once more is nothing new."""
        assert self.last
        before = self.database.said()
        self._send(*self.last)
        assert self.database.said() == before

    @rule(hours=st.integers(1, 30))
    def pass_time(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @invariant()
    def nothing_is_stored_that_was_not_said(self) -> None:
        stored = Counter((said.role, said.text) for said in self.database.said().elements())
        assert not stored - self.sent

    @invariant()
    def everything_said_is_stored(self) -> None:
        assert self.known <= {(said.role, said.text) for said in self.database.said()}

    def _send(self, messages: list[Message], name: str | None) -> Place:
        """Find a transcript's place and store what is new in it."""
        return self._store(messages, name)

    def _store(self, messages: list[Message], name: str | None) -> Place:
        self.now += timedelta(seconds=1)
        for message in messages:
            said = (message["role"], message["content"])
            self.sent[said] += 1
            self.known.add(said)
        return self._runner.run(self._reconciled(messages, name))

    async def _reconciled(self, messages: list[Message], name: str | None) -> Place:
        named = Named(root_of(name), resends=True) if name else None
        contents, keys = names(NAMESPACE, messages, named.root if named else ROOT, ())
        sent = Transcript(
            NAMESPACE, messages, contents, keys, named, False, self.now, history(messages)
        )
        place = await self.reconciler.place(sent)
        nodes = await self._taken_in(place)
        tip = (nodes or place.state.nodes)[-1].id
        conversation = Conversation(named.root, tip, resends=True) if named else None
        record = TurnRecord(nodes, fork=_fork(place), conversation=conversation)
        await self.store.commit(NAMESPACE, record)
        self.tip = tip
        return place

    async def _taken_in(self, place: Place) -> list[Node]:
        depth = place.last.depth + 1 if place.last else 0
        intake = await take_in(
            place.new,
            Branch(place.parent, place.hashed, depth, ROOT, 0),
            namespace=NAMESPACE,
            events=(),
            now=self.now,
            counter=COUNTER,
            largest=10_000,
        )
        return [replace(node, queue=node.queue or node.id) for node in intake.nodes]

    def _path(self, place: Place) -> tuple[Node, ...]:
        return self._runner.run(self.store.path(NAMESPACE, self.tip, 100))


def _fork(place: Place) -> Fork:
    return Fork(
        left=tuple(node.id for node in place.left),
        kept=tuple(new.original.id for new in place.new if new.original),
        taken_up=place.last.id if place.last else None,
    )


TestTranscript = TranscriptMachine.TestCase
TestTranscript.settings = settings(
    max_examples=40,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
