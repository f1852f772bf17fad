"""What the routes under ``/memgpt`` take and answer: the API's document is made of these types."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from memgpt_proxy.stores.records import Role


class WorkingContext(BaseModel):
    """The working context as it is now. ``limit`` is its size in characters."""

    version: int
    content: str
    limit: int


class Edit(BaseModel):
    """A new working context, in place of the version that was read."""

    version: int
    content: str


class Message(BaseModel):
    """A message that was said. ``abandoned``: its branch was left (edited, regenerated)."""

    id: str
    role: Role
    content: str
    created: float
    abandoned: bool


class Passage(BaseModel):
    """A passage of archival storage."""

    id: str
    content: str
    created: float


class RecallPage(BaseModel):
    """A page of messages. ``total`` counts all that there are, on any page."""

    data: list[Message]
    total: int
    page: int
    pages: int


class ArchivalPage(BaseModel):
    """A page of passages. ``total`` counts all that there are, on any page."""

    data: list[Passage]
    total: int
    page: int
    pages: int


class Note(BaseModel):
    """A text to be stored."""

    content: str


class Inserted(BaseModel):
    """How many passages a text became."""

    inserted: int


class Call(BaseModel):
    """A function that was called; the last three where the gateway has run it."""

    name: str
    arguments: str
    result: str | None = None
    failed: bool | None = None
    seconds: float | None = None


class Step(BaseModel):
    """One call of the model. ``usage`` is OpenAI's."""

    seconds: float
    usage: dict[str, object]
    calls: list[Call]


class Flush(BaseModel):
    """How many messages were evicted from the queue."""

    evicted: int


class Trace(BaseModel):
    """What a turn did. ``undone`` names turns of discarded replies that were rolled back for it."""

    turn: str
    created: float
    model: str
    seconds: float
    degraded: bool
    finish_reason: str | None
    error: str | None
    usage: dict[str, object]
    flushes: list[Flush]
    undone: list[str]
    steps: list[Step]


class Traces(BaseModel):
    """Traces, the newest first. ``before`` leads to those that follow; null where none do."""

    data: list[Trace]
    before: str | None


class Holdings(BaseModel):
    """How many records there were, by kind."""

    messages: int
    queue_states: int
    conversations: int
    passages: int
    working_contexts: int
    traces: int
    vectors: int


class Erased(BaseModel):
    """What erased memories held; ``users`` counts those of users, where all were meant."""

    erased: Holdings
    users: int | None = None


class Imported(BaseModel):
    """How many records were imported, by kind."""

    imported: dict[str, int]


class ErrorDetail(BaseModel):
    """What went wrong, in OpenAI's words."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """OpenAI's error."""

    error: ErrorDetail


class Health(BaseModel):
    """How the gateway is."""

    status: Literal["ok", "degraded", "draining", "unavailable"]
    store: Literal["full", "away"] | None = None
