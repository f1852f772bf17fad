"""Taking a client's new messages in: each becomes a node with its entries in the queue."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import field, replace
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
from memgpt_proxy.stores.storable import composed
from memgpt_proxy.values import dataclass

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
    sized = await _sized(new, counter, largest)
    spot = branch
    for index, (message, size) in enumerate(zip(new, sized, strict=True)):
        name = transcript.node_id(namespace, spot.hashed, message.content)
        if message.original is not None:
            node = _said_again(message.original, message, name, spot)
        else:
            entries, tokens = [size.entry], size.tokens
            if tokens > size.most:
                entries, tokens = await _cut(size, name, intake, now, counter)
            if index == len(new) - 1 and events:
                entries = [*events, *entries]
                tokens += counter.messages(events)
            node = _node(message, name, spot, entries, tokens, now)
        intake.nodes.append(node)
        spot = Branch(name, name, spot.depth + 1, branch.queue, branch.context_version)
        await _let_others_run(index)
    return intake


def _node(
    message: NewMessage,
    name: NodeId,
    spot: Branch,
    entries: Sequence[Message],
    tokens: int,
    now: datetime,
) -> Node:
    role = _ROLES[message.message["role"]]
    return Node(
        id=name,
        key=message.key or name,
        content=message.content,
        parent=spot.parent,
        depth=spot.depth,
        role=role,
        text=composed(said(message.message)) if role in (Role.USER, Role.ASSISTANT) else "",
        entries=orjson.dumps(entries).decode(),
        tokens=tokens,
        created=now.timestamp(),
        queue=spot.queue,
        context_version=spot.context_version,
    )


def _said_again(original: Node, message: NewMessage, name: NodeId, spot: Branch) -> Node:
    """Return a message of another branch in its new place; recall storage has it already.

    The hidden steps of a reply come along.
    """
    return replace(
        original,
        id=name,
        key=message.key or name,
        content=message.content,
        parent=spot.parent,
        depth=spot.depth,
        text="",
        queue=spot.queue,
        abandoned=False,
    )


@dataclass(slots=True)
class _Sized:
    """A message as it would stand in the queue, its tokens, and how many it may have."""

    entry: Message
    tokens: int
    most: int


async def _sized(new: Sequence[NewMessage], counter: TokenCounter, largest: int) -> list[_Sized]:
    """Return what each message takes and may take.

    No flush evicts the newest group, so its messages must fit together: the largest of
    them are cut to one size, so that the group takes half as much again as one message.
    """
    sized = []
    for index, message in enumerate(new):
        entry = _entry(message.message)
        if message.original is not None:
            tokens, most = message.original.tokens, sys.maxsize
        else:
            tokens, most = await counter.messages_off_loop([entry], enough=largest), largest
        sized.append(_Sized(entry, tokens, most))
        await _let_others_run(index)
    newest = sized[_newest_group(new) :]
    level = _level([min(each.tokens, largest) for each in newest], largest * 3 // 2)
    for each in newest:
        each.most = min(each.most, level)
    return sized


def _newest_group(new: Sequence[NewMessage]) -> int:
    """Return where the last message begins that is no tool's result."""
    for index in range(len(new) - 1, 0, -1):
        if _ROLES[new[index].message["role"]] is not Role.TOOL:
            return index
    return 0


def _level(sizes: Sequence[int], room: int) -> int:
    """Return the size to cut the largest to, so that all together take ``room`` at most."""
    for index, size in enumerate(sorted(sizes)):
        share = room // (len(sizes) - index)
        if size > share:
            return share
        room -= size
    return sys.maxsize


async def _cut(
    sized: _Sized, node: NodeId, intake: Intake, now: datetime, counter: TokenCounter
) -> tuple[list[Message], int]:
    """Move a message to archival storage; return what stands for it, and its tokens."""
    text = said(sized.entry)
    passages = await asyncio.to_thread(cut, text, node, now.timestamp())
    entries = _cut_entries(sized, text, len(passages), counter)
    tokens = counter.messages(entries)
    if not passages or tokens >= sized.tokens:
        # Large by its images or calls, which no search would find.
        return [sized.entry], await counter.messages_off_loop([sized.entry])
    intake.passages += passages
    return entries, tokens


def _cut_entries(sized: _Sized, text: str, passages: int, counter: TokenCounter) -> list[Message]:
    """Return what stands for a message that is too long: its head, and an alert that says so."""
    alert = alerts.message_archived(grouped(len(text)), passages)
    taken = counter.messages(_headed(sized.entry, "…", alert))
    left = max(sized.most // 4, sized.most - taken)  # beside images there are words, too
    head, _ = counter.head(text[:_HEAD_CHARACTERS], left)
    return _headed(sized.entry, f"{head}…", alert)


def _headed(entry: Message, head: str, alert: Message) -> list[Message]:
    """Return ``entry`` with ``head`` for its text, and the alert behind it.

    Backends refuse anything between calls and their results: there the alert is in the head.
    """
    if _ROLES[entry["role"]] is Role.TOOL or entry.get("tool_calls"):
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


async def _let_others_run(index: int) -> None:
    """A long history must not keep the event loop to itself."""
    if index % _AT_A_TIME == _AT_A_TIME - 1:
        await asyncio.sleep(0)
