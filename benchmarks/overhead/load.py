"""What is sent, and the load generator that sends it."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from benchmarks.process import pinned

WHOLE_ANSWER_PIECES = 4  # what the mock backend answers when the model's name sets no pace
STREAM_PIECES = 100
STREAM_INTERVAL_MS = 10
MODEL = "mock"
STREAM_MODEL = f"mock-{STREAM_PIECES}x{STREAM_INTERVAL_MS}ms"
STREAM_SECONDS = STREAM_PIECES * STREAM_INTERVAL_MS / 1000


class LoadError(Exception):
    """The load generator got no usable answers."""


class Summary(TypedDict):
    """The load generator's answer; see load/summary.go."""

    requests: int
    errors: int
    first_error: str
    requests_per_second: float
    pieces_per_second: float
    latency_ms: dict[str, float]
    first_text_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Request:
    """One kind of request: the path, the body's kind, and how much text its answer must hold."""

    path: str
    kind: str
    pieces: int = 0
    stream: bool = False
    model: str = MODEL
    ramp: float = 0.0
    """Seconds over which the clients start, evenly."""


CHAT = Request("/v1/chat/completions", "chat", WHOLE_ANSWER_PIECES)
CHAT_STREAM = Request(
    "/v1/chat/completions", "chat", STREAM_PIECES, True, STREAM_MODEL, STREAM_SECONDS
)
TEXT_STREAM = Request(
    "/v1/completions", "completions", STREAM_PIECES, True, STREAM_MODEL, STREAM_SECONDS
)
EMBEDDINGS = Request("/v1/embeddings", "embeddings")
MODELS = Request("/v1/models", "none")


@dataclass(frozen=True, slots=True)
class Generator:
    """The load generator's program and the cores it may use."""

    program: Path
    cores: Sequence[int]

    def send(
        self,
        request: Request,
        ports: Sequence[int],
        clients: int,
        seconds: float,
        headers: Sequence[str],
    ) -> Summary:
        """Keep `clients` busy for `seconds`; each asks at the ports in turn."""
        command = [
            str(self.program),
            f"-address={','.join(f'127.0.0.1:{port}' for port in ports)}",
            f"-path={request.path}",
            f"-kind={request.kind}",
            f"-model={request.model}",
            f"-stream={str(request.stream).lower()}",
            f"-pieces={request.pieces}",
            f"-clients={clients}",
            f"-duration={seconds + request.ramp}s",
            f"-ramp={request.ramp}s",
            f"-headers={'|'.join(headers)}",
        ]
        done = subprocess.run(pinned(command, self.cores), capture_output=True, check=False)
        if done.returncode:
            raise LoadError(done.stderr.decode(errors="replace"))
        return _checked(json.loads(done.stdout))


def _checked(summary: Summary) -> Summary:
    if not summary["requests"]:
        raise LoadError(f"no request was answered: {summary['first_error']}")
    return summary
