"""A book of two million tokens, generated: English-like prose with facts spread in it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

_SUBJECTS = "the captain|an old friar|her sister|the miller|a stranger|the doctor".split("|")
_VERBS = "remembered|carried|forgot|painted|followed|buried|counted|sold|mended|described".split(
    "|"
)
_OBJECTS = "the lantern|a letter|the orchard|two horses|the bell|a map of the coast".split("|")
_PLACES = "by the harbour|in the long winter|under the bridge|beyond the hills|at dusk".split("|")
_CLAUSES = "and said nothing|while the rain fell|as nobody had before|until the morning".split("|")
_NAMES = "Ansel Berta Corin Delphine Edgar Fenna Gideon Hester Ivo Jorun Kasper Lavinia".split()
_THINGS = "ledger|compass|violin|seal ring|silver cup|prayer book|music box|pocket watch".split("|")
_ROOMS = "cellar|chapel|granary|library|stable|attic|lighthouse|boathouse|bakery".split("|")


@dataclass(frozen=True, slots=True)
class Fact:
    """One sentence that the book says once."""

    chapter: int
    owner: str
    thing: str
    code: str
    room: str

    @property
    def sentence(self) -> str:
        """As it stands in the book."""
        return f"The {self.thing} of {self.owner}, marked {self.code}, was in the {self.room}."


@dataclass(frozen=True, slots=True)
class Book:
    """Text and facts, one fact a chapter."""

    text: str
    facts: tuple[Fact, ...]


def write_book(characters: int, seed: int) -> Book:
    """Return a book of at least so many characters; the same for the same seed."""
    drawn = random.Random(seed)
    chapters: list[str] = []
    facts: list[Fact] = []
    length = 0
    while length < characters:
        fact = _fact(drawn, len(chapters) + 1)
        chapter = "\n\n".join(_paragraphs(drawn, fact))
        chapters.append(f"Chapter {fact.chapter}\n\n{chapter}")
        facts.append(fact)
        length += len(chapters[-1]) + 2
    return Book("\n\n".join(chapters), tuple(facts))


def _fact(drawn: random.Random, chapter: int) -> Fact:
    return Fact(
        chapter,
        owner=drawn.choice(_NAMES),
        thing=drawn.choice(_THINGS),
        code=f"{drawn.randrange(16**6):06X}-{chapter:03}",
        room=drawn.choice(_ROOMS),
    )


def _paragraphs(drawn: random.Random, fact: Fact) -> Iterator[str]:
    place = drawn.randrange(20)
    for number in range(20):
        sentences = [_sentence(drawn) for _ in range(drawn.randint(4, 12))]
        if number == place:
            sentences.insert(drawn.randrange(len(sentences)), fact.sentence)
        yield " ".join(sentences)


def _sentence(drawn: random.Random) -> str:
    parts = [drawn.choice(words) for words in (_SUBJECTS, _VERBS, _OBJECTS, _PLACES)]
    if drawn.random() < 0.5:
        parts.append(drawn.choice(_CLAUSES))
    sentence = " ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."
