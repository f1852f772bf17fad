"""Going on from a reply that the client names, in every family of stores."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memgpt_proxy.agent.opening import Opening
from memgpt_proxy.errors import UnknownReply
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import NodeId
from tests.agent.build import ALICE, assistant, user
from tests.agent.conversing import FEBRUARY_14, Client, prompt

STEPS = [{"role": "assistant", "content": "Hm."}]


def words(opened: Opening) -> list[str]:
    """What was said, without alerts and steps."""
    told = [str(message["content"]) for message in prompt(opened)]
    return [text for text in told if text != "Hm." and not text.startswith("System Alert")]


def name(number: int) -> NodeId:
    return NodeId(f"{number:032x}")


async def replied(
    client: Client, *messages: Message, reply: str, named: NodeId, appends: str | None = None
) -> None:
    """Run a turn whose reply is known by a name that is not made of its words."""
    opened = await client.open(*messages)
    if appends:
        await client.append(opened.author, appends)
    for message in (*STEPS, assistant(reply)):
        opened.context.add(message)
    record = client._record(opened, assistant(reply), None, complete=True)
    *nodes, last = record.nodes
    queues = [replace(q, node=named) if q.node == last.id else q for q in record.queues]
    queue = named if last.queue == last.id else last.queue
    last = replace(last, id=named, queue=queue)
    await client.store.commit(ALICE, replace(record, nodes=[*nodes, last], queues=tuple(queues)))


def after(client: Client, reply: NodeId) -> Client:
    return replace(client, more={"after": reply})


async def test_a_conversation_goes_on_where_its_reply_is_named(store: Store) -> None:
    client = Client(store)
    await replied(client, user("one"), reply="uno", named=name(1))
    await replied(after(client, name(1)), user("two"), reply="dos", named=name(2))
    opened = await after(client, name(2)).open(user("three"))
    assert words(opened) == ["one", "uno", "two", "dos", "three"]
    assert [node.text for node in opened.intake.nodes] == ["three"]
    assert opened.fork is None


async def test_branches_of_one_reply_stand_side_by_side(store: Store) -> None:
    client = Client(store)
    await replied(client, user("one"), reply="uno", named=name(1))
    await replied(
        after(client, name(1)), user("tea"), reply="yes", named=name(2), appends="Likes tea"
    )
    opened = await after(client, name(1)).open(user("milk"))
    assert (opened.fork, opened.undone) == (None, ())
    assert words(opened) == ["one", "uno", "milk"]
    assert (await store.context(ALICE)).content == "Likes tea"


async def test_the_same_words_again_are_a_regenerated_reply(store: Store) -> None:
    client = Client(store)
    await replied(client, user("one"), reply="uno", named=name(1))
    await replied(
        after(client, name(1)), user("tea"), reply="yes", named=name(2), appends="Likes tea"
    )
    opened = await after(client, name(1)).open(user("tea"))
    assert opened.intake.nodes == []
    assert opened.fork
    assert opened.fork.left == (name(2),)
    assert (await store.context(ALICE)).content == ""


async def test_a_resent_history_finds_replies_by_their_words(store: Store) -> None:
    client = Client(store)
    await replied(client, user("one"), reply="uno", named=name(1))
    await replied(after(client, name(1)), user("two"), reply="dos", named=name(2))
    history = [user("one"), assistant("uno"), user("two"), assistant("dos"), user("three")]
    opened = await client.open(*history)
    assert [node.text for node in opened.intake.nodes] == ["three"]
    assert opened.parent == name(2)
    assert prompt(opened).count(STEPS[0]) == 2


async def test_another_day_is_told(store: Store) -> None:
    client = Client(store)
    await replied(client, user("one"), reply="uno", named=name(1))
    client.now = FEBRUARY_14
    opened = await after(client, name(1)).open(user("two"))
    assert "February 14" in str(prompt(opened)[-2]["content"])


async def test_an_unknown_reply(store: Store) -> None:
    with pytest.raises(UnknownReply):
        await after(Client(store), name(1)).open(user("one"))


async def test_calls_left_behind_are_answered(store: Store) -> None:
    client = Client(store)
    function = {"name": "f", "arguments": "{}"}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    asked = {"role": "assistant", "content": None, "tool_calls": calls}
    opened = await client.open(user("one"))
    opened.context.add(asked)
    record = client._record(opened, asked, None, complete=True)
    await store.commit(ALICE, record)
    opened = await after(client, record.nodes[-1].id).open(user("never mind"))
    assert [message["role"] for message in prompt(opened)[-3:]] == ["assistant", "tool", "user"]
