"""Spans over OTLP/HTTP by OpenTelemetry's SDK. Imported only where they are asked for.

Where they go, how many are kept and all else is told by the standard ``OTEL_*`` variables of the
environment. Spans are sent by a thread of the SDK's; where nobody takes them they are dropped.
"""

from __future__ import annotations

from threading import Thread

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span as SdkSpan
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from memgpt_proxy import __version__
from memgpt_proxy.telemetry.spans import Attributes, Headers, Kind, Span

_SERVICE = "memgpt-proxy"
_CLOSE_SECONDS = 5.0
_TRACE_CONTEXT = frozenset({b"traceparent", b"tracestate"})
_KINDS = {
    Kind.SERVER: SpanKind.SERVER,
    Kind.CLIENT: SpanKind.CLIENT,
    Kind.INTERNAL: SpanKind.INTERNAL,
}


class OtlpSpan:
    """A span of the SDK's, and what its children hang on."""

    __slots__ = ("_propagator", "_span", "context")

    def __init__(self, span: SdkSpan, propagator: TraceContextTextMapPropagator) -> None:
        self._span = span
        self._propagator = propagator
        self.context = set_span_in_context(span, Context())

    def add(self, attributes: Attributes) -> None:
        """Tell more of it."""
        self._span.set_attributes(dict(attributes))

    def end(self, error: str = "") -> None:
        """It is over; ``error`` is a word for what went wrong."""
        if error:
            self._span.set_attribute("error.type", error)
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def headers(self, headers: Headers) -> list[tuple[bytes, bytes]]:
        """Return headers with this span as W3C's trace context, in place of another."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, self.context)
        others = [header for header in headers if header[0] not in _TRACE_CONTEXT]
        return [*others, *((name.encode(), value.encode()) for name, value in carrier.items())]


class OtlpSpans:
    """Makes spans and sends them."""

    def __init__(self) -> None:
        ours = Resource.create({"service.name": _SERVICE, "service.version": __version__})
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("memgpt_proxy", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def request(self, name: str, headers: Headers, attributes: Attributes) -> Span:
        """Begin the span of a client's request, in the trace that its headers name."""
        told = {
            key.decode("latin-1"): value.decode("latin-1")
            for key, value in headers
            if key in _TRACE_CONTEXT
        }
        return self._begun(name, Kind.SERVER, self._propagator.extract(told, Context()), attributes)

    def begin(self, name: str, kind: Kind, within: Span, attributes: Attributes) -> Span:
        """Begin a span within another."""
        context = within.context if isinstance(within, OtlpSpan) else Context()
        return self._begun(name, kind, context, attributes)

    def close(self) -> None:
        """Send what is not sent yet, for a few seconds at most; a receiver may be away."""
        closing = Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _begun(self, name: str, kind: Kind, context: Context, attributes: Attributes) -> OtlpSpan:
        span = self._tracer.start_span(
            name, context, kind=_KINDS[kind], attributes=dict(attributes)
        )
        return OtlpSpan(span, self._propagator)
