"""``memgpt-proxy erase``, ``export`` and ``import``, as an operator runs them."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from shutil import copy
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result

from memgpt_proxy import cli
from memgpt_proxy.api.authentication import Authenticator, load_secret
from memgpt_proxy.data_dir import claimed
from memgpt_proxy.memory.users import Users
from memgpt_proxy.stores.change_log import NOWHERE
from memgpt_proxy.stores.changes import Uncertain
from memgpt_proxy.stores.portable import ContextVersion
from memgpt_proxy.stores.records import NO_TURN, Namespace, Node, NodeId
from memgpt_proxy.stores.redis import RedisLog, connect
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.storable import owner_of
from tests.moving.test_command import KEY, namespaces, no_settings, old, owners_in, records
from tests.stores.asking import exported
from tests.stores.build import branch, passage, record
from tests.stores.families import opened_elasticsearch, remove_indices
from tests.support.elasticsearch import ElasticsearchNode
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.slow

__all__ = ["no_settings", "old"]


def run(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, [*map(str, arguments)], input=given)


def refused(*arguments: str | Path, given: str | None = None) -> str:
    result = run(*arguments, given=given)
    assert result.exit_code in {1, 2}, result.output
    assert isinstance(result.exception, SystemExit)
    assert KEY not in result.output
    return result.stderr.splitlines()[-1].removeprefix("Error: ")


def test_one_owner_is_erased(old: Path) -> None:
    owner = owner_of(namespaces(old)[1])
    result = run("erase", "--from", f"sqlite:{old}", "--namespace", owner, given="y\n")
    assert result.exit_code == 0, result.output
    assert f"Erase 5 records of owner {owner}" in result.stderr
    counts = dict(line.rsplit(maxsplit=1) for line in result.stdout.splitlines())
    assert counts == {
        "messages": "3",
        "queue states": "0",
        "conversations": "0",
        "passages": "1",
        "working contexts": "1",
        "traces": "0",
        "vectors": "0",
    }
    assert owner not in owners_in(old)
    assert len(owners_in(old)) == 2
    again = refused("erase", "--from", f"sqlite:{old}", "--namespace", owner, "--yes")
    assert again.endswith("had nothing of this owner")


def test_what_a_key_owns_is_erased(old: Path) -> None:
    key, _, other = namespaces(old)
    asked = ("erase", "--from", f"sqlite:{old}", "--key", "--user", "ann", "--yes")
    assert run(*asked, given=f"{KEY}\n").exit_code == 0
    assert owners_in(old) == sorted([owner_of(key), owner_of(other)])


@pytest.mark.parametrize("whose", [("--key",), ("--name", "team-a")])
def test_what_an_issued_key_owns_is_erased(old: Path, tmp_path: Path, whose: tuple[str]) -> None:
    """The second namespace is the first key's user ann."""
    key, ann, other = namespaces(old)
    digest = sha256(KEY.encode()).hexdigest()
    file = tmp_path / "keys.yaml"
    file.write_text(f"keys: {{team-a: {{sha256: {digest}, namespace: {key}}}}}")
    asked = ("erase", "--from", f"sqlite:{old}", "--yes", "--keys-file", file, *whose)
    assert run(*asked, "--user", "ann", given=f"{KEY}\n").exit_code == 0
    assert owners_in(old) == sorted([owner_of(key), owner_of(other)])
    assert run(*asked, given=f"{KEY}\n").exit_code == 0
    assert owners_in(old) == [owner_of(other)]
    assert str(ann) not in owners_in(old)


def test_a_key_is_erased_with_all_of_its_users(old: Path) -> None:
    """Bob has spoken by this release, ann by an older one, which wrote nobody down."""
    secret = load_secret(old / "namespace.secret")
    known = Authenticator(secret, (), anonymous=True)
    key, ann, other = namespaces(old)
    bob = known.namespace(KEY.encode(), "bob")

    async def leave() -> None:
        store = SqliteStore(old / "memory.db")
        await store.open()
        await Users(store).note(known.register_of(KEY.encode()), bob)
        await store.commit(bob, record(*branch(["said", "heard"])))
        await store.close()

    asyncio.run(leave())
    asked = ("erase", "--from", f"sqlite:{old}", "--key", "--all-users")
    result = run(*asked, given=f"{KEY}\ny\n")
    assert result.exit_code == 0, result.output
    assert f"Erase 7 records of owner {owner_of(key)} and of 1 users" in result.stderr
    counts = dict(line.rsplit(maxsplit=1) for line in result.stdout.splitlines())
    assert (counts["messages"], counts["users"]) == ("5", "1")
    assert owners_in(old) == sorted([owner_of(ann), owner_of(other)])


def test_a_name_that_has_no_key_any_more_is_erased(old: Path) -> None:
    secret = load_secret(old / "namespace.secret")
    namespace = Authenticator(secret, (), anonymous=True).namespace_of("team-a", None)

    async def leave() -> None:
        store = SqliteStore(old / "memory.db")
        await store.open()
        await store.commit(namespace, record(*branch(["said"])))
        await store.close()

    asyncio.run(leave())
    asked = ("erase", "--from", f"sqlite:{old}", "--yes", "--name", "team-a")
    assert run(*asked).exit_code == 0
    assert len(owners_in(old)) == 3


