"""Bringing Elasticsearch's indices to this release's version."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Self, TextIO

import click

from memgpt_proxy.config import Settings
from memgpt_proxy.connections import elasticsearch_connection
from memgpt_proxy.moving.places import PlaceError
from memgpt_proxy.moving.progress import Advance, shown
from memgpt_proxy.stores.elasticsearch.client import connect, server_version
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Layout, Names
from memgpt_proxy.stores.elasticsearch.migration import Migrated, migrate


def migrate_indices(settings: Settings, layouts: Sequence[Layout] = LAYOUTS) -> None:
    """Move the indices of ``elasticsearch_url`` to this release's version, while gateways go on.

    Raises PlaceError, StoreError.
    """
    if not settings.elasticsearch_url:
        raise PlaceError("elasticsearch_url is not set: name two places with --from and --to")
    done = asyncio.run(_migrated(settings, layouts))
    for each in done:
        click.echo(
            f"{each.alias} stands for {each.new} now; {each.old} is left, and can be deleted."
        )
    if not done:
        click.echo("The indices are of this release's version.")


async def _migrated(settings: Settings, layouts: Sequence[Layout]) -> list[Migrated]:
    client = connect(elasticsearch_connection(settings))
    names, shards = Names(settings.elasticsearch_prefix), settings.elasticsearch_shards
    try:
        await server_version(client)
        with _Progress(sys.stderr) as progress:
            return await migrate(client, names, shards=shards, progress=progress, layouts=layouts)
    finally:
        await client.close()


class _Progress:
    """Shows how far one index after the other is copied."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._stack = ExitStack()
        self._index = ""
        self._done = 0
        self._advance: Advance | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def __call__(self, index: str, done: int, total: int) -> None:
        """Take that ``done`` documents of an index are copied."""
        if self._advance is None or index != self._index:
            self._stack.close()
            self._index, self._done = index, 0
            self._advance = self._stack.enter_context(shown(self._file, index, total))
        self._advance(max(done - self._done, 0))
        self._done = max(done, self._done)
