"""Where settings come from: the command line, the environment, a YAML file.

``context_window`` is ``--context-window`` on the command line, ``MEMGPT_CONTEXT_WINDOW`` in the
environment and ``context_window`` in the file; the first of these that names it wins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from memgpt_proxy.config import ENV_PREFIX, Settings
from memgpt_proxy.wrong_settings import SettingsError, unknown_name, wrong_value

_MERGE = "<<"
"""What YAML has for a name where another mapping is taken in."""

_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_|$)")


def load_settings(options: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Read the settings from ``options`` (command line), the environment and a YAML file.

    Relative paths in the file are relative to it, others to the working directory.

    Raises:
        SettingsError: A value is wrong, or a name in the file unknown; all such are told, each
            with where it comes from. Or the file cannot be read, or is no YAML file of settings.
    """
    in_file = _beside(file, read_yaml(file)) if file else {}

    class Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Command line, then environment, then the file."""
            return init_settings, env_settings, InitSettingsSource(settings_cls, in_file)

    try:
        return Settings.model_validate(Layered(**options).model_dump())
    except ValidationError as error:
        source = _sources(options, file, in_file)
        wrong = "; ".join(_wrong_setting(detail, source) for detail in error.errors())
        raise SettingsError(wrong) from error


def option_name(name: str) -> str:
    """Return the command-line option of a setting, without its dashes."""
    return name.replace("_", "-")


def unknown_variables(environment: Iterable[str]) -> dict[str, str]:
    """Return variables that look like settings and are none, with what to say of each.

    What Kubernetes sets for services of such names is left out.
    """
    known = {name.upper() for name in (*Settings.model_fields, "config")}
    return {
        name: unknown_name("setting", name, known, prefix=ENV_PREFIX)
        for name in sorted(environment)
        if name.upper().startswith(ENV_PREFIX)
        and name.upper().removeprefix(ENV_PREFIX) not in known
        and not _OF_A_SERVICE.search(name)
    }


class _Twice(yaml.YAMLError):
    """A name stands twice among those of one mapping; the message says where."""


class _Loader(yaml.SafeLoader):
    """Reads plain YAML, in which no name may stand twice: the last would win, without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping. Raises _Twice."""
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for name, _ in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.value == _MERGE:
                continue
            line = name.start_mark.line + 1
            if name.value in lines:
                raise _Twice(f"a name stands twice, at line {lines[name.value]} and at line {line}")
            lines[name.value] = line
        return node


def read_yaml(file: Path) -> dict[str, Any]:
    """Return what a YAML file of names and values holds. Raises SettingsError."""
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from error
    except _Twice as error:
        raise SettingsError(f"{file}: {error}") from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        raise SettingsError(f"{file}: not valid YAML{_place(error)}") from error
    if not isinstance(values, dict | None):
        raise SettingsError(f"{file}: no names with values, such as port: 8484")
    return {str(name): value for name, value in (values or {}).items()}


def _place(error: Exception) -> str:
    """Return where it is wrong; never what stands there, which may be a key."""
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark else ""


def _holds(name: str, kind: type) -> bool:
    """Return whether the value of a setting is one, or some, of a kind."""
    field = Settings.model_fields.get(name)
    return field is not None and kind in (field.annotation, *get_args(field.annotation))


def _beside(file: Path, values: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds, with paths as they are seen from the working directory."""
    return {
        name: file.parent / value
        if _holds(name, Path) and isinstance(value, str) and not value.startswith("~")
        else value
        for name, value in values.items()
    }


Source = Callable[[str], str | None]


def _sources(options: Collection[str], file: Path | None, in_file: Collection[str]) -> Source:
    """Return what tells where a setting's value comes from; None where it is the default."""
    variables = {name.upper(): name for name, value in os.environ.items() if value}

    def source(name: str) -> str | None:
        if name in options:
            return f"--{option_name(name)}"
        if variable := variables.get(f"{ENV_PREFIX}{name}".upper()):
            return variable
        return str(file) if name in in_file else None

    return source


def _wrong_setting(detail: Any, source: Source) -> str:
    """Return what is wrong with one setting, or with some that do not go together."""
    if not detail["loc"]:
        return _wrong_together(wrong_value(detail), source)
    first = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        plain = first.lower().removeprefix(ENV_PREFIX.lower())
        what, shown = unknown_name("setting", plain, Settings.model_fields), ""
    else:
        what, shown = wrong_value(detail), _shown(first, detail["input"])
    return f"{'.'.join(map(str, detail['loc']))}: {what} ({shown}from {source(first)})"


def _wrong_together(what: str, source: Source) -> str:
    named = set(re.findall(r"\w+", what))
    given = [(name, source(name)) for name in Settings.model_fields if name in named]
    told = ", ".join(f"{name} from {where}" for name, where in given if where)
    return f"{what} ({told})" if told else what


def _shown(name: str, value: object) -> str:
    """Return a wrong value as it is told: keys and passwords stay out of logs."""
    if not isinstance(value, str | int | float) or _holds(name, SecretStr) or "@" in str(value):
        return ""
    return f"it is {value!r}, "