def test_who_does_not_say_yes_erases_nothing(old: Path) -> None:
    owner = owner_of(namespaces(old)[1])
    for given in ("n\n", "\n", ""):
        result = run("erase", "--from", f"sqlite:{old}", "--namespace", owner, given=given)
        assert result.exit_code == 1
    assert len(owners_in(old)) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["erase", "--from", "sqlite:{old}"], "name an owner with"),
        (["erase", "--from", "sqlite:{old}", "--user", "ann"], "--user goes with --key"),
        (
            ["erase", "--from", "sqlite:{old}", "--namespace", "1", "--name", "a"],
            "name one of an owner, a key, and a name of keys_file",
        ),
        (
            ["erase", "--from", "sqlite:{old}", "--namespace", "1", "--all-users"],
            "--all-users goes with --key, --key-from-env or --name alone",
        ),
        (
            ["erase", "--from", "sqlite:{old}", "--name", "a", "--user", "b", "--all-users"],
            "--all-users goes with --key, --key-from-env or --name alone",
        ),
        (["erase", "--namespace", "1"], "Missing option '--from'"),
        (["erase", "--from", "sqlite:/none", "--namespace", "1"], "there is no such file"),
        (["export", "--from", "sqlite:{old}", "--namespace", "1"], "has nothing of this owner"),
        (["export", "--from", "sqlite:" + "x" * 300, "--namespace", "1"], "File name too long"),
        (["import", "--to", "sqlite:{old}", "--namespace", "1", "{tmp}/none"], "no such file"),
        (["import", "--to", "sqlite:{old}", "--namespace", "1", "{old}/memory.db"], "Line 1"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], told: str, old: Path, tmp_path: Path) -> None:
    assert told in refused(*(each.format(old=old, tmp=tmp_path) for each in arguments))


