"""API keys to namespaces: whose memory a request is about."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path

from starlette.datastructures import QueryParams

from memgpt_proxy.api.checks import only
from memgpt_proxy.api.issued_keys import IssuedKey, IssuedKeys
from memgpt_proxy.backend.headers import RawHeaders
from memgpt_proxy.config import Settings
from memgpt_proxy.errors import Unauthenticated
from memgpt_proxy.storage import DATABASE
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of
from memgpt_proxy.telemetry.exchange import CURRENT

SECRET_FILE = "namespace.secret"  # noqa: S105 - the name of a file
"""The secret's file in the data directory."""

_SECRET_BYTES = 32
_SECRET_DIGITS = re.compile(rf"[0-9a-fA-F]{{{2 * _SECRET_BYTES}}}")
_NAMESPACE_BYTES = 16
_ANONYMOUS = b""
USER = "user"
"""The parameter of a query that names a user."""
_DIGITS_SHOWN = 12
"""Of an owner's 32, that tell one key from another in a log, and the owner in a list."""


class Authenticator:
    """Knows whose a request is by its API key; keeps no key, only keyed hashes.

    Args:
        secret: What namespaces are derived with. Losing it loses them.
        accepted: Keys that are accepted.
        anonymous: Whether a request may come without a key.
        issued: Keys that are accepted, too. Without them, and without ``accepted``, any is.
    """

    def __init__(
        self,
        secret: bytes,
        accepted: Iterable[str],
        *,
        anonymous: bool,
        issued: IssuedKeys | None = None,
    ) -> None:
        self._secret = secret
        self._accepted = frozenset(self._hash(key.encode()) for key in accepted)
        self._anonymous = anonymous
        self._issued = issued

    def check(self, headers: RawHeaders) -> bytes:
        """Return the request's key; empty for an anonymous one that is allowed.

        Raises:
            Unauthenticated: There is no key, or it is not accepted here.
        """
        key = bearer(headers)
        if not key:
            if self._anonymous:
                return _ANONYMOUS
            raise Unauthenticated(
                "You didn't provide an API key. Send it in an Authorization header using "
                "Bearer auth (Authorization: Bearer YOUR_KEY)."
            )
        if not self.takes(key):
            raise Unauthenticated("The API key provided is not accepted here.")
        issued = self.issued(key)
        if (exchange := CURRENT.get()) is not None:
            exchange.key = self.called(key) if issued is None else issued.name
            exchange.issued = issued is not None
        return key

    def takes(self, key: bytes) -> bool:
        """Return whether a key is accepted now; one that was may be withdrawn."""
        if not key:
            return self._anonymous
        return self._found(key) is not None or self._accepts(key)

    def issued(self, key: bytes) -> IssuedKey | None:
        """Return whose a key is that the operator has issued; None for any other.

        One that is withdrawn was its owner's when the request came that is being answered, and
        stays theirs to its end.
        """
        found = self._found(key)
        if found is not None or self._issued is None or self._accepts(key):
            return found
        return self._issued.withdrawn(key)

    def _found(self, key: bytes) -> IssuedKey | None:
        return self._issued.find(key) if self._issued is not None else None

    def called(self, key: bytes) -> str:
        """Return what the log calls a key: the digits that its owner begins with."""
        return owner_of(self.namespace(key, None))[:_DIGITS_SHOWN]

    def _accepts(self, key: bytes) -> bool:
        if self._accepted:
            return self._hash(key) in self._accepted
        return self._issued is None

    def namespace(self, key: bytes, user: str | None) -> Namespace:
        """Return the namespace of a key and, within it, of one end user.

        That of a key that was issued goes by the name of who has it, so that another key of
        theirs finds the same.
        """
        issued = self.issued(key)
        if issued is None:
            return self._within(self._hash(key), user)
        return self._within(self._of_name(issued.name, issued.namespace), user)

    def register(self, namespace: Namespace) -> Namespace:
        """Return the namespace in which the users are written down of a key with this one."""
        # No user's comes to the same bytes: what stands before the hash is longer by a letter.
        return Namespace(self._hash(b"users\0" + bytes.fromhex(namespace)).hex())

    def register_of(self, key: bytes) -> Namespace:
        """Return the namespace in which the users of a key are written down."""
        return self.register(self.namespace(key, None))

    def namespace_of(self, name: str, user: str | None) -> Namespace:
        """Return the namespace of who has a name in the file of keys, or had one there."""
        issued = self._issued.of(name) if self._issued is not None else None
        return self._within(self._of_name(name, issued.namespace if issued else None), user)

    def _of_name(self, name: str, given: str | None) -> bytes:
        # No key has a NUL, so that none comes to the same bytes.
        return bytes.fromhex(given) if given else self._hash(b"name\0" + name.encode())

    def _within(self, owner: bytes, user: str | None) -> Namespace:
        if user is None:
            return Namespace(owner.hex())
        # The owner's hash has one length, so that no other pair comes to the same bytes.
        return Namespace(self._hash(b"user\0" + owner + user.encode()).hex())

    def namespace_asked_for(self, key: bytes, query: QueryParams, *takes: str) -> Namespace:
        """Return the namespace of a key and of the ``user`` that a query names, if it does.

        Args:
            takes: What else may stand in the query.

        Raises:
            InvalidRequest: Something stands there that would be passed over.
        """
        only((USER, *takes), query)
        return self.namespace(key, query.get(USER))

    def _hash(self, what: bytes) -> bytes:
        return blake2b(what, digest_size=_NAMESPACE_BYTES, key=self._secret).digest()


