"""The production family of stores: Elasticsearch 8 or 9, shared by any number of processes.

``store`` is the face. ``access`` is the only way to an owner's documents; ``bulk``, ``lookups`` and
``freshness`` are below it. ``commits``, ``forks``, ``contexts`` and ``passages`` write, ``reads``,
``tree`` and ``pages`` read, ``moving`` exports and takes over, ``migration`` moves indices to
another version; ``documents`` turns records into documents and back, ``indices`` and ``analysis``
say what the indices are, ``client`` connects.
"""

from memgpt_proxy.stores.elasticsearch.client import Connection
from memgpt_proxy.stores.elasticsearch.store import ElasticsearchStore

__all__ = ["Connection", "ElasticsearchStore"]
