"""``memgpt-proxy migrate``, as an operator runs it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from memgpt_proxy import cli
from memgpt_proxy.api.authentication import Authenticator, load_secret
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.data_dir import claimed
from memgpt_proxy.stores.records import NO_TURN, Namespace, NodeId
from memgpt_proxy.stores.sqlite import SqliteStore
from memgpt_proxy.stores.storable import owner_of
from tests.conftest import StartGateway
from tests.e2e.chatting import Person, send
from tests.e2e.prompts import remember, system
from tests.stores.asking import exported
from tests.stores.build import branch, passage, record
from tests.support.backend import ScriptedBackend
from tests.support.process import clean_environment

pytestmark = pytest.mark.slow

KEY = "sk-an-operator-must-not-show-this"
DEADLINE = 30.0


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


def run(*arguments: str | Path, given: str | None = None) -> Result:
    return CliRunner().invoke(cli.main, ["migrate", *map(str, arguments)], input=given)


def refused(*arguments: str | Path) -> str:
    result = run(*arguments)
    assert result.exit_code in {1, 2}, result.output
    assert isinstance(result.exception, SystemExit)
    assert KEY not in result.output
    return result.stderr.splitlines()[-1].removeprefix("Error: ")


def namespaces(directory: Path) -> list[Namespace]:
    """Those of the key, of an end user of it, and of another key."""
    authenticator = Authenticator(load_secret(directory / "namespace.secret"), (), anonymous=True)
    return [
        authenticator.namespace(KEY.encode(), None),
        authenticator.namespace(KEY.encode(), "ann"),
        authenticator.namespace(b"sk-other", None),
    ]


async def fill(directory: Path, messages: int) -> None:
    store = SqliteStore(directory / "memory.db")
    await store.open()
    for namespace in namespaces(directory):
        await store.commit(namespace, record(*branch(["alpha"] * messages)))
        await store.insert_passages(namespace, [passage("p", "beta")])
        await store.write_context(namespace, 0, "gamma", NodeId("m0"), NO_TURN)
    await store.close()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The data directory of a gateway that was: three owners with five records each."""
    directory = tmp_path / "old"
    directory.mkdir()
    asyncio.run(fill(directory, 3))
    return directory


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new"


def records(directory: Path, namespace: Namespace) -> list[object]:
    async def read() -> list[object]:
        store = SqliteStore(directory / "memory.db")
        await store.open()
        found = await exported(store, owner_of(namespace))
        await store.close()
        return list(found)

    return asyncio.run(read())


def owners_in(directory: Path) -> list[str]:
    listed = run("--from", f"sqlite:{directory}", "--list")
    assert listed.exit_code == 0, listed.output
    return re.findall(r"^(\d+) ", listed.stdout, re.MULTILINE)


