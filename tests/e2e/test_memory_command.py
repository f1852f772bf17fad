"""``memgpt-proxy memory``: a memory behind a running gateway, from a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from memgpt_proxy import cli
from tests.e2e.chatting import Person, send
from tests.support.backend import ScriptedBackend
from tests.support.gateway import GatewayProcess
from tests.support.process import clean_environment
from tests.support.replies import call


class Terminal:
    """Runs the command with a key in its environment."""

    def __init__(self, gateway: GatewayProcess, key: str) -> None:
        self.environment = {"OPENAI_BASE_URL": gateway.base_url, "OPENAI_API_KEY": key}

    def run(self, *arguments: str | Path, given: str | None = None) -> Result:
        runner = CliRunner(env=self.environment)
        return runner.invoke(cli.main, ["memory", *map(str, arguments)], input=given)

    def done(self, *arguments: str | Path, given: str | None = None) -> Result:
        result = self.run(*arguments, given=given)
        assert result.exit_code == 0, result.output
        return result

    def refused(self, *arguments: str | Path) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        return result.stderr


@pytest.fixture
def terminal(gateway: GatewayProcess, api_key: str) -> Terminal:
    return Terminal(gateway, api_key)


@pytest.fixture
def lived(backend: ScriptedBackend, person: Person) -> Person:
    noted = call("working_context_append", {"content": "Cat: Mia", "request_heartbeat": True})
    backend.reply(noted, send("A cat!"))
    person.say("My cat is Mia.")
    return person


@pytest.mark.usefixtures("lived")
class TestSeeing:
    def test_what_there_is(self, terminal: Terminal) -> None:
        shown = terminal.done("show")
        assert shown.stdout == "Cat: Mia\n"
        assert "8 / 8,000 characters, version 1; 2 messages in recall storage, 0" in shown.stderr

    def test_messages(self, terminal: Terminal) -> None:
        lines = terminal.done("messages").stdout.splitlines()
        assert [lines[1], lines[4]] == ["A cat!", "My cat is Mia."]
        assert [lines[0].split()[-1], lines[3].split()[-1]] == ["assistant", "user"]
        found = terminal.done("messages", "mia", "--limit", "1")
        assert found.stdout.splitlines()[1] == "My cat is Mia."
        assert found.stderr == "1 in all, page 1 of 1\n"
        assert "0 in all" in terminal.done("messages", "--to", "2000-01-01").stderr
        assert "2 in all" in terminal.done("messages", "--from", "2000-01-01").stderr

    def test_turns(self, terminal: Terminal) -> None:
        lines = terminal.done("turns").stdout.splitlines()
        assert lines[0].endswith("stop")
        assert lines[1].strip().startswith('working_context_append({"content": "Cat: Mia"')
        assert "-> Appended." in lines[1]
        assert lines[2].strip().startswith("send_message(")


class TestEditing:
    def test_a_note(self, terminal: Terminal, tmp_path: Path) -> None:
        assert terminal.done("insert", given="The safe's code is 4711.").stderr == "1 passages\n"
        note = tmp_path / "note.txt"
        note.write_text("Mia is four.")
        terminal.done("insert", note)
        assert "Mia is four." in terminal.done("passages", "mia").stdout
        assert terminal.done("passages").stderr == "2 in all, page 1 of 1\n"

    def test_the_working_context_from_a_file(self, terminal: Terminal, tmp_path: Path) -> None:
        file = tmp_path / "context.txt"
        file.write_text("Name: Sam\nLikes tea\n")
        assert terminal.done("edit", file).stderr == "version 1\n"
        assert terminal.done("show").stdout == "Name: Sam\nLikes tea\n"

    def test_the_working_context_in_an_editor(
        self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        editor = tmp_path / "editor"
        editor.write_text('#!/bin/sh\nsleep 1\necho "Name: Max" >> "$1"\n')
        editor.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(editor))
        assert terminal.done("edit").stderr == "version 1\n"
        monkeypatch.setenv("EDITOR", "true")
        assert "nothing is changed" in terminal.refused("edit")
        assert terminal.done("show").stdout == "Name: Max\n"

    def test_what_was_written_is_not_lost_where_another_was_faster(
        self, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        faster = tmp_path / "faster"
        faster.write_text("Name: Eve")
        command = f"{sys.executable} -m memgpt_proxy memory edit {faster}"
        editor = tmp_path / "editor"
        editor.write_text(f'#!/bin/sh\n{command} && sleep 1 && echo "Name: Max" > "$1"\n')
        editor.chmod(0o755)
        monkeypatch.setenv("EDITOR", str(editor))
        result = terminal.run("edit")
        assert result.exit_code == 1
        assert "changed meanwhile" in result.stderr
        assert "Name: Max\n" in result.stdout
        assert terminal.done("show").stdout == "Name: Eve\n"


@pytest.mark.usefixtures("lived")
class TestWhole:
    def test_out_and_in_again(self, terminal: Terminal, tmp_path: Path, api_key: str) -> None:
        file = tmp_path / "memory.jsonl"
        terminal.done("export", file)
        assert json.loads(file.read_text().splitlines()[-1])["end"]["message"] == 2
        terminal.environment["OPENAI_API_KEY"] = f"{api_key}-other"
        imported = dict(
            line.rsplit(maxsplit=1) for line in terminal.done("import", file).stdout.splitlines()
        )
        assert imported["message"] == "2"
        assert terminal.done("show").stdout == "Cat: Mia\n"
        terminal.done("insert", given="of its own")
        assert "has something of its own" in terminal.refused("import", file)

    def test_erased_by_who_says_yes(self, terminal: Terminal) -> None:
        terminal.done("--user", "ann", "insert", given="of ann")
        assert terminal.run("erase", given="n\n").exit_code == 1
        assert terminal.done("show").stdout == "Cat: Mia\n"
        erased = terminal.done("erase", "--all-users", given="y\n")
        assert "Erase all of this memory and of all of the key's users?" in erased.stderr
        counts = dict(line.rsplit(maxsplit=1) for line in erased.stdout.splitlines())
        assert (counts["messages"], counts["passages"], counts["users"]) == ("2", "1", "1")
        assert terminal.done("show").stdout == "\n"


def test_what_turns_do_is_told_while_they_run(
    backend: ScriptedBackend, gateway: GatewayProcess, person: Person
) -> None:
    command = [sys.executable, "-m", "memgpt_proxy", "memory", "listen"]
    told = {"OPENAI_BASE_URL": gateway.origin, "OPENAI_API_KEY": person.api_key}
    environment = {**clean_environment(), **told, "PYTHONUNBUFFERED": "1"}
    backend.script(lambda _: send("Yes."))
    with (
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as listening,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        assert listening.stdout is not None
        lines = iter(listening.stdout.readline, "")
        hearing = elsewhere.submit(next, (line for line in lines if line.startswith("turn_ended ")))
        while not hearing.done():  # who has just begun to listen hears nothing yet
            person.anew().say("hello")
        listening.send_signal(signal.SIGINT)
    told_last = json.loads(hearing.result().removeprefix("turn_ended "))
    assert told_last["finish_reason"] == "stop"
    assert listening.returncode == 1


class TestWrong:
    def test_a_key_that_is_asked_for_and_not_given(self, terminal: Terminal) -> None:
        del terminal.environment["OPENAI_API_KEY"]
        terminal.environment["OPENAI_API_KEY"] = ""
        assert "(401)" in terminal.refused("show")

    def test_a_key_from_the_standard_input(self, terminal: Terminal, api_key: str) -> None:
        terminal.environment["OPENAI_API_KEY"] = ""
        assert terminal.done("show", given=f"{api_key}\n").stdout == "\n"

    def test_a_gateway_that_is_not_there(self, terminal: Terminal) -> None:
        terminal.environment["OPENAI_BASE_URL"] = "http://127.0.0.1:1/v1"
        assert "cannot be reached" in terminal.refused("show")

    def test_help_asks_for_nothing(self, terminal: Terminal) -> None:
        terminal.environment["OPENAI_API_KEY"] = ""
        assert "QUERY" in terminal.done("messages", "--help").stdout
