"""Made-up memories: conversations in words of uneven frequency, passages, queue states."""

import random
from collections.abc import Iterator
from hashlib import blake2b
from itertools import accumulate

from memgpt_proxy.stores.portable import Portable, StoredPassage
from memgpt_proxy.stores.records import (
    ROOT,
    ContentId,
    Counts,
    Namespace,
    Node,
    NodeId,
    Passage,
    QueueState,
    Role,
    TurnId,
    WorkingContext,
)

LENGTH = 100
"""Messages of a conversation."""

START = 60
"""Where its queue starts: what a turn reads is the rest."""

EPOCH = 1_600_000_000.0
PORTION = 1000
PASSAGES_PER_CONVERSATION = 10
_VOCABULARY = 20_000
_SYLLABLES = [first + second for first in "bdfgklmnprstvz" for second in "aeiou"]


class Writer:
    """Writes text whose n-th word is about n times rarer than its first, as people do."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        maker = random.Random(0)
        self.words = ["".join(maker.choices(_SYLLABLES, k=1 + n % 4)) for n in range(_VOCABULARY)]
        self._weights = list(accumulate(1 / (n + 3) for n in range(_VOCABULARY)))

    def text(self, words: int) -> str:
        return " ".join(self._random.choices(self.words, cum_weights=self._weights, k=words))


def node_name(conversation: int, depth: int) -> NodeId:
    what = f"{conversation} {depth}".encode()
    return NodeId(blake2b(what, digest_size=16).hexdigest())


def identifier(conversation: int) -> str:
    """What only one message of a namespace holds."""
    return f"order-{conversation:07d}-{conversation * 7919 % 10_000:04d}"


def message(writer: Writer, conversation: int, depth: int) -> Node:
    is_reply = depth % 2 == 1
    text = writer.text(80 if is_reply else 40)
    if depth == LENGTH // 2:
        text = f"{text} {identifier(conversation)}"
    name = node_name(conversation, depth)
    role = Role.ASSISTANT if is_reply else Role.USER
    return Node(
        id=name,
        key=name,
        content=ContentId(blake2b(text.encode(), digest_size=16).hexdigest()),
        parent=node_name(conversation, depth - 1) if depth else ROOT,
        depth=depth,
        role=role,
        text=text,
        entries=f'[{{"role":"{role.value}","content":"{text}"}}]',
        tokens=len(text) // 4,
        created=EPOCH + conversation * 1000 + depth,
        queue=node_name(conversation, START) if depth >= START else ROOT,
        context_version=0,
        turn=TurnId(f"t{conversation:x}-{depth:x}") if is_reply else TurnId(""),
    )


def queue_state(conversation: int) -> QueueState:
    return QueueState(
        node=node_name(conversation, START),
        start=START,
        summary="What was said before. " * 40,
        context=WorkingContext(0, ""),
        counts=Counts(START, 0),
    )


def records(namespace: Namespace, messages: int) -> Iterator[list[Portable]]:
    """Yield all that a namespace of so many messages holds, in portions."""
    writer = Writer(int(blake2b(namespace.encode(), digest_size=4).hexdigest(), 16))
    portion: list[Portable] = []
    for conversation in range(max(1, messages // LENGTH)):
        portion += [message(writer, conversation, depth) for depth in range(LENGTH)]
        portion.append(queue_state(conversation))
        portion += [_passage(writer, conversation, n) for n in range(PASSAGES_PER_CONVERSATION)]
        if len(portion) >= PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


def _passage(writer: Writer, conversation: int, number: int) -> StoredPassage:
    what = f"passage {conversation} {number}".encode()
    passage = Passage(
        id=blake2b(what, digest_size=16).hexdigest(),
        text=writer.text(150),
        created=EPOCH + conversation * 1000 + number,
        node=node_name(conversation, number),
    )
    return StoredPassage(passage, hidden=False)
