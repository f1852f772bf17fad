"""Statements into facts: short, in the third person, as on the MemGPT poster.

`my bf james baked me a birthday cake`, said on February 7, is two facts: `Boyfriend named James`
and `Birthday is February 7`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from memgpt_proxy.demo import people
from memgpt_proxy.demo.dates import MONTHS, Day, named_day, relative_day
from memgpt_proxy.demo.words import WORD, capitalised, is_question, utterances


@dataclass(frozen=True, slots=True)
class Fact:
    """A line for the working context.

    `subjects` are the beginnings of the lines that it takes the place of; with none it stands
    beside every other fact.
    """

    text: str
    subjects: tuple[str, ...] = ()


_AM = r"\bi(?:'m| am|m)\s+"
_NAME = re.compile(r"\bmy (?:(?:full|real|first) )?name(?:'s| is now| is|s)\s+(?P<rest>.+)", re.I)
_CALL_ME = re.compile(
    rf"(?<!don't )(?<!not )(?<!will )\bcall me\s+(?P<rest>{WORD})"
    r"(?=\W*$|[,.!;]|\s+(?:and|please|from now|instead|now|btw|lol)\b)",
    re.I,
)
_I_AM = re.compile(rf"{_AM}(?P<rest>.+)", re.I)
_GREETED = re.compile(
    rf"^(?:hi|hello|hey|hiya|yo)(?: there)?\W+(?:this is|{_AM.removesuffix(chr(92) + 's+')})\s+"
    rf"(?P<rest>{WORD})(?=\W*$|[,.!;]|\s+and\b)",
    re.I,
)
_FAVOURITE = re.compile(
    r"\bmy (?P<word>favou?rite) (?P<thing>\w+(?: \w+)?) (?:is|are)(?: now)? (?P<value>.+)", re.I
)
_IS_FAVOURITE = re.compile(
    r"^(?:\w+, )?(?P<value>[\w' ]{1,40}?) (?:is|are) my (?P<word>favou?rite)"
    r" (?P<thing>\w+(?: \w+)?)",
    re.I,
)
_BIRTHDAY = re.compile(r"\b(?:my birthday(?:'s| is| was)|i was born)\b(?P<value>.*)", re.I)
_BIRTHDAY_NOW = re.compile(
    r"\b(?:it's|it is|today is|today's) my birthday\b|\bmy birthday (?:is )?today\b"
    r"|\b(?:yesterday was|it was|tomorrow is|tomorrow's) my birthday\b"
    r"|\b(?:baked|made|got|bought|gave|brought) me an? (?:\w+ )?birthday \w+"
    r"|\bmy birthday (?:was yesterday|is tomorrow)\b",
    re.I,
)
_ANOTHER_TIME = re.compile(
    r"\b(?:last|next|ago|early|late|belated|once|years?|weeks?|months?)\b", re.I
)

_VERBS = {
    r"(?:now )?live (?:in|at|near|on)": ("Lives {how}", ("Lives ",)),
    r"(?:just |have |recently )*moved? (?P<to>to|in)": ("Lives in", ("Lives ",)),
    r"(?:now )?work (?:at|for|in)": ("Works {how}", ("Works at ", "Works for ", "Works in ")),
    r"(?:now )?work as": ("Works as", ("Works as ",)),
    r"(?:love|adore)": ("Loves", ()),
    r"(?:really )?(?:like|enjoy)": ("Likes", ()),
    r"(?:hate|dislike|can't stand|don't like)": ("Dislikes", ()),
    r"grew up in": ("Grew up in", ("Grew up in ",)),
    r"study": ("Studies", ("Studies ",)),
    r"speak": ("Speaks", ()),
    r"drive": ("Drives", ("Drives ",)),
    r"play": ("Plays", ()),
}
_BEING = {
    r"allergic to": ("Allergic to", ()),
    r"(?:originally )?from": ("From", ("From ",)),
    r"(?:living|based) in": ("Lives in", ("Lives ",)),
    r"moving to": ("Moving to", ("Moving to ",)),
    r"working (?:at|for)": ("Works at", ("Works at ", "Works for ", "Works in ")),
    r"working as": ("Works as", ("Works as ",)),
    r"dating": ("Dating", ("Dating ",)),
}
_PLACES = ("Lives", "From", "Grew", "Works at", "Works for", "Moving", "Speaks", "Dating")
_AGE = re.compile(rf"{_AM}(?P<age>\d{{1,3}})(?: years old| yo| y/o)?(?=\W*$|[,.!]| and\b)", re.I)
_TRADE = re.compile(rf"{_AM}(?P<value>an? {WORD}(?: {WORD})?)(?=\W*$|[,.!]| and\b)", re.I)
_NO_TRADE = re.compile(
    r"\b(?:bit|little|lot|fan|mess|idiot|big|huge|bad|good|great|few|person|couple|while|fool)\b"
)
_IDENTITY = re.compile(
    rf"{_AM}(?P<value>vegan|vegetarian|married|single|pregnant|retired|deaf|blind|divorced"
    r"|left-handed|right-handed|french|german|italian|spanish|portuguese|american|british|english"
    r"|irish|dutch|danish|swedish|polish|indian|chinese|japanese|korean|brazilian|canadian"
    r"|australian|turkish|greek|russian|ukrainian|mexican|belgian|swiss|austrian)\b",
    re.I,
)
_ATTRIBUTE = re.compile(
    r"\bmy (?P<thing>e-?mail(?: address)?|address|age|job|profession|hometown|nickname|height"
    r"|weight|time ?zone|pronouns|nationality|employer|company|school|university|hobby|hobbies"
    r"|anniversary|major|(?!first|full|real)\w+ (?:number|size|code|password|address|type|sign|id)"
    r"|blood type|last name|middle name|surname|native language|mother tongue)"
    r" (?:is|are)(?: now)? (?P<value>.+)",
    re.I,
)
_REMEMBER = re.compile(
    r"(?:^|\b(?:please|also|and|so|can you|could you|don't forget|always),? )"
    r"(?:(?:please )?(?:remember|don't forget|keep in mind|bear in mind)"
    r"(?:,? that|:| this:| the following:)|don't forget(?: that)?"
    r"|remember(?= (?:i|i'm|my|our|the|we)\b)) (?P<value>.+)",
    re.I,
)
_TO_DO = re.compile(r"\b(?:remember|remind me|don't (?:let me )?forget) to (?P<value>.+)", re.I)

_CLAUSE_END = re.compile(
    r"\s+(?:but|because|since|so|where|which|while|though|btw|by the way|these days|at the moment"
    r"|right now|now|anymore|lol|haha|too|please|today|recently|actually)\b.*"
    r"|\s+as an?\s.*|\s+(?:and|with)\s+(?:i|i'm|my|we|our|he|she|it|they|you|the|his|her|a|an)\b.*"
    r"|,(?!\s[A-Z][a-z]).*|[;:!?()].*|\.(?=\s|$).*|\s+[-–—]\s.*",
    re.I | re.DOTALL,
)
_POINTLESS = re.compile(
    r"^(?:it|that|this|you|him|her|them|how|when|what|where|to\b.*\byou|a (?:bit|lot)|fun|my|your"
    r"|for|in|on|at|with|as|so)\b",
    re.I,
)


def value(text: str, longest: int = 8) -> str | None:
    """The value that a text begins with, up to the clause's end; None if it is no short value."""
    clause = _CLAUSE_END.sub("", text.strip()).strip(" .,!?\"'")
    return clause if clause and len(clause.split()) <= longest else None


