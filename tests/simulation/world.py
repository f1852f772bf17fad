"""The simulated world: facts that people state and ask for, and all the other things they say.

Each fact has a value of its own, each message of a user a *topic*: a word that nothing else
has, by which a search finds the message and the replies to it.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

THINGS = "locker code|gate number|parcel label|ticket number|badge number|shelf mark".split("|")
FIRST = "Mara Jonas Ines Teodor Aiko Leila Bruno Sefa Olga Pavel Nuria Emil Greta Hugo Yara".split()
LAST = "Quinn Varga Okafor Lindqvist Moreau Tanaka Reyes Novak Haddad Eklund Pereira Kovacs".split()
SYLLABLES = "ba de fi go ku la me ni po ru sa te vi wo zu".split()
WORDS = "tea milk sugar bread butter honey salt pepper rice beans corn oats plum fig leek".split()
GREETINGS = ("Hi", "Good morning!", "Hello there")
CITIES = ("Lisbon", "Kyoto", "Oslo", "Lima", "Accra", "Perth")

STATED = re.compile(r"The ([a-z]+ [a-z]+) of (\S+ \S+) is ([a-z]+-\d+)\.")
ASKED = re.compile(r"What is the ([a-z]+ [a-z]+) of (\S+ \S+)\?")
TOPIC = re.compile(r"\b[a-z]+\d{6}\b")


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that somebody knows, such as a locker's code."""

    thing: str
    person: str
    value: str

    @property
    def sentence(self) -> str:
        return f"The {self.thing} of {self.person} is {self.value}."

    @property
    def question(self) -> str:
        return f"What is the {self.thing} of {self.person}?"


class World:
    """Makes up what people say; nothing that has to be unique comes twice."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._made: set[tuple[str, str]] = set()
        self._count = 0

    def fact(self) -> Fact:
        while True:
            thing, person = self._rng.choice(THINGS), self._person()
            if (thing, person) not in self._made:
                self._made.add((thing, person))
                return Fact(thing, person, f"{self._rng.choice(WORDS)}-{self._number()}")

    def statement(self, fact: Fact) -> str:
        return f"{fact.sentence} ({self.topic()}) {self.words(4)}"

    def question(self, fact: Fact) -> str:
        return f"{fact.question} ({self.topic()})"

    def remark(self) -> str:
        """Something of any length, in any writing."""
        length = self._rng.choice((3, 8, 15, 40))
        ornament = self._rng.choice(
            ("", " Größe: 5 µm…", " 東京へ行く。", "\r\n- a\r\n- b", " 👩‍👧 ok")
        )
        return f"About {self.topic()}: {self.words(length)}{ornament}"

    def book(self) -> str:
        """More than a small window has room for."""
        return f"Read {self.topic()}: " + self.words(1200)

    def topic(self) -> str:
        return f"{self._rng.choice(WORDS)}{self._number():06d}"

    def words(self, count: int) -> str:
        return " ".join(self._rng.choice(WORDS) for _ in range(count))

    def _person(self) -> str:
        middle = "".join(self._rng.choice(SYLLABLES) for _ in range(2))
        return f"{self._rng.choice(FIRST)} {self._rng.choice(LAST)}{middle}"

    def _number(self) -> int:
        self._count += 1
        return 100_000 + self._count
