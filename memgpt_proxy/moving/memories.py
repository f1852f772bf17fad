"""What ``memgpt-proxy erase``, ``export`` and ``import`` do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import BinaryIO

import click

from memgpt_proxy.config import Settings
from memgpt_proxy.data_dir import DataDirError, DataDirInUse
from memgpt_proxy.memory.carrying import NotEmpty, OtherNames, exported, records_for, take_in
from memgpt_proxy.memory.users import entry_of
from memgpt_proxy.moving.places import ElasticsearchPlace, Place, PlaceError, place_of
from memgpt_proxy.moving.whose import Named, Whose
from memgpt_proxy.stores.lines import Malformed
from memgpt_proxy.stores.portable import PortableStore, StoredPassage
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.records import Holdings, Namespace, Owner
from memgpt_proxy.stores.storable import owner_of

UNHEARD = (
    "Gateways may have it in memory still: with redis_url they are told, without they are to be"
    " started anew."
)


def erase(
    source: str, whose: Whose, settings: Settings, *, asks: bool, all_users: bool = False
) -> None:
    """Erase what one owner has. Raises click.ClickException, whose message is one line.

    Args:
        all_users: And what all users of that key have.
    """
    with _told():
        place = _there(source, settings)
        named = whose.one(place, settings)
        register = whose.register(named) if all_users else None
        with place.claimed():
            asyncio.run(_erase(place, named.owner, register, settings, asks=asks))


def export(source: str, whose: Whose, settings: Settings, file: BinaryIO) -> None:
    """Write what one owner has to a file. Raises click.ClickException."""
    with _told():
        place = _there(source, settings)
        named = whose.one(place, settings)
        with place.claimed():
            asyncio.run(_export(place, named.owner, named.namespace, settings, file))


def take_back(destination: str, whose: Whose, settings: Settings, path: Path) -> None:
    """Store what a file has as one owner's memory. Raises click.ClickException."""
    with _told():
        place = place_of(destination, settings)
        _check_is_there(path, whose)
        place.begin(settings)
        named = whose.one(place, settings)
        with place.claimed(), path.open("rb") as file:
            asyncio.run(_take_back(place, named, whose, settings, file))


@contextmanager
def _told() -> Iterator[None]:
    """Tell what goes wrong in one line."""
    try:
        yield
    except DataDirInUse as error:
        raise click.ClickException(
            f"{error}, or ask it (DELETE /memgpt/memory, GET /memgpt/export, POST /memgpt/import)"
        ) from error
    except (PlaceError, DataDirError, StoreError, Malformed) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
    except OtherNames as error:
        raise click.ClickException(
            "it was exported by its owner's name alone, and fits that owner only: export it with"
            " --key"
        ) from error
    except NotEmpty as error:
        raise click.ClickException("the memory has something of its own: erase it first") from error


def _check_is_there(path: Path, whose: Whose) -> None:
    """Raise click.ClickException unless there is an export to read, before a key is asked for."""
    if not path.is_file():
        hint = " (the key does not stand here: it is asked for)" if whose.key else ""
        raise click.ClickException(
            f"{path}: there is no such file. Name the one that export has written{hint}"
        )


def _there(name: str, settings: Settings) -> Place:
    place = place_of(name, settings)
    place.require()
    return place


async def _erase(
    place: Place, owner: Owner, register: Owner | None, settings: Settings, *, asks: bool
) -> None:
    async with place.opened(settings, create=False) as store:
        users = [] if register is None else [user async for user in _users(store, register)]
        owners = [owner, *users]
        there = sum([await store.holdings(each) for each in owners], Holdings())
        if asks:
            also = "" if register is None else f" and of {len(users):,} users"
            question = f"Erase {there.records:,} records of owner {owner}{also} in {place}?"
            click.confirm(question, abort=True, err=True)
        erased = sum([await store.erase_owner(each) for each in owners], Holdings())
        if register is not None:
            owners.append(register)
            await store.erase_owner(register)
    for each in owners:
        await _have_forgotten(place, each, settings)
    for line in _table(erased):
        click.echo(line)
    if register is not None:
        click.echo(f"{'users':<18}{len(users):>12,}")
    if not erased.records:
        raise PlaceError(f"{place} had nothing of this owner")


async def _users(store: PortableStore, register: Owner) -> AsyncIterator[Owner]:
    """Yield the owners that are written down in a register."""
    async for portion in store.export(register):
        for record in portion.records:
            if isinstance(record, StoredPassage):
                yield owner_of(Namespace(record.passage.id))


async def note_user(store: PortableStore, named: Named, whose: Whose) -> None:
    """Write down that a key has a user, if it is one whose memory is stored here."""
    if whose.user is not None and named.register and named.namespace:
        entry = StoredPassage(entry_of(named.namespace), hidden=False)
        await store.take_over(named.register, [entry])


def _table(erased: Holdings) -> Iterator[str]:
    for field in fields(erased):
        yield f"{field.name.replace('_', ' '):<18}{getattr(erased, field.name):>12,}"


async def _export(
    place: Place, owner: Owner, namespace: Namespace | None, settings: Settings, file: BinaryIO
) -> None:
    async with place.opened(settings, create=False) as store:
        if not await store.size(owner):
            raise PlaceError(f"{place} has nothing of this owner")
        traces = store if namespace is not None else None
        lines = exported(store, owner, time.time(), namespace=namespace, traces=traces)
        async for several in lines:
            await asyncio.to_thread(file.write, several)


async def _take_back(
    place: Place, named: Named, whose: Whose, settings: Settings, file: BinaryIO
) -> None:
    owner = named.owner
    records = await asyncio.to_thread(records_for, file, owner, named.namespace)
    async with place.opened(settings, create=place.is_local) as store:
        await note_user(store, named, whose)
        counts = await take_in(records, store, owner, partial(store.take_over, owner))
    await _have_forgotten(place, owner, settings)
    for kind, count in counts.items():
        click.echo(f"{kind.replace('_', ' '):<18}{count:>12,}")


async def _have_forgotten(place: Place, owner: Owner, settings: Settings) -> None:
    """Have gateways forget what they have in memory of an owner, and what waits of it."""
    if not isinstance(place, ElasticsearchPlace):
        return  # no gateway is in
    if settings.redis_url is None:
        click.echo(UNHEARD, err=True)
        return
    from memgpt_proxy import fleet

    await fleet.have_forgotten(settings.redis_url, settings.redis_ca_file, owner)