def secret_of(settings: Settings) -> bytes:
    """Return the secret that namespaces are derived with: as it is set, else from its file.

    Raises OSError; ValueError when the file holds something else, or is missing beside what was
    kept with it.
    """
    if settings.namespace_secret is not None:
        return secret_from(settings.namespace_secret.get_secret_value())
    path = settings.data_dir / SECRET_FILE
    if not path.exists() and is_begun(settings):
        raise ValueError(
            f"{path} is missing beside {DATABASE}, whose memories nobody finds without it: restore"
            " it, or set namespace_secret to it; to begin anew, move the database away"
        )
    return load_secret(path)


def is_begun(settings: Settings) -> bool:
    """Return whether there is an embedded store that a secret belongs to. Raises OSError."""
    return not settings.elasticsearch_url and (settings.data_dir / DATABASE).exists()


def secret_from(setting: str) -> bytes:
    """Return the secret that a setting means.

    64 hexadecimal digits are a secret as it stands in a file (``as_setting``); any other text
    is hashed to one.
    """
    if _SECRET_DIGITS.fullmatch(setting):
        return bytes.fromhex(setting)
    return blake2b(setting.encode("utf-8", "surrogatepass"), digest_size=_SECRET_BYTES).digest()


def as_setting(secret: bytes) -> str:
    """Return the value of ``namespace_secret`` that means this secret."""
    return secret.hex()


def read_secret(path: Path) -> bytes:
    """Return the secret kept at ``path``.

    Raises OSError; ValueError when the file holds something else.
    """
    secret = path.read_bytes()
    if len(secret) != _SECRET_BYTES:
        raise ValueError(f"{path} is not a namespace secret; restore it from the backup.")
    return secret


def load_secret(path: Path) -> bytes:
    """Return the secret kept at ``path``, made on first use, readable to its owner only.

    Raises OSError; ValueError when the file holds something else.
    """
    if not path.exists():
        _make_secret(path)
    return read_secret(path)


def _make_secret(path: Path) -> None:
    """Make a secret that is there whole or not at all, whatever ends the process or fills the disk.

    What is kept under it would be lost with it: it is on the disk before anything is.
    """
    begun = path.with_suffix(".begun")
    with open(begun, "wb", opener=_private) as file:
        file.write(secrets.token_bytes(_SECRET_BYTES))
        file.flush()
        os.fsync(file.fileno())
    begun.rename(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def bearer(headers: RawHeaders) -> bytes:
    """Return the key that a request brings, whatever it is worth; empty where it brings none."""
    for name, value in headers:
        if name == b"authorization":
            scheme, _, key = value.partition(b" ")
            return key.strip() if scheme.lower() == b"bearer" else b""
    return b""
