"""Passages: stored once, and hidden or shown by the turn that stored them."""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.stores.elasticsearch import documents
from memgpt_proxy.stores.elasticsearch.access import Access, Search
from memgpt_proxy.stores.elasticsearch.bulk import Action
from memgpt_proxy.stores.elasticsearch.clock import Clock
from memgpt_proxy.stores.elasticsearch.documents import PASSAGE
from memgpt_proxy.stores.elasticsearch.names import document_id, term
from memgpt_proxy.stores.records import Owner, Passage, TurnId

MOST_AT_ONCE = 500
"""Passages of one write, so that others get in between."""


async def insert(access: Access, clock: Clock, owner: Owner, passages: Sequence[Passage]) -> None:
    """Store passages; one that is known, shown or hidden, is left as it is."""
    index = access.names.passages
    actions = [
        Action(
            "create",
            index,
            document_id(owner, PASSAGE, passage.id),
            documents.of_passage(owner, passage, clock.now()),
        )
        for passage in passages
    ]
    for start in range(0, len(actions), MOST_AT_ONCE):
        for outcome in await access.write(owner, actions[start : start + MOST_AT_ONCE]):
            if not outcome.conflicts:
                outcome.raise_failure()


async def set_hidden(
    access: Access, clock: Clock, owner: Owner, turns: Sequence[TurnId], *, hidden: bool
) -> None:
    """Hide, or show, what these turns have stored."""
    terms = list({term(turn) for turn in turns if turn})
    if not terms:
        return
    index = access.names.passages
    search = Search(
        filters=[{"terms": {"turn": terms}}],
        rest={"sort": [{"id": "asc"}], "_source": ["shown"]},
    )
    shown = None if hidden else owner
    async for hits in access.walk(owner, index, search):
        changed = {"shown": shown, "written": clock.now()}
        actions = [
            Action("update", index, hit["_id"], changed)
            for hit in hits
            if hit["_source"]["shown"] != shown
        ]
        for outcome in await access.write(owner, actions):
            outcome.raise_failure()
