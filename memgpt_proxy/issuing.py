"""The commands ``memgpt-proxy key new`` and ``key show``: to issue API keys, to tell them apart."""

from __future__ import annotations

import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
import yaml

from memgpt_proxy.asked_key import asked_key, key_in
from memgpt_proxy.config import Settings
from memgpt_proxy.keys_file import check_name
from memgpt_proxy.options import CONTEXT, SettingsCommand, read_settings, setting_options

_KEY_BYTES = 32
_PREFIX = "sk-memgpt-"
_SETTINGS = {"data_dir", "namespace_secret", "keys_file"}


@click.group("key", context_settings=CONTEXT)
def key_command() -> None:
    """Issue API keys, and tell which is whose (docs/keys.md)."""


@key_command.command("new", context_settings=CONTEXT)
@click.argument("name")
def new_command(name: str) -> None:
    """Make a key for NAME, and its entry for keys_file.

    The key goes to the standard output and is kept nowhere: hand it over. The entry, which holds
    its hash alone, goes to standard error.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    key = _PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    click.echo(key)
    click.echo(yaml.safe_dump({"keys": {name: {"sha256": _digest(key)}}}), err=True, nl=False)


@key_command.command("show", cls=SettingsCommand, context_settings=CONTEXT)
@click.option("--key-from-env", metavar="NAME", help="The key is in this environment variable.")
@setting_options(_SETTINGS)
def show_command(file: Path | None, key_from_env: str | None, **options: Any) -> None:
    """Tell what a key is called, here and there.

    It is asked for, or a line of the standard input. Its hash is for keys_file; its namespace,
    too, where another key is to find the same memory; its owner is how erase, export and migrate
    name it, and its first twelve digits are the key in the access log.
    """
    settings = read_settings(file, options)
    key = _key(key_from_env)
    for what, said in _called(settings, key):
        click.echo(f"{what:<12}{said}")


def _digest(key: str) -> str:
    return sha256(key.encode()).hexdigest()


def _key(variable: str | None) -> str:
    if variable is not None:
        return key_in(variable)
    if key := asked_key():
        return key
    raise click.UsageError("a line of the standard input is read, and there is none")


def _called(settings: Settings, key: str) -> list[tuple[str, str]]:
    """Return the names of a key. Raises click.ClickException."""
    # Here, since the gateway's other commands shall not pay for it.
    from memgpt_proxy.api.authentication import SECRET_FILE, Authenticator, secret_of
    from memgpt_proxy.api.issued_keys import issued_keys
    from memgpt_proxy.stores.storable import owner_of
    from memgpt_proxy.wrong_settings import SettingsError

    path = settings.data_dir / SECRET_FILE
    if settings.namespace_secret is None and not path.exists():
        raise click.ClickException(f"there is no {path}: set data_dir or namespace_secret")
    try:
        issued = issued_keys(settings)
        known = Authenticator(secret_of(settings), (), anonymous=True, issued=issued)
    except (OSError, ValueError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    namespace = known.namespace(key.encode(), None)
    whose = known.issued(key.encode())
    return [
        *([("name", whose.name)] if whose is not None else []),
        ("sha256", _digest(key)),
        ("namespace", namespace),
        ("owner", owner_of(namespace)),
    ]
