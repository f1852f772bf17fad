"""How the workers of a run share the tests out: by files, since most fixtures belong to one."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/chart/", "tests/clients/")
"""Folders that stay with one worker: a cluster, and the clients' programs, are started once."""


class FileByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Whoever has nothing left to do takes the next file, in the order of a run without workers."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return next((folder for folder in TOGETHER if path.startswith(folder)), path)