@pytest.mark.parametrize("key", [KEY, "not-like-a-key"])
@pytest.mark.parametrize(
    "arguments",
    [
        "export --key {key} {tmp}/out.jsonl",
        "export --from sqlite:{old} --key {key} {tmp}/out.jsonl",
        "export --from sqlite:{old} {tmp}/out.jsonl --key {key}",
        "export --from sqlite:{old} --key={key} {tmp}/out.jsonl",
        "import --to sqlite:{old} --key {key} {tmp}/out.jsonl",
        "erase --from sqlite:{old} --key {key}",
        "erase --from sqlite:{old} --key {key} --user ann",
        "migrate --from sqlite:{old} --to sqlite:{tmp}/new --key {key}",
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    arguments: str, key: str, old: Path, tmp_path: Path
) -> None:
    result = run(*(each.format(key=key, old=old, tmp=tmp_path) for each in arguments.split()))
    assert result.exit_code == 2
    assert key not in result.output
    told = " ".join(result.stderr.split())
    assert "--key takes no value" in told
    assert "--key-from-env" in told


@pytest.mark.parametrize("command", ["export --from", "import --to"])
def test_a_key_in_place_of_the_file_is_refused(
    command: str, old: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "--key takes no value" in refused(*command.split(), f"sqlite:{old}", "--key", KEY)
    assert not (tmp_path / KEY).exists()


def test_a_file_that_is_not_there_is_told_before_anything_is_asked_or_made(tmp_path: Path) -> None:
    new = tmp_path / "new"
    told = refused("import", "--to", f"sqlite:{new}", "--key", tmp_path / "none")
    assert told.startswith(f"{tmp_path / 'none'}: there is no such file. ")
    assert told.endswith("(the key does not stand here: it is asked for)")
    assert not new.exists()


def test_a_gateway_that_runs_keeps_them_out(old: Path) -> None:
    owner = owner_of(namespaces(old)[1])
    with claimed(old):
        for command in (("erase", "--yes"), ("export",)):
            told = refused(*command, "--from", f"sqlite:{old}", "--namespace", owner)
            assert "in use by another gateway: stop that first, or ask it" in told
            assert "--data-dir" not in told


def test_a_memory_goes_to_another_key(old: Path, tmp_path: Path) -> None:
    file, owner = tmp_path / "memory.jsonl", owner_of(namespaces(old)[0])
    out = run("export", "--from", f"sqlite:{old}", "--key", file, given=f"{KEY}\n")
    assert (out.exit_code, out.stdout) == (0, ""), out.output
    assert KEY not in file.read_text()
    into = ("import", "--to", f"sqlite:{old}", "--key", file)
    result = run(*into, given="sk-new\n")
    assert result.exit_code == 0, result.output
    counts = dict(line.rsplit(maxsplit=1) for line in result.stdout.splitlines())
    assert counts == {"message": "3", "passage": "1", "working context": "1"}
    assert run(*into, given="sk-new\n").stdout == result.stdout
    other = namespaces(old)[2]
    asyncio.run(say_otherwise(old, other))
    before = records(old, other)
    told = refused(*into, given="sk-other\n")
    assert told == "the memory has something of its own: erase it first"
    assert records(old, other) == before
    authenticator = Authenticator(load_secret(old / "namespace.secret"), (), anonymous=True)
    new = authenticator.namespace(b"sk-new", None)
    assert texts(old, new) == texts(old, namespaces(old)[0]) == ["alpha"] * 3
    assert run("export", "--from", f"sqlite:{old}", "--namespace", owner).stdout.count("\n") == 7


def test_a_memory_goes_to_a_machine_on_which_nothing_was_started_yet(
    old: Path, tmp_path: Path
) -> None:
    file, new = tmp_path / "memory.jsonl", tmp_path / "new"
    assert run("export", "--from", f"sqlite:{old}", "--key", file, given=f"{KEY}\n").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    into = ("import", "--to", f"sqlite:{new}", "--key", file)
    result = run(*into, given="sk-new\n")
    assert result.exit_code == 0, result.output
    authenticator = Authenticator(load_secret(new / "namespace.secret"), (), anonymous=True)
    assert texts(new, authenticator.namespace(b"sk-new", None)) == ["alpha"] * 3
    (new / "namespace.secret").unlink()
    assert "no namespace secret" in refused(*into, given="sk-new\n")


@pytest.mark.parametrize("way", ["import", "migrate"])
def test_a_user_whose_memory_is_brought_in_is_one_of_the_key_s(
    old: Path, tmp_path: Path, way: str
) -> None:
    new, file, ann = tmp_path / "new", tmp_path / "memory.jsonl", ("--key", "--user", "ann")
    commands: dict[str, list[tuple[str | Path, ...]]] = {
        "import": [
            ("export", "--from", f"sqlite:{old}", *ann, file),
            ("import", "--to", f"sqlite:{new}", *ann, file),
        ],
        "migrate": [("migrate", "--from", f"sqlite:{old}", "--to", f"sqlite:{new}", *ann)],
    }
    for command in commands[way]:
        assert run(*command, given=f"{KEY}\n").exit_code == 0
    if way == "migrate":
        copy(old / "namespace.secret", new)
    erase = ("erase", "--from", f"sqlite:{new}", "--key", "--all-users", "--yes")
    result = run(*erase, given=f"{KEY}\n")
    assert result.exit_code == 0, result.output
    assert owners_in(new) == []


async def say_otherwise(directory: Path, namespace: Namespace) -> None:
    """Have a memory the same names, and another working context."""
    store = SqliteStore(directory / "memory.db")
    await store.open()
    changed = ContextVersion(1, "mine", NodeId("m0"), NO_TURN)
    await store.take_over(owner_of(namespace), [changed])
    await store.close()


def texts(directory: Path, namespace: Namespace) -> list[str]:
    return [each.text for each in records(directory, namespace) if isinstance(each, Node)]


def test_what_is_exported_by_its_owner_goes_back_to_that_one_only(
    old: Path, tmp_path: Path
) -> None:
    file, owner = tmp_path / "memory.jsonl", owner_of(namespaces(old)[0])
    before = records(old, namespaces(old)[0])
    place = ("sqlite:" + str(old),)
    assert run("export", "--from", *place, "--namespace", owner, file).exit_code == 0
    assert run("erase", "--from", *place, "--namespace", owner, "--yes").exit_code == 0
    told = refused("import", "--to", *place, "--namespace", "12", file)
    assert told.startswith("it was exported by its owner's name alone")
    assert run("import", "--to", *place, "--namespace", owner, file).exit_code == 0
    assert records(old, namespaces(old)[0]) == before


@pytest.mark.slow
@pytest.mark.redis
@pytest.mark.elasticsearch
def test_replicas_are_told_by_redis(
    elasticsearch: ElasticsearchNode, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix, person = f"memories_{uuid4().hex}", Namespace(uuid4().hex)
    owner = owner_of(person)
    monkeypatch.setenv("MEMGPT_ELASTICSEARCH_PREFIX", prefix)

    async def fill() -> None:
        async with opened_elasticsearch(elasticsearch.url, prefix, keep=True) as store:
            await store.commit(person, record(*branch(["alpha"] * 3)))
            await store.insert_passages(person, [passage("p", "beta")])
        redis = connect(redis_server.url)
        await RedisLog(redis).append(person, Uncertain(), upon=NOWHERE, position=NOWHERE)
        await redis.close()

    async def left() -> int:
        async with opened_elasticsearch(elasticsearch.url, prefix, keep=True) as store:
            return len(await exported(store, owner))

    try:
        asyncio.run(fill())
        assert redis_server.ask("EXISTS", f"memgpt:log:{{{owner}}}").startswith(":1")
        place = ("--from", f"elasticsearch:{elasticsearch.url}", "--namespace", owner, "--yes")
        result = run("erase", *place, "--redis-url", redis_server.url)
        assert result.exit_code == 0, result.output
        assert result.stderr == ""
        assert asyncio.run(left()) == 0
        assert redis_server.ask("EXISTS", f"memgpt:log:{{{owner}}}").startswith(":0")
        asyncio.run(fill())
        assert "started anew" in run("erase", *place).stderr
    finally:
        asyncio.run(remove_indices(elasticsearch.url, prefix))
