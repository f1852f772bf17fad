"""The file of several backends: what it means, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from memgpt_proxy.backends_file import BackendEntry, BackendsFile, read_backends
from memgpt_proxy.config import Settings
from memgpt_proxy.serve import StartError, serve
from memgpt_proxy.wrong_settings import SettingsError

KEY = "sk-not-to-be-shown"
ROOT = Path(__file__).parent.parent


def entry(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "url": f"http://{name}.test/v1", **more}


def told(*entries: dict[str, Any], **more: Any) -> BackendsFile:
    return BackendsFile.model_validate({"backends": entries, **more})


def read(directory: Path, text: str, **settings: Any) -> BackendsFile:
    file = directory / "backends.yaml"
    file.write_text(text)
    several = read_backends(Settings(backends_file=file, **settings))
    assert several is not None
    return several


def wrong(directory: Path, content: Any, **settings: Any) -> str:
    """Return what is said of a file with this content."""
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    with pytest.raises(SettingsError) as error:
        read(directory, text, **settings)
    assert KEY not in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{directory / 'backends.yaml'}: ")


def placed(several: BackendsFile, model: str) -> tuple[str, str] | None:
    place = several.place(model)
    return (place[0].name, place[1]) if place else None


def test_without_the_setting_there_is_no_file() -> None:
    assert read_backends(Settings()) is None


def test_what_backends_have_in_common_can_stand_once(tmp_path: Path) -> None:
    """Such as YAML has it: one that says something else itself has that."""
    several = read(
        tmp_path,
        "backends:\n"
        "  - &first {name: a, url: http://a/v1, retries: 1}\n"
        "  - {<<: *first, name: b, url: http://b/v1}\n",
    )
    assert [(each.name, each.retries) for each in several.backends] == [("a", 1), ("b", 1)]


def test_aliases_go_before_names_and_names_before_patterns() -> None:
    several = told(
        entry("everything", models=["*"]),
        entry("vendor", models=["gpt-*", "exact"], aliases={"fast": "gpt-small"}),
        entry("local", models=["fast", "exact"], aliases={"exact": "llama"}),
    )
    assert placed(several, "fast") == ("vendor", "gpt-small")
    assert placed(several, "exact") == ("local", "llama")
    assert placed(several, "gpt-large") == ("everything", "gpt-large")


def test_names_go_before_patterns_of_backends_that_come_first() -> None:
    several = told(entry("a", models=["gpt-*"]), entry("b", models=["gpt-4"]))
    assert placed(several, "gpt-4") == ("b", "gpt-4")
    assert placed(several, "gpt-5") == ("a", "gpt-5")


def test_patterns_distinguish_case() -> None:
    assert placed(told(entry(models=["GPT-*"])), "gpt-4") is None


def test_what_none_takes_goes_to_the_default() -> None:
    entries = entry("a", models=["m"]), entry("b", models=["n"])
    assert placed(told(*entries), "x") is None
    assert placed(told(*entries, default="b"), "x") == ("b", "x")
    assert told(*entries).first.name == "a"
    assert told(*entries, default="b").first.name == "b"


def test_fallbacks_of_a_name_go_before_those_of_patterns_and_come_once() -> None:
    several = told(
        entry(models=["*"]), fallbacks={"big*": ["small", "tiny"], "big-1": ["tiny", "big-1"]}
    )
    assert list(several.candidates("big-1")) == ["big-1", "tiny"]
    assert list(several.candidates("big-2")) == ["big-2", "small", "tiny"]
    assert list(several.candidates("other")) == ["other"]


def test_an_alias_has_the_fallbacks_of_its_model_unless_it_has_its_own() -> None:
    several = told(
        entry("a", models=["gpt-*"], aliases={"fast": "gpt-a", "cheap": "gpt-b"}),
        entry("b", models=["qwen", "phi"]),
        fallbacks={"gpt-*": ["qwen"], "cheap": ["phi"]},
    )
    assert list(several.candidates("fast")) == ["fast", "qwen"]
    assert list(several.candidates("cheap")) == ["cheap", "phi"]


def test_names_that_clients_can_use() -> None:
    several = told(entry(models=["m", "p-*", "q?"], aliases={"fast": "m"}))
    assert [name for name, _ in several.named()] == ["fast", "m"]


def test_a_key_comes_from_the_file_the_environment_or_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VENDOR_KEY", "from-environment")
    secret = tmp_path / "key"
    secret.write_text("from-file\n")
    several = told(
        entry("a", api_key="given"),
        entry("b", api_key_env="VENDOR_KEY"),
        entry("c", api_key_file=str(secret)),
        entry("d"),
    )
    keys = [backend.key() for backend in several.backends]
    assert keys == ["given", "from-environment", "from-file", None]


def test_keys_are_not_shown() -> None:
    several = told(entry(api_key=KEY, headers={"x-key": KEY}))
    assert KEY not in repr(several)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"backends": []}, "backends: there is none"),
        (
            {"backends": [entry(urll="x")]},
            "backend a: urll: there is no such field; did you mean url?",
        ),
        ({"backends": [entry(colour="x")]}, "backend a: colour: there is no such field"),
        (
            {"backends": [entry()], "fallback": {}},
            "fallback: there is no such field; did you mean fallbacks?",
        ),
        ({"backends": [entry("a"), {"url": "http://b"}]}, "backend no. 2: name: is missing"),
        ({"backends": [entry("a"), KEY]}, "backend no. 2: should be names with values"),
        ({"backends": {"a": entry()}}, "backends: should be a list"),
        ({}, "backends: is missing"),
        ({"backends": [entry(models="qwen")]}, "backend a: models: should be a list"),
        ({"backends": [entry(profile=["no_tool"])]}, "backend a: profile.0: Input should be 'no_"),
        ({"backends": [entry(url="vllm:8000")]}, "backend a: url: has to be a URL that begins"),
        ({"backends": [{"name": "a"}]}, "backend a: url: is missing"),
        ({"backends": [entry(max_concurrent=0)]}, "backend a: max_concurrent: "),
        ({"backends": [entry(retries=-1)]}, "backend a: retries: "),
        ({"backends": [entry(idle_timeout_seconds=0)]}, "backend a: idle_timeout_seconds: "),
        ({"backends": [entry("two words")]}, "backend two words: name: "),
        ({"backends": [entry(url="ftp://a")]}, "backend a: url: "),
        ({"backends": [entry(), entry()]}, "there are two backends of the name 'a'"),
        ({"backends": [entry()], "default": "b"}, "default: there is no backend of the name 'b'"),
        (
            {"backends": [entry(models=["m"])], "fallbacks": {"m": ["n"]}},
            "fallbacks.m: no backend takes 'n'",
        ),
        (
            {"backends": [entry("a", aliases={"x": "m"}), entry("b", aliases={"x": "n"})]},
            "two backends have the alias 'x'",
        ),
        (
            {"backends": [entry(api_key=KEY, pass_client_key=True)]},
            "backend a: set one of api_key, api_key_env, api_key_file and pass_client_key",
        ),
        ({"backends": [entry(api_key=f"{KEY}\n{KEY}")]}, "backend a: its key"),
        ({"backends": [entry(api_key="")]}, "backend a: its key is empty"),
        ({"backends": [entry(api_key_env="NO_SUCH")]}, "backend a: api_key_env: there is no"),
        ({"backends": [entry(api_key_file="/no/such")]}, "backend a: api_key_file: /no/such"),
        ({"backends": [entry(headers={"a b": "c"})]}, "backend a: headers: 'a b'"),
        ({"backends": [entry(headers={"Host": "c"})]}, "backend a: headers: 'Host'"),
        ({"backends": [entry(headers={"x-key": f"{KEY}\r\na: b"})]}, "backend a: headers: the"),
        (
            f"backends:\n  - name: a\n    url: http://a/v1\n    api_key: {KEY}\n    api_key: b\n",
            "a name stands twice, at line 4 and at line 5",
        ),
        (f"backends:\n  - name: {KEY}\n    url: [", "not valid YAML at line 3"),
        (f"- {KEY}", "no names with values"),
    ],
)
def test_what_is_wrong_is_named_and_not_shown(tmp_path: Path, content: Any, said: str) -> None:
    assert wrong(tmp_path, content).startswith(said)


def test_one_mistake_is_told_once(tmp_path: Path) -> None:
    said = wrong(tmp_path, {"backends": [entry(api_key_env="NO_SUCH")]})
    assert said == "backend a: api_key_env: there is no NO_SUCH in the environment"


def test_a_key_is_looked_for_beside_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a").write_text("beside")
    monkeypatch.setenv("HOME", str(tmp_path))
    content = {
        "backends": [
            entry("a", api_key_file="secrets/a"),
            entry("b", api_key_file=str(tmp_path / "secrets" / "a")),
            entry("c", api_key_file="~/secrets/a"),
        ]
    }
    several = read(tmp_path, yaml.safe_dump(content))
    assert [backend.key() for backend in several.backends] == ["beside"] * 3


def test_the_gateway_does_not_start_with_it(tmp_path: Path) -> None:
    file = tmp_path / "backends.yaml"
    file.write_text(yaml.safe_dump({"backends": [entry(speed=1)]}))
    settings = Settings(backends_file=file, data_dir=tmp_path / "data", port=0)
    with pytest.raises(StartError, match=r"backends\.yaml: backend a: speed: there is no"):
        serve(settings)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    said = wrong(tmp_path, {"backends": [{"name": "a", "speed": 1}]})
    assert "backend a: url: is missing" in said
    assert "backend a: speed: there is no such field" in said


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "none.yaml"
    with pytest.raises(SettingsError, match="No such file"):
        read_backends(Settings(backends_file=file))


def test_a_key_is_not_for_everybody_to_spend(tmp_path: Path) -> None:
    content = {"backends": [entry("b"), entry("a", api_key=KEY)]}
    said = wrong(tmp_path, content, host="0.0.0.0")
    assert said.startswith("backend a has a key and 0.0.0.0 is open")
    for allowed in ({"host": "0.0.0.0", "accepted_keys": "sk-1"}, {"host": "127.0.0.1"}):
        assert len(read(tmp_path, yaml.safe_dump(content), **allowed).backends) == 2


def test_the_summary_model_is_somewhere(tmp_path: Path) -> None:
    content = {"backends": [entry(models=["m"], aliases={"fast": "m"})]}
    assert wrong(tmp_path, content, summary_model="x").startswith("no backend takes summary_model")
    assert len(read(tmp_path, yaml.safe_dump(content), summary_model="fast").backends) == 1


@pytest.mark.parametrize(
    "others",
    [
        {"backend_url": "http://b/v1"},
        {"backend_api_key": KEY},
        {"embedding_model": "m"},
    ],
)
def test_settings_that_a_file_of_backends_does_not_go_with(others: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="backends_file"):
        Settings.model_validate({"backends_file": "/a.yaml", **others})


def test_the_documented_example_means_what_is_said_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    several = read(tmp_path, text.partition("```yaml\n")[2].partition("```")[0])
    assert placed(several, "fast") == ("openai", "gpt-4o-mini")
    assert placed(several, "unknown") == ("vllm", "unknown")
    assert list(several.candidates("gpt-4o")) == ["gpt-4o", "qwen"]


def test_every_field_is_documented() -> None:
    text = (ROOT / "docs" / "backends.md").read_text(encoding="utf-8")
    for name in (*BackendEntry.model_fields, *BackendsFile.model_fields):
        assert f"`{name}`" in text or f"\n{name}:" in text
