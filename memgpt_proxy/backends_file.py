"""The file that describes several backends: which models each takes, and how it is called.

It is YAML, named by the setting ``backends_file``, and read once at the start. A leaf beside
``config``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    HttpUrl,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from memgpt_proxy.config import HEADER_NAME, Settings, is_loopback
from memgpt_proxy.settings_sources import read_yaml
from memgpt_proxy.traits import Trait
from memgpt_proxy.wrong_settings import SettingsError, unknown_name, wrong_value

Seconds = Annotated[float, Field(gt=0)]
_HEADER_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
_OF_THE_CONNECTION = frozenset({"connection", "content-length", "host", "transfer-encoding"})


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BackendEntry(_Strict):
    """One backend. Durations are seconds; what is unset is as in the settings.

    Attributes:
        name: What it is called in metrics and errors.
        models: Names of models that it takes, or patterns with ``*``, ``?`` and ``[…]``.
        aliases: Further names, and the model that each means here.
        api_key, api_key_env, api_key_file: Its key, or where that is; one of them at the most. A
            path is relative to the file of backends.
        pass_client_key: Each client's own key is sent to it.
        headers: What is added to every request.
        context_window: Tokens of its models' windows.
        profile: What it needs of a request; unset, that is found out.
        max_concurrent: Requests at the same time; others wait.
        max_waiting: How many may wait; more are refused.
        wait_seconds: How long one waits.
        retries: How often a failed request is made again.
        retry_seconds: Time for all of that; what would take longer is not tried.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    url: HttpUrl
    models: tuple[str, ...] = ()
    aliases: dict[str, str] = Field(default_factory=dict)
    api_key: SecretStr | None = None
    api_key_env: str | None = None
    api_key_file: Path | None = None
    pass_client_key: bool = False
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    context_window: int | None = Field(None, ge=2048)
    profile: frozenset[Trait] | None = None
    max_concurrent: int | None = Field(None, ge=1)
    max_waiting: int = Field(256, ge=0)
    wait_seconds: Seconds = 30.0
    retries: int = Field(2, ge=0, le=10)
    retry_seconds: Seconds = 20.0
    connect_timeout_seconds: Seconds | None = None
    first_byte_timeout_seconds: Seconds | None = None
    idle_timeout_seconds: Seconds | None = None

    @field_validator("api_key_file")
    @classmethod
    def _beside_the_file(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if key is None or str(key).startswith("~"):
            return key
        return Path((info.context or {}).get("directory", ""), key)

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not HEADER_NAME.fullmatch(name) or name.lower() in _OF_THE_CONNECTION:
                raise ValueError(f"{name!r} is no name of a header that can be added")
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name!r} cannot be sent")
        return headers

    @model_validator(mode="after")
    def _one_key_that_is_there(self) -> Self:
        given = [
            self.api_key is not None,
            self.api_key_env is not None,
            self.api_key_file is not None,
            self.pass_client_key,
        ]
        if sum(given) > 1:
            raise ValueError(
                "set one of api_key, api_key_env, api_key_file and pass_client_key: the client's "
                "key and the backend's own are never both sent"
            )
        if (key := self.key()) is not None and not _HEADER_VALUE.fullmatch(key):
            raise ValueError("its key is empty, or cannot be sent in a header")
        return self

    def key(self) -> str | None:
        """Return the backend's own key, from where it is kept; raises ValueError if not there."""
        if self.api_key is not None:
            return self.api_key.get_secret_value()
        if self.api_key_env is not None:
            if self.api_key_env not in os.environ:
                raise ValueError(f"api_key_env: there is no {self.api_key_env} in the environment")
            return os.environ[self.api_key_env].strip()
        if self.api_key_file is not None:
            return _read_key(self.api_key_file)
        return None

    def takes(self, model: str) -> str | None:
        """Return what ``model`` is called here; None where it is not taken."""
        if model in self.aliases:
            return self.aliases[model]
        return model if any(fnmatchcase(model, pattern) for pattern in self.models) else None


