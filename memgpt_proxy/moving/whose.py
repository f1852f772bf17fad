"""Whose memory a command is about: an owner by name, or what a key and a user of it stand for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

import click

from memgpt_proxy.api.authentication import SECRET_FILE, Authenticator, read_secret, secret_of
from memgpt_proxy.config import Settings
from memgpt_proxy.moving.places import Place, PlaceError
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.storable import owner_of


@dataclass(frozen=True, slots=True)
class Whose:
    """How an owner is named.

    Attributes:
        namespace: The owner itself.
        key: Ask for the API key.
        key_from_env: The environment variable with it.
        user: Of the key.
    """

    namespace: str | None
    key: bool
    key_from_env: str | None
    user: str | None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Whose:
        """Take the options of ``whose_options`` out of a command's."""
        return cls(*(options.pop(name) for name in ("namespace", "key", "key_from_env", "user")))

    def owner(self, place: Place, settings: Settings) -> tuple[Owner, Namespace | None] | None:
        """Return the owner, with its namespace where a key tells it; None where none is named.

        Raises click.UsageError, and PlaceError where there is no namespace secret.
        """
        key = self._key()
        if key is None:
            if self.user is not None:
                raise click.UsageError("--user goes with --key or --key-from-env")
            return (Owner(self.namespace), None) if self.namespace else None
        if self.namespace is not None:
            raise click.UsageError("name an owner or a key, not both")
        authenticator = Authenticator(namespace_secret(place, settings), (), anonymous=True)
        namespace = authenticator.namespace(key.encode(), self.user)
        return owner_of(namespace), namespace

    def one(self, place: Place, settings: Settings) -> tuple[Owner, Namespace | None]:
        """Return the owner. Raises click.UsageError where none is named."""
        if (owner := self.owner(place, settings)) is None:
            raise click.UsageError("name an owner with --namespace, --key or --key-from-env")
        return owner

    def _key(self) -> str | None:
        if self.key_from_env is None:
            return _asked_for() if self.key else None
        if key := os.environ.get(self.key_from_env):
            return key
        raise click.UsageError(f"there is no environment variable {self.key_from_env}")


def _asked_for() -> str:
    """Return a key: asked for on a terminal, else the next line of the standard input."""
    if sys.stdin.isatty():
        typed: str = click.prompt("API key", hide_input=True, err=True)
        return typed
    if key := sys.stdin.readline().rstrip("\r\n"):
        return key
    raise click.UsageError("--key reads a line of the standard input, and there is none")


def namespace_secret(place: Place, settings: Settings) -> bytes:
    """Return the secret of a place: its own, else as it is set; none is made."""
    path = place.beside(SECRET_FILE)
    try:
        if path is not None and path.exists():
            return read_secret(path)
        if settings.namespace_secret is not None:
            return secret_of(settings)
    except (OSError, ValueError) as error:
        raise PlaceError(f"no namespace secret: {error}") from error
    raise PlaceError(f"{place} has no namespace secret: set namespace_secret")
