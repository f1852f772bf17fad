"""The commands ``memgpt-proxy migrate``, ``erase``, ``export`` and ``import``: their options."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import click

from memgpt_proxy.options import CONTEXT, SettingsCommand, read_settings, setting_options

_SETTINGS = {
    "data_dir",
    "namespace_secret",
    "keys_file",
    "elasticsearch_url",
    "elasticsearch_api_key",
    "elasticsearch_username",
    "elasticsearch_password",
    "elasticsearch_ca_file",
    "elasticsearch_prefix",
    "elasticsearch_shards",
}

_NO_KEY = (
    "--key takes no value: others on this machine see what stands on a command line. Leave the key "
    "out, and it is asked for, or read as a line of the standard input; or set a variable of the "
    "environment to it, and name that with --key-from-env."
)

Command = Callable[..., None]


class OwnersCommand(SettingsCommand):
    """A command about what one owner has, whom a key may tell: but not on the command line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse them; a key among them is refused, and never repeated."""
        behind = [word for option, word in pairwise(args) if option == "--key"]
        if any(arg.startswith("--key=") for arg in args) or self._have_key(ctx, args, behind):
            raise click.UsageError(_NO_KEY, ctx)
        return super().parse_args(ctx, args)

    def _have_key(self, ctx: click.Context, args: list[str], behind: Sequence[str]) -> bool:
        """Return whether what stands behind ``--key`` is one, and not the file of the command."""
        words = [word for word in behind if not word.startswith("-")]
        if any(word.startswith("sk-") for word in words):
            return True
        return bool(words) and bool(self.make_parser(ctx).parse_args(args=[*args])[1])


_PLACE = (
    "sqlite:PATH (a data directory or its memory.db) or elasticsearch:URL[,URL]; sqlite or "
    "elasticsearch alone is the one that the settings name."
)


def whose_options(command: Command) -> Command:
    """Give a command the options by which one owner is named."""
    for option in reversed(
        (
            click.option(
                "--namespace", metavar="OWNER", help="The owner, as migrate --list names it."
            ),
            click.option(
                "--key",
                is_flag=True,
                help="Or who has an API key: it is asked for, and takes no place here.",
            ),
            click.option(
                "--key-from-env",
                metavar="NAME",
                help="Or who has the API key in this environment variable.",
            ),
            click.option(
                "--name", metavar="NAME", help="Or who has, or had, this name in keys_file."
            ),
            click.option("--user", metavar="USER", help="This end user of the key or the name."),
        )
    ):
        command = option(command)
    return command


def place_option(name: str) -> Callable[[Command], Command]:
    """Give a command the option that names a place."""
    return click.option(name, "place", metavar="PLACE", required=True, help=_PLACE)


@click.command("migrate", cls=OwnersCommand, context_settings=CONTEXT)
@click.option("--from", "source", metavar="PLACE", help=_PLACE)
@click.option("--to", "destination", metavar="PLACE", help="Likewise; nothing may write to it.")
@whose_options
@click.option("--list", "lists", is_flag=True, help="List the owners in --from, and end.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that keeps how far it has come; next to --from if not given.",
)
@click.option("--live", is_flag=True, help="Gateways go on writing to --from: follow them.")
@click.option("--show-secret", is_flag=True, help="Print the namespace secret of --from.")
@setting_options(_SETTINGS)
def migrate_command(file: Path | None, **options: Any) -> None:
    """Move memories to another store, or bring indices up to date.

    With --from and --to everything is copied, or what one owner has, and then compared on both
    sides. When it is interrupted, the same command goes on where it was; carried out again it
    changes nothing.

    Without them the indices of elasticsearch_url are brought to this release's version, while
    gateways go on.
    """
    # Here, since the gateway, whose command is beside this one, shall not pay for it.
    from memgpt_proxy.moving.operation import Asked, carry_out
    from memgpt_proxy.moving.whose import Whose

    options["whose"] = Whose.taken_from(options)
    asked = Asked(**{each.name: options.pop(each.name) for each in fields(Asked)})
    carry_out(asked, read_settings(file, options))


_OF_A_MEMORY = _SETTINGS - {"elasticsearch_shards"} | {"redis_url", "redis_ca_file"}


@click.command("erase", cls=OwnersCommand, context_settings=CONTEXT)
@place_option("--from")
@whose_options
@click.option("--all-users", is_flag=True, help="And what all users of that key have.")
@click.option("--yes", is_flag=True, help="Do not ask before it erases.")
@setting_options(_OF_A_MEMORY)
def erase_command(
    file: Path | None, place: str, *, all_users: bool, yes: bool, **options: Any
) -> None:
    """Erase all that one owner has, and see that nothing is left.

    It asks before it does, unless --yes is given. The gateway of an embedded store is stopped
    first; those of Elasticsearch go on, and forget it where redis_url is set. Where it fails,
    repeat it.
    """
    from memgpt_proxy.moving.memories import erase
    from memgpt_proxy.moving.whose import Whose

    whose = Whose.taken_from(options)
    erase(place, whose, read_settings(file, options), asks=not yes, all_users=all_users)


@click.command("export", cls=OwnersCommand, context_settings=CONTEXT)
@place_option("--from")
@whose_options
@click.argument("output", type=click.File("wb", atomic=True), default="-")
@setting_options(_OF_A_MEMORY)
def export_command(file: Path | None, place: str, output: BinaryIO, **options: Any) -> None:
    """Write all that one owner has to a file.

    To OUTPUT, which only you may read, or to the terminal without it, as lines of JSON. What is
    exported by --key can be imported under another key, by --namespace under the same only.
    """
    from memgpt_proxy.moving.memories import export
    from memgpt_proxy.moving.whose import Whose

    whose = Whose.taken_from(options)
    before = os.umask(0o077)  # the file is made with its first byte
    try:
        export(place, whose, read_settings(file, options), output)
    finally:
        os.umask(before)


@click.command("import", cls=OwnersCommand, context_settings=CONTEXT)
@place_option("--to")
@whose_options
@click.argument("exported", type=click.Path(path_type=Path, dir_okay=False))
@setting_options(_OF_A_MEMORY)
def import_command(file: Path | None, place: str, exported: Path, **options: Any) -> None:
    """Store an export as one owner's memory, which has to be empty.

    Carried out again it changes nothing; so one that was broken off is just repeated.
    """
    from memgpt_proxy.moving.memories import take_back
    from memgpt_proxy.moving.whose import Whose

    whose = Whose.taken_from(options)
    take_back(place, whose, read_settings(file, options), exported)
