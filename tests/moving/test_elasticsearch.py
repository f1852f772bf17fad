"""``memgpt-proxy migrate`` with a real Elasticsearch."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from memgpt_proxy import cli
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.moving.indices import migrate_indices
from memgpt_proxy.stores.elasticsearch.indices import LAYOUTS, Names
from memgpt_proxy.stores.records import Namespace
from memgpt_proxy.stores.storable import owner_of
from tests.stores.asking import answers, exported
from tests.stores.build import ALICE, branch, passage, record
from tests.stores.families import (
    Family,
    opened_elasticsearch,
    opened_sqlite,
    remove_indices,
)
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.process import free_port

pytestmark = [pytest.mark.elasticsearch, pytest.mark.slow]

PEOPLE = [Namespace(f"person {number}") for number in range(5)]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


@pytest.fixture
def prefix(elasticsearch: ElasticsearchNode) -> Iterator[str]:
    made = f"move_{uuid4().hex[:8]}"
    yield made
    asyncio.run(remove_indices(elasticsearch.url, made))


def run(*arguments: str, prefix: str) -> Result:
    return CliRunner().invoke(cli.main, ["migrate", *arguments, "--elasticsearch-prefix", prefix])


async def fill(store: Family) -> None:
    for number, namespace in enumerate(PEOPLE):
        await store.commit(namespace, record(*branch(["alpha beta"] * (number * 100 + 1))))
        await store.insert_passages(namespace, [passage(f"p{at}", "alpha") for at in range(3)])


def test_there_and_back(elasticsearch: ElasticsearchNode, prefix: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    there = f"elasticsearch:{elasticsearch.url}"

    async def begin() -> None:
        async with opened_sqlite(old / "memory.db") as store:
            await fill(store)

    async def compare() -> None:
        async with opened_sqlite(old / "memory.db") as was, opened_sqlite(new / "memory.db") as is_:
            for namespace in PEOPLE:
                records = await exported(was, owner_of(namespace))
                assert await exported(is_, owner_of(namespace)) == records
                first = records[:5]
                assert await answers(is_, namespace, first) == await answers(was, namespace, first)

    asyncio.run(begin())
    went = run("--from", f"sqlite:{old}", "--to", there, prefix=prefix)
    assert went.exit_code == 0, went.output
    assert re.search(r"messages +1,005 +1,005 +the same", went.stdout)
    listed = run("--from", there, "--list", prefix=prefix)
    assert len(listed.stdout.splitlines()) == len(PEOPLE)
    came = run("--from", there, "--to", f"sqlite:{new}", "--state", f"{tmp_path}/s", prefix=prefix)
    assert came.exit_code == 0, came.output
    asyncio.run(compare())
    again = run("--from", f"sqlite:{old}", "--to", there, prefix=prefix)
    assert (again.exit_code, again.stdout) == (0, went.stdout)


def test_a_source_without_indices(elasticsearch: ElasticsearchNode, prefix: str) -> None:
    result = run("--from", f"elasticsearch:{elasticsearch.url}", "--list", prefix=prefix)
    assert result.exit_code == 1
    assert f"has no indices {prefix}-*" in result.stderr


def test_nothing_listens(tmp_path: Path, prefix: str) -> None:
    away = f"elasticsearch:http://ann:not-to-be-shown@127.0.0.1:{free_port()}"
    result = run("--from", away, "--to", f"sqlite:{tmp_path}", prefix=prefix)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: Elasticsearch cannot be reached: Cannot connect to ")
    assert "caused by" not in result.stderr
    assert "not-to-be-shown" not in result.output


def test_the_indices_come_to_another_version(
    elasticsearch: ElasticsearchNode, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def begin() -> list[object]:
        async with opened_elasticsearch(elasticsearch.url, prefix, keep=True) as store:
            await fill(store)
            await store.commit(ALICE, record(*branch(["alpha"])))
            return list(await exported(store, owner_of(PEOPLE[1])))

    async def end() -> list[object]:
        async with opened_elasticsearch(elasticsearch.url, prefix, keep=True) as store:
            return list(await exported(store, owner_of(PEOPLE[1])))

    before = asyncio.run(begin())
    url = ("--elasticsearch-url", elasticsearch.url, "--namespace-secret", "of sixteen characters")
    assert run(*url, prefix=prefix).stdout == "The indices are of this release's version.\n"
    settings = Settings.model_validate(
        {
            "elasticsearch_url": elasticsearch.url,
            "elasticsearch_prefix": prefix,
            "namespace_secret": "of sixteen characters",
        }
    )
    newer = [replace(layout, version=layout.version + 1) for layout in LAYOUTS]
    migrate_indices(settings, newer)
    told = capsys.readouterr().out
    for layout in newer:
        assert f"{prefix}-{layout.name} stands for {Names(prefix).index(layout)} now" in told
    assert asyncio.run(end()) == before
