"""What ``memgpt-proxy migrate`` does."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from memgpt_proxy.api.authentication import as_setting
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.data_dir import DataDirError
from memgpt_proxy.moving.indices import migrate_indices
from memgpt_proxy.moving.memories import note_user
from memgpt_proxy.moving.move import LIVE_PASSES, PASSES, Move, Verdict
from memgpt_proxy.moving.places import Place, PlaceError, place_of
from memgpt_proxy.moving.progress import shown
from memgpt_proxy.moving.report import about_the_secret, table_of
from memgpt_proxy.moving.state import State, StateError, kept_state
from memgpt_proxy.moving.whose import Named, Whose, namespace_secret
from memgpt_proxy.stores.protocols import StoreError

STATE_FILE = "memory.moving"

INTERRUPTED = 130
"""Exit code of a command that was ended by Ctrl+C."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command's own options, as they are given."""

    source: str | None
    destination: str | None
    whose: Whose
    lists: bool
    state: Path | None
    live: bool
    show_secret: bool


def carry_out(asked: Asked, settings: Settings) -> None:
    """Do what is asked. Raises click.ClickException, whose message is one line."""
    try:
        _carry_out(asked, settings)
    except (PlaceError, StateError, DataDirError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _carry_out(asked: Asked, settings: Settings) -> None:
    if asked.source is None:
        if asked.destination is not None:
            raise click.UsageError("--to goes with --from")
        migrate_indices(settings)
        return
    source = place_of(asked.source, settings)
    source.require()
    if asked.show_secret:
        click.echo(f"{ENV_PREFIX}NAMESPACE_SECRET={as_setting(namespace_secret(source, settings))}")
    if asked.lists:
        asyncio.run(_list(source, settings))
    if asked.destination is not None:
        _move(asked, source, place_of(asked.destination, settings), settings)
    elif not (asked.show_secret or asked.lists):
        raise click.UsageError("name the place to move to with --to")


def _move(asked: Asked, source: Place, destination: Place, settings: Settings) -> None:
    if source == destination:
        raise PlaceError(f"{source} is the place to move from and to")
    named = asked.whose.owner(source, settings)
    kept_in = asked.state or source.beside(STATE_FILE) or destination.beside(STATE_FILE)
    path = kept_in or Path(STATE_FILE)
    with ExitStack() as stack:
        if not asked.live:
            stack.enter_context(_unused(source))
        stack.enter_context(destination.claimed())
        state = stack.enter_context(kept_state(path, str(source), str(destination)))
        try:
            verdict = asyncio.run(
                _moved(source, destination, named, asked.whose, state, settings, live=asked.live)
            )
        except KeyboardInterrupt:
            click.echo("Interrupted; the same command goes on from here.", err=True)
            sys.exit(INTERRUPTED)
    for line in table_of(verdict):
        click.echo(line)
    if verdict.differing:
        raise click.ClickException(
            "the destination has not the same records as the source: it had some of its own, or"
            " the source was written to meanwhile (see --live)"
        )
    path.unlink(missing_ok=True)
    click.echo(about_the_secret(source))


async def _moved(
    source: Place,
    destination: Place,
    named: Named | None,
    whose: Whose,
    state: State,
    settings: Settings,
    *,
    live: bool,
) -> Verdict:
    only = named.owner if named else None
    async with source.opened(settings, create=False) as here:
        if only is not None and not await here.size(only):
            raise PlaceError(f"{source} has nothing of this owner")
        async with destination.opened(settings, create=True) as there:
            if named is not None:
                await note_user(there, named, whose)
            move = Move(here, there, only, state, partial(shown, sys.stderr))
            return await move.run(LIVE_PASSES if live else PASSES)


async def _list(source: Place, settings: Settings) -> None:
    async with source.opened(settings, create=False) as store:
        async for owner in store.owners():
            click.echo(f"{owner}  {await store.size(owner):,} records")


@contextmanager
def _unused(source: Place) -> Iterator[None]:
    """Keep gateways out of the source. Raises PlaceError where one is in."""
    with ExitStack() as stack:
        try:
            stack.enter_context(source.claimed())
        except DataDirError as error:
            raise PlaceError(f"{error}; or move its memories while it runs, with --live") from error
        yield
