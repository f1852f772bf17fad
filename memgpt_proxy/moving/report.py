"""What a move tells in the end."""

from __future__ import annotations

from collections.abc import Iterator

from memgpt_proxy.api.authentication import SECRET_FILE
from memgpt_proxy.moving.move import Verdict
from memgpt_proxy.moving.places import Place

MOST_NAMED = 10
"""Owners that are named of those that differ."""


def table_of(verdict: Verdict) -> Iterator[str]:
    """Yield the lines that say what both places have."""
    yield f"{'':<18}{'source':>12}{'destination':>14}"
    differing = {kind for kinds in verdict.differing.values() for kind in kinds}
    for kind, source in verdict.source.kinds.items():
        destination = verdict.destination.kinds[kind]
        said = "DIFFERENT" if kind in differing else "the same"
        yield f"{kind:<18}{source.records:>12,}{destination.records:>14,}  {said}"
    for owner, kinds in sorted(verdict.differing.items())[:MOST_NAMED]:
        yield f"owner {owner}: {', '.join(kinds)}"
    if (more := len(verdict.differing) - MOST_NAMED) > 0:
        yield f"and {more:,} more owners"


def about_the_secret(source: Place) -> str:
    """Return what has to move besides the records."""
    file = source.beside(SECRET_FILE)
    if file is None:
        return (
            "The gateways of the destination find these memories with the namespace_secret of"
            " the source's gateways only."
        )
    return (
        "The gateways of the destination find these memories with the same namespace secret"
        f" only, that in {file}, unless the old gateway sets namespace_secret."
        " To print it as a setting:\n"
        f"memgpt-proxy migrate --from {source} --show-secret"
    )
