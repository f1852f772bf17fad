"""The command ``memgpt-proxy memory``: to look into a memory behind a running gateway, and edit it.

It asks the gateway by the API, as the memory page does, and so needs no access to its stores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any, BinaryIO, TextIO

import click
import httpx
import orjson

from memgpt_proxy.api import shapes
from memgpt_proxy.asked_key import asked_key
from memgpt_proxy.client import Event, Memory, MemoryRefused
from memgpt_proxy.options import CONTEXT

_URL = "http://127.0.0.1:8484"
_CHANGED = "working_context_changed"

_page = click.option("--page", type=click.IntRange(1), default=1, show_default=True)
_limit = click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True)
_day = click.DateTime(["%Y-%m-%d"])


@click.group("memory", context_settings=CONTEXT)
@click.option(
    "--url",
    envvar="OPENAI_BASE_URL",
    metavar="URL",
    default=_URL,
    show_default=True,
    show_envvar=True,
    help="The gateway's address.",
)
@click.option(
    "--user", metavar="USER", help="The end user of the key whose memory it is; else the key's own."
)
@click.pass_context
def memory_command(context: click.Context, url: str, user: str | None) -> None:
    """Look into a memory behind a running gateway, and edit it.

    The API key is that of the environment's OPENAI_API_KEY, else it is asked for, or a line of the
    standard input. Where no gateway runs, the commands export, import and erase without "memory"
    open the store itself.
    """
    context.obj = partial(_opened, url, user)  # help asks for no key


def _opened(url: str, user: str | None) -> Memory:
    return Memory(url, os.environ.get("OPENAI_API_KEY") or asked_key(), user)


@contextmanager
def _told() -> Iterator[None]:
    """Tell in one line what goes wrong."""
    try:
        yield
    except MemoryRefused as error:
        raise click.ClickException(f"{error} ({error.status})") from error
    except httpx.TransportError as error:
        raise click.ClickException(f"the gateway cannot be reached: {error}") from error


def _command(name: str, *options: Callable[..., Any]) -> Callable[..., Any]:
    """Make a command of the group of a function that takes the memory first."""

    def made(function: Callable[..., None]) -> click.Command:
        def carry_out(opened: Callable[[], Memory], **given: Any) -> None:
            with _told(), opened() as memory:
                function(memory, **given)

        carry_out.__doc__ = function.__doc__
        command: Any = click.pass_obj(carry_out)
        for option in reversed(options):
            command = option(command)
        return memory_command.command(name, context_settings=CONTEXT)(command)

    return made


@_command("show")
def show(memory: Memory) -> None:
    """Show the working context, and how much else there is."""
    context = memory.working_context()
    click.echo(context.content)
    messages, passages = memory.messages(limit=1).total, memory.passages(limit=1).total
    click.echo(
        f"\n{len(context.content):,} / {context.limit:,} characters, version {context.version}; "
        f"{messages:,} messages in recall storage, {passages:,} passages in archival storage",
        err=True,
    )


@_command(
    "messages",
    click.argument("query", required=False),
    click.option(
        "--from", "start", type=_day, metavar="DAY", help="The first (YYYY-MM-DD), without QUERY."
    ),
    click.option("--to", "end", type=_day, metavar="DAY", help="The last, which is included."),
    _page,
    _limit,
)
def messages(
    memory: Memory,
    query: str | None,
    start: datetime | None,
    end: datetime | None,
    page: int,
    limit: int,
) -> None:
    """List messages, the newest first, or those that QUERY finds."""
    days = {"start_date": start and start.date(), "end_date": end and end.date()}
    found = memory.messages(query, **days, page=page, limit=limit)
    _list(found.data, found, lambda each: f"{each.role}{' (left)' if each.abandoned else ''}")


@_command("passages", click.argument("query", required=False), _page, _limit)
def passages(memory: Memory, query: str | None, page: int, limit: int) -> None:
    """List passages of archival storage, the newest first, or those that QUERY finds."""
    found = memory.passages(query, page=page, limit=limit)
    _list(found.data, found, lambda _: "")


@_command("insert", click.argument("file", type=click.File(encoding="utf-8"), default="-"))
def insert(memory: Memory, file: TextIO) -> None:
    """Store a note or a document in archival storage, from FILE or the standard input."""
    click.echo(f"{memory.insert(file.read()).inserted:,} passages", err=True)


@_command(
    "edit",
    click.argument("file", type=click.File(encoding="utf-8"), required=False),
)
def edit(memory: Memory, file: TextIO | None) -> None:
    """Edit the working context in your editor, or replace it by what FILE has.

    Where it was changed meanwhile nothing is, and what you have written is printed.
    """
    before = memory.working_context()
    text = file.read() if file is not None else click.edit(before.content, require_save=True)
    if text is None:
        raise click.ClickException("nothing was saved, and nothing is changed")
    try:
        after = memory.edit_working_context(before.version, text.rstrip("\n"))
    except MemoryRefused as error:
        if error.code == _CHANGED:
            click.echo(text)
        raise
    click.echo(f"version {after.version}", err=True)


@_command("turns", click.option("--limit", type=click.IntRange(1, 100), default=10))
def turns(memory: Memory, limit: int) -> None:
    """List what turns did, the newest first."""
    for trace in memory.traces(limit=limit).data:
        told = trace.error or trace.finish_reason or "no whole reply"
        degraded = ", degraded" if trace.degraded else ""
        click.echo(
            f"{_when(trace.created)}  {trace.model}, {trace.seconds:.1f} s, {told}{degraded}"
        )
        for call in (call for step in trace.steps for call in step.calls):
            click.echo(f"    {call.name}({call.arguments}){_result(call)}")


@_command("listen")
def listen(memory: Memory) -> None:
    """Tell what turns do from now on, an event a line, until it is interrupted."""
    for event in memory.events():
        click.echo(_line(event))


@_command("export", click.argument("file", type=click.File("wb", atomic=True), default="-"))
def export(memory: Memory, file: BinaryIO) -> None:
    """Write all of the memory to FILE, or to the terminal, as lines of JSON."""
    for data in memory.export():
        file.write(data)


@_command("import", click.argument("file", type=click.File("rb")))
def import_from(memory: Memory, file: BinaryIO) -> None:
    """Store an export in this memory, which has to be empty."""
    _table(memory.import_from(file.read()).imported)


@_command(
    "erase",
    click.option("--all-users", is_flag=True, help="And what all users of the key have."),
    click.option("--yes", is_flag=True, help="Do not ask before it erases."),
)
def erase(memory: Memory, all_users: bool, yes: bool) -> None:
    """Erase all of the memory, and see that nothing is left. It asks before it does."""
    if not yes:
        also = " and of all of the key's users" if all_users else ""
        click.confirm(f"Erase all of this memory{also}?", abort=True, err=True)
    erased = memory.erase(all_users=all_users)
    _table(erased.erased.model_dump())
    if erased.users is not None:
        _table({"users": erased.users})


def _list(
    entries: Sequence[shapes.Message] | Sequence[shapes.Passage],
    found: shapes.RecallPage | shapes.ArchivalPage,
    who: Callable[[Any], str],
) -> None:
    for entry in entries:
        head = f"{_when(entry.created)}  {who(entry)}".rstrip()
        click.echo(click.style(head, bold=True))
        click.echo(f"{entry.content}\n")
    click.echo(f"{found.total:,} in all, page {found.page} of {found.pages:,}", err=True)


def _when(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).astimezone().strftime("%Y-%m-%d %H:%M")


def _result(call: shapes.Call) -> str:
    return "" if call.result is None else f" -> {call.result}"


def _line(event: Event) -> str:
    content = {name: value for name, value in event.content.items() if name != "turn"}
    return f"{event.kind} {orjson.dumps(content).decode()}"


def _table(counts: dict[str, int]) -> None:
    for kind, count in counts.items():
        click.echo(f"{kind.replace('_', ' '):<18}{count:>12,}")
