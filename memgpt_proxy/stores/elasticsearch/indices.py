"""The indices: what they hold, and how they come to be.

Each is versioned (``memgpt-transcript-v1``) behind an alias (``memgpt-transcript``); records
are read and written through the alias alone, so that a copy of another version can take over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.analysis import ANALYSIS
from memgpt_proxy.stores.elasticsearch.client import Refused, send
from memgpt_proxy.stores.protocols import StoreError

Json = dict[str, Any]

REFRESH_SECONDS = 1.0
"""How long a write may be unseen by searches, where nobody asks for more."""

MOST_AT_ONCE = 10_000
"""Hits that one search may skip and return."""

MOST_TOLD = 1_000
"""Hits of one bucket."""

CREATE_SECONDS = 30.0
"""How long the making of an index may take."""

_NAME: Json = {"type": "keyword"}
_UNORDERED: Json = {"type": "keyword", "doc_values": False}
_NUMBER: Json = {"type": "double"}
_COUNT: Json = {"type": "long"}
_KEPT: Json = {"type": "object", "enabled": False}
"""What is only returned: neither parsed nor indexed."""
_TEXT: Json = {
    "type": "text",
    "analyzer": "words",
    "fields": {"written": {"type": "text", "analyzer": "written", "norms": False}},
}

_OF_ALL: Json = {
    "owner": _NAME,
    "kind": _NAME,
    "id": _NAME,
    "name": _KEPT,
    "written": _COUNT,
}

TRANSCRIPT: Json = {
    **_OF_ALL,
    "said": _UNORDERED,
    "key": _NAME,
    "content": _NAME,
    "parent": _UNORDERED,
    "depth": _COUNT,
    "created": _NUMBER,
    "stored": _COUNT,
    "abandoned": {"type": "boolean"},
    "text": _TEXT,
    "node": _KEPT,
    "queue": _KEPT,
    "conversation": _KEPT,
    "made": {**_NUMBER, "index": False},
    "lineage": _KEPT,
}

PASSAGES: Json = {
    **_OF_ALL,
    "shown": _UNORDERED,
    "turn": _UNORDERED,
    "created": _NUMBER,
    "text": _TEXT,
    "passage": _KEPT,
}

CONTEXTS: Json = {
    **_OF_ALL,
    "version": _COUNT,
    "turn": _UNORDERED,
    "context": _KEPT,
}

TRACES: Json = {
    **_OF_ALL,
    "created": _NUMBER,
    "trace": _KEPT,
}


@dataclass(frozen=True, slots=True)
class Layout:
    """One index as this code reads and writes it.

    Attributes:
        name: What the records in it are called.
        version: Raised with every change of ``fields`` or of how texts are analysed.
        fields: Its mapping's properties: those of the version before, and more. Processes of
            the release before write to it, too, once it has taken over.
        upgrade: A Painless script that makes a document of the version before one of this.
        not_returned: Fields that are searched only, and not kept a second time to be returned.
    """

    name: str
    version: int
    fields: Json = field(repr=False)
    upgrade: str = field(default="", repr=False)
    not_returned: Sequence[str] = ()


LAYOUTS = (
    Layout("transcript", 1, TRANSCRIPT),
    Layout("passages", 1, PASSAGES),
    Layout("contexts", 1, CONTEXTS),
    Layout("traces", 1, TRACES),
)


@dataclass(frozen=True, slots=True)
class Names:
    """The indices' names under one prefix."""

    prefix: str

    def alias(self, layout: Layout) -> str:
        """Return the name by which records are read and written."""
        return f"{self.prefix}-{layout.name}"

    def index(self, layout: Layout) -> str:
        """Return the name of the index of this version."""
        return f"{self.prefix}-{layout.name}-v{layout.version}"

    @property
    def transcript(self) -> str:
        """The alias of nodes, queue states and conversations."""
        return f"{self.prefix}-transcript"

    @property
    def passages(self) -> str:
        """The alias of passages."""
        return f"{self.prefix}-passages"

    @property
    def contexts(self) -> str:
        """The alias of working contexts."""
        return f"{self.prefix}-contexts"

    @property
    def traces(self) -> str:
        """The alias of traces of turns."""
        return f"{self.prefix}-traces"


def version_of(index: str) -> int:
    """Return the version in an index's name; 0 for a name that is none of ours."""
    digits = index.rpartition("-v")[2]
    return int(digits) if digits.isdecimal() else 0


def body_of(layout: Layout, shards: int) -> Json:
    """Return settings and mappings of an index."""
    return {
        "settings": {
            "number_of_shards": shards,
            "auto_expand_replicas": "0-1",
            "refresh_interval": f"{REFRESH_SECONDS:g}s",
            "max_result_window": MOST_AT_ONCE,
            "max_inner_result_window": MOST_TOLD,
            "translog.durability": "request",
            "analysis": ANALYSIS,
        },
        "mappings": {
            "dynamic": "strict",
            "_routing": {"required": True},
            "_source": {"excludes": list(layout.not_returned)},
            "properties": layout.fields,
        },
    }


async def behind(client: AsyncElasticsearch, alias: str) -> str | None:
    """Return the index behind an alias, or None where there is no such alias."""
    try:
        found: Mapping[str, object] = await send(client, "GET", f"/_alias/{alias}")
    except Refused as error:
        if error.status == 404:
            return None
        raise
    if len(found) != 1:
        raise StoreError(f"{alias} stands for {len(found)} indices, and should for one")
    return next(iter(found))


async def create_missing(client: AsyncElasticsearch, names: Names, shards: int) -> None:
    """Create the indices that are missing; several processes may do so at once.

    Raises StoreError where an index is of an older version, and has to be migrated, or of a release
    after the next.
    """
    for layout in LAYOUTS:
        await create_missing_one(client, names, layout, shards)


async def create_missing_one(
    client: AsyncElasticsearch, names: Names, layout: Layout, shards: int
) -> None:
    """Create an index if it is missing; see ``create_missing``."""
    alias = names.alias(layout)
    index = await behind(client, alias)
    if index is None:
        await create(client, names.index(layout), layout, shards, alias)
        index = await behind(client, alias)
    if index is not None:
        _require_readable(alias, version_of(index), layout.version)


def _require_readable(alias: str, found: int, known: int) -> None:
    """Raise StoreError unless this release can use a version: its own, or the next (see Layout)."""
    if found < known:
        raise StoreError(
            f"{alias} has version {found}, and this release needs {known}: run memgpt-proxy migrate"
        )
    if found > known + 1:
        raise StoreError(
            f"{alias} has version {found}, and this release knows {known}:"
            " it was written by a newer release"
        )


async def create(
    client: AsyncElasticsearch, index: str, layout: Layout, shards: int, alias: str | None = None
) -> None:
    """Create an index, with an alias that comes at the same moment; it may be there already."""
    body = body_of(layout, shards)
    if alias is not None:
        body["aliases"] = {alias: {}}
    # Writes and searches need the primary shards only.
    params = {"wait_for_active_shards": "1", "timeout": f"{CREATE_SECONDS:g}s"}
    try:
        await send(client, "PUT", f"/{index}", body, params=params, seconds=CREATE_SECONDS)
    except Refused as error:
        if error.kind != "resource_already_exists_exception":
            raise
    await send(
        client,
        "GET",
        f"/_cluster/health/{index}",
        params={"wait_for_status": "yellow", "timeout": f"{CREATE_SECONDS:g}s"},
        seconds=CREATE_SECONDS + 1,
    )
