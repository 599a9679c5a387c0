"""Traces: a span for each request under its caller's, one for each wait for the store, and nothing in them to hide."""

from collections.abc import AsyncIterator

import httpx
import pytest
import redis

from authsvc.app import build
from authsvc.composition import open_deps
from authsvc.settings import Settings, traces_wanted
from tests.canaries import Canaries, run_through_everything
from tests.conftest import PATIENT, Service, bearer, leaving_streams

pytest.importorskip(
    "opentelemetry.exporter.otlp.proto.http", reason="OpenTelemetry is not installed: pip install '.[otel]'"
)

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from authsvc.web.middleware.tracing import Tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
async def traced(
    service: Service, exporter: InMemorySpanExporter, valkey_url: str, settings: Settings
) -> AsyncIterator[Service]:
    """The same service, with traces."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    async with open_deps(settings, valkey_url, service.deps.clock, span=tracing.span, timeouts=PATIENT) as deps:
        app = leaving_streams(tracing.around(build(deps)))
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False, client=("192.0.2.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://auth.test") as http:
            yield Service(deps, app, http, service.admin)


def of_requests(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]


async def test_a_request_is_a_span_under_its_callers(traced: Service, exporter: InMemorySpanExporter) -> None:
    """The span of a request is in the trace of its caller, below its span; the store's are below the request's."""
    await traced.user()
    token = (await traced.login())["access_token"]
    exporter.clear()
    await traced.http.get("/me", headers=bearer(token) | CONTEXT)
    (server,) = of_requests(exporter)
    assert server.name == "GET /me"
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET", "http.route": "/me", "http.response.status_code": 200,
    }  # fmt: skip
    assert server.context is not None
    assert server.parent is not None
    assert (f"{server.context.trace_id:032x}", f"{server.parent.span_id:016x}") == (TRACE, PARENT)
    asked = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert asked
    for span in asked:
        assert span.parent is not None
        assert span.parent.span_id == server.context.span_id
        assert server.start_time is not None
        assert span.start_time is not None
        assert server.start_time <= span.start_time


async def test_without_a_caller_it_is_the_first(traced: Service, exporter: InMemorySpanExporter) -> None:
    """A request without a context, or with a broken one, begins a trace of its own."""
    for headers in ({}, {"traceparent": "00-zz-zz-01"}):
        exporter.clear()
        await traced.http.get("/healthz", headers=headers)
        (server,) = of_requests(exporter)
        assert server.parent is None


async def test_an_outage_is_an_error(traced: Service, exporter: InMemorySpanExporter, valkey: "redis.Redis") -> None:
    """A 503 is an error of the span, a refusal is none; neither has a description."""
    await traced.user()
    exporter.clear()
    await traced.http.get("/me")
    valkey.delete("service")
    await traced.http.post("/introspect", data={"token": "tok_x"}, auth=traced.admin)
    refused, failed = of_requests(exporter)
    assert refused.status.status_code is StatusCode.UNSET
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None
    assert all(not span.events for span in exporter.get_finished_spans())


@pytest.mark.slow
async def test_no_canary_in_a_span(traced: Service, exporter: InMemorySpanExporter) -> None:
    """After a run through every flow no span holds a secret, a name, a subject, a handle or an address."""
    canaries = Canaries()
    await run_through_everything(traced, canaries)
    await traced.http.get("/admin/users/tok_secret?token=tok_secret", headers=CONTEXT)
    users = (await traced.http.get("/admin/users", params={"limit": 1000}, auth=traced.admin)).json()["items"]
    spans = exporter.get_finished_spans()
    assert len(spans) > 100
    text = "".join(span.to_json() for span in spans)
    assert canaries.in_text(text) == []
    for private in (
        "tok_",
        "192.0.2.1",
        *(user["sub"] for user in users),
        *(f'"{user["username"]}"' for user in users),
    ):
        assert private not in text


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_SERVICE_NAME": "auth"}, False),
    ],
)
def test_off_unless_told_where(environment: dict[str, str], wanted: bool) -> None:
    """Traces are sent only where OpenTelemetry's own variables say so."""
    assert traces_wanted(environment) is wanted
