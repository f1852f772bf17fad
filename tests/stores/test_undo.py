"""What every family of stores does to undo a turn: hidden passages, edits by turn."""

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import NO_TURN, ROOT, ContextEdit, Counts, TurnId
from tests.stores.build import ALICE, BOB, passage

S, T = TurnId("s"), TurnId("t")


async def found(store: Store, query: str) -> set[str]:
    page = await store.search_passages(ALICE, query, limit=9, offset=0)
    assert page.total == len(page.hits)
    return {hit.id for hit in page.hits}


async def everything(store: Store) -> set[str]:
    """The passages found by a word, by any word, by scanning, and counted."""
    by_word = await found(store, "tea")
    assert await found(store, "tea zebra") == by_word
    assert await found(store, "東京") == by_word
    counts = (await store.read_turn(ALICE, [], enough=0)).counts
    assert counts == await store.counts(ALICE) == Counts(0, len(by_word))
    return by_word


async def archived(store: Store) -> None:
    inserted = [
        passage("none", "tea 東京"),
        *(passage(f"{turn}{n}", "tea in 東京", turn=turn) for turn in (S, T) for n in range(2)),
    ]
    await store.insert_passages(ALICE, inserted)
    await store.insert_passages(BOB, inserted)


async def test_what_is_hidden_is_nowhere(store: Store) -> None:
    await archived(store)
    everyone = await everything(store)
    for _ in range(2):
        await store.hide_passages(ALICE, [S, TurnId("unknown"), S])
        assert await everything(store) == everyone - {"s0", "s1"}
    await store.hide_passages(ALICE, [S, T])
    assert await everything(store) == {"none"}
    assert (await store.counts(BOB)).passages == 5


async def test_what_is_shown_again_is_as_before(store: Store) -> None:
    await archived(store)
    before = await store.search_passages(ALICE, "tea", limit=9, offset=0)
    await store.hide_passages(ALICE, [S, T])
    for _ in range(2):
        await store.show_passages(ALICE, [T])
        assert await everything(store) == {"none", "t0", "t1"}
    await store.show_passages(ALICE, [S])
    assert await store.search_passages(ALICE, "tea", limit=9, offset=0) == before


async def test_passages_of_no_turn_cannot_be_hidden(store: Store) -> None:
    await archived(store)
    await store.hide_passages(ALICE, [NO_TURN])
    await store.hide_passages(ALICE, [])
    assert len(await everything(store)) == 5


async def test_what_is_inserted_again_stays_hidden(store: Store) -> None:
    await store.insert_passages(ALICE, [passage("p", "tea 東京", turn=S)])
    await store.hide_passages(ALICE, [S])
    await store.insert_passages(ALICE, [passage("p", "tea 東京", turn=T)])
    assert await everything(store) == set()
    await store.show_passages(ALICE, [T])
    assert await everything(store) == set()
    await store.insert_passages(ALICE, [passage("q", "tea 東京", turn=S)])
    assert await everything(store) == {"q"}


async def test_edits_are_told_by_turn(store: Store) -> None:
    for version, (text, turn) in enumerate([("one", S), ("two", T), ("", NO_TURN), ("four", S)]):
        await store.write_context(ALICE, version, text, ROOT, turn)
    await store.write_context(BOB, 0, "of bob", ROOT, S)
    first, second = ContextEdit(1, S, "", "one"), ContextEdit(2, T, "one", "two")
    fourth = ContextEdit(4, S, "", "four")
    assert await store.edits(ALICE, [S]) == (first, fourth)
    assert await store.edits(ALICE, [T, S, T]) == (first, second, fourth)
    assert await store.edits(ALICE, [TurnId("unknown"), NO_TURN]) == ()
    assert await store.edits(ALICE, []) == ()