def statements(text: str) -> list[str]:
    """What a text states: its sentences without the questions among them."""
    kept = []
    for sentence in utterances(text):
        if not is_question(sentence):
            kept.append(sentence)
        elif "," in sentence and not is_question(sentence.rpartition(",")[0]):
            kept.append(sentence.rpartition(",")[0])
    return kept


def facts(text: str, today: date | None) -> list[Fact]:
    """The facts that the user states in a text said on the day `today`, in order, each once."""
    found: list[Fact] = []
    for sentence in statements(text):
        known = list(_stated(sentence, today))
        found += known or _kept_in_mind(sentence)
    return list(dict.fromkeys(found))


def _stated(sentence: str, today: date | None) -> Iterator[Fact]:
    yield from _birthday(sentence, today)
    yield from _own_name(sentence)
    for relation, name, one_more in people.named(sentence):
        subject = f"{capitalised(relation)} named "
        yield Fact(f"{subject}{name}", () if one_more else (subject,))
    yield from _favourites(sentence)
    yield from _doing(sentence)
    yield from _being(sentence)
    for match in _ATTRIBUTE.finditer(sentence):
        if kept := value(match["value"]):
            thing = capitalised(match["thing"].lower())
            yield Fact(f"{thing} is {kept}", (f"{thing} is ",))


def _birthday(sentence: str, today: date | None) -> Iterator[Fact]:
    told = _BIRTHDAY.search(sentence)
    day = _told_day(told["value"]) if told else None
    if day is None and _BIRTHDAY_NOW.search(sentence) and not _ANOTHER_TIME.search(sentence):
        when = relative_day(sentence, today) or today
        day = str(Day(when.month, when.day)) if when else None
    if day:
        yield Fact(f"Birthday is {day}", ("Birthday is ",))


def _told_day(text: str) -> str | None:
    if day := named_day(text):
        return str(day)
    months = "|".join(MONTHS)
    month = re.match(rf"\s+in ({months})\b", text, re.I)
    return f"in {month[1].capitalize()}" if month else None


