"""API keys that commands are given: never as an argument, which all users of a machine can see."""

from __future__ import annotations

import os
import sys

import click


def asked_key() -> str:
    """Return a key: asked for on a terminal, else the next line of the standard input, if any."""
    if sys.stdin.isatty():
        typed: str = click.prompt("API key", hide_input=True, err=True)
        return typed
    return sys.stdin.readline().rstrip("\r\n")


def key_in(variable: str) -> str:
    """Return the key in an environment variable. Raises click.UsageError where there is none."""
    if key := os.environ.get(variable):
        return key
    raise click.UsageError(f"there is no environment variable {variable}")