def test_everything(old: Path, new: Path) -> None:
    result = run("--from", f"sqlite:{old}", "--to", f"sqlite:{new / 'memory.db'}")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["messages", "9", "9", "the", "same"] in lines
    assert ["working", "contexts", "3", "3", "the", "same"] in lines
    assert str(old / "namespace.secret") in result.stdout
    for namespace in namespaces(old):
        assert len(records(new, namespace)) == 5
        assert records(new, namespace) == records(old, namespace)
    assert sorted(each.name for each in old.iterdir()) == [
        "gateway.lock",
        "memory.db",
        "namespace.secret",
    ]
    again = run("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    assert (again.exit_code, again.stdout) == (0, result.stdout)


def test_the_owners_are_listed(old: Path) -> None:
    listed = run("--from", f"sqlite:{old}", "--list")
    expected = sorted(owner_of(namespace) for namespace in namespaces(old))
    assert listed.stdout == "".join(f"{owner}  5 records\n" for owner in expected)


def test_one_owner(old: Path, new: Path) -> None:
    owner = owner_of(namespaces(old)[2])
    result = run("--from", f"sqlite:{old}", "--to", f"sqlite:{new}", "--namespace", owner)
    assert result.exit_code == 0, result.output
    assert owners_in(new) == [owner]


@pytest.mark.parametrize(("user", "at"), [((), 0), (("--user", "ann"), 1)])
def test_what_one_key_owns(old: Path, new: Path, user: tuple[str, ...], at: int) -> None:
    places = ("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    result = run(*places, "--key", *user, given=f"{KEY}\n")
    assert result.exit_code == 0, result.output
    assert KEY not in result.output
    moved = [owner_of(namespaces(old)[at])]
    if user:  # it is written down that the key has this one
        known = Authenticator(load_secret(old / "namespace.secret"), (), anonymous=True)
        moved.append(owner_of(known.register_of(KEY.encode())))
    assert owners_in(new) == sorted(moved)


def test_a_key_that_is_piped_is_read_without_a_word(old: Path) -> None:
    command = [sys.executable, "-m", "memgpt_proxy", "export", "--from", f"sqlite:{old}", "--key"]
    for given in (f"{KEY}\n", f"{KEY}\r\n", KEY):
        asked = subprocess.run(
            command, input=given.encode(), env=clean_environment(), capture_output=True, check=False
        )
        assert (asked.returncode, asked.stderr) == (0, b"")
        assert asked.stdout.count(b"\n") > 1
    nothing = subprocess.run(
        command, stdin=subprocess.DEVNULL, env=clean_environment(), capture_output=True, check=False
    )
    assert nothing.returncode == 2
    last = nothing.stderr.decode().splitlines()[-1]
    assert last == "Error: --key reads a line of the standard input, and there is none"


def test_a_key_from_the_environment(old: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    # What the new gateway is given does not say whose the old records are.
    monkeypatch.setenv("MEMGPT_NAMESPACE_SECRET", "of the new gateway")
    places = ("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    assert run(*places, "--key-from-env", "THE_KEY").exit_code == 0
    assert owners_in(new) == [owner_of(namespaces(old)[0])]
    monkeypatch.setenv("THE_KEY", "sk-nobody")
    assert refused(*places, "--key-from-env", "THE_KEY").endswith("has nothing of this owner")
    assert "no environment variable NONE" in refused(*places, "--key-from-env", "NONE")


def test_the_secret_is_shown_as_a_setting(old: Path) -> None:
    shown = run("--from", f"sqlite:{old}", "--show-secret").stdout
    name, _, value = shown.strip().partition("=")
    assert name == "MEMGPT_NAMESPACE_SECRET"
    assert bytes.fromhex(value) == (old / "namespace.secret").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "sqlite:x"], "--to goes with --from"),
        (["--from", "{old}"], "name the place to move to with --to"),
        (["--from", "{old}", "--to", "{old}"], "is the place to move from and to"),
        (["--from", "sqlite:/none", "--to", "sqlite:x"], "sqlite:/none/memory.db: there is no"),
        (["--from", "{old}", "--to", "mysql:x"], "mysql: a place is sqlite:PATH or elasticsearch:"),
        (["--from", "{old}", "--to", "elasticsearch:ftp://u:" + KEY + "@x"], "a URL is like"),
        (["--from", "{old}", "--to", "elasticsearch:"], "set elasticsearch_url"),
        (["--from", "{old}", "--to", "sqlite:{tmp}/n", "--user", "a"], "--user goes with --key"),
        (
            ["--from", "{old}", "--to", "sqlite:{tmp}/n", "--namespace", "1"],
            "has nothing of this owner",
        ),
        (["--elasticsearch-shards", "0"], "elasticsearch_shards: "),
        ([], "elasticsearch_url is not set"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], told: str, old: Path, tmp_path: Path) -> None:
    given = [each.format(old=f"sqlite:{old}", tmp=tmp_path) for each in arguments]
    assert told in refused(*given)


def test_a_file_that_is_no_database(old: Path, tmp_path: Path) -> None:
    (tmp_path / "other.db").write_bytes(b"no database" * 1000)
    told = refused("--from", f"sqlite:{old}", "--to", f"sqlite:{tmp_path / 'other.db'}")
    assert "file is not a database" in told
    assert refused("--from", f"sqlite:{tmp_path / 'other.db'}", "--list") == told


def test_a_gateway_that_runs_keeps_it_out_unless_it_is_to_follow(old: Path, new: Path) -> None:
    places = ("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    with claimed(old):
        assert "with --live" in refused(*places)
        assert run(*places, "--live").exit_code == 0
    with claimed(new):
        assert "in use by another gateway" in refused(*places)
        assert "in use by another gateway" in refused(*places, "--live")


def test_records_of_its_own_in_the_destination_are_told_of(old: Path, new: Path) -> None:
    owner = owner_of(namespaces(old)[1])

    async def add() -> None:
        store = SqliteStore(new / "memory.db")
        await store.open()
        await store.insert_passages(namespaces(old)[1], [passage("mine", "carnelian")])
        await store.close()

    asyncio.run(add())
    result = run("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    assert result.exit_code == 1
    assert f"owner {owner}: passages" in result.stdout
    assert re.search(r"passages +3 +4 +DIFFERENT", result.stdout)
    assert "carnelian" not in result.output
    assert not re.search(r"messages .*DIFFERENT", result.stdout)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "memgpt_proxy", "migrate", *map(str, arguments)]


def _heed_interrupts() -> None:
    """A shell has the jobs in its background ignore SIGINT, and those hand that on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupted(arguments: list[str], state: Path, lines: int, by: signal.Signals) -> int:
    """Run the real process and end it when its state has so many lines; return its status."""
    environment: Mapping[str, str] = clean_environment()
    with subprocess.Popen(
        arguments, env=environment, stderr=subprocess.PIPE, preexec_fn=_heed_interrupts
    ) as process:
        deadline = time.monotonic() + DEADLINE
        while not state.exists() or state.read_bytes().count(b"\n") < lines:
            assert process.poll() is None, "it ended before it was interrupted"
            assert time.monotonic() < deadline
        os.kill(process.pid, by)
        return process.wait(DEADLINE)


@pytest.mark.slow
@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_ended_at_any_moment_it_goes_on(tmp_path: Path, new: Path, by: signal.Signals) -> None:
    old, state = tmp_path / "old", tmp_path / "old" / "memory.moving"
    old.mkdir()
    asyncio.run(fill(old, 6000))
    arguments = command("--from", f"sqlite:{old}", "--to", f"sqlite:{new}")
    lines = 0
    for further in (2, 9, 20):
        status = interrupted(arguments, state, lines + further, by)
        assert status == (130 if by is signal.SIGINT else -signal.SIGKILL)
        lines = state.read_bytes().count(b"\n")
    done = subprocess.run(
        arguments, env=clean_environment(), capture_output=True, text=True, check=True
    )
    assert "DIFFERENT" not in done.stdout
    assert re.search(r"messages +18,000 +18,000 +the same", done.stdout)
    assert not state.exists()
    for namespace in namespaces(old):
        assert records(new, namespace) == records(old, namespace)


@pytest.mark.slow
def test_a_person_is_known_to_the_new_gateway(
    backend: ScriptedBackend, start_gateway: StartGateway, api_key: str
) -> None:
    old, new = start_gateway(), start_gateway("--namespace-secret", "of sixteen characters")
    backend.reply(remember("Name is Ann"), send("Hello."))
    person = Person(old.base_url, api_key, "model")
    person.say("I am Ann.")
    old.stop()
    new.stop()
    places = ("--from", f"sqlite:{old.data_dir}", "--to", f"sqlite:{new.data_dir}")
    shown = run(*places, "--show-secret")
    assert shown.exit_code == 0, shown.output
    [setting] = re.findall(r"^MEMGPT_NAMESPACE_SECRET=(\S+)$", shown.stdout, re.MULTILINE)
    data = ("--data-dir", str(new.data_dir))
    moved = start_gateway(*data, env={"MEMGPT_NAMESPACE_SECRET": setting})
    backend.reply(send("Ann."))
    Person(moved.base_url, api_key, "model").say("Who am I?")
    assert "Name is Ann" in system(backend.requests[-1])
