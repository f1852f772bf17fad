"""Where settings come from: the command line, the environment, a YAML file.

``context_window`` is ``--context-window`` on the command line, ``MEMGPT_CONTEXT_WINDOW`` in the
environment and ``context_window`` in the file; the first of these that names it wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from memgpt_proxy.config import ENV_PREFIX, Settings

_OF_A_SERVICE = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_|$)")


class SettingsFileError(Exception):
    """The file with the settings cannot be used; the message says why, in one line."""


def load_settings(options: Mapping[str, Any], file: Path | None = None) -> Settings:
    """Read the settings from ``options`` (command line), the environment and a YAML file.

    Raises:
        pydantic.ValidationError: A value is wrong, or a name unknown.
        SettingsFileError: The file cannot be read, or is no YAML file of settings.
    """
    in_file = read_yaml(file) if file else {}

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

    return Settings.model_validate(Layered(**options).model_dump())


def unknown_variables(environment: Iterable[str]) -> list[str]:
    """Return the names of variables that look like settings and are none, such as misspelt ones.

    What Kubernetes sets for services of such names is left out.
    """
    known = {f"{ENV_PREFIX}{name}".upper() for name in (*Settings.model_fields, "config")}
    return sorted(
        name
        for name in environment
        if name.upper().startswith(ENV_PREFIX)
        and name.upper() not in known
        and not _OF_A_SERVICE.search(name)
    )


def read_yaml(file: Path) -> dict[str, Any]:
    """Return what a YAML file of names and values holds. Raises SettingsFileError."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsFileError(f"{file}: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise SettingsFileError(f"{file}: not valid YAML{_place(error)}") from error
    if not isinstance(values, dict | None):
        raise SettingsFileError(f"{file}: no names with values, such as port: 8484")
    return {str(name): value for name, value in (values or {}).items()}


def _place(error: Exception) -> str:
    """Return where it is wrong; never what stands there, which may be a key."""
    mark = getattr(error, "problem_mark", None)
    return f" at line {mark.line + 1}" if mark else ""
