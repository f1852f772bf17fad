"""Tasks about a conversation given as text: its summary, a title, tags."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from memgpt_proxy.demo import working_context
from memgpt_proxy.demo.prompt import ALERT, text_of
from memgpt_proxy.demo.words import capitalised, clipped, is_question, keywords, sentences

_ASK = r"\b(?:generate|create|write|give|suggest|provide|make|produce|keep|return)\b[^\n]{0,80}"
_SUMMARY = re.compile(rf"\bsummari[sz]e\b|{_ASK}\bsummary\b", re.I)
_JSON_KEY = re.compile(r"\"(?P<key>title|tags|follow_ups|queries)\"\s*:")
_TITLE = re.compile(rf"{_ASK}\b(?:title|headline)\b", re.I)
_TAGS = re.compile(rf"{_ASK}\btags\b", re.I)
_USER_LINE = re.compile(
    r"^[ \t]*(?:[-*][ \t]+)?(?:\[[^\]\n]*\][ \t]*)?\**(?:user|human)\**[ \t]*(?:\([^)\n]*\)[ \t]*)?"
    r":\**[ \t]*(?P<said>\S.*)$",
    re.I | re.MULTILINE,
)
_SUMMARISED = "The user said:"
_SUMMARISED_LINE = re.compile(r"^- (?P<said>.+)$", re.MULTILINE)
_CHATTER = re.compile(r"^(?:hi|hello|hey|thanks|thank you|ok|okay|yes|no|lol|bye)\b[^a-z]*$", re.I)
_LONGEST_SUMMARY = 1500
_LONGEST_STATEMENT = 200


def task(messages: Sequence[Mapping[str, Any]]) -> str | None:
    """The answer to a task about a conversation; None if the messages set none."""
    told = [message for message in messages if text_of(message.get("content")).strip()]
    request = _request(told)
    said = conversation(told)
    if key := _JSON_KEY.search(request):
        return json.dumps({key["key"]: title(said) if key["key"] == "title" else tags(said)[:3]})
    if _SUMMARY.search(request):
        return summary(said)
    if _TITLE.search(request):
        return title(said)
    return ", ".join(tags(said)) if _TAGS.search(request) else None


def _request(told: Sequence[Mapping[str, Any]]) -> str:
    """Where a task would be named: in the instructions and the last message, if a user's.

    Instructions with a working context are those of a conversation.
    """
    last = told[-1] if told else {}
    asks = [text_of(m.get("content")) for m in told if m.get("role") in ("system", "developer")]
    if any(working_context.section(text) is not None for text in asks):
        asks = []
    if last.get("role") == "user":
        asks.append(_head(text_of(last.get("content"))))
    return "\n".join(asks)


def _head(text: str) -> str:
    """A text's beginning and end, without the conversation that it may hold in between."""
    return text if len(text) <= 1200 else f"{text[:600]}\n{text[-600:]}"


def conversation(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the user said, in order: in a transcript within the messages, else in the messages."""
    texts = [text_of(message.get("content")) for message in messages]
    everything = "\n".join(texts)
    before = _before(everything)
    if written := [match["said"] for match in _USER_LINE.finditer(everything)]:
        return before + written
    spoken = [
        text
        for message, text in zip(messages, texts, strict=True)
        if message.get("role") == "user" and not text.startswith(ALERT)
    ]
    earlier = [text for text in spoken if not _SUMMARY.search(_head(text))]
    return before + (earlier or spoken)


def _before(text: str) -> list[str]:
    """The statements of an earlier summary within a text."""
    start = text.find(_SUMMARISED)
    if start < 0:
        return []
    listed = re.match(r"(?:\s*\n- .+)*", text[start + len(_SUMMARISED) :])
    return [m["said"] for m in _SUMMARISED_LINE.finditer(listed[0])] if listed else []


def summary(said: Sequence[str]) -> str:
    """The newest statements among what the user said, each once, as far as there is room."""
    stated = [sentence for text in said for sentence in sentences(text) if _tells(sentence)]
    lines = [clipped(sentence, _LONGEST_STATEMENT) for sentence in dict.fromkeys(stated)]
    while len(lines) > 1 and sum(map(len, lines)) > _LONGEST_SUMMARY:
        del lines[0]
    listed = "\n".join(f"- {line}" for line in lines)
    return (
        f"{_SUMMARISED}\n{listed}" if lines else "The user and the assistant exchanged small talk."
    )


def _tells(sentence: str) -> bool:
    return (
        not is_question(sentence)
        and not _CHATTER.match(sentence)
        and any(map(str.isalpha, sentence))
    )


def title(said: Sequence[str]) -> str:
    """A title of at most five words from what the user said first."""
    names = keywords(said[0])[:5] if said else []
    return " ".join(capitalised(word) for word in names) or "New Conversation"


def tags(said: Sequence[str]) -> list[str]:
    """Up to five words that the user said, the commonest kind of tag."""
    return keywords(" ".join(said))[:5] or ["general"]
