"""Taking a client's new messages in: each becomes a node with its entries in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import orjson

from memgpt_proxy.memory import alerts, transcript
from memgpt_proxy.memory.archival import cut
from memgpt_proxy.memory.reconcile import NewMessage
from memgpt_proxy.memory.tokens import TokenCounter
from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.memory.working_context import grouped
from memgpt_proxy.stores.records import Namespace, Node, NodeId, Passage, Role

_HEAD_CHARACTERS = 2000
_AT_A_TIME = 100
_ROLES = {
    "user": Role.USER,
    "assistant": Role.ASSISTANT,
    "tool": Role.TOOL,
    "function": Role.TOOL,
    "system": Role.SYSTEM,
    "developer": Role.SYSTEM,
}


@dataclass(frozen=True, slots=True)
class Branch:
    """Where new messages hang.

    Attributes:
        parent: The last known message, or what the conversation's first one hangs on.
        hashed: What the first new message's id is made from (see ``Place``).
        depth: Number of messages before the first new one.
        queue: Node of the queue state in force.
        context_version: Version of the working context that the branch has seen.
    """

    parent: NodeId
    hashed: NodeId
    depth: int
    queue: NodeId
    context_version: int


@dataclass(slots=True)
class Intake:
    """New messages as nodes, and the passages that oversize ones were cut to."""

    nodes: list[Node] = field(default_factory=list)
    passages: list[Passage] = field(default_factory=list)


async def take_in(
    new: Sequence[NewMessage],
    branch: Branch,
    *,
    namespace: Namespace,
    events: Sequence[Message],
    now: datetime,
    counter: TokenCounter,
    largest: int,
) -> Intake:
    """Return ``new`` messages as nodes after ``branch``.

    Args:
        events: Alerts that come before the last of them.
        now: The time that they are said at.
        largest: Tokens of one message beyond which it is moved to archival storage.
    """
    intake = Intake()
    parent, hashed = branch.parent, branch.hashed
    for index, message in enumerate(new):
        node_id = hashed = transcript.node_id(namespace, hashed, message.content)
        before = events if index == len(new) - 1 else ()
        depth = branch.depth + index
        if message.original is not None:
            node = _said_again(message, message.original, node_id, parent, depth, branch)
        else:
            entries, tokens = await _entries(
                message.message, node_id, intake, now, counter, largest
            )
            if before:
                entries = [*before, *entries]
                tokens += counter.messages(before)
            role = _ROLES[message.message["role"]]
            node = Node(
                id=node_id,
                key=message.key or node_id,
                content=message.content,
                parent=parent,
                depth=depth,
                role=role,
                text=said(message.message) if role in (Role.USER, Role.ASSISTANT) else "",
                entries=orjson.dumps(entries).decode(),
                tokens=tokens,
                created=now.timestamp(),
                queue=branch.queue,
                context_version=branch.context_version,
            )
        intake.nodes.append(node)
        parent = node_id
        if index % _AT_A_TIME == _AT_A_TIME - 1:
            await asyncio.sleep(0)  # a long history lets other requests run
    return intake


def _said_again(
    message: NewMessage,
    original: Node,
    node_id: NodeId,
    parent: NodeId,
    depth: int,
    branch: Branch,
) -> Node:
    """Return a message of another branch in its new place; recall storage has it already.

    The hidden steps of a reply come along.
    """
    return replace(
        original,
        id=node_id,
        key=message.key or node_id,
        content=message.content,
        parent=parent,
        depth=depth,
        text="",
        queue=branch.queue,
        abandoned=False,
    )


async def _entries(
    message: Message,
    node: NodeId,
    intake: Intake,
    now: datetime,
    counter: TokenCounter,
    largest: int,
) -> tuple[list[Message], int]:
    entry = _entry(message)
    tokens = await counter.messages_off_loop([entry])
    if tokens <= largest:
        return [entry], tokens
    text = said(entry)
    passages = cut(text, node, now.timestamp())
    if len(passages) < 2:
        return [entry], tokens  # large by its images or calls, which no search would find
    intake.passages += passages
    entries = _cut_entries(entry, text, len(passages))
    return entries, counter.messages(entries)


def _cut_entries(entry: Message, text: str, passages: int) -> list[Message]:
    """Return what stands for a message that is too long: its head, and an alert that says so.

    Backends refuse anything between calls and their results: there the alert is in the head.
    """
    alert = alerts.message_archived(grouped(len(text)), passages)
    head = text[:_HEAD_CHARACTERS] + "…"
    if entry["role"] == "tool" or entry.get("tool_calls"):
        return [{**entry, "content": f"{head}\n\n{alert['content']}"}]
    return [{**entry, "content": _with_head(entry["content"], head)}, alert]


def _with_head(content: Any, head: str) -> Any:
    """Return content with ``head`` for its texts; images and the like stay."""
    parts = [] if isinstance(content, str) else content
    others = [part for part in parts if not isinstance(part.get("text"), str)]
    return [{"type": "text", "text": head}, *others] if others else head


def _entry(message: Message) -> Message:
    if message["role"] in ("system", "developer"):
        return alerts.from_application(said(message))
    return message
