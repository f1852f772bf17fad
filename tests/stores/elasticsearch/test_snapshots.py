"""A fleet's memory is backed up and restored as docs/operations.md tells.

Its commands are carried out, with the indices of a test in place of those of a fleet.
"""

from __future__ import annotations

import asyncio
import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest
from click.testing import CliRunner

from memgpt_proxy import cli
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of
from tests.docs.fenced import Block, blocks
from tests.stores.asking import exported
from tests.stores.build import ALICE, BOB, branch, record
from tests.stores.families import opened_elasticsearch, remove_indices
from tests.support.elasticsearch import ElasticsearchNode

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

SECTION = "Backup of a fleet"
CONSOLE = [block for block in blocks() if block.language == "console"]
REQUEST = re.compile(r"(GET|PUT|POST|DELETE) (\S+)\n?(.*)", re.DOTALL)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


@pytest.fixture
def prefixes(elasticsearch: ElasticsearchNode) -> Iterator[tuple[str, str]]:
    """What stands for ``memgpt`` and ``restored``."""
    made = uuid4().hex[:8]
    yield f"kept_{made}", f"again_{made}"
    for prefix in (f"kept_{made}", f"again_{made}"):
        asyncio.run(remove_indices(elasticsearch.url, prefix))
    httpx.delete(f"{elasticsearch.url}/_snapshot/backups/kept_{made}-*").raise_for_status()


def requests_of(block: Block) -> list[str]:
    return textwrap.dedent(block.code).strip().split("\n\n")


def test_nothing_else_is_asked_of_elasticsearch() -> None:
    assert {(block.page, block.section) for block in CONSOLE} == {("docs/operations.md", SECTION)}
    assert len(CONSOLE) == 5


async def texts(url: str, prefix: str, namespace: Namespace) -> int:
    async with opened_elasticsearch(url, prefix, keep=True) as store:
        return len(await exported(store, owner_of(namespace)))


def test_what_was_backed_up_is_restored(
    elasticsearch: ElasticsearchNode, prefixes: tuple[str, str]
) -> None:
    url, (prefix, other) = elasticsearch.url, prefixes

    def ask(*block: str) -> list[Any]:
        """Carry out the requests of a block; return what Elasticsearch says."""
        said = []
        for request in block:
            told = request.replace("memgpt-", f"{prefix}-").replace("restored-", f"{other}-")
            found = REQUEST.fullmatch(told)
            assert found, told
            method, path, body = found.groups()
            answer = httpx.request(
                method, f"{url}/{path}", json=json.loads(body) if body else None, timeout=60
            )
            assert answer.is_success, f"{request}: {answer.text}"
            said.append(answer.json() if "_cat" not in path else answer.text.split())
        return said

    async def say() -> None:
        async with opened_elasticsearch(url, prefix, keep=True) as store:
            for namespace in (ALICE, BOB):
                await store.commit(namespace, record(*branch(["alpha", "beta"])))

    async def go_on() -> None:
        async with opened_elasticsearch(url, prefix, keep=True) as store:
            await store.erase(ALICE)
            await store.commit(BOB, record(*branch(["alpha", "beta", "gamma"])))

    def remembered(prefix: str) -> tuple[int, int]:
        httpx.post(f"{url}/{prefix}-*/_refresh").raise_for_status()  # as a second would do
        return (
            asyncio.run(texts(url, prefix, ALICE)),
            asyncio.run(texts(url, prefix, BOB)),
        )

    registered, kept, erased, in_place, beside = map(requests_of, CONSOLE)
    asyncio.run(say())
    before = remembered(prefix)
    ask(*registered)
    [snapshot] = ask(*kept)
    assert snapshot["snapshot"]["state"] == "SUCCESS"
    asyncio.run(go_on())
    assert remembered(prefix) == (0, before[1] + 1)

    [listed] = ask(*erased)
    [gone] = [hit["_source"]["owner"] for hit in listed["hits"]["hits"]]
    assert gone == owner_of(ALICE)

    names, _, _ = ask(*in_place)
    [deleted] = [each.split()[1] for each in in_place if each.startswith("DELETE")]
    assert sorted(names) == sorted(deleted.replace("memgpt-", f"{prefix}-").split(","))
    assert remembered(prefix) == before, "what was erased is back, too"

    [command] = [
        block.code.partition("-- memgpt-proxy ")[2]
        for block in blocks()
        if block.section == SECTION and " erase " in block.code
    ]
    told = command.replace("OWNER", gone).replace("elasticsearch", f"elasticsearch:{url}")
    again = CliRunner().invoke(cli.main, [*told.split(), "--elasticsearch-prefix", prefix])
    assert again.exit_code == 0, again.output
    assert remembered(prefix) == (0, before[1])

    ask(*beside)
    assert remembered(other) == before
    assert remembered(prefix) == (0, before[1]), "what is served is as it was"
