"""Settings as connections: where the servers of a fleet are, and who asks."""

from __future__ import annotations

from collections.abc import Sequence

from memgpt_proxy.config import Settings
from memgpt_proxy.stores.elasticsearch.client import Connection


def elasticsearch_connection(settings: Settings, urls: Sequence[str] = ()) -> Connection:
    """Return how Elasticsearch is reached, at other ``urls`` than those in the settings if any."""
    key, password = settings.elasticsearch_api_key, settings.elasticsearch_password
    user = settings.elasticsearch_username
    return Connection(
        hosts=list(urls or map(str, settings.elasticsearch_url)),
        api_key=key.get_secret_value() if key else None,
        basic_auth=(user, password.get_secret_value()) if user and password else None,
        ca_file=settings.elasticsearch_ca_file,
    )


def without_credentials(url: str) -> str:
    """Return a URL as it may be shown: without user, password and what follows its path."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    path = path.partition("?")[0].partition("#")[0]
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}".rstrip("/")
