"""Settings: one frozen object, read once at the start.

Each has one name, wherever it is set (``settings_sources``).
"""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from zoneinfo import ZoneInfo

from pydantic import Field, HttpUrl, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from memgpt_proxy.traits import Trait

ENV_PREFIX = "MEMGPT_"

HEADER_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]+", re.ASCII)
"""RFC 9110, section 5.6.2."""


SHORTEST_SECRET = 16
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:]+\]|[^\s/@?#:*]+)(:(\d+|\*))?")
_THIS_MACHINE = tuple(
    f"{scheme}://{host}:*"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "[::1]")
)
"""Origins of pages that this machine serves."""


class ReplyMode(StrEnum):
    """How the model speaks to the user."""

    AUTO = "auto"
    FUNCTION = "function"
    CONTENT = "content"


class CleanTurns(StrEnum):
    """What comes before an answer that has to be the backend's own."""

    MEMORY = "memory"
    PLAIN = "plain"


class Rendering(StrEnum):
    """Which working context the prompt shows."""

    SNAPSHOT = "snapshot"
    LIVE = "live"


class Discarded(StrEnum):
    """What becomes of the memory that a discarded reply's turn has written."""

    ROLL_BACK = "roll_back"
    KEEP = "keep"


class Durability(StrEnum):
    """What a committed message survives."""

    PROCESS = "process"
    POWER = "power"


class WhenDegraded(StrEnum):
    """What becomes of a request that cannot be answered with memory."""

    ANSWER = "answer"
    REFUSE = "refuse"


class Tokenizer(StrEnum):
    """The table by which tokens are counted, before calibration."""

    CL100K = "cl100k_base"
    O200K = "o200k_base"


class LogLevel(StrEnum):
    """The least severe log records that are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """How log records are written."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


def _default_data_dir() -> Path:
    return Path("~/.local/share/memgpt-proxy").expanduser()


