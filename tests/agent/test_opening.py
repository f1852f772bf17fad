"""The opening of a turn on a real store: what is new, what has happened, what the model sees."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from memgpt_proxy.agent.opening import Opener, Opening
from memgpt_proxy.memory.beginnings import Beginnings
from memgpt_proxy.memory.branching import Branching
from memgpt_proxy.memory.transcript import Message, said
from memgpt_proxy.memory.undo import Undo
from memgpt_proxy.stores.protocols import Store, StoreError
from memgpt_proxy.stores.records import ROOT, QueueState, TurnRecord
from memgpt_proxy.stores.sqlite import SqliteStore
from tests.agent.build import ALICE, COUNTER, assistant, request, user
from tests.agent.conversing import (
    FEBRUARY_7,
    FEBRUARY_14,
    ROOM,
    TOKYO,
    Client,
    edit,
    ids_of,
    prompt,
    system,
)

SATURDAY_7 = user("System Alert: Today is Saturday, February 7, 2026.")
SATURDAY_14 = user("System Alert: Today is Saturday, February 14, 2026.")
CHANGED = "System Alert: Working Context Changed in another conversation since:\n"


async def opening(
    store: Store, *messages: Message, now: datetime = FEBRUARY_7, live: bool = False
) -> Opening:
    return await Client(store, now=now, live=live).open(*messages)


async def converse(
    store: Store,
    *messages: Message,
    reply: str,
    now: datetime = FEBRUARY_7,
    steps: Sequence[Message] = (),
    version: int | None = None,
) -> list[Message]:
    return await Client(store, now=now).say(*messages, reply=reply, steps=steps, version=version)


async def test_a_conversation_begins_with_the_day(store: Store) -> None:
    opened = await opening(store, user("hi"))
    assert prompt(opened) == [SATURDAY_7, user("hi")]
    assert opened.author.node == ids_of([user("hi")])[0]
    [node] = opened.intake.nodes
    assert (node.parent, node.depth) == (ROOT, 0)
    assert opened.context.queue.changed


async def test_the_day_is_that_of_the_operators_time_zone(store: Store) -> None:
    late = datetime(2026, 2, 6, 20, tzinfo=ZoneInfo("UTC")).astimezone(TOKYO)  # 7th, five o'clock
    assert prompt(await opening(store, user("hi"), now=late))[0] == SATURDAY_7


async def test_the_same_day_is_told_once(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    later = FEBRUARY_7 + timedelta(hours=14)
    opened = await opening(store, *before, user("and?"), now=later)
    assert prompt(opened) == [SATURDAY_7, user("hi"), assistant("ho"), user("and?")]
    assert [node.text for node in opened.intake.nodes] == ["and?"]


async def test_a_new_day_is_told_before_the_message_and_stays_there(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    before = await converse(store, *before, user("and?"), reply="so", now=FEBRUARY_14)
    opened = await opening(store, *before, user("bye"), now=FEBRUARY_14)
    assert prompt(opened) == [
        SATURDAY_7,
        user("hi"),
        assistant("ho"),
        SATURDAY_14,
        user("and?"),
        assistant("so"),
        user("bye"),
    ]


async def test_hidden_steps_are_back_in_their_place(store: Store) -> None:
    function = {"name": "archival_storage_search", "arguments": "{}"}
    steps: list[Message] = [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "found"},
    ]
    before = await converse(store, user("hi"), reply="ho", steps=steps)
    opened = await opening(store, *before, user("and?"))
    assert prompt(opened)[1:] == [user("hi"), *steps, assistant("ho"), user("and?")]


async def test_a_resend_on_the_same_day_is_no_event(store: Store) -> None:
    await converse(store, user("hi"), reply="ho")
    again = await opening(store, user("hi"))
    assert prompt(again) == [SATURDAY_7, user("hi")]
    assert again.intake.nodes == []
    assert again.context.added == []


async def test_a_conversation_that_is_opened_again_has_its_own_day_and_memory(
    store: Store,
) -> None:
    await converse(store, user("hi"), reply="ho")
    await edit(store, "Name: Chad")
    again = await opening(store, user("hi"), now=FEBRUARY_14)
    assert prompt(again) == [SATURDAY_14, user("hi")]
    assert [node.text for node in again.intake.nodes] == ["hi"]
    assert "\nName: Chad\n" in system(again)
    assert again.context_version == 1


async def test_a_conversation_that_begins_sees_memory_as_it_is(store: Store) -> None:
    await edit(store, "Name: Chad")
    opened = await opening(store, user("hi"))
    assert "\nName: Chad\n" in system(opened)
    assert opened.context_version == 1
    assert prompt(opened) == [SATURDAY_7, user("hi")]


async def test_a_change_from_elsewhere_is_told_once(store: Store) -> None:
    await edit(store, "Name: Chad")
    before = await converse(store, user("hi"), reply="ho")
    await edit(store, "Name: Chad\nLikes tea")
    changed = user(f"{CHANGED}+ Likes tea")
    opened = await opening(store, *before, user("and?"))
    assert prompt(opened) == [SATURDAY_7, user("hi"), assistant("ho"), changed, user("and?")]
    assert "Likes tea" not in system(opened)
    assert opened.context_version == 2
    before = await converse(store, *before, user("and?"), reply="so")
    assert prompt(await opening(store, *before, user("bye")))[-1:] == [user("bye")]


async def test_a_change_and_a_new_day_are_told_together(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    await edit(store, "Name: Chad")
    opened = await opening(store, *before, user("and?"), now=FEBRUARY_14)
    assert prompt(opened)[3:] == [SATURDAY_14, user(f"{CHANGED}+ Name: Chad"), user("and?")]


async def test_its_own_changes_are_no_news_to_a_conversation(store: Store) -> None:
    await edit(store, "Name: Chad")
    before = await converse(store, user("hi"), reply="ho", version=1)
    opened = await opening(store, *before, user("and?"))
    assert prompt(opened)[3:] == [user("and?")]


async def test_working_context_may_be_shown_live(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    await edit(store, "Name: Chad")
    opened = await opening(store, *before, user("and?"), live=True)
    assert prompt(opened)[3:] == [user("and?")]
    assert "\nName: Chad\n" in system(opened)


async def test_an_edited_message_makes_a_branch(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    await converse(store, *before, user("and?"), reply="so")
    opened = await opening(store, *before, user("but?"))
    assert prompt(opened) == [SATURDAY_7, user("hi"), assistant("ho"), user("but?")]
    [node] = opened.intake.nodes
    assert (node.parent, node.depth) == (ids_of(before)[-1], 2)


async def test_an_unknown_history_is_taken_in_whole(store: Store) -> None:
    history = [user("hi"), assistant("ho"), user("and?")]
    opened = await opening(store, *history)
    assert prompt(opened) == [user("hi"), assistant("ho"), SATURDAY_7, user("and?")]
    assert [node.text for node in opened.intake.nodes] == ["hi", "ho", "and?"]
    assert opened.context.queue.changed


async def test_an_unknown_history_is_known_the_next_time(store: Store) -> None:
    before = await converse(store, user("hi"), assistant("ho"), user("and?"), reply="so")
    opened = await opening(store, *before, user("bye"))
    assert [node.text for node in opened.intake.nodes] == ["bye"]
    assert prompt(opened)[-2:] == [assistant("so"), user("bye")]


async def test_a_tools_result_is_no_event_of_the_users(store: Store) -> None:
    function = {"name": "get_weather", "arguments": "{}"}
    called = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "w", "type": "function", "function": function}],
    }
    result = {"role": "tool", "tool_call_id": "w", "content": "sunny"}
    await edit(store, "Name: Chad")
    opened = await opening(store, user("hi"), called, result, now=FEBRUARY_14)
    assert prompt(opened) == [user("hi"), called, result]


async def test_a_flushed_queue_is_gone_on_with(store: Store) -> None:
    before = await converse(store, user("hi"), reply="ho")
    before = await converse(store, *before, user("and?"), reply="so")
    ids = ids_of(before)
    context, counts = await store.context(ALICE), await store.counts(ALICE)
    flushed = QueueState(ids[-1], 2, "They met.", context, counts)
    await store.commit(ALICE, TurnRecord(queues=[flushed]))
    summary, *rest = prompt(await opening(store, *before, user("bye")))
    assert summary["content"].endswith("\nThey met.")
    assert rest == [user("and?"), assistant("so"), user("bye")]
    branch = await opening(store, *before[:2], user("but?"))
    assert prompt(branch) == [SATURDAY_7, user("hi"), assistant("ho"), user("but?")]


async def test_a_resend_goes_on_with_what_its_first_turn_flushed(store: Store) -> None:
    messages = [user("one"), user("two"), user("three")]
    opened = await opening(store, *messages)
    context, counts = await store.context(ALICE), await store.counts(ALICE)
    flushed = QueueState(opened.author.node, 2, "They counted.", context, counts)
    await store.commit(ALICE, TurnRecord(opened.intake.nodes, [flushed]))
    again = await opening(store, *messages)
    summary, *rest = prompt(again)
    assert summary["content"].endswith("\nThey counted.")
    assert rest == [SATURDAY_7, user("three")]
    assert again.context.queue.state.start == 2


async def test_a_book_leaves_its_head(store: Store) -> None:
    book = "A sentence of the book.\n" * 2000
    opened = await opening(store, user(book))
    assert opened.intake.passages
    assert [m["content"][:24] for m in prompt(opened)] == [
        "System Alert: Today is S",
        "A sentence of the book.\n",
        "System Alert: Message Ar",
    ]


async def test_users_share_nothing(store: Store) -> None:
    await converse(store, user("hi"), reply="ho")
    await edit(store, "Name: Chad")
    client = Client(store, now=FEBRUARY_14, more={"namespace": "bob"})
    opened = await client.open(user("hi"))
    assert prompt(opened) == [SATURDAY_14, user("hi")]
    assert "Chad" not in system(opened)
    assert [said(m) for m in prompt(opened)][1:] == ["hi"]


async def test_without_memory_the_model_sees_what_the_client_sent(tmp_path: Path) -> None:
    closed = SqliteStore(tmp_path / "memory.db")
    book = user("A sentence of the book.\n" * 2000)
    asked = request(user("hi"), assistant("ho"), book, application="You are a pirate.")
    branching = Branching(closed, Undo(closed), rolls_back=True)
    opener = Opener(closed, branching, COUNTER, Beginnings(), live=False)
    with pytest.raises(StoreError):
        await opener.open(asked, "You are MemGPT.", FEBRUARY_7, ROOM)
    opened = await opener.open_without_memory(asked, FEBRUARY_7)
    assert prompt(opened) == [user("hi"), assistant("ho"), book]
    assert "# Application\nYou are a pirate." in system(opened)
    assert "no memory functions can be called" in system(opened)
    assert opened.intake.passages == []
