"""What clients do to their history, each in the smallest case that once went wrong.

After each turn the simulation compares everything with its ledger.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.simulation.backend import Hold
from tests.simulation.client import Conversation, Kind, said_by_user
from tests.simulation.model import Call, Step
from tests.simulation.simulation import Simulation

pytestmark = pytest.mark.slow

CUT = "cut"
AS_IT_CAME = "as it came"
_numbers = itertools.count()


class Person:
    """Somebody at one client, whose model says and keeps what the test tells it to."""

    def __init__(self, simulation: Simulation, conversation: Conversation) -> None:
        self.simulation = simulation
        self.conversation = conversation

    async def say(self, text: str, *, reply: str = "", keep: str = "") -> None:
        """Go on; the model replies, and keeps a note in working context."""
        self.conversation.say(said_by_user(text))
        await self.ask(reply=reply, keep=keep)

    async def regenerate(self, *, reply: str, keep: str = "") -> None:
        alternatives = self.conversation.alternatives
        self.conversation.alternatives = [*alternatives, *self.conversation.drop_reply()]
        await self.ask(reply=reply, keep=keep)

    async def ask(self, *, reply: str = "", keep: str = "", hold: Hold | None = None) -> None:
        """Send the history as it is now."""
        self.simulation.calendar.move(minutes=1)
        self.simulation.backend.steps.append(_step(reply or f"Reply {next(_numbers)}.", keep))
        await self.simulation.exchange(self.conversation, hold)

    def working_context(self) -> str:
        return self.simulation.database.working_context()


def _step(reply: str, keep: str) -> Step:
    number = next(_numbers)
    sent = Call(f"call_{number}_b", "send_message", {"message": reply})
    kept = Call(f"call_{number}_a", "working_context_append", {"content": keep})
    return Step(calls=(kept, sent) if keep else (sent,))


@pytest.fixture
async def simulation(tmp_path: Path) -> AsyncIterator[Simulation]:
    async with Simulation(tmp_path, 0, window=8192) as simulation:
        yield simulation


def person(simulation: Simulation, kind: Kind, rewriting: str = AS_IT_CAME) -> Person:
    opened = simulation.open(
        kind, rewriting=rewriting, system=None, system_changes=False, has_tools=False
    )
    opened.opened_on = "2026-02-07"
    return Person(simulation, opened)


LONG = "corn and oats and beans and rice, number "


async def test_the_end_of_a_history_whose_last_reply_is_rewritten(simulation: Simulation):
    somebody = person(simulation, Kind.SLIDING, CUT)
    for number in range(10):
        await somebody.say(f"remark {number}", reply=f"{number}: {LONG}{number}")


async def test_the_end_of_a_history_whose_words_were_said_before(simulation: Simulation):
    somebody = person(simulation, Kind.SLIDING, CUT)
    await somebody.say("Go on.", reply=f"first: {LONG}")
    for number in range(8):
        text = "Go on." if number % 3 == 2 else f"remark {number}"
        await somebody.say(text, reply=f"{number}: {LONG}{number}")


async def test_the_end_of_a_history_of_words_said_elsewhere_since(simulation: Simulation):
    somebody = person(simulation, Kind.SLIDING)
    for number in range(6):
        await somebody.say(f"remark {number}", reply="Okay.")
    for number in range(10):
        await person(simulation, Kind.FULL).say(f"other {number}", reply="Okay.")
    await somebody.say("the last remark")


async def test_a_message_deleted_beside_rewritten_replies(simulation: Simulation):
    somebody = person(simulation, Kind.FULL, CUT)
    for number in range(6):
        await somebody.say(f"remark {number}", reply=f"{number}: {LONG}{number}")
    somebody.conversation.delete(8)
    await somebody.say("the last remark")


async def test_a_message_edited_before_the_last_reply_which_is_rewritten(simulation: Simulation):
    somebody = person(simulation, Kind.FULL, CUT)
    for number in range(4):
        await somebody.say(f"remark {number}", reply=f"{number}: {LONG}{number}")
    somebody.conversation.edit(6, said_by_user("what I meant to say"))
    await somebody.say("the last remark")


@pytest.mark.parametrize("kind", [Kind.FULL, Kind.UI])
async def test_a_reply_that_is_kept_keeps_what_it_wrote(simulation: Simulation, kind: Kind):
    somebody = person(simulation, kind)
    await somebody.say("hello")
    await somebody.say("I like tea", keep="Likes tea")
    somebody.conversation.edit(2, said_by_user("I like tea a lot"))
    await somebody.say("what do I like?")
    assert somebody.working_context() == "Likes tea"


async def test_a_kept_reply_is_that_of_this_conversation(simulation: Simulation):
    somebody, other = person(simulation, Kind.FULL), person(simulation, Kind.FULL)
    await somebody.say("hello")
    await somebody.say("I like tea", reply="Okay.", keep="Likes tea")
    await other.say("good morning", reply="Okay.", keep="Gets up early")
    somebody.conversation.edit(2, said_by_user("I like tea a lot"))
    await somebody.say("what do I like?")
    assert somebody.working_context().splitlines() == ["Likes tea", "Gets up early"]


@pytest.mark.parametrize("kind", [Kind.FULL, Kind.SLIDING, Kind.UI])
async def test_going_on_from_an_earlier_alternative(simulation: Simulation, kind: Kind):
    somebody = person(simulation, kind)
    await somebody.say("hello")
    await somebody.say("what of tea100001?", reply="tea100001 is green", keep="green")
    await somebody.regenerate(reply="tea100001 is black", keep="black")
    await somebody.regenerate(reply="tea100001 is white", keep="white")
    conversation = somebody.conversation
    green = conversation.alternatives[0]
    conversation.drop_reply()
    conversation.say(green)
    await somebody.say("I see")
    assert somebody.working_context() == "green"
    found = await simulation.search("tea100001 is")
    assert found[0] == "tea100001 is green"


async def test_the_same_words_kept_by_two_alternatives(simulation: Simulation):
    somebody = person(simulation, Kind.UI)
    await somebody.say("hello", keep="Said hello")
    await somebody.say("I like tea", reply="Noted.", keep="Likes tea")
    await person(simulation, Kind.UI).say("good morning", keep="Gets up early")
    await somebody.regenerate(reply="I see.", keep="Likes tea")
    conversation = somebody.conversation
    noted = conversation.alternatives[0]
    conversation.drop_reply()
    conversation.say(noted)
    await somebody.say("and?")
    lines = somebody.working_context().splitlines()
    assert sorted(lines) == ["Gets up early", "Likes tea", "Said hello"]


async def test_a_rewritten_reply_that_broke_off_once(simulation: Simulation):
    somebody = person(simulation, Kind.SLIDING, CUT)
    await somebody.say("hello")
    conversation = somebody.conversation
    conversation.say(said_by_user("I like tea"))
    reply = f"So you like tea, with {LONG}{LONG}{LONG}"
    await somebody.ask(reply=reply, hold=Hold(after=100))
    conversation.drop_last()
    await somebody.ask(reply=reply, keep="Likes tea")
    await somebody.say("what do I like?")
    assert somebody.working_context() == "Likes tea"


async def test_a_discarded_reply_beside_a_long_branch(simulation: Simulation):
    somebody = person(simulation, Kind.FULL)
    for number in range(20):
        await somebody.say(f"remark {number}")
    somebody.conversation.truncate(2)
    await somebody.say("I like tea", keep="Likes tea")
    somebody.conversation.drop_reply()
    somebody.conversation.truncate(2)
    await somebody.say("I like coffee", keep="Likes coffee")
    assert somebody.working_context() == "Likes coffee"


async def test_taking_back_what_stands_elsewhere_by_now(simulation: Simulation):
    somebody, other = person(simulation, Kind.UI), person(simulation, Kind.UI)
    await other.say("I rise early", keep="Rises early")
    await somebody.say("I like tea", reply="Noted.", keep="Likes tea")
    await other.regenerate(reply="I see.", keep="Rises early")
    await somebody.regenerate(reply="What else?")
    assert somebody.working_context() == "Rises early"


async def test_a_discarded_reply_beside_a_conversation_that_opens_alike(simulation: Simulation):
    somebody, other = person(simulation, Kind.FULL), person(simulation, Kind.FULL)
    await somebody.say("hello", reply="Good morning.")
    await somebody.say("I like tea", keep="Likes tea")
    await other.say("hello", reply="Good day.")
    await other.say("how are you?")
    conversation = somebody.conversation
    conversation.drop_reply()
    conversation.truncate(2)
    await somebody.say("I like coffee", keep="Likes coffee")
    assert somebody.working_context() == "Likes coffee"


async def test_a_rewritten_reply_to_words_said_again_another_day(simulation: Simulation):
    somebody, other = person(simulation, Kind.FULL, CUT), person(simulation, Kind.FULL)
    await somebody.say("hello", reply=f"Good morning, with {LONG}")
    simulation.calendar.move(days=1)
    other.conversation.opened_on = "2026-02-08"
    await other.say("hello", reply="Good day.")
    await somebody.say("how are you?")