class Settings(BaseSettings):
    """Everything an operator can set. Sizes and durations name their unit."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8484, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    backend_url: HttpUrl | None = Field(
        None,
        description="Base URL of the chat-completions backend, such as http://127.0.0.1:11434/v1. "
        "Unset: a local backend is looked for, else the demo backend is started.",
    )
    backend_api_key: SecretStr | None = Field(
        None,
        description="Key for the backend. Unset: each client's own key goes through to it.",
    )
    backends_file: Path | None = Field(
        None,
        description="YAML file of several backends, in place of backend_url: models, keys, limits, "
        "retries and fallbacks of each (docs/backends.md).",
    )
    accepted_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="API keys that clients may use, separated by commas. Empty, and without "
        "keys_file: any key, and the backend decides. One of both is needed when backend_api_key "
        "is set and the gateway listens on more than this machine.",
    )
    keys_file: Path | None = Field(
        None,
        description="YAML file of keys that you have issued: the hash of each, by the name of who "
        "has it, with limits of its own (docs/keys.md). It is read anew when it changes.",
    )
    anonymous: bool = Field(
        False, description="Take requests without an API key; they share one namespace."
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        _THIS_MACHINE,
        description="Origins whose pages may use the gateway from a browser, separated by commas, "
        "such as https://chat.example; a port * is any, * alone is any origin, none is no page "
        "(docs/security.md).",
    )
    data_dir: Path = Field(
        default_factory=_default_data_dir,
        description="Directory of the embedded store and of the secret that namespaces are "
        "derived with. Default: ~/.local/share/memgpt-proxy.",
    )
    namespace_secret: SecretStr | None = Field(
        None,
        description="Secret that namespaces are derived with, of 16 characters or more. Unset: "
        "made in the data directory. Replicas need the same one, so it is needed with "
        "elasticsearch_url.",
    )
    elasticsearch_url: Annotated[tuple[HttpUrl, ...], NoDecode] = Field(
        (),
        description="Elasticsearch nodes, separated by commas, such as "
        "https://es-1:9200,https://es-2:9200. Unset: the embedded store.",
    )
    elasticsearch_api_key: SecretStr | None = Field(
        None, description="API key for Elasticsearch, as its console shows it (encoded)."
    )
    elasticsearch_username: str | None = Field(None, description="User name for Elasticsearch.")
    elasticsearch_password: SecretStr | None = Field(None, description="That user's password.")
    elasticsearch_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that Elasticsearch's is checked against."
    )
    elasticsearch_prefix: str = Field(
        "memgpt",
        pattern=r"^[a-z0-9][a-z0-9_]*$",
        description="What the names of the indices begin with.",
    )
    elasticsearch_shards: int = Field(
        1, ge=1, le=1024, description="Shards of an index when it is made (docs/scaling.md)."
    )
    redis_url: SecretStr | None = Field(
        None,
        description="Redis, for hot state across replicas, limits, live events and writes that "
        "wait: redis://, redis+sentinel://host:port,host:port/service or "
        "redis+cluster://host:port; with TLS rediss://, rediss+sentinel:// and rediss+cluster://; "
        "user and password before an @.",
    )
    redis_ca_file: Path | None = Field(
        None, description="Certificates (PEM) that Redis's is checked against."
    )
    journal_mib: int = Field(
        256,
        ge=1,
        description="Writes that may wait while Elasticsearch is away, in MiB; what is more is "
        "answered without being remembered.",
    )
    when_degraded: WhenDegraded = Field(
        WhenDegraded.ANSWER,
        description="What becomes of a request that cannot be answered with memory: answered "
        "from what is at hand, or refused with 503.",
    )
    requests_per_minute: int | None = Field(
        None, ge=1, description="Requests of one API key in a minute; what is more gets a 429."
    )
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Tokens (prompts and answers) of one API key in a minute."
    )
    traces: bool = Field(
        True, description="Keep what each turn did, for the owner of its key to look at."
    )
    embedding_model: str | None = Field(
        None,
        description="Embedding model, for searches by meaning beside those by words. Unset: by "
        "words only. When it is changed, everything is embedded anew, in the background.",
    )
    embedding_url: HttpUrl | None = Field(
        None,
        description="Base URL of its /embeddings. Unset: the backend's; needed with backends_file.",
    )
    embedding_api_key: SecretStr | None = Field(
        None, description="Key for it. Unset: backend_api_key, if the URL is the backend's."
    )
    durability: Durability = Field(
        Durability.PROCESS,
        description="What a committed message survives: the end of the process by any "
        "signal, or a power cut too (one disk flush a commit).",
    )
    context_window: int | None = Field(
        None,
        ge=2048,
        description="Tokens of the model's context window. Unset: as the backend reports it, "
        "else from a table of known models, else 8192.",
    )
    tokenizer: Tokenizer = Field(
        Tokenizer.CL100K,
        description="Table by which tokens are counted, then calibrated on the backend's usage.",
    )
    reply_reserve: int = Field(
        1024,
        ge=64,
        description="Tokens of the window kept free for the model's answer, at most a quarter "
        "of the window.",
    )
    pressure_at: float = Field(
        0.7, gt=0, le=1, description="Part of the window at which memory pressure is signalled."
    )
    flush_at: float = Field(
        1.0, gt=0, le=1, description="Part of the usable window at which the queue is flushed."
    )
    flush_to: float = Field(
        0.5, gt=0, lt=1, description="Part of the usable window that the queue keeps in a flush."
    )
    summary_tokens: int = Field(
        512, ge=64, description="Bound on the recursive summary, in tokens."
    )
    summary_model: str | None = Field(
        None, description="Model that writes the recursive summary. Unset: the request's own."
    )
    working_context_limit: int = Field(
        8000, ge=100, description="Size of the working context, in characters."
    )
    working_context_rendering: Rendering = Field(
        Rendering.SNAPSHOT,
        description="Show the working context as it stood at the last flush, which keeps the "
        "backend's prompt cache, or live, as it is at each step.",
    )
    conversation_headers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("X-OpenWebUI-Chat-Id", "X-LibreChat-Conversation-Id", "X-Conversation-Id"),
        description="Headers, separated by commas, with which clients that resend their history "
        "name the conversation, the preferred one first; X-MemGPT-Conversation goes before them.",
    )
    task_headers: Annotated[tuple[str, ...], NoDecode] = Field(
        ("X-OpenWebUI-Task",),
        description="Headers, separated by commas, with which user interfaces mark their own "
        "tasks (titles, tags and the like), which are kept out of memory; empty in other requests.",
    )
    task_prompts: Annotated[tuple[re.Pattern[str], ...], NoDecode] = Field(
        (),
        description="Prompts of such tasks besides the known ones: regular expressions, one a "
        "line, for how the only user message or the system prompt begins.",
    )
    reply_mode: ReplyMode = Field(
        ReplyMode.AUTO,
        description="How the model replies: by the function send_message, by plain content, "
        "or auto: asks for send_message and accepts content.",
    )
    clean_turns: CleanTurns = Field(
        CleanTurns.MEMORY,
        description="Whether the model may use memory where the client gets the backend's own "
        "answer (n, logprobs, response_format, a required tool): memory, or plain: one step "
        "without memory functions, streamed as it comes.",
    )
    backend_profile: Annotated[tuple[Trait, ...] | None, NoDecode] = Field(
        None,
        description="What the backend needs of a request, separated by commas: of "
        f"{', '.join(Trait)} (docs/backends.md). Unset: it is found out.",
    )
    discarded_replies: Discarded = Field(
        Discarded.ROLL_BACK,
        description="What becomes of the memory that a turn has written when its reply is "
        "regenerated, or its message edited, before anything followed: rolled back or kept.",
    )
    max_steps: int = Field(
        12, ge=2, le=1000, description="Backend calls in one turn; the last may only reply."
    )
    time_zone: str = Field(
        "UTC", description="Time zone of dates in prompts and search results, by IANA name."
    )
    max_request_mib: int = Field(
        64, ge=1, le=2048, description="Largest request body that is taken, in MiB."
    )
    keepalive_seconds: float = Field(
        10.0, gt=0, description="A stream that is silent for so long gets an SSE comment."
    )
    connect_timeout_seconds: float = Field(5.0, gt=0, description="Time to connect to the backend.")
    first_byte_timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Time until the backend begins to answer; set, all answers are asked "
        "for as streams. Unset: idle_timeout_seconds.",
    )
    idle_timeout_seconds: float = Field(
        600.0,
        gt=0,
        description="Longest silence of the backend inside its answer, or before one that comes "
        "whole; comments that keep a stream alive break it.",
    )
    drain_seconds: int = Field(
        600,
        ge=0,
        description="Time that running replies have to finish when the gateway is stopped, longer "
        "than the longest; what was said by then is stored.",
    )
    drain_delay_seconds: int = Field(
        0,
        ge=0,
        description="Time, when the gateway is stopped, in which it is not ready any more and "
        "takes requests still: as long as load balancers need to notice.",
    )
    max_connections: int = Field(
        1024, ge=1, description="Open connections to the backend at the most."
    )
    cache_mib: int = Field(
        16, ge=1, description="Memory for the hot state of namespaces in use, in MiB."
    )
    log_level: LogLevel = Field(LogLevel.INFO, description="Least severe log record written.")
    log_format: LogFormat = Field(
        LogFormat.AUTO,
        description="How log records are written: for a person, as JSON objects, or auto: for a "
        "person on a terminal, else as JSON.",
    )
    access_log: bool = Field(True, description="Write a log record for each request answered.")
    otlp_traces: bool = Field(
        False,
        description="Send spans of requests, steps and calls over OTLP/HTTP, as the environment's "
        "OTEL_* variables say. Needs the extra otel, which the image has (docs/observability.md).",
    )

    @field_validator(
        "accepted_keys",
        "backend_profile",
        "conversation_headers",
        "cors_origins",
        "elasticsearch_url",
        "task_headers",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        """Split at commas, and at the ends of lines, as in a file of keys."""
        if isinstance(value, str):
            parts = (part.strip() for part in re.split(r"[,\r\n]", value))
            return tuple(part for part in parts if part)
        return value

    @field_validator("task_prompts", mode="before")
    @classmethod
    def _split_at_lines(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(line for line in value.splitlines() if line.strip())
        return value

    @field_validator("namespace_secret")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value) < SHORTEST_SECRET:
            raise ValueError(f"needs {SHORTEST_SECRET} characters or more")
        return value

    @field_validator("conversation_headers", "task_headers")
    @classmethod
    def _header_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no header's name")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value == ("none",):
            return ()
        origins = tuple(origin.lower().rstrip("/") for origin in value)
        for origin in origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin, such as https://chat.example")
        return origins

    @field_validator(
        "backends_file", "data_dir", "elasticsearch_ca_file", "keys_file", "redis_ca_file"
    )
    @classmethod
    def _whole_path(cls, value: Path | None) -> Path | None:
        try:
            return value.expanduser().absolute() if value is not None else None
        except RuntimeError as error:
            raise ValueError("nobody has the home directory that it begins with") from error

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError("is no IANA time zone, such as Europe/Lisbon") from error
        return value

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if not self.flush_to < self.flush_at:
            raise ValueError("flush_to must be below flush_at")
        if self.pressure_at > self.flush_at:
            told = f"({self.pressure_at}) must not be above flush_at ({self.flush_at})"
            raise ValueError(f"pressure_at {told}: nothing would be signalled before a flush")
        return self

    @model_validator(mode="after")
    def _fleet_is_whole(self) -> Self:
        if self.elasticsearch_url and self.namespace_secret is None:
            raise ValueError(
                "elasticsearch_url is set without namespace_secret: replicas would not find each "
                "other's memories. Set the same one, of 16 characters or more, for all of them"
            )
        if (self.elasticsearch_username is None) != (self.elasticsearch_password is None):
            raise ValueError("elasticsearch_username and elasticsearch_password go together")
        if self.elasticsearch_api_key and self.elasticsearch_username:
            raise ValueError("set elasticsearch_api_key or elasticsearch_username, not both")
        return self

    @model_validator(mode="after")
    def _one_or_several_backends(self) -> Self:
        if self.backends_file and (self.backend_url or self.backend_api_key):
            raise ValueError(
                "backends_file names the backends and their keys: unset backend_url and "
                "backend_api_key"
            )
        return self

    @model_validator(mode="after")
    def _embedding_has_a_model_and_a_server(self) -> Self:
        if self.backends_file and self.embedding_model and self.embedding_url is None:
            raise ValueError("embedding_model is set with backends_file: set embedding_url too")
        if self.embedding_url and self.embedding_model is None:
            raise ValueError(
                "embedding_url is set without embedding_model: nothing would be embedded. Set the "
                "model too"
            )
        return self

    @model_validator(mode="after")
    def _no_open_gateway(self) -> Self:
        if self.backend_api_key and self.takes_any_key and not is_loopback(self.host):
            raise ValueError(
                f"backend_api_key is set and {self.host} is open to others: anyone could spend "
                "it. Set accepted_keys or keys_file, or listen on 127.0.0.1"
            )
        return self

    @property
    def takes_any_key(self) -> bool:
        """Whether clients may use any key, as far as the gateway goes."""
        return not self.accepted_keys and self.keys_file is None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
