"""An Elasticsearch to measure, where none is named: the one of the tests, as a server is run."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.support.elasticsearch import ElasticsearchNode, base_directory
from tests.support.elasticsearch_build import fetch

HEAP = "4g"
JAVA = "-XX:+UseG1GC\n"


@contextmanager
def elasticsearch(cores: Sequence[int]) -> Iterator[str]:
    """Start a node on these cores for the time of the block, and return its URL."""
    home, all_cores = fetch(), os.sched_getaffinity(0)
    with base_directory() as base:
        node = ElasticsearchNode(home, base, heap=HEAP, java=JAVA)
        os.sched_setaffinity(0, cores)  # a process is born with the cores of its parent
        try:
            node.start()
        finally:
            os.sched_setaffinity(0, all_cores)
        try:
            yield node.wait().url
        finally:
            node.stop()
