"""What every family of stores writes the same way: the owner of a record, and its texts."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from unicodedata import normalize

from memgpt_proxy.stores.records import Namespace, Owner

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@lru_cache(maxsize=4096)
def owner_of(namespace: Namespace) -> Owner:
    """Return the digits that stand for a namespace: one token, which no stemmer changes."""
    name = namespace.encode("utf-8", "surrogatepass")
    return Owner(str(int.from_bytes(blake2b(name, digest_size=16).digest())))


def composed(text: str) -> str:
    """Return a text as queries are read: signs with marks are one character where there is one."""
    return text if text.isascii() else normalize("NFC", text)


def clean(text: str) -> str:
    """Return ``text`` with U+FFFD for what cannot be stored or searched: NUL, lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)
