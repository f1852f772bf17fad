"""What the documentation says of clients is so: its table, and its samples as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import client_environment, installed
from tests.clients.environments import PythonEnvironment
from tests.clients.roster import CLIENTS, Client
from tests.clients.table import table
from tests.e2e.chatting import Person, send
from tests.e2e.prompts import remember
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.replies import Reply, call

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "clients.md"
PROGRAMS = {"python": "sample.py", "js": "sample.mjs", "go": "sample.go"}
SAMPLES = {client.environment: client for client in CLIENTS if client.name != "llm"}


def sections() -> dict[str, list[tuple[str, str]]]:
    """The code of each section, with its language."""
    text = DOCUMENTATION.read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    fenced = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
    return {
        title: fenced.findall(body) for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_the_table_is_that_of_the_tests():
    assert table() in DOCUMENTATION.read_text()


def test_every_client_has_a_section():
    described = list(sections())
    assert {client.name.partition(",")[0] for client in CLIENTS} <= set(described)


@pytest.fixture
def sam(clients_gateway: GatewayProcess, backend: ScriptedBackend, api_key: str) -> Person:
    """Somebody whose name is remembered, and a model that tells it."""
    person = Person(clients_gateway.base_url, api_key, f"model-of-{api_key}")
    backend.reply(remember("Name is Sam"))
    person.say("My name is Sam.")
    backend.script(tell_name)
    return person


def tell_name(request: dict[str, Any]) -> Reply:
    """What a model answers that reads its working context."""
    (name,) = re.findall(r"^Name is (\w+)$", request["messages"][0]["content"], re.MULTILINE)
    match request.get("tool_choice"):
        case {"function": {"name": function}}:
            return call(function, {"name": name})
        case _:
            return send(f"Your name is {name}.")


def of(person: Person, sample: str) -> str:
    """The sample with what the reader has to put in."""
    sample = sample.replace("http://127.0.0.1:8484/v1", person.base_url)
    return sample.replace("YOUR_KEY", person.api_key).replace("MODEL", person.model)


@pytest.mark.parametrize("client", SAMPLES.values(), ids=lambda client: client.environment.folder)
def test_a_sample_knows_the_name(client: Client, sam: Person, tmp_path: Path):
    installed(client)
    ((language, code),) = sections()[client.name.partition(",")[0]]
    program = tmp_path / PROGRAMS[language]
    program.write_text(of(sam, code))
    work = tmp_path / "work"
    work.mkdir()
    command = client.environment.command(program, work)
    assert run(command, client_environment(work)) in ("Your name is Sam.", "Sam")


def test_the_sample_of_llm(sam: Person, tmp_path: Path):
    environment = PythonEnvironment("llm")
    installed(next(client for client in CLIENTS if client.environment == environment))
    (_, configuration), (_, commands) = sections()["llm"]
    (tmp_path / "extra-openai-models.yaml").write_text(of(sam, configuration))
    path = f"{environment.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
    env = {**client_environment(tmp_path), "LLM_USER_PATH": str(tmp_path), "PATH": path}
    assert run(["bash", "-ec", of(sam, commands)], env) == "Your name is Sam."


def test_the_sample_for_curl(sam: Person):
    ((_, command),) = sections()["curl"]
    env = {"PATH": os.environ["PATH"]}
    events = run(["bash", "-ec", of(sam, command)], env).split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    said = [choice["delta"].get("content") or "" for c in chunks for choice in c["choices"]]
    assert "".join(said) == "Your name is Sam."


def run(command: list[str], env: dict[str, str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
