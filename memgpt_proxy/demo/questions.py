"""Questions about the user, answered from the working context."""

import re
from collections.abc import Sequence
from datetime import date

from memgpt_proxy.demo.dates import named_day, spoken
from memgpt_proxy.demo.move import Move, archival, next_search, recall, results
from memgpt_proxy.demo.people import SHORT_FORMS
from memgpt_proxy.demo.prompt import Prompt
from memgpt_proxy.demo.results import Hit
from memgpt_proxy.demo.talk import is_own
from memgpt_proxy.demo.words import (
    FILLERS,
    is_question,
    keywords,
    sentences,
    stem,
    stems,
    utterances,
    words,
)

_EVERYTHING = re.compile(
    r"\bwhat (?:do|did) (?:you|u) (?:know|remember|recall)(?: about me)?\W*$"
    r"|\bwhat have (?:you|i) (?:learned|saved|told you)(?: about (?:me|myself))?\W*$"
    r"|\bdo you (?:remember|know) (?:me|who i am|anything about me)\W*$"
    r"|\btell me (?:everything|what) you know about me\b",
    re.I,
)
_FIRST_PERSON = re.compile(r"\b(?:i|i'm|my|me|mine|we|our|i've)\b", re.I)
_ABOUT_NAME = re.compile(
    r"\bwho(?:'s| is| was|s) (?P<name>(?!my\b|your\b|the\b|you\b)\w+)\W*$", re.I
)
_ADVICE = re.compile(
    r"\b(?:should|can|could|would|shall|may) (?:i|we)\b|\bhelp me\b|\bhow do (?:i|we)\b"
    r"|\b(?:can|could|would|will) you (?!tell|remind|say|remember|recall|still)\b"
    r"|\bplease (?:write|make|create|give)\b",
    re.I,
)
_SYNONYMS = {
    **SHORT_FORMS,
    "born": "birthday",
    "job": "works",
    "living": "lives",
    "profession": "works",
    "old": "age",
    "colour": "color",
    "favourite": "favorite",
    "residence": "lives",
    "employer": "works",
    "birthdate": "birthday",
    "bday": "birthday",
    "mum": "mother",
    "mom": "mother",
    "dad": "father",
}
_OPTIONAL = frozenset({"name", "called", "named", "current", "currently", "again", "know", "live"})
_SHAPES = (
    (
        re.compile(
            r"(?:what's|whats|what is|what was|know|remember|tell me|and)? ?\bmy (?:own )?name\b"
            r"|\bwho am i\b|\bam i called\b",
            re.I,
        ),
        r"Name is ",
    ),
    (
        re.compile(
            r"\bdo i do\b.*\b(?:living|work)\b|\bmy (?:job|profession|work)\b|\bi work\b", re.I
        ),
        r"Works |Is an? ",
    ),
    (re.compile(r"\b(?:where|which \w+) (?:do i come|am i) from\b", re.I), r"From |Grew up in "),
    (
        re.compile(
            r"\bwhere do i live\b|\bwhere am i (?:living|based)\b|\bmy (?:home|city)\b", re.I
        ),
        r"Lives ",
    ),
    (re.compile(r"\bwhat (?:do|did) i (?:like|love|enjoy)\b", re.I), r"Likes |Loves "),
    (re.compile(r"\bwhat (?:do|did) i (?:hate|dislike|not like)\b", re.I), r"Dislikes "),
    (re.compile(r"\bhow old am i\b|\bmy age\b", re.I), r"Age is "),
)


def asked(prompt: Prompt) -> str | None:
    """The question about themselves that the user asks, or None."""
    for sentence in reversed(utterances(prompt.user)):
        personal = _FIRST_PERSON.search(sentence) or _ABOUT_NAME.search(sentence)
        if is_question(sentence) and personal and not _ADVICE.search(sentence):
            return sentence
    return None


def from_working_context(prompt: Prompt) -> Move | None:
    """Answer a question with the working context's lines that are about it."""
    question = asked(prompt)
    if question is None:
        return None
    if _EVERYTHING.search(question):
        return Move(everything(prompt.lines))
    lines = about(question, prompt.lines)
    return Move(" ".join(map(second_person, lines))) if lines else None


