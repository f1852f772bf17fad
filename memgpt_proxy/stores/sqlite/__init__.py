"""The embedded family of stores: one SQLite file, WAL, FTS5.

``store`` is the face; ``writes`` and ``reads`` hold the statements, ``search`` turns
a query into conditions, ``rows`` turns records into rows and back, ``connection``
opens the file, and ``threads`` keeps all of it off the event loop.
"""

from memgpt_proxy.stores.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
