"""A receiver of OTLP/HTTP: takes spans on loopback, as a collector does."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it came; ids are hexadecimal, ``parent`` is empty for a root."""

    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    seconds: float


class OtlpReceiver:
    """The server; a context manager. ``endpoint`` is for ``OTEL_EXPORTER_OTLP_ENDPOINT``."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.resource: dict[str, Any] = {}
        self._spans: list[Span] = []
        self._arrival = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver._take(self.path, self.rfile.read(int(self.headers["content-length"])))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def spans_of(self, trace: str) -> list[Span]:
        """What has come of a trace."""
        with self._arrival:
            return [span for span in self._spans if span.trace == trace]

    def wait_for(self, name: str, trace: str, seconds: float = 15.0) -> list[Span]:
        """Wait until a span of this name is there in a trace, and return all of the trace."""
        with self._arrival:
            arrived = self._arrival.wait_for(
                lambda: any((each.name, each.trace) == (name, trace) for each in self._spans),
                seconds,
            )
        assert arrived, f"no span {name}"
        return self.spans_of(trace)

    def _take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(body)
        with self._arrival:
            self.raw.append(body)
            for resource in request.resource_spans:
                self.resource = _attributes(resource.resource.attributes)
                for scope in resource.scope_spans:
                    self._spans += map(_span, scope.spans)
            self._arrival.notify_all()


def _span(span: trace_pb2.Span) -> Span:
    return Span(
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        seconds=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
    )


def _attributes(told: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in told}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind)
