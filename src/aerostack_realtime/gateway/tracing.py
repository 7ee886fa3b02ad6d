"""Spans of OpenTelemetry: of HTTP calls, connects, persisted publishes and commits.

This module needs the extra `otel`, and is imported only by a server whose settings have `tracing = true`. Without
it nothing is recorded, and a `traceparent` is only passed on. No attribute has a payload or a credential.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aerostack_realtime.channels.outcome import Committed, Done, Outcome
from aerostack_realtime.database.message_store import Stored
from aerostack_realtime.gateway.http.callers import TRACED
from aerostack_realtime.gateway.websocket.endpoint import REFUSED
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.trace_context import NAME as TRACEPARENT

UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Calls of probes: there are many, and nobody looks for one of them."""
CONNECT: Final = "/api/realtime"
_SERVER_ERROR: Final = 500
_PROPAGATOR: Final = TraceContextTextMapPropagator()


def exporting(version: str) -> TracerProvider:
    """A provider that sends spans to the collector which the OTEL_* variables of the environment name."""
    own = Resource.create({SERVICE_NAME: "aerostack-realtime", SERVICE_VERSION: version})
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class Tracing:
    """The spans of one server. `defer` runs a callable once the current tick of the event loop has ended."""

    def __init__(self, provider: TracerProvider, defer: Callable[[Callable[[], None]], object]) -> None:
        self._defer = defer
        self._provider = provider
        self._tracer = provider.get_tracer("aerostack_realtime")
        self._group: list[tuple[Span, int]] = []

    async def close(self) -> None:
        """Send what waits."""
        await asyncio.to_thread(self._provider.shutdown)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A span for an HTTP call or a connect. Its traceparent is the request's from here on."""
        resource = request.match_info.route.resource
        route = "none" if resource is None else resource.canonical
        if route in UNTRACED:
            return await handler(request)
        connects = route == CONNECT
        name = "connect" if connects else f"{request.method} {route}"
        attributes = {"http.request.method": request.method, "http.route": route}
        span = self._begin(name, request.headers.get(TRACEPARENT), SpanKind.SERVER, attributes)
        request[TRACED] = _traceparent(span)
        try:
            response = await handler(request)
            status = 101 if connects and response.prepared else response.status
            span.set_attribute("http.response.status_code", status)
            if (code := request.get(REFUSED)) is not None:
                span.set_attribute("error.type", code)
                span.set_status(StatusCode.ERROR)
            elif status >= _SERVER_ERROR:
                span.set_status(StatusCode.ERROR)
            return response
        finally:
            span.end()

    def publish(self, topic: str, id: str | None, traceparent: str | None, done: Done) -> tuple[str, Done]:
        """Begin the span of a persisted publish, which `done` ends, and return the traceparent of its event.

        A publish that is refused before it enters the journal has no span.
        """
        attributes = {"messaging.system": "aerostack", "messaging.destination.name": topic}
        if id is not None:
            attributes["messaging.message.id"] = id
        span = self._begin("publish", traceparent, SpanKind.PRODUCER, attributes)

        def ended(outcome: Outcome | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                _fail(span, outcome)
            elif outcome.duplicate:
                span.set_attribute("aerostack.duplicate", True)
            span.end()
            done(outcome)

        return _traceparent(span), ended

    def commit(self, topic: str, traceparent: str | None, stored: Committed) -> Committed:
        """Begin the span of a message that waits for its commit, which `stored` ends."""
        attributes = {"db.operation.name": "INSERT", "messaging.destination.name": topic}
        span = self._begin("commit", traceparent, SpanKind.CLIENT, attributes)

        def ended(outcome: Stored | AerostackError) -> None:
            if isinstance(outcome, AerostackError):
                _fail(span, outcome)
            if not self._group:
                self._defer(self._end_group)
            self._group.append((span, time.time_ns()))
            stored(outcome)

        return ended

    def _end_group(self) -> None:
        """End the spans whose outcomes came in one tick of the event loop: they were committed together."""
        group, self._group = self._group, []
        for span, end in group:
            span.set_attribute("db.operation.batch.size", len(group))
            span.end(end)

    def _begin(self, name: str, traceparent: str | None, kind: SpanKind, attributes: dict[str, str]) -> Span:
        context = None if traceparent is None else _PROPAGATOR.extract({TRACEPARENT: traceparent})
        return self._tracer.start_span(name, context=context or Context(), kind=kind, attributes=attributes)


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    return carrier.get(TRACEPARENT, "")


def _fail(span: Span, error: AerostackError) -> None:
    span.set_attribute("error.type", error.code)
    span.set_status(StatusCode.ERROR, error.message)
