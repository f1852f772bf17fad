"""What a text asks to be found or kept: earlier talk, documents, a note, the next page."""

import re

from memgpt_proxy.demo.words import is_question, keywords, utterances

_TALKED = (
    r"(?:talk(?:ed|ing)?|spoke|spoken|chat(?:ted)?|discuss(?:ed)?|mention(?:ed)?|say|said|tell|told"
    r"|bring up|brought up|write|wrote)"
)
_ABOUT = (
    r"(?:(?: (?:to )?(?:you|me|each other))?(?: anything| something)?(?: about| regarding| of)?)"
)
_LEAD = r"(?:when |the time |how |about )*(?:we |i )?"
_TALK_STORE = r"(?:conversations?|chats?|messages|history|recall(?: storage)?)"
_RECALL = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        (
            r"\bremember (?:when |that |the time |how )*(?:we|i|you) (?:\w+ )?"
            rf"{_TALKED}{_ABOUT} (?P<topic>.+)"
        ),
        (
            r"\b(?:did|have|had) (?:i|we|you) (?:ever |already |not )?"
            rf"{_TALKED}{_ABOUT} (?P<topic>.+)"
        ),
        (
            r"\b(?:what|when|how often|how many times|what else) (?:did|have|had) (?:i|we)"
            rf" (?:last |ever |first )?{_TALKED}{_ABOUT}(?P<topic> .*)"
        ),
        (
            r"\b(?:search|look (?:through|in)|check) (?:\w+ )?"
            rf"{_TALK_STORE} for (?P<topic>.+)"
        ),
        r"\bwhat (?:was it|did i say) (?:about|with) (?P<topic>.+)",
        (
            r"\b(?:do you|can you|don't you) (?:still )?(?:remember|recall) "
            rf"(?!my\b|me\b|who\b|what\b|where\b|that\b){_LEAD}(?P<topic>.+)"
        ),
        rf"^remember (?!that\b|to\b|my\b|i'm\b|i am\b){_LEAD}(?P<topic>[^.!]+)\?",
        r"^remember (?:when|the time|how) (?:we |i )?(?P<topic>.+)",
    )
)
_MONTH = (
    r"(?:january|february|march|april|june|july|august|september|october|november|december"
    r"|may(?= \d))"
)
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
_WHEN = re.compile(
    r"\b(?:on |in |from |during )?(?:yesterday|today|tonight|this morning|\d+ days ago"
    r"|(?:last|this|past) (?:week|month|year|\w+day)|(?:mon|tues|wednes|thurs|fri|satur|sun)day"
    rf"|{_MONTH}(?: {_DAY})?(?:,? \d{{4}})?|{_DAY}(?: of)? {_MONTH}(?:,? \d{{4}})?"
    r"|\d{4}-\d\d-\d\d)\b",
    re.I,
)
_NO_TOPIC_BEFORE = re.compile(
    r"^(?:(?:a|an|the|my|our|to|that|about|anything|something|before|earlier|again|once|you|me|it"
    r"|please|this|with|of|on|going|went)\b\s*)+",
    re.I,
)
_NO_TOPIC_BEHIND = re.compile(
    r"\s*\b(?:before|earlier|in the past|again|once|last time|to you)$", re.I
)

_SHELF = (
    r"(?:\w+ )?(?:uploaded )?"
    r"(?:documents?|docs?|notes?|files?|archives?|archival storage|uploads?|papers?)\b"
)
_DOCUMENTS = tuple(
    re.compile(pattern, re.I)
    for pattern in (
        (
            r"\b(?:search|look (?:through|in|at)|check|query|scan|find in)(?: through| in)?"
            rf" {_SHELF}(?: for| about| on)?\W+(?P<query>.+)"
        ),
        (
            r"\b(?:search|look|find|show me|get)(?: for| up)? (?P<query>.+?)"
            rf" (?:in|from) {_SHELF}"
        ),
        (
            rf"\bwhat (?:do|does|did|is|'s)(?: in)? {_SHELF}"
            r"(?: say| tell(?: me)?| mention| have)?"
            r" (?:about|on|of|regarding) (?P<query>.+)"
        ),
        rf"\b(?:according to|based on|from) {_SHELF},? (?P<query>.+)",
        rf"\bdo {_SHELF} (?:say|mention)(?: anything)?(?: about)? (?P<query>.+)",
    )
)
_NOTE = re.compile(
    r"\b(?:note (?:this |that |it )?down|(?:save|keep|store|archive|file) (?:this|the following)"
    r"(?: as)?(?: an?| in my)?(?: notes?)?|make a note(?: that| of)?|take a note"
    r"|add (?:this )?to my notes|save (?:a|the) note|new note)\s*[:,\-–—]?\s+(?P<note>\S.*)",
    re.I | re.DOTALL,
)
_MORE = re.compile(
    r"^(?:(?:ok|okay|yes|and|please|show|give|tell|me|any|some|the|see|is|are|there|go to) )*"
    r"(?:more|next(?: page| ones?| results?)?|what else|anything else|continue|go on|keep going)\b"
    r"(?: (?:about|of|results|pages?|please|is there|did i say|them|that|it|hits)\b.*)?\W*$",
    re.I,
)


def topic(text: str) -> str | None:
    """What a text asks to be remembered; empty if it names only a time, None if it asks nothing."""
    for sentence in reversed(utterances(text)):
        for pattern in _RECALL:
            if match := pattern.search(sentence):
                return _bare(_WHEN.sub(" ", match["topic"]))
    return None


def _bare(text: str) -> str:
    trimmed = _NO_TOPIC_BEFORE.sub("", " ".join(text.split()).strip(" ?.!,\"'"))
    return _NO_TOPIC_BEHIND.sub("", trimmed).strip(" ?.!,\"'")


def names_time(text: str) -> bool:
    """Whether a text names a day or a span of days."""
    return bool(_WHEN.search(text))


def document_query(text: str) -> str | None:
    """What a text wants from the user's documents, or None."""
    for sentence in utterances(text):
        for pattern in _DOCUMENTS:
            if match := pattern.search(sentence):
                query = match["query"].strip(" ?.!\"'")
                return (" ".join(keywords(query)) if is_question(query) else query) or None
    return None


def note(text: str) -> str | None:
    """The note that a text gives to keep, or None."""
    match = None if is_question(text) else _NOTE.search(text)
    return match["note"].strip() if match else None


def wants_more(text: str) -> bool:
    """Whether a text asks for the next page."""
    return len(text) < 100 and bool(_MORE.match(text))
