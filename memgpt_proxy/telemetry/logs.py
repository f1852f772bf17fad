"""Log records as lines: for a person, or as JSON objects; each with the id of its request."""

from __future__ import annotations

import json
import logging
import math
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

import orjson

from memgpt_proxy.telemetry.exchange import CURRENT, Exchange

log = logging.getLogger(__name__)

EXCHANGE = "exchange"
"""The attribute of a record of the access log."""

_NAMED = "request_id"
_SELDOM_SECONDS = 60.0


def configure(level: str, *, as_json: bool, stream: TextIO) -> None:
    """Have log records of this level and above written to ``stream``, one a line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("sse_starlette").setLevel(logging.INFO)  # its debug records hold texts
    logging.getLogger("elastic_transport").setLevel(logging.WARNING)  # it has one for each request
    # Each attempt that is made again has a traceback there; the last one is an error of the call.
    logging.getLogger("elastic_transport.transport").setLevel(logging.ERROR)
    # It has one for each attempt that fails, some forty a minute while Elasticsearch is away.
    logging.getLogger("elastic_transport.node_pool").addFilter(_is_news)
    # It has one or two for each attempt, every few seconds for as long as the receiver is away.
    spans = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    spans.addFilter(Seldom(_SELDOM_SECONDS))
    logging.captureWarnings(capture=True)
    if as_json:  # whoever reads that reads nothing else
        sys.excepthook = _tell_what_ends_it
        threading.excepthook = _tell_what_ends_a_thread
    # What no line shows need not be found out for each record (the standard library's advice).
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record tells of a node more than that it is away still."""
    told = record.args
    return not (isinstance(told, tuple) and len(told) == 3 and told[1] != 1)  # which failure it is


class Seldom(logging.Filter):
    """Lets a record through, and the next one only after so many seconds."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._seconds = seconds
        self._clock = clock
        self._next = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be written."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


def _tell_what_ends_it(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("it ends by an error that nothing has expected", exc_info=(kind, error, trace))


def _tell_what_ends_a_thread(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None:
        told = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        log.critical("a thread ends by an error that nothing has expected", exc_info=told)


class TextFormatter(logging.Formatter):
    """``2026-02-07 10:00:00,000 INFO memgpt_proxy.access [req-…]: POST /v1/… 200 …``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and a traceback's lines."""
        exchange: Exchange | None = getattr(record, EXCHANGE, None)
        told = record.getMessage() if exchange is None else as_text(exchange)
        exchange = exchange or CURRENT.get()
        named = f" [{exchange.id}]" if exchange else ""
        line = f"{self.formatTime(record)} {record.levelname} {record.name}{named}: {told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line: ``time`` (RFC 3339), ``level``, ``logger``, ``message`` and more."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        exchange: Exchange | None = getattr(record, EXCHANGE, None)
        told: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (current := exchange or CURRENT.get()) is not None:
            told[_NAMED] = current.id
        if exchange is not None:
            told |= as_fields(exchange)
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return _as_json(told)


def _as_json(told: dict[str, object]) -> str:
    try:
        return orjson.dumps(told, default=str).decode()
    except TypeError:  # a lone surrogate, which is no UTF-8
        return json.dumps(told, default=str)


def as_fields(exchange: Exchange) -> dict[str, object]:
    """Return what the access log tells of an exchange. Durations are in seconds."""
    told: dict[str, object] = {
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "seconds": round(exchange.passed, 6),
    }
    told |= _names(exchange)
    if exchange.first_token is not None:
        told["first_token_seconds"] = round(exchange.first_token, 6)
    if exchange.steps:
        told |= {"steps": exchange.steps, "tokens": exchange.tokens}
        told["degraded"] = exchange.degraded
    return told


def _names(exchange: Exchange) -> dict[str, str]:
    """Return who has asked, for what, and by which id the backend knows it, as far as is known."""
    names = {
        "key": exchange.key,
        "model": exchange.model,
        "backend_request_id": exchange.backend_id,
    }
    return {what: name for what, name in names.items() if name}


def as_text(exchange: Exchange) -> str:
    """Return an exchange as a person reads it in the access log."""
    parts = [
        f"{exchange.method} {exchange.path} {exchange.status or 'left'}",
        _milliseconds(exchange.passed),
    ]
    parts += [f"{what.replace('_', ' ')} {_plain(name)}" for what, name in _names(exchange).items()]
    if exchange.first_token is not None:
        parts.append(f"first token {_milliseconds(exchange.first_token)}")
    if exchange.steps:
        parts.append(f"steps {exchange.steps}, tokens {exchange.tokens}")
    if exchange.degraded:
        parts.append("degraded")
    return ", ".join(parts)


def _plain(name: str) -> str:
    """Return a name, which a client may have made up, so that the line stays one and its parts."""
    return name if name.isprintable() and ", " not in name else json.dumps(name)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
