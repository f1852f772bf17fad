"""The command ``llm``."""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from serving import WEATHER, picture_bytes, piece, serve

TOOL = f'''
def get_weather(city: str) -> str:
    """The weather in a city."""
    with open("{{told}}", "a") as told:
        told.write(city + "\\n")
    return {WEATHER!r}[city]
'''
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
MODEL = """\
- model_id: memgpt
  model_name: {model}
  api_base: {base_url}
  api_key_name: memgpt
  supports_schema: true
  supports_tools: true
  vision: true
"""


class Refused(Exception):
    """The command has failed; says what it printed."""


class Command:
    """``llm`` with a configuration and a history of its own."""

    def __init__(self, at, home):
        self.home = Path(home)
        (self.home / "extra-openai-models.yaml").write_text(MODEL.format(**at))
        (self.home / "keys.json").write_text(json.dumps({"memgpt": at["api_key"]}))

    def start(self, *arguments):
        return subprocess.Popen(
            [sys.executable, "-m", "llm", *arguments],
            env={**os.environ, "LLM_USER_PATH": str(self.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *arguments):
        """What it prints, told of piece by piece."""
        running = self.start(*arguments)
        said = b""
        while read := os.read(running.stdout.fileno(), 4096):
            piece(read.decode().removesuffix("\n"))  # the command ends its line
            said += read
        error = running.stderr.read().decode()
        if running.wait() != 0:
            raise Refused(error)
        return said.decode(), error


def ask(at, prompts, stream=False, picture=None):
    texts, usage = [], None
    with tempfile.TemporaryDirectory() as home:
        command = Command(at, home)
        options = ["-m", "memgpt", "--usage", *([] if stream else ["--no-stream"])]
        if picture:
            (command.home / "picture.png").write_bytes(picture_bytes(picture))
            options += ["-a", str(command.home / "picture.png")]
        for number, prompt in enumerate(prompts):
            on = ["-c"] if number else []
            said, told = command.run(*options, *on, prompt)
            usage = re.search(r"(\d+) input, (\d+) output", told)
            texts.append(said.removesuffix("\n"))
    return {"texts": texts, "usage": {"input": int(usage[1]), "output": int(usage[2])}}


def use_tools(at, prompt, stream=False):
    with tempfile.TemporaryDirectory() as home:
        told = Path(home) / "told"
        options = ["-m", "memgpt", *([] if stream else ["--no-stream"])]
        options += ["--functions", TOOL.replace("{told}", str(told))]
        said, _ = Command(at, home).run(*options, prompt)
        return {"text": said.removesuffix("\n"), "told": told.read_text().split()}


def structured(at, prompt):
    with tempfile.TemporaryDirectory() as home:
        said, _ = Command(at, home).run("-m", "memgpt", "--schema", json.dumps(PERSON), prompt)
    return {"value": json.loads(said)}


def leave(at, prompt):
    with tempfile.TemporaryDirectory() as home:
        running = Command(at, home).start("-m", "memgpt", prompt)
        os.read(running.stdout.fileno(), 4096)
        running.terminate()
        running.wait()


serve(sys.modules[__name__])
