"""Text into sentences, words and keywords."""

import re

WORD = r"[^\W\d_]+(?:['\-][^\W\d_]+)*"


def vocabulary(text: str) -> frozenset[str]:
    """The words that a text lists, parted by white space."""
    return frozenset(text.split())


FILLERS = vocabulary(
    """a about actually again all also am an and any anymore anything are as at be been but by call
    called can could did do does done ever find for from get give had has have he hello her hey hi
    him his how i i'd i'll i'm i've if im in is it it's its just know let like look made make
    me mine my no not now of off ok okay on or our out over please really remember said say says
    search she should so some something still sure tell than thank thanks that that's the their
    them then there these they thing this those time to told too up us very want was we well were
    what what's whats when where which who who's whom whose why will with would yeah yes you
    you're your"""
)

LONGEST_UTTERANCE = 500
"""Characters of a sentence that the rules for talk still read."""

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_SUFFIX = re.compile(r"(?:'s|ies|ied|ing|ed|es|s|e|y)$")
_QUESTION = re.compile(
    r"^(?:(?:and|so|ok|okay|hey|hi|hello|please|well)\W+)*"
    r"(?:(?:what|what's|whats|who|who's|whos|when|when's|where|where's|which|whose|why|how)\b"
    r"|(?:do|did|am|have|can|could|would|are|is|was|were|does) (?:i|we|you|my|it|there)\b"
    r"|(?:tell|remind) me (?!to\b))",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """The text with typographic apostrophes and quotes as ASCII ones, trimmed."""
    return text.translate(str.maketrans("’‘“”", "''\"\"")).strip()


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order; line ends part sentences too."""
    parts = (" ".join(part.split()) for part in _SENTENCE_END.split(plain(text)))
    return [part for part in parts if part]


def utterances(text: str) -> list[str]:
    """The sentences of a text that a person may have spoken: not those of endless length."""
    return [sentence for sentence in sentences(text) if len(sentence) <= LONGEST_UTTERANCE]


def is_question(sentence: str) -> bool:
    """Whether a sentence asks something, with or without a question mark."""
    return sentence.endswith("?") or bool(_QUESTION.match(sentence))


def words(text: str) -> list[str]:
    """The words and numbers of a text in lower case."""
    return re.findall(rf"{WORD}|\d+", plain(text).lower())


def stem(word: str) -> str:
    """A word without its commonest English endings: `lives` and `living` are both `liv`."""
    stemmed = _SUFFIX.sub("", word)
    return stemmed if len(stemmed) >= 3 else word


def keywords(text: str) -> list[str]:
    """The words that carry the meaning, in order, each once."""
    return list(dict.fromkeys(word for word in words(text) if word not in FILLERS))


def stems(text: str) -> frozenset[str]:
    """The stems of a text's keywords."""
    return frozenset(stem(word) for word in keywords(text))


def capitalised(text: str) -> str:
    """The text with its first letter in upper case, the rest as it is."""
    return text[:1].upper() + text[1:]


def clipped(text: str, limit: int) -> str:
    """The text on one line of at most `limit` characters, cut at a word's end."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    return line[: limit - 1].rsplit(" ", 1)[0] + "…"
