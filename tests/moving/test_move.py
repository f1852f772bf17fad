"""A move copies everything, wherever it is interrupted, and notices what is not the same."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from memgpt_proxy.moving.move import AT_ONCE, Move, Verdict
from memgpt_proxy.moving.progress import Advance
from memgpt_proxy.moving.state import kept_state
from memgpt_proxy.stores.portable import START, Mark, Portable, PortableStore, Portion
from memgpt_proxy.stores.protocols import StoreUnavailable
from memgpt_proxy.stores.records import NO_TURN, Namespace, NodeId, Owner
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.storable import owner_of
from tests.stores.asking import answers, exported
from tests.stores.build import ALICE, BOB, branch, message, passage, record

pytestmark = pytest.mark.slow

CAROL = Namespace("carol")

PORTIONS = 12
"""Of three owners with three kinds of records, 256 records to a portion at most."""


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "source.db")
    await store.open()
    for namespace, length in ((ALICE, 700), (BOB, 300), (CAROL, 3)):
        await store.commit(namespace, record(*branch(["alpha"] * length)))
        await store.insert_passages(namespace, [passage("p", "beta")])
        await store.write_context(namespace, 0, "gamma", NodeId("m0"), NO_TURN)
    yield store
    await store.close()


@pytest.fixture
async def destination(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(tmp_path / "destination.db")
    await store.open()
    yield store
    await store.close()


class Other:
    """A store that is asked like the one behind it, and does something else at times."""

    def __init__(self, store: PortableStore) -> None:
        self.store = store
        self.left = 10**9
        self.portions = 0

    def owners(self) -> AsyncIterator[Owner]:
        return self.store.owners()

    async def size(self, owner: Owner | None) -> int:
        return await self.store.size(owner)

    def export(self, owner: Owner, after: Mark = START) -> AsyncIterator[Portion]:
        return self.store.export(owner, after)

    async def take_over(self, owner: Owner, records: Sequence[Portable]) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("away")
        self.portions += 1
        await self.store.take_over(owner, records)


class Shown:
    """What is shown of a move."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int]] = []

    @contextmanager
    def __call__(self, what: str, length: int, done: int) -> Iterator[Advance]:
        counted = [done]
        yield counted.append
        self.told.append((what, length, sum(counted)))


async def moved(
    source: PortableStore,
    destination: PortableStore,
    path: Path,
    only: Owner | None = None,
    shown: Shown | None = None,
    passes: int = 2,
) -> Verdict:
    with kept_state(path, "here", "there") as state:
        return await Move(source, destination, only, state, shown or Shown()).run(passes)


async def test_everything_is_moved(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    shown = Shown()
    verdict = await moved(source, destination, tmp_path / "state", shown=shown)
    assert verdict.differing == {}
    assert verdict.source == verdict.destination
    assert {kind: counted.records for kind, counted in verdict.source.kinds.items()} == {
        "messages": 1003,
        "passages": 3,
        "working contexts": 3,
        "queue states": 0,
        "conversations": 0,
    }
    assert shown.told == [("Copying", 1009, 1009), ("Comparing", 1009, 1009)]
    for namespace in (ALICE, BOB, CAROL):
        records = await exported(source, owner_of(namespace))
        some = records[:3]
        assert await exported(destination, owner_of(namespace)) == records
        assert await answers(destination, namespace, some) == await answers(source, namespace, some)


async def test_one_owner_is_moved(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    verdict = await moved(source, destination, tmp_path / "state", owner_of(BOB))
    assert verdict.differing == {}
    assert verdict.source.records == 302
    assert [owner async for owner in destination.owners()] == [owner_of(BOB)]


@pytest.mark.parametrize("portions", range(PORTIONS))
async def test_it_goes_on_where_it_was(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path, portions: int
) -> None:
    there = Other(destination)
    there.left = portions
    with pytest.raises(StoreUnavailable):
        await moved(source, there, tmp_path / "state")
    there.left = 10**9
    shown = Shown()
    verdict = await moved(source, there, tmp_path / "state", shown=shown)
    assert verdict.differing == {}
    assert verdict.destination.records == 1009
    again = there.portions - PORTIONS
    assert again < AT_ONCE, "what was noted is not copied again, only what was under way"
    assert shown.told[0] == ("Copying", 1009, 1009)


async def test_what_was_changed_since_an_interruption_comes_too(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    there = Other(destination)
    there.left = 8
    with pytest.raises(StoreUnavailable):
        await moved(source, there, tmp_path / "state")
    there.left = 10**9
    await source.write_context(ALICE, 1, "delta", NodeId("m0"), NO_TURN)
    await source.commit(CAROL, record(message("new", "alpha")))
    verdict = await moved(source, there, tmp_path / "state")
    assert verdict.differing == {}
    assert verdict.destination.records == 1011


async def test_again_it_changes_nothing(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    await moved(source, destination, tmp_path / "state")
    records = await exported(destination, owner_of(ALICE))
    verdict = await moved(source, destination, tmp_path / "another-state")
    assert verdict.differing == {}
    assert await exported(destination, owner_of(ALICE)) == records


class Losing(Other):
    """A store that loses the passages that it is given."""

    async def take_over(self, owner: Owner, records: Sequence[Portable]) -> None:
        kept = [each for each in records if not hasattr(each, "passage")]
        await self.store.take_over(owner, kept)


async def test_what_is_lost_is_noticed(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    verdict = await moved(source, Losing(destination), tmp_path / "state")
    owners = {owner_of(each) for each in (ALICE, BOB, CAROL)}
    assert verdict.differing == {owner: ["passages"] for owner in owners}
    assert verdict.source.kinds["passages"].records == 3
    assert verdict.destination.kinds["passages"].records == 0


async def test_what_the_destination_has_besides_is_noticed(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    await destination.insert_passages(BOB, [passage("mine", "alpha")])
    verdict = await moved(source, destination, tmp_path / "state")
    assert verdict.differing == {owner_of(BOB): ["passages"]}


class Busy(Other):
    """A source to which gateways write: a message more with each look at what there is."""

    def __init__(self, store: SqliteStore, messages: int) -> None:
        super().__init__(store)
        self.sqlite, self.messages = store, messages

    async def size(self, owner: Owner | None) -> int:
        if self.messages:
            self.messages -= 1
            further = message(f"further {self.messages}", "alpha")
            await self.sqlite.commit(CAROL, record(further))
            newcomer = Namespace(f"newcomer {self.messages}")
            await self.sqlite.commit(newcomer, record(further))
        return await self.store.size(owner)


async def test_a_busy_source_is_followed(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    verdict = await moved(Busy(source, 6), destination, tmp_path / "state", passes=20)
    assert verdict.differing == {}
    assert verdict.destination.records == 1009 + 12


async def test_a_source_that_never_rests_is_given_up(
    source: SqliteStore, destination: SqliteStore, tmp_path: Path
) -> None:
    verdict = await moved(Busy(source, 1000), destination, tmp_path / "state", passes=3)
    assert verdict.differing
