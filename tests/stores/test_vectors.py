"""What all families of stores do with vectors, by the words of ``stores.vectors``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import Fork, Holdings, Namespace, Node, NodeId, Role, TurnId
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.stores.vectors import (
    BEGINNING,
    Embedded,
    Kind,
    Name,
    Near,
    Place,
    Space,
    Text,
    Vector,
    VectorStore,
)
from tests.stores.build import ALICE, BOB, EPOCH, branch, message, passage, record
from tests.support.vector_stores import VECTOR_FAMILIES, empty_stores

PLANE = Space("plane", 2)
"""Vectors here are told by their angle, in degrees: the similarity of two is its cosine."""

TURN = TurnId("turn")


def at(angle: float) -> Vector:
    return np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))], np.float32)


@dataclass
class Stores:
    """A store and its vectors, both open."""

    texts: Store
    vectors: VectorStore

    async def say(self, namespace: Namespace, angles: dict[str, float]) -> None:
        """Store messages of these names, each said after the one before, with their vectors."""
        await self.texts.commit(namespace, record(*said(angles)))
        await self.put(namespace, Kind.MESSAGE, angles)

    async def keep(self, namespace: Namespace, angles: dict[str, float]) -> None:
        """Store passages with their vectors; they are of the turn ``TURN``."""
        kept = [passage(name, f"text of {name}", turn=TURN) for name in angles]
        await self.texts.insert_passages(namespace, kept)
        await self.put(namespace, Kind.PASSAGE, angles)

    async def put(
        self, namespace: Namespace, kind: Kind, angles: dict[str, float], space: Space = PLANE
    ) -> None:
        named = [
            Embedded(Name(owner_of(namespace), kind, name), at(angle))
            for name, angle in angles.items()
        ]
        await self.vectors.put_vectors(space, named)

    async def nearest(
        self,
        namespace: Namespace,
        kind: Kind,
        angle: float = 0.0,
        limit: int = 10,
        space: Space = PLANE,
    ) -> list[str]:
        found = await self.vectors.nearest(namespace, kind, space, at(angle), limit=limit)
        return [near.hit.id for near in found]

    async def lacking(self, space: Space = PLANE, limit: int = 100) -> list[Text]:
        """All texts without vectors, in the order in which they are found."""
        place = BEGINNING
        found: list[Text] = []
        while True:
            lacking = await self.vectors.lacking(space, place, limit=limit)
            found += lacking.texts
            place = lacking.place
            if not lacking.texts and not lacking.more:
                return found
            await self.vectors.put_vectors(
                space, [Embedded(text.name, None) for text in lacking.texts]
            )


def said(angles: dict[str, float]) -> list[Node]:
    return [
        message(name, f"text of {name}", created=EPOCH + number)
        for number, name in enumerate(angles)
    ]


def names(texts: Sequence[Text]) -> list[str]:
    return [text.name.id for text in texts]


@pytest.fixture(params=VECTOR_FAMILIES)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    """An empty store and its vectors, both open."""
    async with empty_stores(request, tmp_path) as (texts, vectors):
        await texts.open()
        await vectors.open()
        yield Stores(texts, vectors)
        await vectors.close()
        await texts.close()


class TestNearest:
    @pytest.mark.parametrize("kind", list(Kind))
    async def test_the_most_similar_come_first(self, stores: Stores, kind: Kind) -> None:
        store = stores.say if kind is Kind.MESSAGE else stores.keep
        await store(ALICE, {"right": 90, "same": 0, "near": 30, "opposite": 180})
        found = await stores.vectors.nearest(ALICE, kind, PLANE, at(0), limit=10)
        assert [near.hit.id for near in found] == ["same", "near", "right", "opposite"]
        cosines = [1, np.sqrt(3) / 2, 0, -1]
        assert np.allclose([near.similarity for near in found], cosines, atol=1e-2)

    async def test_a_hit_has_its_text_and_date(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 10, "m1": 0})
        (near,) = await stores.vectors.nearest(ALICE, Kind.MESSAGE, PLANE, at(0), limit=1)
        assert near == Near(near.hit, near.similarity)
        hit = near.hit
        assert (hit.id, hit.text, hit.created) == ("m1", "text of m1", EPOCH + 1)
        assert not hit.abandoned

    async def test_no_more_than_asked(self, stores: Stores) -> None:
        await stores.say(ALICE, {f"m{angle}": angle for angle in range(0, 90, 10)})
        assert await stores.nearest(ALICE, Kind.MESSAGE, 45.1, limit=2) == ["m50", "m40"]

    async def test_nothing_is_near_in_an_empty_store(self, stores: Stores) -> None:
        assert await stores.nearest(ALICE, Kind.MESSAGE) == []

    async def test_namespaces_and_kinds_are_apart(self, stores: Stores) -> None:
        await stores.say(ALICE, {"both": 0})
        await stores.keep(ALICE, {"kept": 0})
        await stores.say(BOB, {"both": 50, "bobs": 0})
        assert await stores.nearest(ALICE, Kind.MESSAGE) == ["both"]
        assert await stores.nearest(ALICE, Kind.PASSAGE) == ["kept"]
        assert await stores.nearest(BOB, Kind.MESSAGE) == ["bobs", "both"]
        assert await stores.nearest(BOB, Kind.PASSAGE) == []
        assert await stores.nearest(Namespace("carol"), Kind.MESSAGE) == []

    async def test_nobody_puts_a_vector_on_what_is_not_theirs(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        await stores.put(BOB, Kind.MESSAGE, {"m0": 0})
        assert await stores.nearest(BOB, Kind.MESSAGE) == []

    async def test_nearer_ones_of_others_crowd_nobody_out(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 80, "m1": 100, "m2": 90})
        await stores.say(BOB, {f"b{number}": number / 100 for number in range(400)})
        assert await stores.nearest(ALICE, Kind.MESSAGE, limit=2) == ["m0", "m2"]

    async def test_another_vector_takes_the_place_of_the_first(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0, "m1": 20})
        await stores.put(ALICE, Kind.MESSAGE, {"m0": 40})
        assert await stores.nearest(ALICE, Kind.MESSAGE) == ["m1", "m0"]

    @pytest.mark.parametrize("other", [Space("other", 2), Space("plane", 3)])
    async def test_vectors_of_other_spaces_are_ignored(self, stores: Stores, other: Space) -> None:
        await stores.say(ALICE, {"m0": 0, "m1": 20})
        vector = np.array([1.0, 0.0, 0.0][: other.dimensions], np.float32)
        found = await stores.vectors.nearest(ALICE, Kind.MESSAGE, other, vector, limit=9)
        assert found == ()
        name = Name(owner_of(ALICE), Kind.MESSAGE, "m1")
        await stores.vectors.put_vectors(other, [Embedded(name, vector)])
        found = await stores.vectors.nearest(ALICE, Kind.MESSAGE, other, vector, limit=9)
        assert [near.hit.id for near in found] == ["m1"]

    async def test_hidden_passages_are_never_near(self, stores: Stores) -> None:
        await stores.keep(ALICE, {f"p{number}": number for number in range(30)})
        other = [passage("other", "text", turn=TurnId("later"))]
        await stores.texts.insert_passages(ALICE, other)
        await stores.put(ALICE, Kind.PASSAGE, {"other": 80})
        await stores.texts.hide_passages(ALICE, [TURN])
        assert await stores.nearest(ALICE, Kind.PASSAGE, limit=5) == ["other"]
        await stores.texts.show_passages(ALICE, [TURN])
        assert await stores.nearest(ALICE, Kind.PASSAGE, limit=2) == ["p0", "p1"]

    async def test_abandoned_messages_come_last(self, stores: Stores) -> None:
        nodes = branch(["a", "b", "c"])
        await stores.texts.commit(ALICE, record(*nodes))
        await stores.put(ALICE, Kind.MESSAGE, {"m0": 60, "m1": 10, "m2": 0})
        left = Fork(left=(NodeId("m1"),))
        other = message("other", "d", parent=NodeId("m0"), depth=1)
        await stores.texts.commit(ALICE, record(other, fork=left))
        await stores.put(ALICE, Kind.MESSAGE, {"other": 120})
        found = await stores.vectors.nearest(ALICE, Kind.MESSAGE, PLANE, at(0), limit=9)
        assert [near.hit.id for near in found] == ["m0", "other", "m2", "m1"]
        assert [near.hit.abandoned for near in found] == [False, False, True, True]
        said_by = [Role.USER, Role.USER, Role.USER, Role.ASSISTANT]
        assert [near.hit.role for near in found] == said_by
        assert found[2].similarity == pytest.approx(1.0, abs=1e-2)
        assert await stores.nearest(ALICE, Kind.MESSAGE, limit=2) == ["m0", "other"]

    async def test_names_that_are_no_unicode(self, stores: Stores) -> None:
        await stores.texts.insert_passages(ALICE, [passage("p\udc00", "x")])
        await stores.put(ALICE, Kind.PASSAGE, {"p\udc00": 0})
        assert await stores.nearest(ALICE, Kind.PASSAGE) == ["p\ufffd"]


class TestErasing:
    async def test_vectors_go_with_their_texts(self, stores: Stores) -> None:
        for namespace in (ALICE, BOB):
            await stores.say(namespace, {"m0": 0, "m1": 20})
            await stores.keep(namespace, {"p0": 0})
        erased = await stores.texts.erase(ALICE)
        assert (erased.messages, erased.passages, erased.vectors) == (2, 1, 3)
        for kind in Kind:
            assert await stores.nearest(ALICE, kind) == []
        assert await stores.nearest(BOB, Kind.MESSAGE) == ["m0", "m1"]
        assert await stores.nearest(BOB, Kind.PASSAGE) == ["p0"]

    async def test_one_that_comes_late_does_not_stay(self, stores: Stores) -> None:
        """A text was being embedded while its memory was erased."""
        await stores.say(ALICE, {"m0": 0})
        await stores.texts.erase(ALICE)
        await stores.put(ALICE, Kind.MESSAGE, {"m0": 0})
        await stores.put(ALICE, Kind.PASSAGE, {"p0": 0})
        assert await stores.texts.erase(ALICE) == Holdings()


class TestLacking:
    async def test_all_texts_lack_vectors_at_first_oldest_first(self, stores: Stores) -> None:
        await stores.texts.commit(ALICE, record(*branch(["one", "", "three"])))
        await stores.texts.commit(BOB, record(message("b0", "four", created=EPOCH + 9)))
        await stores.texts.insert_passages(BOB, [passage("p0", "a passage")])
        found = await stores.lacking()
        assert [(text.name.owner, text.name.kind, text.text) for text in found] == [
            (owner_of(ALICE), Kind.MESSAGE, "one"),
            (owner_of(ALICE), Kind.MESSAGE, "three"),
            (owner_of(BOB), Kind.MESSAGE, "four"),
            (owner_of(BOB), Kind.PASSAGE, "a passage"),
        ]

    async def test_what_has_a_vector_lacks_none(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        await stores.keep(ALICE, {"p0": 0})
        assert await stores.lacking() == []

    async def test_what_the_model_does_not_take_lacks_none(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        name = Name(owner_of(ALICE), Kind.MESSAGE, "m0")
        await stores.vectors.put_vectors(PLANE, [Embedded(name, None)])
        assert await stores.lacking() == []
        assert await stores.nearest(ALICE, Kind.MESSAGE) == []

    async def test_another_model_lacks_all(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        await stores.keep(ALICE, {"p0": 0})
        assert names(await stores.lacking(Space("other", 2))) == ["m0", "p0"]
        assert names(await stores.lacking(Space("plane", 3))) == ["m0", "p0"]

    async def test_a_search_goes_on_from_its_place(self, stores: Stores) -> None:
        angles = {f"m{number:02}": 0.0 for number in range(25)}
        await stores.texts.commit(ALICE, record(*said(angles)))
        await stores.texts.insert_passages(ALICE, [passage("p0", "x"), passage("p1", "y")])
        assert names(await stores.lacking(limit=10)) == [*angles, "p0", "p1"]

    async def test_what_was_passed_over_is_not_lost(self, stores: Stores) -> None:
        """The place stays before what is not embedded, even where later texts are."""
        await stores.texts.commit(ALICE, record(*said({"m0": 0, "m1": 0, "m2": 0})))
        first = await stores.vectors.lacking(PLANE, BEGINNING, limit=10)
        await stores.put(ALICE, Kind.MESSAGE, {"m0": 0, "m2": 0})
        second = await stores.vectors.lacking(PLANE, first.place, limit=10)
        assert names(second.texts) == ["m1"]

    async def test_what_comes_later_is_found_from_the_end(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        await stores.keep(ALICE, {"p0": 0})
        end = await at_the_end(stores)
        await stores.texts.commit(BOB, record(message("later", "x", created=EPOCH + 60)))
        await stores.texts.insert_passages(BOB, [passage("p1", "y", EPOCH + 60)])
        found = await stores.vectors.lacking(PLANE, end, limit=10)
        assert names(found.texts) == ["later", "p1"]

    async def test_removing_others_leaves_the_own(self, stores: Stores) -> None:
        await stores.say(ALICE, {"m0": 0})
        await stores.vectors.remove_others(PLANE)
        assert await stores.nearest(ALICE, Kind.MESSAGE) == ["m0"]


async def at_the_end(stores: Stores) -> Place:
    """The place behind all texts, none of which lacks a vector."""
    place, more = BEGINNING, True
    while more:
        lacking = await stores.vectors.lacking(PLANE, place, limit=10)
        assert not lacking.texts
        place, more = lacking.place, lacking.more
    return place
