"""What clients do to their history: each of it finds its place, and nothing is said twice."""

from __future__ import annotations

from typing import Any

import pytest

from memgpt_proxy.errors import UnknownCall
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.stores.protocols import Store
from tests.agent.build import ALICE, assistant, user
from tests.agent.conversing import FEBRUARY_14, Client, prompt, recalled

FUNCTION = {"name": "archival_storage_search", "arguments": "{}"}
STEPS: list[Message] = [
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c", "type": "function", "function": FUNCTION}],
    },
    {"role": "tool", "tool_call_id": "c", "content": "found"},
]


def words(messages: list[Message]) -> list[str]:
    """What was said, without alerts, calls and results."""
    said = [str(m["content"]) for m in messages if m["role"] != "tool" and m["content"]]
    return [text for text in said if not text.startswith("System Alert: Today")]


async def spoken(client: Client, exchanges: int) -> list[Message]:
    """A conversation: one asks q0, q1 …, the other answers a0, a1 …."""
    history: list[Message] = []
    for number in range(exchanges):
        history = await client.say(*history, user(f"q{number}"), reply=f"a{number}")
    return history


async def test_the_end_of_a_history_goes_on_where_it_is(store: Store) -> None:
    client = Client(store)
    history = await spoken(client, 6)
    opened = await client.open(*history[-4:], user("next"))
    assert [node.text for node in opened.intake.nodes] == ["next"]
    assert opened.depth == 12
    said = [text for number in range(6) for text in (f"q{number}", f"a{number}")]
    assert words(prompt(opened)) == [*said, "next"]


async def test_a_sliding_end_is_followed_turn_by_turn(store: Store) -> None:
    client = Client(store)
    history = await spoken(client, 3)
    for number in range(3, 9):
        history = await client.say(*history[-3:], user(f"q{number}"), reply=f"a{number}")
    assert (await client.open(*history[-2:], user("next"))).depth == 18
    assert len(await recalled(store, "q3")) == 1


async def test_a_repeated_end_is_no_event(store: Store) -> None:
    client = Client(store)
    history = await spoken(client, 4)
    await client.say(*history[-2:], user("more"), reply="yes")
    again = await client.open(*history[-2:], user("more"))
    assert again.intake.nodes == []
    assert again.depth == 8


async def test_an_end_is_sought_in_its_own_conversation(store: Store) -> None:
    client = Client(store)
    one = await client.say(user("about cats"), reply="Okay.")
    one = await client.say(*one, user("they purr"), reply="Okay.")
    other = await client.say(user("about dogs"), reply="Okay.")
    await client.say(*other, user("they bark"), reply="Okay.")
    opened = await client.open(*one[-3:], user("why?"))
    assert words(prompt(opened)) == ["about cats", "Okay.", "they purr", "Okay.", "why?"]


async def test_a_reply_is_known_however_it_comes_back(store: Store) -> None:
    client = Client(store)
    said = "Caf\u00e9 \u201cCentral\u201d & more:\n\n1.  One\n2.  Two — it’s **all** there is."
    forms = {
        "trimmed": said[:-3],
        "collapsed": " ".join(said.split()),
        "decomposed": said.replace("\u00e9", "e\u0301"),
        "with line ends of Windows": said.replace("\n", "\r\n"),
        "escaped": said.replace("&", "&amp;").replace("\u201c", "&ldquo;"),
    }
    for number, form in enumerate(forms.values()):
        name = f"chat {number}"
        await client.say(user(name), reply=said, steps=STEPS)
        opened = await client.open(user(name), assistant(form), user("and?"))
        assert [node.text for node in opened.intake.nodes] == ["and?"], form
        assert prompt(opened)[2:] == [*STEPS, assistant(said), user("and?")]


async def test_a_rewritten_history_is_found_at_once_the_next_time(store: Store) -> None:
    client = Client(store)
    theirs: list[Message] = []
    for number in range(4):
        theirs = await client.say(
            *theirs, user(f"q{number}"), reply=f"An answer  of {number} words"
        )
        theirs[-1] = assistant(f"An answer of {number} words")
    opened = await client.open(*theirs, user("next"))
    assert [node.text for node in opened.intake.nodes] == ["next"]
    assert opened.depth == 8
    assert len(await recalled(store, "answer")) == 4


async def test_a_reply_that_was_cut_off_is_known_by_any_beginning(store: Store) -> None:
    client = Client(store)
    await client.say(user("tell"), reply="Once upon a time there was", complete=False)
    opened = await client.open(user("tell"), assistant("Once up"), user("go on"))
    assert [node.text for node in opened.intake.nodes] == ["go on"]


async def test_a_reply_that_the_client_rewrote_is_another(store: Store) -> None:
    client = Client(store)
    await client.say(user("tell"), reply="Once upon a time there was a king")
    opened = await client.open(user("tell"), assistant("Never."), user("go on"))
    assert [node.text for node in opened.intake.nodes] == ["Never.", "go on"]
    assert words(prompt(opened)) == ["tell", "Never.", "go on"]


