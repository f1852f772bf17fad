"""Bringing Elasticsearch's indices to this release's version."""

from __future__ import annotations

from memgpt_proxy.config import Settings
from memgpt_proxy.moving.places import PlaceError


def migrate_indices(settings: Settings) -> None:
    """Move the indices of ``elasticsearch_url`` to this release's version, while gateways go on.

    Raises PlaceError, StoreError.
    """
    if not settings.elasticsearch_url:
        raise PlaceError("elasticsearch_url is not set: name two places with --from and --to")
    raise PlaceError("the indices are of this release's version: there is no other yet")
