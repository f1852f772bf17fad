"""Whose memory a command is about: an owner by name, or what a key and a user of it stand for."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import click

from memgpt_proxy.api.authentication import SECRET_FILE, Authenticator, read_secret, secret_of
from memgpt_proxy.api.issued_keys import issued_keys
from memgpt_proxy.asked_key import asked_key, key_in
from memgpt_proxy.config import Settings
from memgpt_proxy.moving.places import Place, PlaceError
from memgpt_proxy.stores.records import Namespace, Owner
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.wrong_settings import SettingsError


@dataclass(frozen=True, slots=True)
class Named:
    """An owner that was named.

    Attributes:
        namespace: What the owner stands for, where a key or a name tells it.
        register: The owner under whom the users of that key or name are written down.
    """

    owner: Owner
    namespace: Namespace | None = None
    register: Owner | None = None


@dataclass(frozen=True, slots=True)
class Whose:
    """How an owner is named.

    Attributes:
        namespace: The owner itself.
        key: Ask for the API key.
        key_from_env: The environment variable with it.
        name: Whose keys are in keys_file.
        user: Of the key, or the name.
    """

    namespace: str | None
    key: bool
    key_from_env: str | None
    name: str | None
    user: str | None

    @classmethod
    def taken_from(cls, options: dict[str, Any]) -> Whose:
        """Take the options of ``whose_options`` out of a command's."""
        return cls(**{each.name: options.pop(each.name) for each in fields(cls)})

    def owner(self, place: Place, settings: Settings) -> Named | None:
        """Return the owner; None where none is named.

        Raises click.UsageError, and PlaceError where there is no namespace secret.
        """
        key = self._key()
        if sum(each is not None for each in (self.namespace, key, self.name)) > 1:
            raise click.UsageError("name one of an owner, a key, and a name of keys_file")
        if key is None and self.name is None:
            if self.user is not None:
                raise click.UsageError("--user goes with --key, --key-from-env or --name")
            return Named(Owner(self.namespace)) if self.namespace else None
        authenticator = _authenticator(place, settings)
        namespace = self._namespace(authenticator, key, self.user)
        register = authenticator.register(self._namespace(authenticator, key, None))
        return Named(owner_of(namespace), namespace, owner_of(register))

    def _namespace(
        self, authenticator: Authenticator, key: str | None, user: str | None
    ) -> Namespace:
        if self.name is not None:
            return authenticator.namespace_of(self.name, user)
        return authenticator.namespace((key or "").encode(), user)

    def one(self, place: Place, settings: Settings) -> Named:
        """Return the owner. Raises click.UsageError where none is named."""
        if (owner := self.owner(place, settings)) is None:
            raise click.UsageError(
                "name an owner with --namespace, --key, --key-from-env or --name"
            )
        return owner

    def register(self, named: Named) -> Owner:
        """Return the owner under whom the users of a key are written down.

        Raises click.UsageError where it is not a key or a name by itself.
        """
        if named.register is None or self.user is not None:
            raise click.UsageError("--all-users goes with --key, --key-from-env or --name alone")
        return named.register

    def _key(self) -> str | None:
        if self.key_from_env is not None:
            return key_in(self.key_from_env)
        if not self.key:
            return None
        if key := asked_key():
            return key
        raise click.UsageError("--key reads a line of the standard input, and there is none")


def _authenticator(place: Place, settings: Settings) -> Authenticator:
    """Return what knows the namespaces of a place. Raises PlaceError."""
    try:
        issued = issued_keys(settings)
    except SettingsError as error:
        raise PlaceError(str(error)) from error
    return Authenticator(namespace_secret(place, settings), (), anonymous=True, issued=issued)


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
