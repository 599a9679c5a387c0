"""Traces for OpenTelemetry (the extra `otel`): a span for each request, and for each wait for the store.

The service does not use opentelemetry-instrumentation-asgi, because that writes path, query and addresses into spans.
Here these hold subjects and handles. Our spans hold a route, a status and times.
"""

import threading
from contextlib import AbstractContextManager

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from authsvc.web.scope import ROUTE

# How long the end of a worker waits for the last spans to be taken.
_FLUSH_S = 1.0


def from_environment() -> TracerProvider:
    """A provider that OpenTelemetry's SDK configures by its OTEL_ variables."""
    named = Resource.create({"service.name": "authsvc"}).merge(OTELResourceDetector().detect())
    provider = TracerProvider(resource=named)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """Spans of one worker."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("authsvc")
        self._context = TraceContextTextMapPropagator()

    def span(self, name: str) -> AbstractContextManager[object]:
        """A span around a wait for the store. It does not record exceptions."""
        return self._tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT,
            attributes={"db.system.name": "redis"},
            record_exception=False,
            set_status_on_exception=False,
        )

    def around(self, app: ASGIApp) -> ASGIApp:
        """The application with a span for each request, under that of its caller (W3C Trace Context)."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            given = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in _HEADERS}
            with self._tracer.start_as_current_span(
                "HTTP",
                context=self._context.extract(given),
                kind=SpanKind.SERVER,
                record_exception=False,
                set_status_on_exception=False,
            ) as span:

                async def noting(message: Message) -> None:
                    if message["type"] == "http.response.start":
                        if (route := scope.get(ROUTE)) is not None:
                            span.update_name(f"{route.method} {route.path}")
                            span.set_attributes({"http.request.method": route.method, "http.route": route.path})
                        span.set_attribute("http.response.status_code", message["status"])
                        if message["status"] >= 500:
                            span.set_status(StatusCode.ERROR)
                    await send(message)

                await app(scope, receive, noting)

        return traced

    def close(self) -> None:
        """Send the remaining spans; give up after a second."""
        last = threading.Thread(target=self._provider.shutdown, daemon=True)
        last.start()
        last.join(_FLUSH_S)


_HEADERS = (b"traceparent", b"tracestate")
