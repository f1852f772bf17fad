"""What is on this machine: the data directory, the secret in it, and the embedded store."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from memgpt_proxy.api.authentication import SECRET_FILE, is_begun, read_secret, secret_of
from memgpt_proxy.checking.findings import Finding, fail, ok, told, warn
from memgpt_proxy.config import Settings
from memgpt_proxy.keys_file import read_keys
from memgpt_proxy.storage import DATABASE
from memgpt_proxy.stores.protocols import StoreError
from memgpt_proxy.stores.secret_mark import mark
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.sqlite.connection import read_mark
from memgpt_proxy.wrong_settings import REPLICAS_APART, SettingsError

DIRECTORY, SECRET, STORE = "data directory", "namespace secret", "embedded store"
KEYS = "keys"

LOW_BYTES = 1 << 30
"""Free space below which a disk is nearly full."""


async def data_directory(settings: Settings) -> Sequence[Finding]:
    """Look whether the data directory, or where it will be made, can be written to."""
    return [await asyncio.to_thread(_data_directory, settings.data_dir)]


def _data_directory(path: Path) -> Finding:
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return fail(DIRECTORY, f"{there} cannot be written to: choose another with --data-dir")
    free = shutil.disk_usage(there).free
    said = f"{path}{'' if there == path else ', which is made at the first start'}"
    if free < LOW_BYTES:
        return warn(DIRECTORY, f"{said}: only {free >> 20} MiB are free on its disk")
    return ok(DIRECTORY, f"{said}, {free >> 30} GiB free")


async def issued_keys(file: Path) -> Sequence[Finding]:
    """Look whether the file of keys can be used."""
    try:
        entries = (await asyncio.to_thread(read_keys, file)).keys
    except SettingsError as error:
        return [fail(KEYS, str(error))]
    count = sum(len(entry.sha256) for entry in entries.values())
    if not count:
        return [warn(KEYS, f"{file} has none: nobody is let in by it")]
    return [ok(KEYS, f"{count} of {len(entries)} names in {file}")]


async def namespace_secret(settings: Settings) -> Sequence[Finding]:
    """Look whether the secret is that of the memories that are there."""
    return [await asyncio.to_thread(_namespace_secret, settings)]


def _namespace_secret(settings: Settings) -> Finding:
    path, database = settings.data_dir / SECRET_FILE, settings.data_dir / DATABASE
    try:
        kept = read_secret(path) if path.exists() else None
        begun = read_mark(database) if is_begun(settings) else None
    except (OSError, ValueError, sqlite3.Error) as error:
        return fail(SECRET, told(error))
    used = kept if settings.namespace_secret is None else secret_of(settings)
    if used is not None and begun not in (None, mark(used)):
        return fail(
            SECRET,
            f"{database} was begun with another one, and what was remembered with that is not"
            f" found: bring back the {SECRET_FILE} that it was kept with, or set namespace_secret"
            " as it was",
        )
    if settings.namespace_secret is not None:
        if kept in (None, used):
            return ok(SECRET, "set")
        return warn(
            SECRET,
            f"it is set, and another than that in {path}: memories from before it was set are not"
            " found (memgpt-proxy migrate --from sqlite --show-secret)",
        )
    if settings.redis_url is not None:
        return warn(SECRET, REPLICAS_APART)
    if kept is not None:
        return ok(SECRET, f"{path}, part of the backup")
    if is_begun(settings):
        return fail(
            SECRET, f"{path} is missing beside {DATABASE}, whose memories nobody finds: restore it"
        )
    return ok(SECRET, "is made at the first start")


async def embedded_store(settings: Settings) -> Sequence[Finding]:
    """Open the embedded store, if it has been made."""
    file = settings.data_dir / DATABASE
    store = SqliteStore(file)
    try:
        if not file.exists():
            return [ok(STORE, "is made at the first start")]
        await store.open()
        try:
            await store.ping()
        finally:
            await store.close()
    except OSError as error:
        return [fail(STORE, told(error))]
    except StoreError as error:
        return [fail(STORE, f"{file}: {told(error)}")]
    return [ok(STORE, f"{file}, {file.stat().st_size >> 20} MiB")]
