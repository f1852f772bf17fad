"""Commands as the documentation shows them, taken apart by the programs' own parsers.

Nothing is carried out here but ``--help`` of programs of this checkout.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import click
import yaml

from memgpt_proxy.cli import main
from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.settings_sources import load_settings
from tests.docs.fenced import CHECKOUT

_ASSIGNMENT = re.compile(r"([A-Z][A-Z0-9_]*)=(.*)", re.DOTALL)
_CHART = CHECKOUT / "charts" / "memgpt-proxy"
_OF_CLIENTS = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
_OPENTELEMETRY = "opentelemetry.sdk.environment_variables"
_LEFT_OUT = "left-out-by-the-documentation"
"""What stands for an ellipsis, such as that of a key."""

Words = Sequence[str]


def commands(code: str) -> Iterator[list[str]]:
    """The commands of a block, as words; comments are left out, continued lines are one."""
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(re.sub(r"\$\(.*?\)", _LEFT_OUT, line), comments=True)
        while "&&" in words:
            yield words[: words.index("&&")]
            words = words[words.index("&&") + 1 :]
        if words:
            yield words


def check(words: Words) -> None:
    """Fail where a command is none, or has an option or a variable that there is not."""
    variables = dict(_assignments(words))
    words = list(words)[len(variables) :]
    if words[:1] == ["export"]:
        variables |= dict(_assignments(words[1:]))
        words = words[1 + len(variables) :]
    _check_variables(variables)
    if words:
        assert words[0] in PROGRAMS, f"no rule covers {words[0]}"
        PROGRAMS[words[0]](words[1:])


def settings_of(code: str) -> Settings:
    """The settings that all variables of a block make together."""
    told: dict[str, str] = {}
    for words in commands(code):
        told |= dict(_assignments(words[1:] if words[0] == "export" else words))
    ours = {name: value for name, value in told.items() if name.startswith(ENV_PREFIX)}
    return load_settings(
        {
            name.removeprefix(ENV_PREFIX).lower(): value.replace("…", _LEFT_OUT)
            for name, value in ours.items()
        }
    )


def _assignments(words: Words) -> Iterator[tuple[str, str]]:
    for word in words:
        if (found := _ASSIGNMENT.fullmatch(word)) is None:
            return
        yield found[1], found[2]


def _check_variables(variables: Mapping[str, str]) -> None:
    for name in variables:
        if name.startswith("OTEL_"):
            known = vars(importlib.import_module(_OPENTELEMETRY))
            assert name in known or name == "OTEL_SERVICE_NAME", f"{name} is not OpenTelemetry's"
        elif name not in _OF_CLIENTS:
            assert name.startswith(ENV_PREFIX), f"no rule covers {name}"
            setting = name.removeprefix(ENV_PREFIX).lower()
            assert setting in Settings.model_fields or setting == "config", f"no setting {name}"


def _memgpt_proxy(words: Words) -> None:
    """By click's own parser; it raises at what it does not know."""
    assert isinstance(main, click.Group)
    if words and words[0].startswith("-"):
        main.make_parser(click.Context(main)).parse_args(list(words))
        return
    command = main.commands[words[0]]
    with command.make_context(words[0], list(words[1:])) as context:
        options = {name: value for name, value in context.params.items() if value is not None}
        load_settings({name: options[name] for name in options if name in Settings.model_fields})


def _serve(words: Words) -> None:
    _memgpt_proxy(["serve", *words])


def _script(name: str) -> Callable[[Words], None]:
    def check_script(words: Words) -> None:
        path = CHECKOUT / name
        assert os.access(path, os.X_OK), f"{name} is no program"
        for word in words:
            assert not word.startswith("--") or word in path.read_text(), f"{name} has no {word}"

    return check_script


def _python(words: Words) -> None:
    assert words[0] == "-m", "no rule covers this"
    if words[1] == "venv":
        return
    assert importlib.util.find_spec(words[1]) is not None, f"there is no module {words[1]}"
    _has_options([sys.executable, "-m", words[1]], words[2:])


def _overhead(words: Words) -> None:
    assert os.access(CHECKOUT / "benchmarks" / "overhead" / "run", os.X_OK)
    _has_options([sys.executable, "-m", "benchmarks.overhead"], words)


def _has_options(program: list[str], words: Words) -> None:
    named = {word.partition("=")[0] for word in words if word.startswith("--")}
    if named:
        helped = subprocess.run(
            [*program, "--help"], cwd=CHECKOUT, capture_output=True, text=True, timeout=30
        )
        assert helped.returncode == 0, helped.stderr
        assert named <= set(re.findall(r"--[\w-]+", helped.stdout)), f"{program} has not {named}"


def _helm(words: Words) -> None:
    """A chart that is there, and values that it has."""
    charts = [word for word in words if word.startswith("charts/")]
    assert all((CHECKOUT / chart / "Chart.yaml").is_file() for chart in charts)
    for option, value in itertools.pairwise(words):
        if option in ("--set", "--set-string", "--set-file"):
            has_value(value.partition("=")[0].split("."))


def has_value(path: Sequence[str]) -> None:
    """Fail where the chart has no such value; what is beneath an empty one is the operator's."""
    values = yaml.safe_load((_CHART / "values.yaml").read_text())
    for name in path:
        if not values:
            return
        assert name in values, f"the chart has no value {'.'.join(path)}"
        values = values[name]


def _kubectl(words: Words) -> None:
    """Variables of Secrets are settings, or keys that the chart's example of backends asks for."""
    literals = [word.partition("=")[2] for word in words if word.startswith("--from-literal=")]
    of_backends = (_CHART / "ci" / "backends-values.yaml").read_text()
    _check_variables(
        {
            name: value
            for name, value in _assignments(literals)
            if f"api_key_env: {name}\n" not in of_backends
        }
    )


def _folder(words: Words) -> None:
    assert len(words) == 1


def _names_files(words: Words) -> None:
    """Files of the checkout that a command of others is told."""
    for option, value in itertools.pairwise(words):
        if option in ("-f", "--file") and not value.startswith("-"):
            assert (CHECKOUT / value).is_file(), f"there is no {value}"


def _others(_: Words) -> None:
    """A program that is not ours: nothing of it can be checked here."""


PROGRAMS: dict[str, Callable[[Words], None]] = {
    "memgpt-proxy": _memgpt_proxy,
    "scripts/serve": _serve,
    **{
        f"scripts/{path.name}": _script(f"scripts/{path.name}")
        for path in Path(CHECKOUT / "scripts").iterdir()
        if path.name != "serve"
    },
    "benchmarks/overhead/run": _overhead,
    ".venv/bin/python": _python,
    "python": _python,
    "python3": _python,
    "helm": _helm,
    "kubectl": _kubectl,
    "docker": _names_files,
    "buildah": _names_files,
    "cd": _folder,
    "git": _others,
    "openssl": _others,
    "pip": _others,
    "pipx": _others,
    "sqlite3": _others,
}
"""What checks the arguments of each program that the documentation may show."""