async def test_an_edited_middle_is_seen_edited_and_remembered_once(store: Store) -> None:
    client = Client(store)
    history = await client.say(user("q0"), reply="a0")
    history = await client.say(*history, user("in Rome"), reply="a1")
    history = await client.say(*history, user("q2"), reply="a2", steps=STEPS)
    edited = [*history[:2], user("in Paris"), *history[3:]]
    after = await client.say(*edited, user("where?"), reply="In Paris.")
    assert await recalled(store, "q2") == ["q2"]
    assert await recalled(store, "a2") == ["a2"]
    opened = await client.open(*after, user("sure?"))
    assert [node.text for node in opened.intake.nodes] == ["sure?"]
    seen = prompt(opened)
    told = ["q0", "a0", "in Paris", "a1", "q2", "a2", "where?", "In Paris.", "sure?"]
    assert words(seen) == told
    assert STEPS[1] in seen


async def test_what_an_edit_leaves_behind_is_ranked_last(store: Store) -> None:
    client = Client(store)
    history = await client.say(user("hello"), reply="a0")
    await client.say(*history, user("my town is Rome"), reply="Rome it is")
    client.now = FEBRUARY_14  # the newer come first, but for abandoned ones
    old = await client.say(user("a town elsewhere"), reply="which?")
    client.now = FEBRUARY_14.replace(day=13)
    await client.say(*history, user("my town is Paris"), reply="Paris it is")
    assert await recalled(store, "town") == [
        "a town elsewhere",
        "my town is Paris",
        "my town is Rome",
    ]
    assert len(old) == 2


async def test_a_branch_that_is_taken_up_again_is_no_longer_abandoned(store: Store) -> None:
    client = Client(store)
    history = await client.say(user("hello"), reply="a0")
    first = await client.say(*history, user("my town is Rome"), reply="Rome it is")
    await client.say(*history, user("my town is Paris"), reply="Paris it is")
    client.now = FEBRUARY_14
    await client.say(*first, user("and its river?"), reply="The Tiber")
    found = await recalled(store, "town")
    assert sorted(found) == ["my town is Paris", "my town is Rome"]
    last = await client.open(*first, user("and its river?"), assistant("The Tiber"), user("?"))
    assert "Rome it is" in words(prompt(last))


async def test_deleted_messages_are_not_seen_again(store: Store) -> None:
    client = Client(store)
    history = await spoken(client, 5)
    opened = await client.open(*history[:2], *history[4:], user("next"))
    said = ["q0", "a0", "q2", "a2", "q3", "a3", "q4", "a4", "next"]
    assert words(prompt(opened)) == said
    assert [node.text for node in opened.intake.nodes if node.text] == ["next"]


async def test_an_edited_opening_keeps_what_follows(store: Store) -> None:
    client = Client(store)
    history = await spoken(client, 3)
    opened = await client.open(user("other"), *history[1:], user("next"))
    assert words(prompt(opened)) == ["other", "a0", "q1", "a1", "q2", "a2", "next"]
    assert [node.text for node in opened.intake.nodes if node.text] == ["other", "next"]


async def test_instructions_behind_the_newest_message_are_no_part_of_history(
    store: Store,
) -> None:
    client = Client(store)
    reminder: Message = {"role": "system", "content": "Be brief."}
    history: list[Message] = []
    for number in range(4):
        *history, _, answer = await client.say(
            *history, user(f"q{number}"), reminder, reply=f"a{number}", steps=STEPS
        )
        history.append(answer)
    client.now = FEBRUARY_14
    seen = prompt(await client.open(*history, user("next"), reminder))
    told = [text for number in range(4) for text in (f"q{number}", f"a{number}")]
    said = [text for text in words(seen) if "application" not in text]
    assert said == [*told, "next"]
    assert seen.count(STEPS[1]) == 4
    assert [await recalled(store, text) for text in told] == [[text] for text in told]
    assert seen[-2]["content"] == "System Alert: Today is Saturday, February 14, 2026."


async def test_the_same_opening_another_day_is_a_conversation_of_its_own(store: Store) -> None:
    client = Client(store)
    first = await client.say(user("hello"), reply="Hi!")
    client.now = FEBRUARY_14
    second = await client.say(user("hello"), reply="Hi!")
    assert await recalled(store, "hello") == ["hello", "hello"]
    second = await client.say(*second, user("of the second"), reply="yes")
    opened = await client.open(*second, user("more"))
    assert [m["content"] for m in prompt(opened)] == [
        "System Alert: Today is Saturday, February 14, 2026.",
        "hello",
        "Hi!",
        "of the second",
        "yes",
        "more",
    ]
    assert first == second[:2]


async def test_an_older_conversation_goes_on_beside_a_newer_of_the_same_opening(
    store: Store,
) -> None:
    client = Client(store)
    first = await client.say(user("hello"), reply="Hi!")
    first = await client.say(*first, user("of the first"), reply="yes")
    client.now = FEBRUARY_14
    second = await client.say(user("hello"), reply="Hey!")
    await client.say(*second, user("of the second"), reply="yes")
    opened = await client.open(*first, user("more"))
    assert words(prompt(opened)) == ["hello", "Hi!", "of the first", "yes", "more"]


