"""The command ``memgpt-proxy migrate``: its options."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from memgpt_proxy.options import CONTEXT, read_settings, setting_options

_SETTINGS = {
    "data_dir",
    "namespace_secret",
    "elasticsearch_url",
    "elasticsearch_api_key",
    "elasticsearch_username",
    "elasticsearch_password",
    "elasticsearch_ca_file",
    "elasticsearch_prefix",
    "elasticsearch_shards",
}


@click.command("migrate", context_settings=CONTEXT)
@click.option("--from", "source", metavar="PLACE", help="sqlite:PATH or elasticsearch:URL[,URL].")
@click.option("--to", "destination", metavar="PLACE", help="Likewise; nothing may write to it.")
@click.option("--namespace", metavar="OWNER", help="Move one owner only, as --list names it.")
@click.option("--key", is_flag=True, help="Move what one API key owns; the key is asked for.")
@click.option("--key-from-env", metavar="NAME", help="Take that key from an environment variable.")
@click.option("--user", help="Move what this end user of the key owns.")
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
    """Move memories from one store to another, or Elasticsearch's indices to this release.

    With --from and --to everything is copied, or what one owner has, and then compared on both
    sides. PATH is a data directory or its memory.db. When it is interrupted, the same command
    goes on where it was; carried out again it changes nothing.

    Without them the indices of elasticsearch_url are brought to this release's version, while
    gateways go on.
    """
    # Here, since the gateway, whose command is beside this one, shall not pay for it.
    from memgpt_proxy.moving.operation import Asked, carry_out

    asked = Asked(**{each.name: options.pop(each.name) for each in fields(Asked)})
    carry_out(asked, read_settings(file, options))
