"""Showing how far a move has come: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import click

LINE_SECONDS = 10.0
"""Time from one line to the next where there is no terminal."""

Advance = Callable[[int], None]
"""Called with the number of further records that are done."""


@contextmanager
def shown(
    file: TextIO,
    what: str,
    length: int,
    done: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Show the progress of ``length`` records, of which ``done`` are done."""
    if not file.isatty():
        yield _lines(file, what, length, done, clock)
        return
    with click.progressbar(
        length=max(length, 1), label=what, show_pos=True, file=file, update_min_steps=100
    ) as bar:
        bar.update(done)
        yield bar.update


def _lines(file: TextIO, what: str, length: int, done: int, clock: Callable[[], float]) -> Advance:
    told = clock()

    def advance(records: int) -> None:
        nonlocal done, told
        done += records
        if clock() - told >= LINE_SECONDS:
            told = clock()
            click.echo(f"{what}: {done:,} of {length:,} records", file=file)

    return advance
