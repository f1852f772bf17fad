"""What of a backend's error a client does not see: it may speak of what the gateway has added.

Servers name functions and repeat messages of a request that they refuse, and text of a model that
they cannot read. The status, the headers and the words for programs stay as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import orjson

from memgpt_proxy.agent.functions import HEARTBEAT
from memgpt_proxy.backend.refused import failed_call
from memgpt_proxy.errors import BackendBroken, BackendRefused, ErrorInStream, GatewayError
from memgpt_proxy.memory.alerts import PREFIX

log = logging.getLogger(__name__)

_UNREADABLE = "The model called a function in a way that its server cannot read."
_IN_OUR_WORDS = "The backend reported an error, in words about what the gateway adds to a request."
_OF_THE_BODY = frozenset({b"content-type", b"content-encoding"})
_SERVER_ERRORS = 500


def fit_for_client(error: GatewayError, own: Collection[str]) -> GatewayError:
    """Return an error as the client may see it: the very same, where it tells nothing of ours.

    Args:
        own: Names of functions that the client does not know.
    """
    if not isinstance(error, BackendRefused | BackendBroken):
        return error
    if failed_call(error) is not None:
        return BackendBroken(_UNREADABLE)
    told = error.body().decode(errors="replace")
    named = sorted(each for each in (*own, HEARTBEAT, PREFIX.strip()) if each in told)
    if not named:
        return error
    log.warning("an error of the backend was withheld: it speaks of %s", ", ".join(named))
    if isinstance(error, ErrorInStream):
        return ErrorInStream(_IN_OUR_WORDS, {})
    return (
        _refused(error, named)
        if isinstance(error, BackendRefused)
        else BackendBroken(_IN_OUR_WORDS)
    )


def _refused(error: BackendRefused, named: Collection[str]) -> BackendRefused:
    told = _error_in(error.body())
    kept = {
        name: value
        for name in ("type", "code")
        if isinstance(value := told.get(name), str | int) and not _names(value, named)
    }
    kind = "server_error" if error.status >= _SERVER_ERRORS else "invalid_request_error"
    body = {"message": _IN_OUR_WORDS, "type": kind, "param": None, "code": None, **kept}
    headers = [header for header in error.headers if header[0] not in _OF_THE_BODY]
    headers.append((b"content-type", b"application/json"))
    return BackendRefused(error.status, headers, orjson.dumps({"error": body}))


def _names(value: str | int, named: Collection[str]) -> bool:
    return any(each in str(value) for each in named)


def _error_in(body: bytes) -> Mapping[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    told = answer.get("error") if isinstance(answer, dict) else None
    return told if isinstance(told, dict) else {}
