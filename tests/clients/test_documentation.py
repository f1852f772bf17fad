"""What the documentation says of clients is so: its table, and every sample as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from memgpt_proxy.api.request_headers import CONVERSATION, MEMORY
from memgpt_proxy.config import Settings
from tests.clients import knowing_model
from tests.clients.conftest import client_environment, installed
from tests.clients.environments import Environment, PythonEnvironment
from tests.clients.pages import (
    client_blocks,
    earlier,
    environment_of,
    is_install,
    page_of,
    pinned,
    said,
)
from tests.clients.roster import CLIENTS, ENVIRONMENTS
from tests.clients.table import table
from tests.docs import shell
from tests.docs.fenced import CHECKOUT, Block
from tests.e2e.chatting import Person, data_of
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess

INDEX = CHECKOUT / "docs" / "clients.md"
PROGRAMS = {"python": "sample.py", "js": "sample.mjs", "go": "sample.go"}
WITHOUT_PACKAGES = {"docs/clients/curl.md", "docs/clients/browser.md"}
INTERFACES = {"docs/clients/open-webui.md", "docs/clients/librechat.md"}
"""User interfaces, which are not run here: what they send, as they are set, is sent for them."""

BLOCKS = client_blocks()
PAGES = sorted((CHECKOUT / "docs" / "clients").glob("*.md"))


def of(*languages: str) -> pytest.MarkDecorator:
    mine = [block for block in BLOCKS if block.language in languages and not is_install(block)]
    return pytest.mark.parametrize("block", mine, ids=str)


def test_the_table_is_that_of_the_tests():
    assert table() in INDEX.read_text()


def test_the_index_leads_to_every_page():
    led_to = re.findall(r"\]\(clients/([\w-]+\.md)\)", INDEX.read_text())
    assert sorted(led_to) == [page.name for page in PAGES]


def test_every_client_has_a_page():
    described = {f"docs/clients/{page.name}" for page in PAGES}
    folders = {f"docs/clients/{environment.folder}.md" for environment in ENVIRONMENTS}
    assert described == folders | WITHOUT_PACKAGES | INTERFACES


def test_every_block_is_covered_by_a_rule():
    covered = {*PROGRAMS, "sh", "yaml", "json"}
    assert [str(block) for block in BLOCKS if block.language not in covered] == []


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda environment: environment.folder)
def test_what_is_installed_is_what_is_tested(environment: Environment):
    mine = [block for block in BLOCKS if environment_of(block) == environment]
    installs = [block for block in mine if is_install(block)]
    text = page_of(environment).read_text()
    assert installs == mine[:1], "first of all it is told what to install"
    assert pinned(text, environment) == text, "run python -m tests.clients.pages"
    tested = {client.package for client in CLIENTS if client.environment == environment}
    assert all(package in installs[0].code for package in tested)


@pytest.fixture
def sam(clients_gateway: GatewayProcess, backend: ScriptedBackend, api_key: str) -> Person:
    """Somebody whose name is remembered, and a model that tells it."""
    person = Person(clients_gateway.base_url, api_key, f"model-of-{api_key}")
    backend.script(knowing_model.answer)
    person.say("My name is Sam.")
    return person


def of_person(person: Person, sample: str) -> str:
    """The sample with what the reader has to put in."""
    sample = sample.replace("http://127.0.0.1:8484/v1", person.base_url)
    sample = sample.replace("http://127.0.0.1:8484", person.base_url.removesuffix("/v1"))
    return sample.replace("YOUR_KEY", person.api_key).replace("MODEL", person.model)


@of(*PROGRAMS)
def test_a_program_prints_what_it_says(block: Block, sam: Person, tmp_path: Path):
    environment = environment_of(block) or environment_of_browser()
    installed(environment)
    program = tmp_path / PROGRAMS[block.language]
    program.write_text(of_person(sam, block.code))
    work = tmp_path / "work"
    work.mkdir()
    command = environment.command(program, work)
    env = {**client_environment(work), **exported(block, sam)}
    assert said(block), "it prints nothing that could be looked at"
    assert run(command, env).splitlines() == said(block)


def environment_of_browser() -> Environment:
    """What runs the programs of pages: Node, which has ``fetch`` too."""
    return next(each for each in ENVIRONMENTS if each.folder == "openai-node")


def exported(block: Block, person: Person) -> dict[str, str]:
    """The variables that the page tells to set before."""
    told = [each.code for each in earlier(block) if each.code.startswith("export ")]
    words = [word for code in told for command in shell.commands(code) for word in command[1:]]
    pairs = [word.partition("=") for word in words]
    return {name: of_person(person, value) for name, _, value in pairs}


@of("sh")
def test_commands_print_what_they_say(block: Block, sam: Person, tmp_path: Path):
    env = shell_environment(block, sam, tmp_path)
    for before in earlier(block):
        prepare(before, sam, tmp_path, env)
    printed = run(["bash", "-ec", of_person(sam, block.code)], env)
    heard = answers(printed) if "curl " in block.code else printed.splitlines()
    assert heard == said(block)


def shell_environment(block: Block, person: Person, directory: Path) -> dict[str, str]:
    """The environment of a page's commands: the client's programs, and what the page has set."""
    environment = environment_of(block)
    if environment is None:
        return {"PATH": os.environ["PATH"]}
    installed(environment)
    env = {**client_environment(directory), **exported(block, person)}
    if isinstance(environment, PythonEnvironment):
        env["PATH"] = f"{environment.directory / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**env, "LLM_USER_PATH": str(directory)}


def prepare(block: Block, person: Person, directory: Path, env: dict[str, str]) -> None:
    """Do what a page tells to set before its commands."""
    if block.language == "yaml":
        with (directory / "extra-openai-models.yaml").open("a") as models:
            models.write(of_person(person, block.code))
    elif block.language == "sh" and not is_install(block) and not said(block):
        run(["bash", "-ec", of_person(person, block.code)], env)


def answers(printed: str) -> list[str]:
    """What the answers say that curl has printed, one after the other."""
    if printed.startswith(("data: ", ": ")):
        chunks = data_of(printed.encode())[:-1]
        pieces = [choice["delta"].get("content") for c in chunks for choice in c["choices"]]
        return ["".join(piece or "" for piece in pieces)]
    found = []
    while printed := printed.strip():
        answer, end = json.JSONDecoder().raw_decode(printed)
        found.append(told_by(answer))
        printed = printed[end:]
    return found


def told_by(answer: dict[str, Any]) -> str:
    match answer:
        case {"choices": [{"message": {"content": str(words)}}]}:
            return words
        case {"output": [{"content": [{"text": str(words)}]}]}:
            return words
        case {"content": str(words)}:
            return words
        case _:
            raise AssertionError(answer)


@of("yaml", "json")
def test_a_configuration_does_what_it_says(block: Block, sam: Person, tmp_path: Path):
    if block.page == "docs/clients/llm.md":
        env = shell_environment(block, sam, tmp_path)
        for each in (*earlier(block), block):
            prepare(each, sam, tmp_path, env)
        (model, *_) = yaml.safe_load(block.code)
        assert model["model_id"] in run(["llm", "models"], env)
        return
    headers = headers_of(block)
    assert set(headers) <= known_headers()
    chat, task = filled(headers, task=""), filled(headers, task="title_generation")
    knows = MEMORY not in chat
    assert asked(sam, chat) == ("Your name is Sam." if knows else "I do not know your name.")
    if task != chat:
        assert asked(sam, task) == "I do not know your name.", "it leaves memory out"


def headers_of(block: Block) -> dict[str, str]:
    """The headers that a user interface is told to send."""
    told: dict[str, Any] = yaml.safe_load(block.code)
    if block.page == "docs/clients/librechat.md":
        (told,) = told["endpoints"]["custom"]
        assert told["baseURL"] == "http://127.0.0.1:8484/v1"
        return dict(told.get("headers", {}))
    return told


def filled(headers: dict[str, str], task: str) -> dict[str, str]:
    """The headers as a user interface sends them in a chat of its own, or for a task."""
    values = {"{{CHAT_ID}}": "c-1", "{{LIBRECHAT_BODY_CONVERSATIONID}}": "c-1", "{{TASK}}": task}
    return {name: values.get(value, value) for name, value in headers.items()}


def asked(person: Person, headers: dict[str, str]) -> str:
    return person.anew().say("What is my name?", extra_headers=headers).text


def known_headers() -> set[str]:
    """The headers that the gateway looks for as it is set."""
    settings = Settings()
    return {*settings.conversation_headers, *settings.task_headers, CONVERSATION, MEMORY}


def run(command: list[str], env: dict[str, str]) -> str:
    """What a command prints."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()