class BackendsFile(_Strict):
    """All backends.

    Attributes:
        default: Name of the backend for models that none takes, and for requests that name no
            model. Unset: such a model is not found; the first backend takes the others.
        fallbacks: For models, by their names or patterns of them: the models that answer, in
            this order, where theirs cannot. An alias that has none has those of its model.
    """

    backends: tuple[BackendEntry, ...]
    default: str | None = None
    fallbacks: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        names = [entry.name for entry in self.backends]
        if not names:
            raise ValueError("backends: there is none")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"there are two backends of the name {twice!r}")
        if self.default is not None and self.default not in names:
            raise ValueError(f"default: there is no backend of the name {self.default!r}")
        aliases = [alias for entry in self.backends for alias in entry.aliases]
        if twice := next((alias for alias in aliases if aliases.count(alias) > 1), None):
            raise ValueError(f"two backends have the alias {twice!r}")
        for model, others in self.fallbacks.items():
            if lost := next((other for other in others if self.place(other) is None), None):
                raise ValueError(f"fallbacks.{model}: no backend takes {lost!r}")
        return self

    @property
    def first(self) -> BackendEntry:
        """What takes requests that name no model."""
        return (
            next((entry for entry in self.backends if entry.name == self.default), None)
            or (self.backends[0])
        )

    def place(self, model: str) -> tuple[BackendEntry, str] | None:
        """Return the backend for a model and the model's name there; None where there is none.

        Aliases come first, then names, then patterns, each in the order of the file.
        """
        for entry in self.backends:
            if model in entry.aliases:
                return entry, entry.aliases[model]
        for entry in self.backends:
            if model in entry.models:
                return entry, model
        for entry in self.backends:
            if entry.takes(model) is not None:
                return entry, model
        return (self.first, model) if self.default is not None else None

    def candidates(self, model: str) -> Iterator[str]:
        """Give a model and those that answer in its place, by their names, each once."""
        seen = {model}
        yield model
        for other in self._fallbacks(model):
            if other not in seen:
                seen.add(other)
                yield other

    def named(self) -> Iterator[tuple[str, BackendEntry]]:
        """Give the names that clients can use which are no patterns, and whose they are."""
        for entry in self.backends:
            for name in (*entry.aliases, *entry.models):
                if not set("*?[") & set(name):
                    yield name, entry

    def _fallbacks(self, model: str) -> tuple[str, ...]:
        place = self.place(model)
        stands_for = model if place is None else place[1]
        for name in (model, stands_for):
            if name in self.fallbacks:
                return self.fallbacks[name]
            for pattern, others in self.fallbacks.items():
                if fnmatchcase(name, pattern):
                    return others
        return ()


def read_backends(settings: Settings) -> BackendsFile | None:
    """Return what the setting ``backends_file`` names; None where it is unset.

    Raises:
        SettingsError: It cannot be read, or something in it is wrong: file, backend and field
            are named, a value never shown.
    """
    file = settings.backends_file
    if file is None:
        return None
    content = read_yaml(file)
    try:
        told = BackendsFile.model_validate(content, context={"directory": file.parent})
    except ValidationError as error:
        wrong = "; ".join(_wrong_field(detail, content) for detail in error.errors())
        raise SettingsError(f"{file}: {wrong}") from None
    if clash := next(_clashes(told, settings), None):
        raise SettingsError(f"{file}: {clash}")
    return told


def _clashes(told: BackendsFile, settings: Settings) -> Iterator[str]:
    """Tell of what does not go with the other settings."""
    model = settings.summary_model
    if model is not None and told.place(model) is None:
        yield f"no backend takes summary_model, {model!r}"
    if not settings.takes_any_key or is_loopback(settings.host):
        return
    for entry in told.backends:
        if entry.key() is not None:
            yield (
                f"backend {entry.name} has a key and {settings.host} is open to others: anyone "
                "could spend it. Set accepted_keys or keys_file, or listen on 127.0.0.1"
            )


def _wrong_field(detail: Mapping[str, Any], content: Mapping[str, Any]) -> str:
    known: Iterable[str] = BackendsFile.model_fields
    what = wrong_value(detail)
    match detail["loc"]:
        case ("backends", int() as index, *path):
            where, known = [_called(content["backends"][index], index)], BackendEntry.model_fields
        case path:
            where = []
    if detail["type"] == "extra_forbidden":
        what = unknown_name("field", str(path[-1]), known)
    return ": ".join([*where, *([".".join(map(str, path))] if path else []), what])


def _called(entry: object, index: int) -> str:
    """Return what a backend is called in the file, or which it is there."""
    name = entry.get("name") if isinstance(entry, dict) else None
    return f"backend {name}" if isinstance(name, str) else f"backend no. {index + 1}"


def _read_key(file: Path) -> str:
    try:
        return file.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ValueError(f"api_key_file: {file} cannot be read") from error
