"""The working context where processes race, and where one ends between its two writes."""

from __future__ import annotations

import asyncio

import pytest

from memgpt_proxy.stores.elasticsearch import ElasticsearchStore, documents
from memgpt_proxy.stores.elasticsearch.access import Access
from memgpt_proxy.stores.elasticsearch.bulk import Action, Outcome
from memgpt_proxy.stores.elasticsearch.documents import HEAD
from memgpt_proxy.stores.protocols import StaleVersion
from memgpt_proxy.stores.records import NO_TURN, ROOT, Namespace, Owner, WorkingContext

pytestmark = pytest.mark.elasticsearch


@pytest.fixture
def heads_stay(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Processes that end before they move the head; undo it to let the others do so."""
    real = Access.write

    async def write(self: Access, owner: Owner, actions: list[Action]) -> list[Outcome]:
        versions = [action for action in actions if action.source["kind"] != HEAD]
        outcomes = iter(await real(self, owner, versions))
        return [next(outcomes) if each in versions else Outcome(409) for each in actions]

    monkeypatch.setattr(Access, "write", write)
    return monkeypatch


async def test_a_head_that_is_behind_is_moved_on(
    shared: ElasticsearchStore,
    other: ElasticsearchStore,
    namespace: Namespace,
    heads_stay: pytest.MonkeyPatch,
) -> None:
    for version, content in enumerate(["one", "two", "three"]):
        await shared.write_context(namespace, version, content, ROOT, NO_TURN)
    heads_stay.undo()
    assert await other.context(namespace) == WorkingContext(3, "three")
    turn = await other.read_turn(namespace, [], enough=0)
    assert turn.context == WorkingContext(3, "three")
    with pytest.raises(StaleVersion):
        await other.write_context(namespace, 2, "late", ROOT, NO_TURN)
    await other.write_context(namespace, 3, "four", ROOT, NO_TURN)
    assert await shared.context(namespace) == WorkingContext(4, "four")


async def test_every_edit_of_racing_processes_is_there_or_refused(
    shared: ElasticsearchStore, other: ElasticsearchStore, namespace: Namespace
) -> None:
    async def edit(store: ElasticsearchStore, name: str) -> None:
        while True:
            now = await store.context(namespace)
            try:
                await store.write_context(
                    namespace, now.version, f"{now.content}{name} ", ROOT, NO_TURN
                )
            except StaleVersion:
                continue
            return

    names = [f"edit{number}" for number in range(12)]
    stores = [shared, other] * 6
    await asyncio.gather(*(edit(*each) for each in zip(stores, names, strict=True)))
    final = await shared.context(namespace)
    assert final.version == len(names)
    assert sorted(final.content.split()) == sorted(names)


async def test_a_repeat_whose_first_answer_was_lost_is_no_stale_one(
    shared: ElasticsearchStore, namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Access.write

    async def twice(self: Access, owner: Owner, actions: list[Action]) -> list[Outcome]:
        await real(self, owner, actions)
        return await real(self, owner, actions)

    monkeypatch.setattr(Access, "write", twice)
    written = await shared.write_context(namespace, 0, "one", ROOT, NO_TURN)
    assert written == await shared.context(namespace) == WorkingContext(1, "one")


async def test_nothing_of_it_is_indexed_but_what_is_searched() -> None:
    kept = documents.of_head(Owner("1"), 3, 0)
    assert set(kept) == {"owner", "kind", "id", "written", "version"}
