"""Nested keys (Fig. 8 of the poster): a key's value may be a key itself."""

import re

from memgpt_proxy.demo.move import Move, archival
from memgpt_proxy.demo.prompt import Prompt
from memgpt_proxy.demo.results import parse

_UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"
_ASKED = re.compile(
    rf"(?:\bkey|value (?:of|for)|look up|find)\W+(?:\w+\W+){{0,3}}(?P<key>{_UUID})", re.I
)
_PAIR = re.compile(
    rf"(?P<key>{_UUID})[\\\"'\s,;]*(?:value[\\\"'\s]*)?(?:[:=→]|->|=>)[\\\"'\s]*"
    rf"(?P<value>{_UUID}|[^\\\"'\n,;}}]+)",
    re.I,
)


def asked_key(text: str) -> str | None:
    """The key that a text asks for, in lower case: a UUID."""
    if match := _ASKED.search(text):
        return match["key"].lower()
    found = re.findall(_UUID, text)
    return found[-1].lower() if found else None


def pairs(text: str) -> dict[str, str]:
    """The values by key that a search's result holds; the first of each key counts."""
    found: dict[str, str] = {}
    for match in _PAIR.finditer(text):
        found.setdefault(match["key"].lower(), match["value"].strip())
    return found


def look_up(prompt: Prompt) -> Move | None:
    """Follow a key to the value that is no key: one search for every value on the way."""
    start = asked_key(prompt.user)
    if start is None or "archival_storage_search" not in prompt.tools:
        return None
    key, followed, page = start, [start], 1
    while True:
        call = archival(key, page)
        result = prompt.result(call)
        if result is None:
            return Move(_reply(followed), call, f"I look up {key}.")
        value = pairs(result).get(key.lower())
        if value is not None and value.lower() not in (seen.lower() for seen in followed):
            key, page = value, 1
            followed.append(value)
            if not re.fullmatch(_UUID, value):
                return Move(_reply(followed))
        elif value is None and page < parse(result).pages:
            page += 1
        else:
            return Move(_reply(followed))


def _reply(followed: list[str]) -> str:
    if len(followed) == 1:
        return f"I found no value for the key {followed[0]} in archival storage."
    return f"The value is {followed[-1]}."
