"""One trace from a backend through the server to a subscriber, as a collector of OpenTelemetry receives it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aerostack_realtime import Aerostack, RealtimeClient
from tests.flow.conftest import SERVE_KEY
from tests.flow.wire import PATIENCE_SECONDS

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Span(Struct, frozen=True):
    """A span as the collector received it."""

    trace: str
    id: str
    parent: str
    name: str
    service: str


class Collector:
    """Keeps the spans that a server sends, by name."""

    def __init__(self) -> None:
        self._spans: dict[str, Span] = {}
        self._more = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        for resource in sent.resource_spans:
            service = next(e.value.string_value for e in resource.resource.attributes if e.key == "service.name")
            for scope in resource.scope_spans:
                for each in scope.spans:
                    ids = each.trace_id.hex(), each.span_id.hex(), each.parent_span_id.hex()
                    self._spans[each.name] = Span(*ids, each.name, service)
        self._more.set()
        return web.Response(content_type="application/x-protobuf")

    async def span(self, name: str) -> Span:
        """The newest span of that name, once there is one."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while name not in self._spans:
                self._more.clear()
                await self._more.wait()
        return self._spans[name]


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Collector]:
    """A collector, to which servers send their spans at once."""
    made = Collector()
    app = web.Application()
    app.add_routes([web.post("/v1/traces", made.receive)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{runner.addresses[0][1]}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop-realtime")
    yield made
    await runner.cleanup()


async def test_one_trace_runs_from_a_backend_to_a_subscriber(serve: Serve, collector: Collector) -> None:
    server = await serve("anonymous = true\ntracing = true")
    async with RealtimeClient(server.url) as reader, Aerostack(server.url, api_key=SERVE_KEY) as backend:
        channel = await reader.channel("orders/7").subscribe()
        await backend.socket.emit("paid", 1, "orders/7", persist=True, traceparent=f"00-{TRACE}-{CALLER}-01")
        async with asyncio.timeout(PATIENCE_SECONDS):
            event = await anext(aiter(channel))
    publish, commit = await collector.span("publish"), await collector.span("commit")
    assert (publish.trace, publish.parent, publish.service) == (TRACE, CALLER, "shop-realtime")
    assert (commit.trace, commit.parent) == (TRACE, publish.id)
    assert event.traceparent is not None
    assert event.traceparent.split("-")[1:3] == [TRACE, publish.id]
    assert (await collector.span("connect")).trace != TRACE


async def test_the_header_of_a_call_begins_the_trace(serve: Serve, collector: Collector) -> None:
    server = await serve("anonymous = true\ntracing = true")
    async with RealtimeClient(server.url) as reader, Aerostack(server.url, api_key=SERVE_KEY) as backend:
        channel = await reader.channel("orders/8").subscribe()
        await backend.socket.emit("paid", 1, "orders/8")
        async with asyncio.timeout(PATIENCE_SECONDS):
            event = await anext(aiter(channel))
    call = await collector.span("POST /api/v1/realtime/publish")
    assert event.traceparent is not None
    assert event.traceparent.split("-")[1:3] == [call.trace, call.id]
