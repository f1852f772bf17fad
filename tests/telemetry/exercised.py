"""A gateway's metrics after each of them has been used once, so that all series are there."""

from __future__ import annotations

from memgpt_proxy.telemetry import Telemetry


def exercised() -> Telemetry:
    telemetry = Telemetry()
    telemetry.request_ended("POST", "/v1/chat/completions", 200, 0.1)
    telemetry.store_asked("sqlite", "commit", "", 0.001)
    telemetry.request_limited("tokens")
    telemetry.key_used("team-a", 70)
    telemetry.turn_not_stored("full")
    telemetry.writes_wait("disk", 1)
    telemetry.queue("traces", lambda: 0)
    telemetry.read_hot(hit=True)
    telemetry.backends.retried("b")
    telemetry.backends.fell_back("b")
    telemetry.backends.was_busy("b")
    telemetry.backends.left_out("b", out=True)
    telemetry.backends.requests_wait("b", 1)
    telemetry.turns.models.accepted("m")
    telemetry.turns.called("recall_storage_search", "", 0.1)
    return telemetry
