"""Every fenced block of the documentation is tried: code runs, commands parse, files are read.

Each block is covered by one rule, by its language. One that no rule covers fails here: give it a
language, or write its rule.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml

from memgpt_proxy.backends_file import read_backends
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.keys_file import read_keys
from memgpt_proxy.settings_sources import load_settings
from memgpt_proxy.wrong_settings import SettingsError
from tests.docs import shell
from tests.docs.fenced import Block, blocks
from tests.support.gateway import GatewayProcess
from tests.support.process import ServerProcess, clean_environment, free_port

BLOCKS = [block for block in blocks() if not block.page.startswith("docs/clients/")]
"""All but those of the clients' pages, which ``tests/clients/test_documentation.py`` runs."""
OF_OTHERS = ("rules:", "route:", "groups:", "scrape_configs:")
"""How YAML for other programs (Prometheus and its adapter) begins on the chart's page."""

KEY = "documentation"


def of(language: str) -> Any:
    """The blocks of a language as parameters."""
    mine = [block for block in BLOCKS if block.language == language]
    return pytest.mark.parametrize("block", mine, ids=str)


LANGUAGES = {"python", "sh", "yaml", "json", "http", "ini", "text", "console"}
"""``tests/stores/elasticsearch/test_snapshots.py`` carries out what is for a console."""


def test_every_block_is_covered_by_a_rule():
    assert BLOCKS
    assert [str(block) for block in BLOCKS if block.language not in LANGUAGES] == []


