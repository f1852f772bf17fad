"""A memory function that could not do what the model asked."""

from __future__ import annotations


class CallFailed(Exception):
    """The message tells the model what was wrong, so that it can act on it."""
