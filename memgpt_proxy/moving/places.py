"""Where memories are: the places that a move goes from and to, by their names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import HttpUrl, TypeAdapter, ValidationError

from memgpt_proxy.api.authentication import SECRET_FILE, load_secret
from memgpt_proxy.config import Settings
from memgpt_proxy.connections import elasticsearch_connection, without_credentials
from memgpt_proxy.data_dir import claimed
from memgpt_proxy.storage import DATABASE
from memgpt_proxy.stores.elasticsearch import Connection, ElasticsearchStore
from memgpt_proxy.stores.elasticsearch.client import connect
from memgpt_proxy.stores.elasticsearch.indices import Names, behind
from memgpt_proxy.stores.portable import ErasableStore
from memgpt_proxy.stores.protocols import TraceStore
from memgpt_proxy.stores.sqlite import SqliteStore

_URLS = TypeAdapter(tuple[HttpUrl, ...])


class PlaceError(Exception):
    """A place is named wrongly, or cannot be used; the message says why, in one line."""


class Kept(ErasableStore, TraceStore, Protocol):
    """What is in a place."""


@dataclass(frozen=True, slots=True)
class SqlitePlace:
    """An embedded store."""

    file: Path

    def __str__(self) -> str:
        return f"sqlite:{self.file}"

    def beside(self, name: str) -> Path | None:
        """Return a file in the same directory, or None for a place without one."""
        return self.file.with_name(name)

    def require(self) -> None:
        """Raise PlaceError unless there is a store."""
        if not self.file.is_file():
            raise PlaceError(f"{self}: there is no such file")

    @property
    def is_local(self) -> bool:
        """It is a file: one that is not there yet can be made."""
        return True

    def begin(self, settings: Settings) -> None:
        """Make the secret that a new store needs, as the gateway's first start does.

        Raises OSError, DataDirError.
        """
        if settings.namespace_secret is not None or self.file.exists():
            return
        with self.claimed():
            load_secret(self.file.with_name(SECRET_FILE))

    def claimed(self) -> AbstractContextManager[None]:
        """Keep gateways out. Raises DataDirError where one is in.

        A file of another name is a copy, which no gateway has.
        """
        return claimed(self.file.parent) if self.file.name == DATABASE else nullcontext()

    @asynccontextmanager
    async def opened(self, _: Settings, *, create: bool) -> AsyncIterator[Kept]:
        """Hold it open. Raises StoreError, and PlaceError for one that is not to be created."""
        if not create:
            self.require()
        store = SqliteStore(self.file, synchronous="full")
        await store.open()
        try:
            yield store
        finally:
            await store.close()


@dataclass(frozen=True, slots=True)
class ElasticsearchPlace:
    """Elasticsearch; who asks, and the indices' prefix, are in the settings."""

    urls: Sequence[str]

    def __str__(self) -> str:
        return f"elasticsearch:{','.join(map(without_credentials, self.urls))}"

    def beside(self, _: str) -> Path | None:
        """Return None: it is in no directory."""
        return None

    def require(self) -> None:
        """Nothing can be said before it is asked."""

    @property
    def is_local(self) -> bool:
        """Its indices are the gateways' to make."""
        return False

    def begin(self, _: Settings) -> None:
        """Do nothing: its secret is a setting."""

    def claimed(self) -> AbstractContextManager[None]:
        """Do nothing: nobody can tell whether gateways run."""
        return nullcontext()

    @asynccontextmanager
    async def opened(self, settings: Settings, *, create: bool) -> AsyncIterator[Kept]:
        """Hold it open. Raises StoreError, and PlaceError for one that is not to be created."""
        connection = elasticsearch_connection(settings, self.urls)
        prefix = settings.elasticsearch_prefix
        if not create and not await exists(connection, prefix):
            raise PlaceError(f"{self} has no indices {prefix}-*")
        store = ElasticsearchStore(connection, prefix=prefix, shards=settings.elasticsearch_shards)
        store.alone(alone=True)
        try:
            await store.open()
            yield store
        finally:
            await store.close()


async def exists(connection: Connection, prefix: str) -> bool:
    """Return whether there are indices of this prefix. Raises StoreError."""
    client = connect(connection)
    try:
        return await behind(client, Names(prefix).transcript) is not None
    finally:
        await client.close()


Place = SqlitePlace | ElasticsearchPlace


def place_of(name: str, settings: Settings) -> Place:
    """Return the place of this name: ``sqlite:PATH`` or ``elasticsearch:URL,URL``.

    ``PATH`` is a data directory or a database file. Without a path or URL it is what the settings
    say. Raises PlaceError.
    """
    family, _, where = name.partition(":")
    if family == "sqlite":
        path = Path(where).expanduser() if where else settings.data_dir
        file = path if path.suffix == ".db" or path.is_file() else path / DATABASE
        return SqlitePlace(file.absolute())
    if family == "elasticsearch":
        urls = _urls(where) if where else [str(url) for url in settings.elasticsearch_url]
        if not urls:
            raise PlaceError("elasticsearch: name a URL, or set elasticsearch_url")
        return ElasticsearchPlace(urls)
    raise PlaceError(f"{family}: a place is sqlite:PATH or elasticsearch:URL[,URL]")


def _urls(where: str) -> list[str]:
    try:
        found = _URLS.validate_python([part.strip() for part in where.split(",")])
    except ValidationError as error:  # which shows the URL, and what may stand in it
        raise PlaceError("elasticsearch: a URL is like https://es-1:9200") from error
    return [str(url) for url in found]
