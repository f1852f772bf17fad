"""The working context in every family of stores: versions, and edits that race."""

import asyncio

import pytest

from memgpt_proxy.stores.protocols import StaleVersion, Store, StoreError
from memgpt_proxy.stores.records import NO_TURN, NodeId, WorkingContext
from tests.stores.build import ALICE, message, record


class TestContext:
    async def test_versions_are_kept(self, store: Store) -> None:
        assert await store.context(ALICE) == WorkingContext(0, "")
        for version, content in enumerate(["one", "two", ""]):
            written = await store.write_context(ALICE, version, content, NodeId("m0"), NO_TURN)
            assert written == await store.context(ALICE) == WorkingContext(version + 1, content)
        assert await store.context_at(ALICE, 2) == WorkingContext(2, "two")
        assert await store.context_at(ALICE, 0) == WorkingContext(0, "")
        assert (await store.read_turn(ALICE, [], enough=0)).context == WorkingContext(3, "")

    @pytest.mark.parametrize("version", [-1, 2, 99])
    async def test_an_unknown_version_is_an_error(self, store: Store, version: int) -> None:
        await store.write_context(ALICE, 0, "one", NodeId("m0"), NO_TURN)
        with pytest.raises(StoreError):
            await store.context_at(ALICE, version)

    @pytest.mark.parametrize("expected", [-1, 0, 2])
    async def test_a_stale_edit_changes_nothing(self, store: Store, expected: int) -> None:
        await store.write_context(ALICE, 0, "one", NodeId("m0"), NO_TURN)
        with pytest.raises(StaleVersion):
            await store.write_context(ALICE, expected, "two", NodeId("m0"), NO_TURN)
        assert await store.context(ALICE) == WorkingContext(1, "one")

    async def test_one_of_twenty_racing_edits_wins_each_version(self, store: Store) -> None:
        async def edit(version: int, name: int) -> bool:
            try:
                await store.write_context(ALICE, version, f"by {name}", NodeId("m0"), NO_TURN)
            except StaleVersion:
                return False
            return True

        for version in range(5):
            won = await asyncio.gather(*(edit(version, name) for name in range(20)))
            assert sum(won) == 1
            assert await store.context(ALICE) == WorkingContext(
                version + 1, f"by {won.index(True)}"
            )

    async def test_a_stale_edit_fails_no_other_write(self, store: Store) -> None:
        edits = [store.write_context(ALICE, 0, "edit", NodeId("m0"), NO_TURN) for _ in range(3)]
        commits = [store.commit(ALICE, record(message(f"m{i}", "hi"))) for i in range(3)]
        outcomes = await asyncio.gather(*edits, *commits, return_exceptions=True)
        assert outcomes[3:] == [()] * 3
        assert sum(isinstance(outcome, StaleVersion) for outcome in outcomes) == 2
        assert (await store.counts(ALICE)).messages == 3