def test_text_is_no_code():
    """What is called text is a drawing, a prompt or what a program prints; no rule runs it."""
    programs = tuple(f"{name} " for name in (*shell.PROGRAMS, "curl", "export", "import", "from"))
    called = [str(b) for b in BLOCKS if b.language == "text" and b.code.startswith(programs)]
    assert called == []


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway in front of the demo backend, as a newcomer starts it."""
    directory = tmp_path_factory.mktemp("samples")
    app = ["memgpt_proxy.demo.server:create_app", "--factory"]
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", *app, "--port", str(port), "--lifespan", "off"]
    log = directory / "demo.log"
    with (
        ServerProcess(command, port, "/v1/models", log, clean_environment()) as backend,
        GatewayProcess(directory, backend.base_url, "--log-format", "json") as started,
    ):
        yield started


@pytest.mark.slow
@of("python")
def test_python_runs_and_prints_what_it_says(block: Block, gateway: GatewayProcess):
    told_before(block, gateway)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", here(block.code, gateway)],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    said = re.findall(r"^print\(.*\)  # (.+)$", block.code, re.MULTILINE)
    assert done.stdout.splitlines() == said


def told_before(block: Block, gateway: GatewayProcess) -> None:
    """Carry out the request that a page shows before; what it tells is known then."""
    before = block.before
    while before is not None:
        for words in shell.commands(before.code) if before.language == "sh" else ():
            if words[0] == "curl":
                first_of(curl(words, gateway))
        before = before.before


@of("ini")
def test_a_service_starts_the_command_and_waits_for_its_stop(block: Block):
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(block.code)
    service = unit["Service"]
    program, *arguments = service["ExecStart"].split()
    shell.check([Path(program).name, *arguments])
    name, _, path = service["Environment"].partition("=")
    assert name.removeprefix(ENV_PREFIX).lower() in Settings.model_fields
    assert Path(path) == Path("/var/lib", service["StateDirectory"])
    settings = Settings()
    patience = settings.drain_delay_seconds + settings.drain_seconds + 30
    assert int(service["TimeoutStopSec"]) == patience


@pytest.mark.slow
@of("sh")
def test_commands_have_what_they_name(block: Block, gateway: GatewayProcess):
    for words in shell.commands(block.code):
        if words[0] == "curl":
            first = first_of(curl(words, gateway))
            if "--output" in words:
                assert first == ""
                continue
            assert first.startswith((": ", "data: ", "event: ")) or "error" not in json.loads(first)
        else:
            shell.check(words)
    shell.settings_of(block.code)


def curl(words: list[str], gateway: GatewayProcess) -> subprocess.Popen[str]:
    command = [here(word, gateway) for word in words]
    env = {"PATH": os.environ["PATH"]}
    return subprocess.Popen(
        [*command, "-sS"], env=env, stdout=subprocess.PIPE, text=True, cwd=gateway.data_dir
    )


def first_of(program: subprocess.Popen[str]) -> str:
    """The first line that a program prints; an event stream would go on for ever."""
    with program:
        assert program.stdout is not None
        line = program.stdout.readline()
        program.terminate()
    return line.strip()


def here(code: str, gateway: GatewayProcess) -> str:
    """The code with this gateway, a key and a model in place of those that it names."""
    code = code.replace("http://127.0.0.1:8484/v1", gateway.base_url)
    code = code.replace("http://127.0.0.1:8484", gateway.origin)
    code = code.replace("$NEW_KEY", f"{KEY}-new")
    if '"version": 3' in code:  # of Ann's working context, as an edit of it names the version
        url, key = f"{gateway.origin}/memgpt/working-context", {"authorization": f"Bearer {KEY}"}
        now = httpx.get(url, params={"user": "ann"}, headers=key).json()
        code = code.replace('"version": 3', f'"version": {now["version"]}')
    return code.replace("YOUR_KEY", KEY).replace("$KEY", KEY).replace('"MODEL"', '"demo"')


@of("yaml")
def test_a_file_is_read_as_the_product_reads_it(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    values = yaml.safe_load(block.code)
    file = tmp_path / "file.yaml"
    file.write_text(block.code.replace("…", "left-out-by-the-documentation"))
    if block.page == "docs/deployment.md" or "extraVolumes" in values:
        if not block.code.startswith(OF_OTHERS) and "kind" not in values:
            for name in values:
                shell.has_value([name])
    elif "backends" in values:
        for entry in values["backends"]:
            if (variable := entry.get("api_key_env")) is not None:
                monkeypatch.setenv(variable, KEY)
        assert read_backends(load_settings({"backends_file": file})) is not None
    elif "keys" in values:
        assert read_keys(file).keys
    else:
        load_settings({}, file)


@pytest.mark.slow
@of("json")
def test_json_has_what_the_gateway_says(block: Block, gateway: GatewayProcess):
    shown = json.loads(block.code)
    if block.section == "Logs":
        say("Hello", gateway)
        logged = [json.loads(line) for line in gateway.log().splitlines()]
        assert set(shown) in [set(record) for record in logged]
    elif block.before is not None and block.before.language == "sh":
        say("My name is Sam.", gateway)
        ((words),) = shell.commands(block.before.code)
        answered = json.loads(first_of(curl(words, gateway)))
        assert agree(shown, answered), answered
    else:
        assert shown


def say(text: str, gateway: GatewayProcess) -> None:
    asked = {"model": "demo", "messages": [{"role": "user", "content": text}], "stream": True}
    told = ["-H", f"Authorization: Bearer {KEY}", "-H", "Content-Type: application/json"]
    url = f"{gateway.base_url}/chat/completions"
    first_of(curl(["curl", url, *told, "-d", json.dumps(asked)], gateway))


def agree(shown: Any, said: Any) -> bool:
    """Whether both have the same members, throughout; what is empty stands for anything."""
    match shown, said:
        case dict(), dict():
            alike = shown.keys() == said.keys()
            return not shown or (alike and all(agree(shown[name], said[name]) for name in shown))
        case [first, *_], [_, *_]:
            return any(agree(first, other) for other in said)
        case _:
            return True


@pytest.mark.slow
@of("http")
def test_an_answer_is_the_one_shown(block: Block, gateway: GatewayProcess, tmp_path: Path):
    head, body = block.code.split("\n\n")
    status, *headers = head.splitlines()
    shown = json.loads(" ".join(body.split()))
    url = gateway.base_url  # any backend will do
    with GatewayProcess(tmp_path, url, "--requests-per-minute", "3") as limited:
        command = ["curl", "-i", f"{limited.base_url}/models", "-H", f"Authorization: Bearer {KEY}"]
        for _ in range(3):
            curl(command, limited).communicate(timeout=10)
        answered, _ = curl(command, limited).communicate(timeout=10)
    head, body = answered.replace("\r\n", "\n").split("\n\n")
    assert head.startswith(status)
    assert {line.partition(":")[0] for line in headers} <= {
        line.partition(":")[0] for line in head.splitlines()
    }
    told = json.loads(body)
    assert without_seconds(told) == without_seconds(shown)


def without_seconds(told: dict[str, Any]) -> dict[str, Any]:
    """The error; how long to wait depends on when it is asked."""
    return {**told["error"], "message": re.sub(r"in [\d.ms]+\.$", "", told["error"]["message"])}


@pytest.mark.parametrize(
    "wrong",
    [
        "frobnicate",
        "memgpt-proxy frobnicate",
        "memgpt-proxy serve --frobnicate",
        "memgpt-proxy serve --port http",
        "memgpt-proxy migrate --port 8484",
        "scripts/serve --reply-mode song",
        "scripts/test --frobnicate",
        "export MEMGPT_FROBNICATE=true",
        "MEMGPT_FROBNICATE=true scripts/serve",
        "python -m benchmarks.frobnicate",
    ],
)
def test_a_command_that_there_is_not_would_be_found(wrong: str):
    ((*words,),) = shell.commands(wrong)
    with pytest.raises((AssertionError, click.ClickException, KeyError, SettingsError)):
        shell.check(words)