def everything(lines: Sequence[str]) -> str:
    """All that is known of the user, in one reply."""
    if not lines:
        return "I don't know anything about you yet. Tell me something and I will remember it."
    return "This is what I know about you: " + " ".join(map(second_person, lines))


def about(question: str, lines: Sequence[str]) -> list[str]:
    """The lines that answer a question: those of its shape, else those with all its keywords."""
    shaped = [start for shape, start in _SHAPES if shape.search(question)]
    if shaped:
        return [line for line in lines if re.match(shaped[0], line)]
    wanted = _meant(question)
    needed = wanted - {stem(word) for word in _OPTIONAL} or wanted
    found = [line for line in lines if needed and needed <= _meant(line)]
    now = [line for line in found if not re.match(r"Ex-|No longer ", line)]
    return now or found


def _meant(text: str) -> frozenset[str]:
    said = [word for word in words(re.sub(r"'s\b", "", text)) if word not in FILLERS]
    parts = [
        part for word in said for part in (word.split("-") if word.startswith("ex-") else [word])
    ]
    return frozenset(stem(_SYNONYMS.get(word, word)) for word in parts)


_VERBS = {
    "Lives": "live",
    "Works": "work",
    "Likes": "like",
    "Loves": "love",
    "Dislikes": "dislike",
    "Has": "have",
    "Is": "are",
    "Speaks": "speak",
    "Studies": "study",
    "Plays": "play",
    "Drives": "drive",
    "Needs": "need",
    "Wants": "want",
    "Parked": "parked",
    "Grew": "grew",
}


def second_person(line: str) -> str:
    """A line of the working context as the user is told it: `You live in Porto.`."""
    first, _, rest = line.partition(" ")
    ending = "" if line.endswith((".", "!", "?")) else "."
    if match := re.fullmatch(r"([\w -]{1,30}?) named (.+)", line):
        return f"Your {match[1].lower()} is {match[2]}{ending}"
    if first in _VERBS:
        return f"You {_VERBS[first]} {rest}{ending}"
    if first in ("Allergic", "From", "Moving", "Dating"):
        return f"You are {first.lower()} {rest}{ending}"
    if " is " in line and len(line.partition(" is ")[0].split()) <= 3 and first not in ("The", "A"):
        return f"Your {line[:1].lower()}{line[1:]}{ending}"
    return f"You told me: {line}{ending}"


def from_storage(prompt: Prompt) -> Move | None:
    """Answer a question about the user by searching recall storage, then archival storage."""
    question = asked(prompt)
    query = " ".join(keywords(question)) if question else ""
    if not question or not query:
        return None
    searches = [recall(query), archival(query)]
    for search in searches:
        found = results(prompt, search)
        if found and (hit := best(found.hits, query, prompt.user)):
            return Move(f"{_when(hit.day)}: “{hit.text}”")
    unknown = "I don't know that yet. Tell me and I will remember it."
    return Move(unknown, next_search(prompt, searches), "That is not in my working context.")


def _when(day: date | None) -> str:
    return f"I found this from {spoken(day)}" if day else "I found this in archival storage"


def best(hits: Sequence[Hit], query: str, user: str) -> Hit | None:
    """The statement among some hits that shares most words with a query, or None."""
    wanted = stems(query)
    told = [hit for hit in hits if hit.text != user and not _is_no_statement(hit.text)]
    stated = [hit for hit in told if not all(map(is_question, sentences(hit.text)))]
    shared = [(len(wanted & stems(hit.text)), hit) for hit in stated]
    most = max((count for count, _ in shared), default=0)
    return next((hit for count, hit in shared if count == most), None) if most else None


def _is_no_statement(text: str) -> bool:
    return is_own(text) or bool(
        re.match(r"(?:please )?(?:forget|search|look up|find)\b", text, re.I)
    )


def is_birthday(lines: Sequence[str], today: date | None) -> bool:
    """Whether today is the birthday that the working context holds."""
    told = (named_day(line) for line in lines if line.startswith("Birthday is "))
    days = [(day.month, day.day) for day in told if day]
    return today is not None and (today.month, today.day) in days