def _own_name(sentence: str) -> Iterator[Fact]:
    for pattern in (_NAME, _CALL_ME, _GREETED):
        for match in pattern.finditer(sentence):
            if name := people.name_at_start(match["rest"]):
                yield Fact(f"Name is {name}", ("Name is ",))
    for match in _I_AM.finditer(sentence):
        if name := _introduced(match["rest"]):
            yield Fact(f"Name is {name}", ("Name is ",))


def _introduced(rest: str) -> str | None:
    """The name in what follows `I'm`: one with a capital, in front of a clause's end."""
    match = re.match(rf"{WORD}(?: {WORD})?(?=\W*$|[,.!;]| (?:and|from|but)\b)", rest)
    if match is None or not match[0][0].isupper() or match[0].isupper():
        return None
    if _IDENTITY.match(f"I'm {rest}"):
        return None
    return people.name_at_start(match[0])


def _favourites(sentence: str) -> Iterator[Fact]:
    for pattern in (_FAVOURITE, _IS_FAVOURITE):
        for match in pattern.finditer(sentence):
            kept, thing = value(match["value"]), match["thing"].lower()
            if kept:
                subjects = (f"Favourite {thing} is ", f"Favorite {thing} is ")
                yield Fact(f"{capitalised(match['word'].lower())} {thing} is {kept}", subjects)


def _doing(sentence: str) -> Iterator[Fact]:
    for verb, (line, subjects) in _VERBS.items():
        for match in re.finditer(rf"\bi(?:'ve)? (?P<verb>{verb}) (?P<value>.+)", sentence, re.I):
            start = line.format(how=match["verb"].split()[-1].lower())
            yield from _line(start, match["value"], subjects)


def _being(sentence: str) -> Iterator[Fact]:
    for verb, (start, subjects) in _BEING.items():
        for match in re.finditer(rf"{_AM}(?:now )?{verb} (?P<value>.+)", sentence, re.I):
            yield from _line(start, match["value"], subjects)
    for match in _AGE.finditer(sentence):
        yield Fact(f"Age is {match['age']}", ("Age is ",))
    for match in _TRADE.finditer(sentence):
        if not _NO_TRADE.search(match["value"].lower()):
            yield Fact(f"Is {match['value']}")
    for match in _IDENTITY.finditer(sentence):
        yield Fact(f"Is {match['value']}")


def _line(start: str, text: str, subjects: tuple[str, ...]) -> Iterator[Fact]:
    kept = value(text, longest=5)
    if kept is None or _POINTLESS.match(kept):
        return
    yield Fact(f"{start} {_place(kept) if start.startswith(_PLACES) else kept}", subjects)


def _place(text: str) -> str:
    """The name of a place with capitals, if it was typed without any."""
    if not text.islower():
        return text
    small = {"a", "an", "the", "of", "de", "in", "on", "at", "and", "near", "home", "my"}
    return " ".join(word if word in small else capitalised(word) for word in text.split())


def _kept_in_mind(sentence: str) -> list[Fact]:
    if match := _TO_DO.search(sentence):
        return [Fact(f"To do: {match['value'].strip(' .!?')}")]
    match = _REMEMBER.search(sentence)
    told = match["value"].strip(" .!?\"'") if match else ""
    return [Fact(third_person(told))] if told else []


_MODAL = "was|had|did|can|could|will|would|must|may|might|should|never|always"
_FIRST_PERSON = {
    r"^i(?:'m| am)\b": "is",
    r"^i(?:'ve| have)\b": "has",
    r"^i don't\b": "doesn't",
    rf"^i (?=(?:{_MODAL})\b|(?!need\b|feed\b)\w+ed\b)": "",
    r"^i'll\b": "will",
    r"^i'd\b": "would",
    r"^my ": "",
    r"^i (\w+(?:s|sh|ch|x|o))\b": r"\1es",
    r"^i (\w+[^aeiou\W])y\b": r"\1ies",
    r"^i (\w+)\b": r"\1s",
}
_IRREGULAR = re.compile(
    r"^i (ate|bought|broke|came|drove|fell|felt|found|flew|gave|got|grew|hid|kept|left|lent|lost"
    r"|made|met|paid|put|read|saw|sent|slept|sold|spent|spoke|swam|told|took|went|won|wrote)\b",
    re.I,
)


def third_person(told: str) -> str:
    """What the user said of themselves as a line about them: `I parked there` as `Parked there`."""
    line = _IRREGULAR.sub(r"\1", told)
    for pattern, replacement in _FIRST_PERSON.items():
        line, changed = re.subn(pattern, replacement, line, count=1, flags=re.I)
        if changed:
            break
    line = re.sub(r"\bmy\b", "their", line.strip(), flags=re.I)
    line = re.sub(r"\b(?:me|myself)\b", "them", line, flags=re.I)
    return capitalised(line)
