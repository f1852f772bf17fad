"""Small talk: greetings, acknowledgements, and honest words about what a demo cannot do."""

import re
from collections.abc import Sequence
from datetime import date

from memgpt_proxy.demo.dates import WEEKDAYS, spoken
from memgpt_proxy.demo.words import is_question

HONEST = (
    "I am only the demo model of memgpt-proxy, so that is beyond me: point --backend-url at a "
    "real one. I can remember what you tell me, find what you said before and search your "
    "documents."
)
_INTRODUCTION = (
    "I am the demo model of memgpt-proxy, a few rules and no language model. Tell me about "
    "yourself (“my name is Sam”), ask me later (“what's my name?”), ask what you said "
    "(“did I ever mention six flags?”) or search your documents (“search my documents for …”)."
)
_OWN = (
    "I found ",
    "I don't know",
    "I am only the demo",
    "I am the demo model",
    "This is what I know about you",
    "From your documents",
    "Got it",
    "That was all",
    "You told me",
    "Your ",
)
_GREETING = re.compile(
    r"^(?:hi|hello|hey|hiya|yo|good (?:morning|evening|afternoon)|greetings)\b", re.I
)
_THANKS = re.compile(r"\b(?:thanks|thank you|thx|cheers)\b", re.I)
_BYE = re.compile(r"^(?:bye|goodbye|good night|see you|cya)\b", re.I)
_HOW_ARE_YOU = re.compile(r"\bhow(?:'s it going| are you| is it going|'re you)\b", re.I)
_WHO_ARE_YOU = re.compile(
    r"\b(?:who|what) are you\b|\bwhat can you do\b|\bwhat's your name\b|\bwhat is your name\b"
    r"|^help\W*$|\bhow do you work\b",
    re.I,
)
_DATE = re.compile(
    r"\bwhat(?:'s| is)? (?:the )?(?:day|date)(?: is it| is today| today|\W*$)"
    r"|\bwhat is today\b|\btoday's date\b",
    re.I,
)
_REQUEST = re.compile(
    r"^(?:please |can you |could you |now )*(?:write|make|tell|explain|translate|give|create|draw"
    r"|generate|list|show|help|calculate|compute|code|solve|describe|compare|fix|summari[sz]e)\b",
    re.I,
)


def is_own(text: str) -> bool:
    """Whether a text reads like one of this model's own replies."""
    return text.startswith(_OWN)


def is_greeting(text: str) -> bool:
    """Whether a text opens with a greeting."""
    return bool(_GREETING.search(text))


def known(text: str, name: str, today: date | None) -> str | None:
    """The reply to a turn of small talk, None if it is none."""
    you = f", {name}" if name else ""
    if _WHO_ARE_YOU.search(text):
        return _INTRODUCTION
    if _DATE.search(text):
        return _today(today)
    if _HOW_ARE_YOU.search(text):
        return f"I am fine, thank you{you}. How was your day today?"
    if is_question(text) or _REQUEST.search(text):
        return None
    if _THANKS.search(text):
        return f"You are welcome{you}!"
    if _BYE.search(text):
        return f"Goodbye{you}! I will remember our conversation."
    return f"Hello{you}! How was your day today?" if is_greeting(text) or not text else None


def fallback(text: str, name: str) -> str:
    """A reply to anything at all: honest about what a demo cannot do, never empty."""
    if is_question(text) or _REQUEST.search(text):
        return HONEST
    return f"I see, {name}. Tell me more!" if name else "I see. Tell me more!"


def _today(today: date | None) -> str:
    if today is None:
        return "I don't know today's date."
    return f"Today is {WEEKDAYS[today.weekday()]}, {spoken(today)}."


def acknowledgement(saved: Sequence[str], failures: Sequence[str]) -> str:
    """What is said about changes of the working context, and about errors.

    `saved` are the facts as they stand now, empty where one was deleted.
    """
    facts = "; ".join(fact[:1].lower() + fact[1:] for fact in saved if fact)
    said = [f"Got it, I will remember: {facts}."] if facts else []
    said += ["Got it, that is forgotten."] if "" in saved else []
    said += [f"I could not save that: {failure}" for failure in failures[:1]]
    return " ".join(said)
