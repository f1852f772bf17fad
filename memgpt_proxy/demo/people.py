"""Names, and the people and animals whom they belong to."""

import re

from memgpt_proxy.demo.words import WORD, capitalised, vocabulary

SHORT_FORMS = {
    "bf": "boyfriend",
    "gf": "girlfriend",
    "hubby": "husband",
    "bestie": "best friend",
    "bff": "best friend",
}
PARTNERS = vocabulary(
    "boyfriend girlfriend husband wife fiancé fiancée fiance fiancee partner spouse"
)
_ANIMALS = vocabulary(
    "dog puppy cat kitten hamster rabbit bunny parrot horse fish goldfish turtle bird pet"
)
_SINGLE = vocabulary("mum mom mother dad father boss manager roommate flatmate")
_SEVERAL = vocabulary(
    """friend brother sister son daughter kid child cousin aunt uncle niece nephew colleague
    coworker neighbour neighbor teacher doctor grandma grandpa grandmother grandfather"""
)
_ONE_WORD = "|".join(
    sorted(
        {*SHORT_FORMS, *PARTNERS, *_ANIMALS, *_SINGLE, *_SEVERAL},
        key=lambda word: (-len(word), word),
    )
)
RELATION = rf"(?:best friend|(?:ex-?)?(?:{_ONE_WORD}))"
_QUALIFIER = (
    r"(?:(?:new|old|dear|lovely|sweet|little|big|younger|older|youngest|oldest|only|beloved|other"
    r"|second|late|cute)\s+)?"
)
_OWNED = rf"(?P<own>\b(?:my|our)\s+{_QUALIFIER})(?P<relation>{RELATION})\b"

_NAMED = re.compile(
    rf"{_OWNED}(?:'s name is|s name is|\s+is called|\s+is named|\s*,|\s+named)\s+(?=(?P<rest>.+))",
    re.I,
)
_HAS_NAMED = re.compile(
    rf"(?P<own>\b(?:i(?:'ve| have)(?: got)?|and) (?:a|an|one|another)\s+{_QUALIFIER})"
    rf"(?P<relation>{RELATION})\s+(?:called|named)\s+(?=(?P<rest>.+))",
    re.I,
)
_BESIDE = re.compile(rf"{_OWNED}\s+(?:is\s+(?=(?-i:[A-Z])))?(?=(?P<rest>\S.*))", re.I)
_IS_MINE = re.compile(
    rf"\b(?P<rest>{WORD})\s+is\s+(?P<own>my\s+{_QUALIFIER})(?P<relation>{RELATION})\b", re.I
)

NOT_NAMES = vocabulary(
    """a about after again all alone already also always an and any are around as ask at away baby
    back bad batman bed because been being better bit bored busy but by came called can crazy day
    did do does done down early even ever every excited far feel felt fine finally first food for
    free from full gave get go goes going gone good got great had happy has hate have he her here
    him his home house how hungry i if ill in into is it its just last late later left like lol
    lost made make maybe me mine more my name new next nice no not now of off ok okay old on once
    one only or our out over please proud really ready right sad said same saw scared she sick
    since so some sometimes soon sorry still sure that the their them then there these they this
    those thing to today together told tomorrow tonight too took toy tired told up very was we well
    went were what when where which who why will with without would wrong yes yesterday yet you
    your"""
)
_PAST = vocabulary(
    """asked ate baked bought broke brought came cooked did does found gave got had has hates helps
    is left likes lives lost loves made met paid runs said sang sent sleeps saw says sings thinks
    thought told took wants was went will won works wrote can could would and who are were just
    always never really also turned barks"""
)


def relation(word: str) -> str:
    """A relation in full: `bf` is `boyfriend`, `exbf` is `ex-boyfriend`."""
    plain = " ".join(word.lower().split())
    if plain.startswith("ex"):
        return f"ex-{relation(plain.removeprefix('ex').lstrip('-'))}"
    return SHORT_FORMS.get(plain, plain)


def name_at_start(text: str) -> str | None:
    """The name that a text begins with, with capitals, or None.

    Words with capitals behind it belong to it; behind a name without one, one word that ends the
    clause does.
    """
    match = re.match(rf"{WORD}(?:\s+{WORD})*", text)
    found = match[0].split() if match else []
    if not found or _is_no_name(found[0]):
        return None
    return " ".join(capitalised(word) for word in found[: _length(found)])


def _is_no_name(word: str) -> bool:
    return word.lower() in NOT_NAMES or word.lower().endswith("'s")


def _length(found: list[str]) -> int:
    if found[0].islower():
        return 2 if len(found) == 2 and not _is_no_name(found[1]) and found[1].islower() else 1
    later = (
        n for n, word in enumerate(found) if n and (not word[0].isupper() or _is_no_name(word))
    )
    return next(later, min(len(found), 3))


def named(sentence: str) -> list[tuple[str, str, bool]]:
    """Who is named in a statement: relation, name, and whether it is one more of its kind."""
    found = []
    for pattern in (_NAMED, _HAS_NAMED, _BESIDE, _IS_MINE):
        for match in pattern.finditer(sentence):
            name = _name(match["rest"], bare=pattern is _BESIDE)
            if name and relation(name) == name.lower():
                found.append((relation(match["relation"]), name, _one_more(match)))
    return list(dict.fromkeys(found))


def _one_more(match: re.Match[str]) -> bool:
    several = relation(match["relation"]) in _SEVERAL
    return several or bool(re.search(r"\b(?:other|second|another)\b", match["own"], re.I))


def _name(rest: str, *, bare: bool) -> str | None:
    """The name at the start; bare words in lower case are one only in front of a verb."""
    if not bare or rest[:1].isupper():
        return name_at_start(rest)
    first, *others = rest.split()
    follows = others[0].strip(",.!") if others else ""
    verb = follows in _PAST or follows.endswith("ed")
    verb_itself = first in _PAST or first.endswith(("ed", "ing", "ly"))
    if verb_itself or not (verb or (not others and first.isalpha())):
        return None
    return name_at_start(first)
