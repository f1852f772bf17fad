"""The command ``memgpt-proxy``: its help, and one clear line for whatever is wrong."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from memgpt_proxy import __version__, cli
from memgpt_proxy.api.authentication import Authenticator, load_secret
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.keys_file import read_keys
from memgpt_proxy.setting_groups import GROUPS
from memgpt_proxy.stores.storable import owner_of
from tests.support.backend import ScriptedBackend
from tests.support.process import clean_environment

SECRET = "sk-very-secret"
ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*Settings.model_fields, "config"]:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


@pytest.fixture(autouse=True)
def no_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that should be refused, and are not, must not start a gateway in this process."""

    def start(settings: Settings) -> None:
        raise AssertionError(f"started with {settings!r}")

    monkeypatch.setattr(cli, "serve", start)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.main, arguments)


def refused(*arguments: str) -> str:
    """Run a command that must fail; return the one line that says why."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    assert SECRET not in line
    return line.removeprefix("Error: ")


def test_the_version() -> None:
    assert run("--version").stdout == f"memgpt-proxy {__version__}\n"


def test_the_help_names_the_commands() -> None:
    for flag in ("--help", "-h"):
        told = run(flag).stdout
        assert "serve" in told
        for name in ("settings", "migrate", "check"):
            assert name in told


def test_no_summary_of_a_command_is_cut() -> None:
    commands = run("--help").stdout.partition("Commands:\n")[2].splitlines()
    assert len(commands) == len(cli.main.commands)
    assert [line for line in commands if not line.endswith(".") or line.endswith("...")] == []


def test_every_setting_stands_in_one_group() -> None:
    assert sorted(chain(*GROUPS.values())) == sorted(Settings.model_fields)


def sections(help_page: str) -> dict[str, list[str]]:
    """Return the options under each heading of a help page, in its order."""
    found: dict[str, list[str]] = {}
    for line in help_page[help_page.index("Options:\n") :].splitlines():
        if heading := re.fullmatch(r"([A-Z][\w ]*):", line):
            found[heading[1]] = []
        elif option := re.match(r"  (?:-h, )?(\S+)", line):
            found[[*found][-1]].append(option[1])
    return found


@pytest.mark.parametrize("command", ["serve", "check"])
def test_the_help_shows_settings_in_groups(command: str) -> None:
    shown = sections(run(command, "--help").stdout)
    assert shown.pop("Options") == ["--config", "--help"]
    assert list(shown.items()) == [
        (title, [f"--{name.replace('_', '-')}" for name in names])
        for title, names in GROUPS.items()
    ]


def test_commands_with_fewer_settings_show_the_groups_that_they_have() -> None:
    shown = sections(run("export", "--help").stdout)
    groups = ["Options", "Clients and their keys", "Data", "Elasticsearch", "Redis"]
    assert list(shown) == groups
    whose = ["--namespace", "--key", "--key-from-env", "--name", "--user"]
    own = ["--from", *whose, "--config", "--help"]
    assert shown["Options"] == own
    assert shown["Data"] == ["--data-dir", "--namespace-secret"]


def test_the_reference_shows_the_same_groups() -> None:
    told = run("settings").stdout
    for title, names in GROUPS.items():
        section = told.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(names)


@pytest.mark.slow
def test_who_serves_does_not_pay_for_the_other_commands() -> None:
    asked = "import sys, memgpt_proxy.cli; print(*sys.modules)"
    command = [sys.executable, "-c", asked]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paid = set(answer.stdout.split())
    assert not paid & {"memgpt_proxy.moving.operation", "memgpt_proxy.checking.checks"}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_help_tells_of_every_setting(name: str) -> None:
    told = " ".join(run("serve", "--help").stdout.split())
    assert f"--{name.replace('_', '-')}" in told
    assert (Settings.model_fields[name].description or "nothing") in told


def test_the_reference_is_the_one_in_docs() -> None:
    assert run("settings").stdout == (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_the_reference_tells_of_every_setting(name: str) -> None:
    rows = run("settings").stdout.splitlines()
    [row] = [row for row in rows if row.startswith(f"| `{name}` |")]
    assert f"`--{name.replace('_', '-')}`" in row
    assert f"`MEMGPT_{name.upper()}`" in row


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--port", "eighty"], "port: "),
        (
            ["--port", "70000"],
            "port: Input should be less than or equal to 65535 (it is '70000', from --port)",
        ),
        (
            ["--backend-url", "localhost"],
            "backend_url: has to be a URL that begins with http:// or https:// (it is 'localhost',",
        ),
        (["--backend-url", "127.0.0.1:80/v1"], "backend_url: has to be a URL that begins with"),
        (["--backend-url", "localhost:80/v1"], "backend_url: has to be a URL that begins with"),
        (["--backend-url", "ftp://x/v1"], "backend_url: has to be a URL that begins with"),
        (["--backend-url", "http://x:port/v1"], "backend_url: Input should be a valid URL, "),
        (["--context-window", "12"], "context_window: "),
        (["--time-zone", "Mars/Olympus"], "time_zone: is no IANA time zone"),
        (["--time-zone", "../etc/passwd"], "time_zone: is no IANA time zone"),
        (["--reply-mode", "shout"], "reply_mode: Input should be 'auto', 'function' or 'content'"),
        (["--max-steps", "1"], "max_steps: "),
        (["--flush-to", "0.9", "--flush-at", "0.8"], "flush_to must be below flush_at"),
        (
            ["--pressure-at", "0.9", "--flush-at", "0.8"],
            "pressure_at (0.9) must not be above flush_at (0.8): ",
        ),
        (["--flush-at", "0.6"], "pressure_at (0.7) must not be above flush_at (0.6): "),
        (["--keepalive-seconds", "nan"], "keepalive_seconds: "),
        (["--idle-timeout-seconds", "inf"], "idle_timeout_seconds: "),
        (
            ["--backend-api-key", SECRET, "--host", "0.0.0.0"],
            "backend_api_key is set and 0.0.0.0 is open to others",
        ),
        (["--backend-url", f"ftp://user:{SECRET}@x/v1"], "backend_url: "),
    ],
)
def test_a_wrong_value(options: list[str], told: str) -> None:
    assert refused("serve", *options).startswith(told)


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("log_format", "jsn", "json"),
        ("log_format", "TEXT", "text"),
        ("log_level", "warn", "warning"),
        ("discarded_replies", "Roll-Back", "roll_back"),
        ("when_degraded", "refused", "refuse"),
        ("backend_profile", "reasoning,no_tool", "no_tools"),
        ("anonymous", "ture", "true"),
        ("log_format", "xml", None),
        ("anonymous", "perhaps", None),
    ],
)
def test_a_choice_that_is_none_is_told_with_the_one_that_is_near(
    name: str, value: str, meant: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MEMGPT_{name.upper()}", value)
    told = refused("serve")
    assert told.startswith(name)
    assert f"from MEMGPT_{name.upper()})" in told
    assert re.findall(r"; did you mean '(\w+)'\? \(it is", told) == ([meant] if meant else [])


def test_two_wrong_values_are_told_of_in_one_line() -> None:
    told = refused("serve", "--port", "x", "--max-steps", "y")
    assert "port: " in told
    assert "max_steps: " in told


def test_a_wrong_value_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMGPT_PORT", "eighty")
    assert refused("serve") == (
        "port: Input should be a valid integer, unable to parse string as an integer "
        "(it is 'eighty', from MEMGPT_PORT)"
    )


def test_where_a_wrong_value_comes_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("max_steps: 0\nport: x\nflush_at: 0.5\nnamespace_secret: from-file\n")
    monkeypatch.setenv("memgpt_port", "y")
    monkeypatch.setenv("MEMGPT_NAMESPACE_SECRET", SECRET)
    monkeypatch.setenv("MEMGPT_MAX_STEPS", "")
    told = refused("serve", "--config", str(file), "--cache-mib", "z").split("; ")
    assert [each.rpartition(", from ")[2] for each in told if "(it is" in each] == [
        "memgpt_port)",
        f"{file})",
        "--cache-mib)",
    ]
    assert "namespace_secret: needs 16 characters or more (from MEMGPT_NAMESPACE_SECRET)" in told


def test_values_that_do_not_go_together_are_told_with_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("flush_to: 0.9\n")
    monkeypatch.setenv("MEMGPT_FLUSH_AT", "0.8")
    assert refused("serve", "--config", str(file)) == (
        f"flush_to must be below flush_at (flush_at from MEMGPT_FLUSH_AT, flush_to from {file})"
    )
    assert refused("serve", "--embedding-model", "m", "--backends-file", "b.yaml") == (
        "embedding_model is set with backends_file: set embedding_url too "
        "(backends_file from --backends-file, embedding_model from --embedding-model)"
    )


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("prot: 80\n", "prot: there is no such setting; did you mean port? (from {file})"),
        ("MEMGPT_PORT: 80\n", "MEMGPT_PORT: there is no such setting; did you mean port?"),
        ("data-dir: /x\n", "data-dir: there is no such setting; did you mean data_dir?"),
        ("colour: red\n", "colour: there is no such setting (from {file})"),
        (f"backend_api_kee: {SECRET}\n", "backend_api_kee: there is no such setting; did"),
        ("accepted_keys: 12345\n", "accepted_keys: should be a list (from {file})"),
        ("max_steps: {a: b}\n", "max_steps: Input should be a valid integer (from {file})"),
        ("port: eighty\n", "port: "),
        (f"accepted_keys: {{a: {SECRET}}}\n", "accepted_keys: "),
        (f"backend_api_key: [{SECRET}]\n", "backend_api_key: "),
        (f"accepted_keys: [[{SECRET}]]\n", "accepted_keys.0: "),
        ("port: [unclosed\n", "{file}: not valid YAML"),
        (f"backend_api_key: {SECRET}\n  bad: indent: here\n", "{file}: not valid YAML"),
        ("port: 1\nhost: a\nport: 2\n", "{file}: a name stands twice, at line 1 and at line 3"),
        (f"backend_api_key: {SECRET}\nbackend_api_key: b\n", "{file}: a name stands twice, at"),
        ("{port: 1, port: 1}\n", "{file}: a name stands twice, at line 1 and at line 1"),
        ("- a\n- list\n", "{file}: "),
        ("just words\n", "{file}: "),
        ("\x00", "{file}: "),
    ],
)
def test_a_wrong_file(content: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(content)
    assert refused("serve", "--config", str(file)).startswith(told.format(file=file))


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes("host: café\n".encode("latin-1"))
    assert refused("serve", "--config", str(file)).startswith(f"{file}: ")


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    missing = tmp_path / "none.yaml"
    assert refused("serve", "--config", str(missing)) == f"{missing}: No such file or directory"


def test_an_unknown_option_is_told_of_as_click_does() -> None:
    result = run("serve", "--prot", "80")
    assert result.exit_code == 2
    assert "No such option" in result.stderr


def fails_to_start(directory: Path, backend: ScriptedBackend, *options: str) -> str:
    """Start the real process, which must end by itself; return the one line that it says."""
    command = [sys.executable, "-m", "memgpt_proxy", "serve", "--backend-url", backend.base_url]
    result = subprocess.run(
        [*command, *options],
        cwd=directory,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


@pytest.mark.slow
def test_a_port_in_use(backend: ScriptedBackend, start_gateway, tmp_path: Path) -> None:
    running = start_gateway()
    options = ("--port", str(running.port), "--data-dir", str(tmp_path / "other"))
    assert fails_to_start(tmp_path, backend, *options) == (
        f"cannot listen on 127.0.0.1:{running.port}: Address already in use; "
        "choose another port with --port"
    )


@pytest.mark.slow
def test_an_address_of_another_machine(backend: ScriptedBackend, tmp_path: Path) -> None:
    options = ("--host", "192.0.2.1", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert fails_to_start(tmp_path, backend, *options) == (
        "cannot listen on 192.0.2.1:0: Cannot assign requested address; "
        "--host has to be an address of this machine"
    )


@pytest.mark.slow
def test_a_data_directory_in_use(backend: ScriptedBackend, start_gateway, tmp_path: Path) -> None:
    running = start_gateway()
    options = ("--port", "0", "--data-dir", str(running.data_dir))
    told = fails_to_start(tmp_path, backend, *options)
    assert told == (
        f"data_dir {running.data_dir} is in use by another gateway: stop that first, "
        "or choose another directory with --data-dir"
    )


@pytest.mark.slow
def test_a_data_directory_that_is_a_file(backend: ScriptedBackend, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    told = fails_to_start(tmp_path, backend, "--port", "0", "--data-dir", str(file))
    assert told == f"data_dir {file}: it is no directory"
    assert file.read_text() == "mine"


@pytest.mark.slow
def test_a_data_directory_that_cannot_be_made(backend: ScriptedBackend, tmp_path: Path) -> None:
    told = fails_to_start(tmp_path, backend, "--port", "0", "--data-dir", "/proc/none/memory")
    assert told.startswith("data_dir /proc/none/memory: ")


@pytest.mark.slow
def test_a_store_that_is_none(backend: ScriptedBackend, tmp_path: Path) -> None:
    load_secret(tmp_path / "namespace.secret")
    (tmp_path / "memory.db").write_bytes(b"no database" * 1000)
    told = fails_to_start(tmp_path, backend, "--port", "0", "--data-dir", str(tmp_path))
    assert str(tmp_path / "memory.db") in told


@pytest.mark.slow
def test_a_secret_that_is_none(backend: ScriptedBackend, tmp_path: Path) -> None:
    (tmp_path / "namespace.secret").write_bytes(b"")
    told = fails_to_start(tmp_path, backend, "--port", "0", "--data-dir", str(tmp_path))
    assert str(tmp_path / "namespace.secret") in told


@pytest.mark.slow
def test_a_host_that_is_not_this_machine(backend: ScriptedBackend, tmp_path: Path) -> None:
    options = ("--host", "192.0.2.1", "--port", "0", "--data-dir", str(tmp_path / "data"))
    told = fails_to_start(tmp_path, backend, *options)
    assert "192.0.2.1" in told


def test_a_key_is_made_and_kept_nowhere() -> None:
    made, again = (run("key", "new", "team-a") for _ in range(2))
    assert made.exit_code == 0
    key = made.stdout.strip()
    assert re.fullmatch(r"sk-memgpt-[\w-]{43}", key)
    assert key != again.stdout.strip()
    entry = yaml.safe_load(made.stderr)["keys"]["team-a"]
    assert entry == {"sha256": hashlib.sha256(key.encode()).hexdigest()}


@pytest.mark.parametrize("name", ["1001", "yes", "null", "1.5"])
def test_the_entry_of_a_key_is_one_whatever_the_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / "keys.yaml"
    file.write_text(run("key", "new", name).stderr)
    assert list(read_keys(file).keys) == [name]


def test_a_key_is_not_made_for_what_is_no_name() -> None:
    refused = run("key", "new", "team c")
    assert refused.exit_code == 2
    assert "'team c' is no name" in refused.stderr
    assert refused.stdout == ""


def test_a_key_is_told_by_its_other_names(tmp_path: Path) -> None:
    secret = load_secret(tmp_path / "namespace.secret")
    namespace = Authenticator(secret, (), anonymous=False).namespace(SECRET.encode(), None)
    command = [sys.executable, "-m", "memgpt_proxy", "key", "show", "--data-dir", str(tmp_path)]
    shown = subprocess.run(
        command, input=f"{SECRET}\n", env=clean_environment(), capture_output=True, text=True
    )
    assert shown.stderr == ""
    told = dict(line.split() for line in shown.stdout.splitlines())
    assert told == {
        "sha256": hashlib.sha256(SECRET.encode()).hexdigest(),
        "namespace": namespace,
        "owner": owner_of(namespace),
    }


def test_the_name_of_a_key_that_was_issued_is_told(tmp_path: Path) -> None:
    load_secret(tmp_path / "namespace.secret")
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    file = tmp_path / "keys.yaml"
    file.write_text(f"keys: {{team-a: {{sha256: {digest}}}}}")
    given = ("--data-dir", str(tmp_path), "--keys-file", str(file), "--key-from-env", "A_KEY")
    result = CliRunner(env={"A_KEY": SECRET}).invoke(cli.main, ["key", "show", *given])
    told = dict(line.split() for line in result.stdout.splitlines())
    assert told["name"] == "team-a"


def test_nothing_is_told_without_the_secret(tmp_path: Path) -> None:
    given = ("key", "show", "--data-dir", str(tmp_path), "--key-from-env", "A_KEY")
    result = CliRunner(env={"A_KEY": SECRET}).invoke(cli.main, given)
    assert result.exit_code == 1
    assert "namespace.secret" in result.stderr
    assert list(tmp_path.iterdir()) == [], "none is made"
