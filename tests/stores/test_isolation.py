"""Two namespaces of one store never see each other, whatever is done in them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memgpt_proxy.stores.protocols import Store
from memgpt_proxy.stores.records import NO_TURN, Counts, Namespace, NodeId, WorkingContext
from tests.stores.build import EPOCH, kept, message, passage, record

pytestmark = pytest.mark.slow


@dataclass
class Owned:
    """What a namespace should hold, kept apart from any store."""

    nodes: dict[str, str] = field(default_factory=dict)
    passages: dict[str, str] = field(default_factory=dict)
    contents: list[str] = field(default_factory=lambda: [""])


WORDS = ["apple", "banana", "cherry", "date-1", "東京"]
texts = st.lists(st.sampled_from(WORDS), max_size=3).map(" ".join)
operations = st.lists(
    st.tuples(
        st.sampled_from([0, 1]),
        st.sampled_from(["commit", "insert", "edit"]),
        st.integers(0, 5).map(str),
        texts,
    ),
    max_size=25,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(done=operations)
async def test_namespaces_never_see_each_other(
    store: Store, done: list[tuple[int, str, str, str]]
) -> None:
    example = uuid4().hex  # examples share the store, and must not share namespaces
    namespaces = (Namespace(example), Namespace(f"{example} "))
    owned = (Owned(), Owned())
    for side, operation, name, text in done:
        await apply(store, namespaces[side], owned[side], operation, name, text)
    for namespace, expected in zip(namespaces, owned, strict=True):
        await assert_holds(store, namespace, expected)


async def apply(
    store: Store, namespace: Namespace, owned: Owned, operation: str, name: str, text: str
) -> None:
    if operation == "commit":
        await store.commit(namespace, record(message(name, text)))
        owned.nodes.setdefault(name, text)
    elif operation == "insert":
        await store.insert_passages(namespace, [passage(name, text)])
        owned.passages.setdefault(name, text)
    else:
        await store.write_context(namespace, len(owned.contents) - 1, text, NodeId(name), NO_TURN)
        owned.contents.append(text)


async def assert_holds(store: Store, namespace: Namespace, owned: Owned) -> None:
    everything = [NodeId(str(name)) for name in range(6)]
    nodes = await kept(store, namespace, everything)
    assert {node.id: node.text for node in nodes} == owned.nodes
    spoken = {name: text for name, text in owned.nodes.items() if text}
    assert await store.counts(namespace) == Counts(len(spoken), len(owned.passages))
    for name in everything:
        assert (await store.read_turn(namespace, [name], enough=1)).known == (name in owned.nodes)
    day = datetime.fromtimestamp(EPOCH, UTC)
    between = await store.messages_between(
        namespace, day, day + timedelta(days=1), limit=99, offset=0
    )
    assert {hit.id for hit in between.hits} == set(spoken)
    between = await store.passages_between(
        namespace, day, day + timedelta(days=1), limit=99, offset=0
    )
    assert {hit.id for hit in between.hits} == set(owned.passages)
    for word in WORDS:
        page = await store.search_messages(namespace, word, limit=99, offset=0)
        assert {hit.id for hit in page.hits} == holding(word, spoken)
        page = await store.search_passages(namespace, word, limit=99, offset=0)
        assert {hit.id for hit in page.hits} == holding(word, owned.passages)
    version = len(owned.contents) - 1
    assert await store.context(namespace) == WorkingContext(version, owned.contents[version])


def holding(word: str, kept: dict[str, str]) -> set[str]:
    return {name for name, text in kept.items() if word in text.split()}