async def test_a_named_conversation_goes_on_with_its_newest_message(store: Store) -> None:
    client = Client(store, name="kitchen")
    await client.say(user("q0"), reply="a0")
    await client.say(user("q1"), reply="a1")
    await client.say(user("q1"), reply="a2")  # the same words, said again
    opened = await client.open(user("q3"))
    assert words(prompt(opened)) == ["q0", "a0", "q1", "a1", "q1", "a2", "q3"]
    assert len(await recalled(store, "q1")) == 2


async def test_a_named_conversation_knows_a_retry(store: Store) -> None:
    client = Client(store, name="kitchen")
    await client.say(user("q0"), reply="a0")
    await client.say(user("q1"), reply="a1")
    again = await client.open(user("q1"), is_retry=True)
    assert again.intake.nodes == []
    assert words(prompt(again)) == ["q0", "a0", "q1"]


async def test_a_named_conversation_knows_the_message_whose_reply_was_cut_off(
    store: Store,
) -> None:
    client = Client(store, name="kitchen")
    await client.say(user("q0"), reply="a", complete=False)
    assert (await client.open(user("q0"))).intake.nodes == []


async def test_a_named_conversation_may_send_its_history_as_well(store: Store) -> None:
    client = Client(store, name="kitchen")
    history = await client.say(user("q0"), reply="a0")
    history = await client.say(*history, user("q1"), reply="a1")
    opened = await client.open(*history, user("q2"))
    assert [node.text for node in opened.intake.nodes] == ["q2"]
    edited = await client.open(user("other"))  # it sends its history: this is its opening
    assert words(prompt(edited)) == ["other"]
    assert edited.fork is not None


async def test_conversations_of_two_names_share_nothing_but_memory(store: Store) -> None:
    one, two = Client(store, name="one"), Client(store, name="two")
    await one.say(user("hello"), reply="Hi!")
    opened = await two.open(user("hello"))
    assert [node.text for node in opened.intake.nodes] == ["hello"]
    assert words(prompt(opened)) == ["hello"]


async def test_a_ui_that_names_its_chats_may_edit_the_opening(store: Store) -> None:
    client = Client(store, name="a chat", resends=True)
    await client.say(user("my town is Rome"), reply="Rome", appends=["Town: Rome"])
    await client.say(user("my town is Paris"), reply="Paris", appends=["Town: Paris"])
    assert (await store.context(ALICE)).content == "Town: Paris"
    assert await recalled(store, "town") == ["my town is Paris", "my town is Rome"]


async def test_a_tools_results_come_alone_in_a_named_conversation(store: Store) -> None:
    client = Client(store, name="kitchen")
    called = calling("w1")
    await client.say(user("weather?"), reply=called)
    result: Message = {"role": "tool", "tool_call_id": "w1", "content": "sunny"}
    opened = await client.open(result)
    assert prompt(opened)[1:] == [user("weather?"), called, result]
    with pytest.raises(UnknownCall):
        await client.open({**result, "tool_call_id": "another"})


def calling(call_id: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


async def test_a_conversation_that_begins_with_examples_may_go_on_without_them(store: Store):
    client = Client(store, name="chat")
    examples = [user("example q"), assistant("example a")]
    await client.say(*examples, user("I am Sam"), reply="Hi Sam!")
    opened = await client.open(user("who am I?"))
    assert words(prompt(opened)) == ["example q", "example a", "I am Sam", "Hi Sam!", "who am I?"]


def called(*names: str) -> Message:
    function = {"name": "weather", "arguments": "{}"}
    calls = [{"id": name, "type": "function", "function": function} for name in names]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(name: str) -> Message:
    return {"role": "tool", "tool_call_id": name, "content": "sunny"}


async def test_calls_that_a_client_of_newest_messages_leaves_behind_get_results(store: Store):
    client = Client(store, name="chat")
    await client.say(user("Rome and Oslo?"), reply=called("rome", "oslo"))
    opened = await client.open(result("oslo"), user("never mind"))
    *_, reply, oslo, rome, last = prompt(opened)
    assert (reply, oslo, last) == (called("rome", "oslo"), result("oslo"), user("never mind"))
    assert (rome["role"], rome["tool_call_id"]) == ("tool", "rome")
    await client.say(user("never mind"), reply="Fine.")
    assert [m["role"] for m in prompt(await client.open(user("bye")))][-6:] == [
        "assistant",
        "tool",
        "tool",
        "user",
        "assistant",
        "user",
    ]


async def test_results_alone_may_leave_calls_behind_too(store: Store):
    client = Client(store, name="chat")
    await client.say(user("Rome and Oslo?"), reply=called("rome", "oslo"))
    *_, oslo, rome = prompt(await client.open(result("oslo")))
    assert oslo == result("oslo")
    assert (rome["role"], rome["tool_call_id"]) == ("tool", "rome")


async def test_every_result_answers_a_call(store: Store):
    client = Client(store, name="chat")
    await client.say(user("Rome?"), reply=called("rome"))
    with pytest.raises(UnknownCall, match="'tool_call_id' of 'oslo' not found"):
        await client.open(result("rome"), result("oslo"))
