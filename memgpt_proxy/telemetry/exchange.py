"""One HTTP request and its answer, as logs and metrics know it.

The exchange of the request at hand is found anywhere in its task, and in the tasks that it
starts, without being handed through.
"""

from __future__ import annotations

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex

from memgpt_proxy.telemetry.spans import Span

_PROCESS = token_hex(8)
_NUMBERS = count(1)
_ID = re.compile(rb"[\w.:/+=-]{1,128}", re.ASCII)

CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)
"""The exchange at hand; None in what no request has asked for."""


@dataclass(slots=True)
class Exchange:
    """A request that is being answered.

    Attributes:
        id: Its ``x-request-id``.
        route: What of its path may stand in a metric.
        began: When it came, in seconds of ``time.perf_counter``.
        status: Of the answer; 0 as long as there is none.
        answered: When the last of the answer was there to be sent, by the same clock; None until
            then. What its turn does behind it is no part of it.
        key: Which API key asks: its name, or the digits that stand for it; none where none is
            accepted.
        issued: That name is one of the operator's, who has issued the key.
        model: What its turn asks for, as the client names it.
        backend_id: The backend's ``x-request-id``, where the answer has that in place of ours.
        first_token: Seconds until the first word of the reply was there.
        steps: Calls of the backend in its turn.
        tokens: Tokens that these used.
        span: Its span; None where nobody wants them.
        within: The innermost span that is under way: what is begun now belongs to it.
    """

    id: str
    method: str
    path: str
    route: str
    began: float = field(default_factory=time.perf_counter)
    status: int = 0
    answered: float | None = None
    key: str = ""
    issued: bool = False
    model: str = ""
    backend_id: str = ""
    first_token: float | None = None
    steps: int = 0
    tokens: int = 0
    degraded: bool = False
    span: Span | None = None
    within: Span | None = None

    @property
    def passed(self) -> float:
        """Seconds since it came, up to the end of its answer."""
        return (self.answered or time.perf_counter()) - self.began


def request_id(given: bytes | None) -> str:
    """Return the id of a request: the client's, if that is fit for a log, else a new one."""
    return fit_for_a_log(given) or f"req-{_PROCESS}-{next(_NUMBERS):x}"


def fit_for_a_log(given: bytes | None) -> str:
    """Return an id that somebody else has given; empty where it cannot stand in a log."""
    return given.decode("ascii") if given is not None and _ID.fullmatch(given) else ""
