"""What a discarded reply's turn wrote is rolled back; a branch that went on is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest

from memgpt_proxy.memory.archival import Archive
from memgpt_proxy.memory.results import ResultFormat
from memgpt_proxy.memory.transcript import Message
from memgpt_proxy.memory.working_context import Author
from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import MOST_AFTER
from tests.agent.build import ALICE, assistant, user
from tests.agent.conversing import TOKYO, Client, edit, prompt, recalled, system


async def context(store: Store) -> str:
    return (await store.context(ALICE)).content


async def notes(store: Store) -> list[str]:
    page = await store.search_passages(ALICE, "note", limit=50, offset=0)
    assert page.total == len(page.hits) == (await store.counts(ALICE)).passages
    return [hit.text for hit in page.hits]


class Archiving(Client):
    """Somebody whose model keeps each line it appends in archival storage as well."""

    async def append(self, author: Author, line: str) -> None:
        await super().append(author, line)
        archive = Archive(self.store, ResultFormat(TOKYO))
        await archive.insert(ALICE, author, f"note of {line}", self.now.timestamp())


async def test_a_regenerated_reply_leaves_nothing_in_memory(store: Store) -> None:
    client = Archiving(store)
    await client.say(user("hi, I am Sam"), reply="Hi Pam!", appends=["Name: Pam"])
    assert (await context(store), await notes(store)) == ("Name: Pam", ["note of Name: Pam"])
    opened = await client.open(user("hi, I am Sam"))
    assert (await context(store), await notes(store)) == ("", [])
    assert "Pam" not in system(opened)
    await client.say(user("hi, I am Sam"), reply="Hi Sam!", appends=["Name: Sam"])
    assert (await context(store), await notes(store)) == ("Name: Sam", ["note of Name: Sam"])


@pytest.mark.parametrize("edits", [False, True], ids=["regenerated", "edited"])
async def test_however_often_only_the_last_reply_stays_in_memory(
    store: Store, *, edits: bool
) -> None:
    """More than are read with a turn: what follows the last one is asked for then."""
    client = Archiving(store)
    beginning = await client.say(user("hello"), reply="Hi!")
    for at in range(MOST_AFTER + 4):
        client.now += timedelta(seconds=1)
        asked = user(f"I am Sam, {at}" if edits else "I am Sam")
        await client.say(*beginning, asked, reply=f"Hi {at}!", appends=[f"Take {at}"])
        assert (await context(store), await notes(store)) == (f"Take {at}", [f"note of Take {at}"])


async def test_of_many_replies_one_that_was_gone_on_from_is_left_alone(store: Store) -> None:
    client, history = Archiving(store), [user("hi")]
    for at in range(MOST_AFTER + 1):
        client.now += timedelta(seconds=1)
        history = await client.say(user("hi"), reply=f"Hi {at}!", appends=[f"Take {at}"])
    client.now += timedelta(seconds=1)
    await client.say(*history, user("and?"), reply="Good.", appends=["Goes on"])
    await client.open(user("hi"))
    assert await context(store) == f"Take {MOST_AFTER}\nGoes on"


async def test_the_same_words_regenerated_are_of_the_new_turn(store: Store) -> None:
    client = Archiving(store)
    for _ in range(3):
        await client.say(user("hi, I am Sam"), reply="Hi!", appends=["Name: Sam"])
    assert (await context(store), await notes(store)) == ("Name: Sam", ["note of Name: Sam"])
    opened = await client.open(user("hi, I am Sam"), assistant("Hi!"), user("bye"))
    assert opened.fork is None
    assert await recalled(store, "Hi!") == ["Hi!", "hi, I am Sam"]


async def test_an_edited_message_takes_its_turn_along(store: Store) -> None:
    client = Archiving(store)
    history = await client.say(user("hello"), reply="Hi!", appends=["Greets politely"])
    await client.say(*history, user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await client.open(*history, user("I am Rob"))
    assert await context(store) == "Greets politely"
    assert await notes(store) == ["note of Greets politely"]


async def test_many_messages_after_one_beginning_keep_their_memory(store: Store) -> None:
    client = Archiving(store)
    beginning = [user("How do I ask?"), assistant("Like this.")]
    await client.say(*beginning, user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await client.say(*beginning, user("I like tea"), reply="Good.", appends=["Likes tea"])
    opened = await client.open(*beginning, user("Who am I?"))
    assert opened.fork is None
    assert await context(store) == "Name: Bob\nLikes tea"
    assert len(await notes(store)) == 2


async def test_what_others_wrote_since_stays(store: Store) -> None:
    client = Client(store)
    await edit(store, "Likes tea")
    await client.say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await edit(store, "Likes tea\nName: Bob\nHas a cat")
    await client.open(user("I am Bob"))
    assert await context(store) == "Likes tea\nHas a cat"


async def test_a_branch_that_went_on_is_left_alone(store: Store) -> None:
    client = Archiving(store)
    history = await client.say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await client.say(*history, user("and I like tea"), reply="Good", appends=["Likes tea"])
    await client.open(user("I am Bob"))
    assert await context(store) == "Name: Bob\nLikes tea"
    assert len(await notes(store)) == 2


async def test_a_reply_that_is_taken_up_after_all_has_its_memory_again(store: Store) -> None:
    client = Archiving(store)
    first = await client.say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"], version=1)
    await client.say(user("I am Bob"), reply="Hi Rob!", appends=["Name: Rob"])
    await client.say(user("I am Bob"), reply="Hello.")
    assert (await context(store), await notes(store)) == ("", [])
    opened = await client.open(*first, user("and?"))
    assert (await context(store), await notes(store)) == ("Name: Bob", ["note of Name: Bob"])
    assert prompt(opened)[-2:] == [assistant("Hi Bob!"), user("and?")]


async def test_calls_of_the_clients_tools_are_of_the_same_reply(store: Store) -> None:
    client = Client(store)
    function = {"name": "weather", "arguments": "{}"}
    call = {"id": "w1", "type": "function", "function": function}
    called: Message = {"role": "assistant", "content": None, "tool_calls": [call]}
    result: Message = {"role": "tool", "tool_call_id": "w1", "content": "sunny"}
    history = await client.say(user("Rome?"), reply=called, appends=["Asks about Rome"])
    await client.say(*history, result, reply="Sunny!", appends=["Likes the sun"])
    await client.open(user("Rome?"))
    assert await context(store) == ""


@pytest.mark.parametrize("times", [1, 3])
async def test_rolling_back_twice_is_rolling_back_once(store: Store, times: int) -> None:
    client = Client(store)
    await edit(store, "Likes tea")
    await client.say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    for _ in range(times):
        await client.open(user("I am Bob"))
    assert (await store.context(ALICE)).version == 3


async def test_discarded_replies_may_keep_their_memory(store: Store) -> None:
    client = Client(store, rolls_back=False)
    await client.say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await client.open(user("I am Bob"))
    assert await context(store) == "Name: Bob"


async def test_a_read_only_turn_rolls_nothing_back(store: Store) -> None:
    await Client(store).say(user("I am Bob"), reply="Hi Bob!", appends=["Name: Bob"])
    await Client(store, more={"writes": False}).open(user("I am Bob"))
    assert await context(store) == "Name: Bob"
