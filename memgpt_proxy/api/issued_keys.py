"""API keys that the operator has issued: who has one, and what it may use."""

from __future__ import annotations

import asyncio
import logging
from hashlib import sha256
from pathlib import Path

from memgpt_proxy.config import Settings
from memgpt_proxy.keys_file import KeyEntry, read_keys
from memgpt_proxy.stores.limits import Rates
from memgpt_proxy.values import dataclass
from memgpt_proxy.wrong_settings import SettingsError

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""From one look at the file to the next."""

_State = tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """Whose a key is.

    Attributes:
        namespace: The one that is theirs already, if any.
    """

    name: str
    namespace: str | None
    rates: Rates


def issued_keys(settings: Settings) -> IssuedKeys | None:
    """Return the keys that the operator has issued; None where they have no file.

    Raises SettingsError.
    """
    if settings.keys_file is None:
        return None
    usual = Rates(settings.requests_per_minute, settings.tokens_per_minute)
    return IssuedKeys(settings.keys_file, usual)


class IssuedKeys:
    """The keys in a file, as it is now.

    Args:
        usual: What a key may use whose entry does not say.

    Raises:
        SettingsError: The file cannot be read, or something in it is wrong.
    """

    def __init__(self, file: Path, usual: Rates) -> None:
        self._file = file
        self._usual = usual
        self._wrong = ""
        self._state = _state_of(file)
        self._by_name: dict[str, IssuedKey] = {}
        self._by_digest: dict[str, IssuedKey] = {}
        self._withdrawn: dict[str, IssuedKey] = {}
        self._read()

    def find(self, key: bytes) -> IssuedKey | None:
        """Return whose a key is; None where it was not issued, or was withdrawn."""
        return self._by_digest.get(sha256(key).hexdigest())

    def withdrawn(self, key: bytes) -> IssuedKey | None:
        """Return whose a key was that this process has seen withdrawn."""
        return self._withdrawn.get(sha256(key).hexdigest())

    def of(self, name: str) -> IssuedKey | None:
        """Return what is known of who has this name; None of a name that is not in the file."""
        return self._by_name.get(name)

    async def watch(self) -> None:
        """Take up what changes in the file, until it is cancelled.

        A file that cannot be used changes nothing: an operator's mistake locks nobody out.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Read the file if it is another than before, or could not be used."""
        state = _state_of(self._file)
        if state == self._state:
            self._wrong = ""
            return
        try:
            self._read()
        except SettingsError as error:
            if str(error) != self._wrong:
                log.error("the keys stay as they were: %s", error)
            self._wrong = str(error)
        else:
            self._state, self._wrong = state, ""
            log.info("the keys are read anew: %d in all", len(self._by_digest))

    def _read(self) -> None:
        entries = read_keys(self._file).keys
        self._by_name = {name: self._issued(name, entry) for name, entry in entries.items()}
        self._withdrawn |= self._by_digest  # first: requests go on meanwhile
        self._by_digest = {
            digest: self._by_name[name]
            for name, entry in entries.items()
            for digest in entry.sha256
        }

    def _issued(self, name: str, entry: KeyEntry) -> IssuedKey:
        rates = Rates(
            entry.requests_per_minute or self._usual.requests,
            entry.tokens_per_minute or self._usual.tokens,
        )
        return IssuedKey(name, entry.namespace, rates)


def _state_of(file: Path) -> _State:
    """Return what is another once a file was written or replaced; None while it is not there."""
    try:
        told = file.stat()
    except OSError:
        return None
    return told.st_ino, told.st_size, told.st_mtime_ns
