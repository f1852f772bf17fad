"""Settings: one name each, on the command line, in the environment and in a file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from pydantic import SecretStr, ValidationError

from memgpt_proxy import cli
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.settings_sources import load_settings, unknown_variables
from memgpt_proxy.wrong_settings import SettingsError

VALUES: dict[str, tuple[str, str, str]] = {
    "host": ("127.0.0.2", "127.0.0.3", "127.0.0.4"),
    "port": ("1", "2", "3"),
    "backend_url": ("http://a/v1", "http://b/v1", "http://c/v1"),
    "backend_api_key": ("sk-a", "sk-b", "sk-c"),
    "backends_file": ("/a.yaml", "/b.yaml", "/c.yaml"),
    "accepted_keys": ("sk-a,sk-b", "sk-c", "sk-d , sk-e"),
    "keys_file": ("/a", "/b", "/c"),
    "anonymous": ("true", "false", "true"),
    "cors_origins": ("https://a", "*", "https://b , http://c:*"),
    "data_dir": ("/tmp/a", "/tmp/b", "/tmp/c"),
    "namespace_secret": ("a" * 16, "b" * 16, "c" * 16),
    "elasticsearch_url": ("http://a:9200/", "http://b:9200/", "http://c:9200/"),
    "elasticsearch_api_key": ("a", "b", "c"),
    "elasticsearch_username": ("a", "b", "c"),
    "elasticsearch_password": ("a", "b", "c"),
    "elasticsearch_ca_file": ("/a.pem", "/b.pem", "/c.pem"),
    "elasticsearch_prefix": ("a", "b", "c"),
    "elasticsearch_shards": ("2", "3", "4"),
    "redis_url": ("redis://a", "rediss://b", "redis://c"),
    "redis_ca_file": ("/a.pem", "/b.pem", "/c.pem"),
    "journal_mib": ("1", "2", "3"),
    "when_degraded": ("refuse", "answer", "refuse"),
    "requests_per_minute": ("1", "2", "3"),
    "tokens_per_minute": ("1", "2", "3"),
    "traces": ("false", "true", "false"),
    "embedding_model": ("a", "b", "c"),
    "embedding_url": ("http://a/v1", "http://b/v1", "http://c/v1"),
    "embedding_api_key": ("a", "b", "c"),
    "durability": ("power", "process", "power"),
    "context_window": ("4096", "8192", "16384"),
    "tokenizer": ("o200k_base", "cl100k_base", "o200k_base"),
    "reply_reserve": ("100", "200", "300"),
    "pressure_at": ("0.5", "0.6", "0.8"),
    "flush_at": ("0.9", "0.8", "0.95"),
    "flush_to": ("0.2", "0.3", "0.4"),
    "summary_tokens": ("100", "200", "300"),
    "summary_model": ("a", "b", "c"),
    "working_context_limit": ("1000", "2000", "3000"),
    "working_context_rendering": ("live", "snapshot", "live"),
    "conversation_headers": ("X-A,X-B", "X-C", "X-D , X-E"),
    "task_headers": ("X-A,X-B", "X-C", "X-D , X-E"),
    "task_prompts": ("a.*", "b{2}", "(?i)c"),
    "reply_mode": ("function", "content", "auto"),
    "clean_turns": ("plain", "memory", "plain"),
    "backend_profile": ("no_tools", "no_system,alternating", "max_tokens , no_developer"),
    "discarded_replies": ("keep", "roll_back", "keep"),
    "max_steps": ("3", "4", "5"),
    "time_zone": ("Europe/Lisbon", "Asia/Tokyo", "America/New_York"),
    "max_request_mib": ("1", "2", "3"),
    "keepalive_seconds": ("1.5", "2.5", "3.5"),
    "connect_timeout_seconds": ("1.5", "2.5", "3.5"),
    "first_byte_timeout_seconds": ("1.5", "2.5", "3.5"),
    "idle_timeout_seconds": ("1.5", "2.5", "3.5"),
    "drain_seconds": ("1", "2", "3"),
    "drain_delay_seconds": ("1", "2", "3"),
    "max_connections": ("1", "2", "3"),
    "cache_mib": ("1", "2", "3"),
    "log_level": ("debug", "warning", "error"),
    "log_format": ("json", "text", "json"),
    "access_log": ("false", "true", "false"),
    "otlp_traces": ("true", "false", "true"),
}
"""For each setting a value for the file, for the environment and for the command line."""


COMPANIONS = {
    "elasticsearch_url": {"namespace_secret": "of sixteen characters"},
    "embedding_url": {"embedding_model": "m"},
    "elasticsearch_username": {"elasticsearch_password": "p"},
    "elasticsearch_password": {"elasticsearch_username": "u"},
}
"""Settings without which another is refused."""


def shown(value: Any) -> str:
    """Return a setting's value as an operator would write it."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case tuple():
            return ",".join(map(shown, value))
        case re.Pattern():
            return value.pattern
        case bool():
            return str(value).lower()
        case _:
            return str(value)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)
    monkeypatch.delenv(f"{ENV_PREFIX}CONFIG", raising=False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that the command would have served with."""
    taken: list[Settings] = []
    monkeypatch.setattr(cli, "serve", taken.append)
    return taken


def run(*arguments: str) -> str:
    """Run ``memgpt-proxy`` with these arguments; it must succeed."""
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def option(name: str, value: str) -> list[str]:
    dashed = name.replace("_", "-")
    if Settings.model_fields[name].annotation is bool:
        return [f"--{dashed}" if value == "true" else f"--no-{dashed}"]
    return [f"--{dashed}", value]


def plain(value: str) -> str:
    """Return keys without the spaces that may stand around their commas."""
    return ",".join(part.strip() for part in value.split(","))


def test_every_setting_is_tried() -> None:
    assert list(VALUES) == list(Settings.model_fields)


@pytest.mark.parametrize("name", VALUES)
def test_a_setting_is_reached_from_all_three_places_in_their_order(
    name: str, started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_file, in_environment, on_command_line = VALUES[name]
    file = tmp_path / "settings.yaml"
    others = COMPANIONS.get(name, {})
    file.write_text(yaml.safe_dump({name: yaml.safe_load(in_file), **others}))
    run("serve", "--config", str(file))
    monkeypatch.setenv(f"{ENV_PREFIX}{name.upper()}", in_environment)
    run("serve", "--config", str(file))
    run("serve", "--config", str(file), *option(name, on_command_line))
    taken = [shown(getattr(settings, name)) for settings in started]
    assert taken == [plain(value) for value in VALUES[name]]


def test_the_file_may_be_named_in_the_environment(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("port: 4321\naccepted_keys:\n  - sk-a\n  - sk-b\n")
    monkeypatch.setenv("MEMGPT_CONFIG", str(file))
    run("serve")
    assert started[0].port == 4321
    assert [key.get_secret_value() for key in started[0].accepted_keys] == ["sk-a", "sk-b"]


def test_an_empty_file_and_empty_variables_set_nothing(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("# nothing yet\n")
    monkeypatch.setenv("MEMGPT_PORT", "")
    run("serve", "--config", str(file))
    assert started[0] == Settings()


def test_the_defaults() -> None:
    settings = Settings()
    assert (settings.host, settings.port) == ("127.0.0.1", 8484)
    assert (settings.pressure_at, settings.flush_at, settings.flush_to) == (0.7, 1.0, 0.5)
    assert settings.data_dir == Path.home() / ".local/share/memgpt-proxy"
    assert settings.backend_url is None
    assert settings.context_window is None


def test_a_home_directory_is_expanded() -> None:
    assert load_settings({"data_dir": "~/memory"}).data_dir == Path.home() / "memory"
    assert load_settings({"data_dir": "memory"}).data_dir == Path.cwd() / "memory"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_keys_may_stand_one_a_line(started: list[Settings], tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("accepted_keys: |\n  sk-a\n  sk-b\n\n")
    run("serve", "--config", str(file))
    assert [key.get_secret_value() for key in started[0].accepted_keys] == ["sk-a", "sk-b"]


def test_an_embedding_server_needs_a_model() -> None:
    with pytest.raises(SettingsError, match="embedding_url is set without embedding_model"):
        load_settings({"embedding_url": "http://127.0.0.1:9"})


def test_keys_are_not_shown() -> None:
    settings = load_settings({"backend_api_key": "sk-hidden", "accepted_keys": "sk-secret"})
    assert "sk-hidden" not in repr(settings)
    assert "sk-secret" not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        (
            "task_prompts",
            "fine\n(not",
            "task_prompts.1: Input should be a valid regular expression",
        ),
        ("task_headers", "X-A,X B", "task_headers: 'X B' is no header's name"),
        ("conversation_headers", "X-Ü", "conversation_headers: 'X-Ü' is no header's name"),
    ],
)
def test_a_wrong_value_stops_the_start_and_is_named(name: str, value: str, what: str) -> None:
    result = CliRunner().invoke(cli.main, ["serve", *option(name, value)])
    assert result.exit_code == 1
    assert what in result.output


def test_prompts_and_headers_may_be_lists_in_the_file(
    started: list[Settings], tmp_path: Path
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("task_prompts: ['a, b', 'c{1,2}']\ntask_headers: []\n")
    run("serve", "--config", str(file))
    assert [prompt.pattern for prompt in started[0].task_prompts] == ["a, b", "c{1,2}"]
    assert started[0].task_headers == ()


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"elasticsearch_url": "http://a:9200"}, "namespace_secret"),
        ({"elasticsearch_username": "u"}, "go together"),
        (
            {
                "elasticsearch_api_key": "k",
                "elasticsearch_username": "u",
                "elasticsearch_password": "p",
            },
            "not both",
        ),
        ({"namespace_secret": "short"}, "16 characters or more"),
    ],
)
def test_what_a_fleet_needs_is_asked_for(given: dict[str, str], what: str) -> None:
    with pytest.raises(SettingsError, match=what):
        load_settings(given)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_a_key_to_spend_is_not_left_open_to_others(host: str) -> None:
    with pytest.raises(SettingsError, match="anyone could spend"):
        load_settings({"backend_api_key": "sk-a", "host": host})
    load_settings({"backend_api_key": "sk-a", "host": host, "accepted_keys": "sk-mine"})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_key_to_spend_may_be_used_on_this_machine(host: str) -> None:
    assert load_settings({"backend_api_key": "sk-a", "host": host}).host == host


def test_variables_that_are_no_settings_are_found() -> None:
    settings = ("MEMGPT_PORT", "memgpt_host", "MEMGPT_CONFIG", "PATH", "OPENAI_API_KEY")
    of_services = (
        "MEMGPT_GATEWAY_SERVICE_HOST",
        "MEMGPT_GATEWAY_SERVICE_PORT_HTTP",
        "MEMGPT_GATEWAY_PORT",
        "MEMGPT_GATEWAY_PORT_8484_TCP_ADDR",
    )
    names = (*settings, *of_services, "MEMGPT_COLOUR", "memgpt_bakend_url")
    assert unknown_variables(names) == {
        "MEMGPT_COLOUR": "there is no such setting",
        "memgpt_bakend_url": "there is no such setting; did you mean MEMGPT_BACKEND_URL?",
    }


def test_paths_in_a_file_are_relative_to_it(
    started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "settings.yaml").write_text(
        "backends_file: backends.yaml\ndata_dir: ../data\n"
        "elasticsearch_ca_file: /etc/ca.pem\nredis_ca_file: ~/redis.pem\n"
    )
    monkeypatch.chdir(tmp_path)
    run("serve", "--config", "etc/settings.yaml")
    [settings] = started
    assert settings.backends_file == tmp_path / "etc" / "backends.yaml"
    assert settings.data_dir.resolve() == tmp_path / "data"
    assert settings.elasticsearch_ca_file == Path("/etc/ca.pem")
    assert settings.redis_ca_file == Path.home() / "redis.pem"


@pytest.mark.parametrize("place", ["environment", "option"])
def test_other_paths_are_relative_to_the_working_directory(
    place: str, started: list[Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "settings.yaml").write_text("port: 1\n")
    monkeypatch.chdir(tmp_path)
    if place == "environment":
        monkeypatch.setenv("MEMGPT_BACKENDS_FILE", "backends.yaml")
    options = ["--backends-file", "backends.yaml"] if place == "option" else []
    run("serve", "--config", "etc/settings.yaml", *options)
    assert started[0].backends_file == tmp_path / "backends.yaml"


def test_a_home_directory_that_nobody_has() -> None:
    with pytest.raises(SettingsError, match="data_dir: nobody has the home directory that"):
        load_settings({"data_dir": "~no-such-user/memory"})


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("none", ()),
        ("*", ("*",)),
        ("https://Chat.Example/", ("https://chat.example",)),
        ("http://[::1]:5173", ("http://[::1]:5173",)),
        ("chrome-extension://abc", ("chrome-extension://abc",)),
        ("app://obsidian.md", ("app://obsidian.md",)),
    ],
)
def test_origins_are_written_as_browsers_do(written: str, meant: tuple[str, ...]) -> None:
    assert load_settings({"cors_origins": written}).cors_origins == meant


@pytest.mark.parametrize(
    "written", ["chat.example", "https://a/b", "https://*.example", "null", "https://"]
)
def test_what_is_no_origin_is_refused(written: str) -> None:
    with pytest.raises(SettingsError, match="is no origin, such as"):
        load_settings({"cors_origins": written})
