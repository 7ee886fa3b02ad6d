"""The spans of a server, in memory."""

from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from msgspec import Struct
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, StatusCode

from aerostack_realtime.gateway.http.callers import traceparent_of
from aerostack_realtime.gateway.tracing import Tracing
from aerostack_realtime.protocol.errors import Unavailable
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


class Recorded(Struct):
    """A server's spans as they end."""

    provider: TracerProvider
    exporter: InMemorySpanExporter

    def take(self) -> list[ReadableSpan]:
        found = list(self.exporter.get_finished_spans())
        self.exporter.clear()
        return found


@pytest.fixture
def recorded() -> Iterator[Recorded]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Recorded(provider, exporter)
    provider.shutdown()


@pytest.fixture
def node() -> Iterator[Node]:
    cluster = Replicas()
    found = cluster.start("a")
    cluster.settle()
    yield found
    cluster.close()


def header(span: ReadableSpan) -> str:
    return written(span.context)


def parent(span: ReadableSpan) -> str | None:
    return None if span.parent is None else written(span.parent)


def written(context: SpanContext | None) -> str:
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def received(peer: Peer) -> list[str | None]:
    return [each.get("traceparent") for each in peer.take() if each["type"] == "event"]


def test_without_tracing_a_traceparent_is_passed_on(node: Node) -> None:
    peer = node.peer()
    node.publish(1, traceparent=CALLER)
    node.publish(2)
    node.cluster.settle()
    assert received(peer) == [CALLER, None]


def test_an_event_that_nobody_heard_keeps_its_traceparent(node: Node) -> None:
    first = node.peer()
    cursor = first.take()[0]["cursor"]
    node.hub.leave(first)
    node.publish(1, traceparent=CALLER)
    node.cluster.settle()
    assert received(node.peer(since=cursor)) == [CALLER]


def test_a_persisted_publish_is_one_trace_with_its_commit_and_its_event(node: Node, recorded: Recorded) -> None:
    node.hub.trace(Tracing(recorded.provider, node.tick.defer))
    peer = node.peer()
    node.publish(1, persist=True, id="m-1", traceparent=CALLER)
    node.publish(2, persist=True)
    node.cluster.settle()
    node.store.commit()
    node.cluster.settle()
    first, second, *commits = recorded.take()
    assert (first.name, second.name, [each.name for each in commits]) == ("publish", "publish", ["commit"] * 2)
    assert (parent(first), parent(second)) == (CALLER, None)
    assert [parent(each) for each in commits] == [header(first), header(second)]
    assert received(peer) == [header(first), header(second)]
    assert dict(first.attributes or {}) == {
        "messaging.system": "aerostack",
        "messaging.destination.name": TOPIC,
        "messaging.message.id": "m-1",
    }
    assert [(each.attributes or {})["db.operation.batch.size"] for each in commits] == [2, 2]


def test_an_ephemeral_publish_has_no_span(node: Node, recorded: Recorded) -> None:
    node.hub.trace(Tracing(recorded.provider, node.tick.defer))
    peer = node.peer()
    node.publish(1, traceparent=CALLER)
    node.cluster.settle()
    assert (recorded.take(), received(peer)) == ([], [CALLER])


def test_a_failed_commit_is_an_error_in_both_spans(node: Node, recorded: Recorded) -> None:
    node.hub.trace(Tracing(recorded.provider, node.tick.defer))
    node.publish(1, persist=True)
    node.cluster.settle()
    node.store.commit(Unavailable("The database is away."))
    node.cluster.settle()
    node.store.full = True
    node.publish(2, persist=True)
    node.cluster.settle()
    found = recorded.take()
    assert sorted(each.name for each in found) == ["commit", "commit", "publish", "publish"]
    assert {each.status.status_code for each in found} == {StatusCode.ERROR}
    assert {(each.attributes or {})["error.type"] for each in found} == {"unavailable", "overloaded"}


async def test_a_call_has_a_span_whose_traceparent_its_events_get(recorded: Recorded) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=traceparent_of(request) or "")

    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=503)

    tracing = Tracing(recorded.provider, lambda _: None)
    app = web.Application(middlewares=[tracing.middleware])
    app.add_routes([web.get("/a/{name}", answer), web.get("/healthz", answer), web.get("/broken", broken)])
    async with TestClient(TestServer(app)) as client:
        text = await ask(client, "/a/secret")
        [span] = recorded.take()
        assert (span.name, text, parent(span)) == ("GET /a/{name}", header(span), CALLER)
        assert "secret" not in str(span.attributes)
        assert await ask(client, "/healthz") == CALLER
        assert recorded.take() == []
        await ask(client, "/broken")
        [span] = recorded.take()
        assert span.status.status_code is StatusCode.ERROR


async def ask(client: TestClient[web.Request, web.Application], path: str) -> str:
    response: aiohttp.ClientResponse = await client.get(path, headers={"traceparent": CALLER})
    return await response.text()
