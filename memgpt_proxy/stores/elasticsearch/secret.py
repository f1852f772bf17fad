"""The mark of the secret that the namespaces in the indices were begun with.

It is a document without an owner: nobody's searches, counts, exports and erasures find it. It moves
to another version of its index as all others do.
"""

from __future__ import annotations

import time

from elasticsearch import AsyncElasticsearch

from memgpt_proxy.stores.elasticsearch.client import Refused, send
from memgpt_proxy.stores.elasticsearch.indices import Names

ID = "secret-mark"
"""What it is called and routed by: an operator may delete it, who wants another secret."""

_PARAMS = {"routing": ID}


async def read_mark(client: AsyncElasticsearch, names: Names) -> str | None:
    """Return the mark, or None where there is none, or no index. Raises StoreError."""
    try:
        found = await send(client, "GET", f"/{names.contexts}/_doc/{ID}", params=_PARAMS)
    except Refused as error:
        if error.status == 404:
            return None
        raise
    return str(found["_source"]["context"]["mark"]) if found.get("found") else None


async def leave_mark(client: AsyncElasticsearch, names: Names, own: str) -> str:
    """Return the mark that is there; one's own is left where there is none. Raises StoreError."""
    if (there := await read_mark(client, names)) is not None:
        return there
    document = {"kind": "secret", "written": time.time_ns(), "context": {"mark": own}}
    try:
        await send(client, "PUT", f"/{names.contexts}/_create/{ID}", document, params=_PARAMS)
    except Refused as error:
        if error.status != 409:  # another process was faster
            raise
        return await read_mark(client, names) or own
    return own
