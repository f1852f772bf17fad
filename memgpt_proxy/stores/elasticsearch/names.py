"""What records are called in Elasticsearch: names of any length become short ids and terms."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b

from memgpt_proxy.stores.records import Owner
from memgpt_proxy.stores.storable import clean

LONGEST_TERM = 256
"""Bytes of a name that is its own term; Elasticsearch takes some 32 kB at most."""


def document_id(owner: Owner, kind: str, name: str) -> str:
    """Return the ``_id`` of a record: a hash of 16 bytes, which Elasticsearch keeps as such."""
    told = f"{owner}\0{kind}\0{clean(name)}".encode()
    return urlsafe_b64encode(blake2b(told, digest_size=16).digest()).rstrip(b"=").decode()


def term(name: str) -> str:
    """Return what a name is found by, and sorted by as far as it is not too long."""
    cleaned = clean(name)
    encoded = cleaned.encode()
    if len(encoded) <= LONGEST_TERM:
        return cleaned
    return "#" + blake2b(encoded, digest_size=16).hexdigest()
