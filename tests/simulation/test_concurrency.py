"""Many conversations of one person at once: no edit is lost, nothing is stored twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation import checks
from tests.simulation.backend import Backend
from tests.simulation.client import Conversation, Kind, said_by_user
from tests.simulation.gateway import Calendar, Gateway
from tests.simulation.ledger import Utterance
from tests.simulation.world import World

pytestmark = pytest.mark.slow

CONVERSATIONS = 12
TURNS = 10


async def test_conversations_at_once(tmp_path: Path):
    backend, calendar = Backend(), Calendar()
    gateway = Gateway(tmp_path, backend, calendar, context_window=8192)
    world = World(random.Random(1))
    conversations = [_conversation(number) for number in range(CONVERSATIONS)]
    await gateway.start()
    async with asyncio.TaskGroup() as group:
        for number, conversation in enumerate(conversations):
            group.create_task(_converse(gateway, world, conversation, number * TURNS))
    await gateway.stop()
    database = checks.Database(gateway.database)
    at = calendar.now.timestamp()
    said = [Utterance(e.role, e.text, at) for each in conversations for e in each.history]
    checks.check_recall(database.said(), said)
    writes = checks.written(backend.take_prompts())
    assert Counter(write.kind for write in writes).keys() == {"working context", "archival storage"}
    checks.check_working_context(database.working_context(), writes)
    checks.check_notes(database.notes(), writes)
    database.close()


def _conversation(number: int) -> Conversation:
    return Conversation(
        name=f"chat-{number}",
        kind=list(Kind)[number % len(Kind)],
        rng=random.Random(number),
        rewriting="as it came",
        system=None,
        system_changes=False,
        has_tools=False,
    )


async def _converse(gateway: Gateway, world: World, conversation: Conversation, first: int) -> None:
    """State a fact in each turn, as soon as the one before is answered."""
    for seed in range(first, first + TURNS):
        fact = world.fact()
        conversation.say(said_by_user(world.statement(fact), fact))
        body = conversation.body(seed=seed, stream=seed % 2 == 0)
        answer = await gateway.ask(body, conversation.headers())
        assert answer.whole
        conversation.take(answer)
