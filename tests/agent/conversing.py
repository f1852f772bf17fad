"""Turns on a real store without a model: opened as the agent does, answered by the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from memgpt_proxy.agent.opening import Opener, Opening
from memgpt_proxy.agent.request import NamedConversation
from memgpt_proxy.agent.window import Room
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.branching import Branching
from memgpt_proxy.memory.transcript import Message, chain, content_id, node_id, said
from memgpt_proxy.memory.undo import Undo
from memgpt_proxy.memory.working_context import Author, WorkingContextEditor
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import (
    ROOT,
    Node,
    NodeId,
    Role,
    TurnId,
    TurnRecord,
    WorkingContext,
)
from tests.agent.build import ALICE, COUNTER, assistant, request

TOKYO = ZoneInfo("Asia/Tokyo")
FEBRUARY_7 = datetime(2026, 2, 7, 9, tzinfo=TOKYO)
FEBRUARY_14 = datetime(2026, 2, 14, 9, tzinfo=TOKYO)
ROOM = Room(message=1000, context=8000, hit=2000)


def ids_of(messages: Sequence[Message], root: NodeId = ROOT) -> list[NodeId]:
    """The ids of a transcript that was sent as we keep it."""
    return chain(ALICE, map(content_id, messages), root)


def prompt(opened: Opening) -> list[Message]:
    """What the model sees behind the system message."""
    messages: list[Message] = json.loads(orjson.dumps(opened.context.messages()))
    assert [m["role"] for m in messages].count("system") == 1
    return messages[1:]


def system(opened: Opening) -> str:
    messages = json.loads(orjson.dumps(opened.context.messages()))
    return str(messages[0]["content"])


@dataclass
class Client:
    """Somebody who talks, in a conversation that may have a name."""

    store: Store
    now: datetime = FEBRUARY_7
    name: str | None = None
    resends: bool = False
    live: bool = False
    rolls_back: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    async def open(self, *messages: Message, is_retry: bool = False) -> Opening:
        opener = Opener(
            self.store,
            Branching(self.store, Undo(self.store), rolls_back=self.rolls_back),
            COUNTER,
            Beginnings(),
            live=self.live,
        )
        named = NamedConversation(self.name, self.resends) if self.name else None
        asked = request(*messages, conversation=named, is_retry=is_retry, **self.more)
        return await opener.open(asked, "You are MemGPT.", self.now, ROOM)

    async def say(
        self,
        *messages: Message,
        reply: str | Message,
        steps: Sequence[Message] = (),
        version: int | None = None,
        appends: Sequence[str] = (),
        complete: bool = True,
        is_retry: bool = False,
    ) -> list[Message]:
        """Run a turn with this reply, in which the model ``appends`` to its working context;
        return the transcript after it."""
        opened = await self.open(*messages, is_retry=is_retry)
        for line in appends:
            await self.append(opened.author, line)
        answer = assistant(reply) if isinstance(reply, str) else reply
        for step in (*steps, answer):
            opened.context.add(step)
        await self.store.commit(ALICE, self._record(opened, answer, version, complete))
        return [*messages, answer]

    async def append(self, author: Author, line: str) -> None:
        await WorkingContextEditor(self.store).append(ALICE, author, line, limit=8000)

    def _record(
        self, opened: Opening, answer: Message, version: int | None, complete: bool
    ) -> TurnRecord:
        author, content = opened.author, content_id(answer)
        queue = opened.context.queue
        name = node_id(ALICE, author.node, content)
        node = Node(
            id=name,
            key=node_id(ALICE, opened.key, content) if opened.key else name,
            content=content,
            parent=author.node,
            depth=opened.depth + 1,
            role=Role.ASSISTANT,
            text=said(answer),
            entries=orjson.dumps(opened.context.added).decode(),
            tokens=opened.context.added_tokens,
            created=self.now.timestamp(),
            queue=queue.state.node or name,
            context_version=opened.context_version if version is None else version,
            turn=author.turn,
            complete=complete,
        )
        state = queue.state if queue.state.node else replace(queue.state, node=name)
        return TurnRecord(
            nodes=[*opened.intake.nodes, node],
            queues=[state] if queue.changed else [],
            fork=opened.fork,
            conversation=opened.conversation(name),
        )


async def edit(store: Store, content: str) -> WorkingContext:
    """Another conversation's edit."""
    version = (await store.context(ALICE)).version
    return await store.write_context(
        ALICE, version, content, NodeId("elsewhere"), TurnId("another")
    )


async def recalled(store: Store, query: str) -> list[str]:
    """The words that recall storage finds, best first."""
    page = await store.search_messages(ALICE, query, limit=50, offset=0)
    assert page.total == len(page.hits)
    return [hit.text for hit in page.hits]
