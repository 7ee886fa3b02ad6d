"""Limits: what one client may use; a client beyond them gets an error, then a close; others do not notice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import jwt
import pytest

from aerostack_realtime.protocol import frames
from bench.proctree import cpu_seconds
from tests.flow.calls import Http
from tests.flow.wire import CONTINUATION, PATIENCE_SECONDS, PING, PONG, TEXT, Closed, Dial, Wire, frame

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

SECRET: Final = "the token secret of these limits, 32+"


def settings(*limits: str, more: str = "") -> str:
    return "\n".join([f'token_secret = "{SECRET}"\npublishable_keys = ["pk"]', more, "[limits]", *limits])


def token(user: str) -> str:
    return jwt.encode({"sub": user, "exp": time.time() + 300}, SECRET, algorithm="HS256")


class People:
    """Connections that are dropped at the end."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []

    async def __call__(self, server: "ServerProcess", credential: str | None = "key.pk", **how: Any) -> Wire:
        protocols = ["aerostack-v1", *([f"aerostack-{credential}"] if credential else [])]
        wire = await Wire.open(server.url, protocols=protocols, **how)
        self.wires.append(wire)
        return wire


@pytest.fixture
def people() -> Any:
    found = People()
    yield found
    for wire in found.wires:
        wire.drop()


async def code(wire: Wire) -> int:
    return (await wire.ended()).code


@pytest.mark.parametrize(
    ("limit", "credential"),
    [
        ("connections = 2", lambda: "key.pk"),
        ("connections_per_address = 2", lambda: "key.pk"),
        ("connections_per_user = 2", lambda: f"token.{token('ann')}"),
        ("connections_unauthenticated = 2", lambda: None),
    ],
)
async def test_one_connection_too_many_is_closed_and_the_place_is_given_back(
    serve: Serve, people: People, limit: str, credential: Callable[[], str | None]
) -> None:
    server = await serve(settings(limit))
    first, second = [await people(server, credential()) for _ in range(2)]
    for wire in (first, second):
        await wire.hear("connected")
    third = await people(server, credential())
    assert (await third.next())["code"] == "rate_limited"
    assert await code(third) == 4429
    assert await second.settled() == []
    await first.close()
    await (await people(server, credential())).hear("connected")


async def test_a_client_that_authenticates_later_counts_as_that_user(serve: Serve, people: People) -> None:
    server = await serve(settings("connections_per_user = 1"))
    first, second = [await people(server) for _ in range(2)]
    for wire, answer in ((first, "authenticated"), (second, "error")):
        await wire.hear("connected")
        wire.say("auth", token=token("ann"))
        assert (await wire.next())["type"] == answer
    assert await code(second) == 4429


async def test_addresses_behind_a_trusted_proxy_are_the_clients(serve: Serve, people: People) -> None:
    server = await serve(settings("connections_per_address = 1", more='trusted_proxies = ["127.0.0.1"]'))
    for address in ("1.2.3.4", "6.6.6.6, 1.2.3.5"):
        wire = await people(server, headers=[("X-Forwarded-For", address)])
        assert (await wire.next())["type"] == "connected"
    again = await people(server, headers=[("X-Forwarded-For", "9.9.9.9, 1.2.3.5")])
    assert await code(again) == 4429


async def test_refused_calls_are_audited_by_the_address_behind_the_proxy(serve: Serve, calls: Calls) -> None:
    server = await serve(settings(more='trusted_proxies = ["127.0.0.1"]'))
    status, _ = await calls(server).get(
        "/api/v1/public/realtime/history", key="wrong", headers={"X-Forwarded-For": "6.6.6.6, 1.2.3.4"}, room="a/b"
    )
    assert status == 401
    assert '"audit":"refused","address":"1.2.3.4"' in server.log.read_text()


async def test_messages_beyond_the_rate_are_refused_and_a_flood_is_closed(serve: Serve, people: People) -> None:
    server = await serve(settings("messages_per_second = 0.01", "messages_burst = 10", "refused_messages = 20"))
    flooder, other = await people(server), await people(server)
    for wire in (flooder, other):
        await wire.hear("connected")
    for number in range(11):
        flooder.say("publish", topic="a/b", event="e", data=number, id=f"p{number}")
    answers = [await flooder.next() for _ in range(11)]
    assert [each["type"] for each in answers] == ["ack"] * 10 + ["error"]
    assert (answers[-1]["code"], answers[-1]["retryable"], answers[-1]["id"]) == ("rate_limited", True, "p10")
    for _ in range(30):
        flooder.say("ping")
    assert await code(flooder) == 4429
    assert await other.settled() == []


async def test_bytes_published_beyond_the_rate_are_refused(serve: Serve, people: People) -> None:
    server = await serve(settings("publish_bytes_per_second = 0.01", "publish_bytes_burst = 3000"))
    wire = await people(server)
    await wire.hear("connected")
    answers = [await wire.ask("publish", topic="a/b", event="e", data="x" * 1000) for _ in range(4)]
    assert [each.get("code", "done") for each in answers] == ["done", "done", "rate_limited", "rate_limited"]
    assert await wire.settled() == []


async def test_a_secret_key_has_no_rates(serve: Serve, people: People) -> None:
    server = await serve(settings("messages_per_second = 1", "messages_burst = 1", "publish_bytes_burst = 1"))
    wire = await people(server, f"key.{server.secret_key}")
    for number in range(50):
        await wire.publish("a/b", number)


@pytest.mark.parametrize("opcode", [PING, PONG])
async def test_a_flood_of_control_frames_is_closed(serve: Serve, people: People, opcode: int) -> None:
    server = await serve(settings("control_frames_per_second = 0.01", "control_frames_burst = 10"))
    wire = await people(server)
    await wire.hear("connected")
    wire.write(frame(b"", opcode) * 12)
    assert await code(wire) == 4429


async def test_a_connection_is_on_so_many_topics_at_most(serve: Serve, people: People) -> None:
    server = await serve(settings("subscriptions = 2"))
    wire = await people(server)
    await wire.subscribe("a/1")
    await wire.subscribe("a/1")
    assert (await wire.ask("track", topic="a/2", state={}))["type"] == "ack"
    assert (await wire.ask("subscribe", topic="a/3"))["code"] == "rate_limited"
    assert (await wire.ask("unsubscribe", topic="a/1"))["type"] == "unsubscribed"
    await wire.subscribe("a/3")


async def test_states_and_filters_are_bounded(serve: Serve, people: People) -> None:
    server = await serve(settings("state_bytes = 100", "filter_bytes = 100"))
    wire = await people(server)
    await wire.hear("connected")
    assert (await wire.ask("track", topic="a/b", state={"x": "y" * 100}))["code"] == "too_large"
    assert (await wire.ask("subscribe", topic="a/b", filter={"x": "y" * 100}))["code"] == "invalid_filter"
    assert (await wire.ask("track", topic="a/b", state={"x": "y"}))["type"] == "ack"


async def test_a_crowd_is_shown_to_a_bound(serve: Serve, people: People) -> None:
    server = await serve(settings("presence_members = 2"))
    for name in ("ann", "bob", "eve"):
        wire = await people(server, f"token.{token(name)}")
        await wire.ask("track", topic="a/b", state={})
    late = await people(server)
    await late.subscribe("a/b")
    assert [each["userId"] for each in await late.settled() if each["type"] == "event"] == ["ann", "bob"]
    shown = await late.ask("presence", topic="a/b")
    assert [each["userId"] for each in shown["members"]] == ["ann", "bob"]


async def test_a_page_of_history_is_bounded(serve: Serve, calls: Calls) -> None:
    server = await serve(settings("history_page = 5"))
    http = calls(server)
    for number in range(7):
        event = {"topic": "a/b", "event": "e", "data": number, "persist": True}
        assert (await http.post("/api/v1/realtime/publish", event))[0] == 200
    for limit, expected in ((4, 4), (5, 5), (6, 5), (5000, 5)):
        assert len(await http.history("a/b", limit=limit)) == expected


async def test_a_message_in_many_fragments_is_bounded_by_its_size(serve: Serve, people: People) -> None:
    server = await serve(settings("frame_bytes_hard = 10000"))
    wire = await people(server)
    await wire.hear("connected")
    wire.write(frame(b'{"type":"ping","x":"', TEXT, fin=False))
    for _ in range(20):
        wire.write(frame(b"x" * 1000, CONTINUATION, fin=False))
    with pytest.raises(Closed) as closed:
        await wire.next()
    assert closed.value.code == 1009


@pytest.mark.parametrize("size", [0, 1])
async def test_a_message_in_too_many_fragments_ends_the_connection(
    serve: Serve, people: People, size: int
) -> None:
    server = await serve(settings("fragments = 20"))
    wire, other = await people(server), await people(server)
    for each in (wire, other):
        await each.hear("connected")
    command = b'{"type": "ping"    }'
    parts = [command[at : at + 1] for at in range(20)]
    wire.write(frame(parts[0], TEXT, fin=False))
    wire.write(b"".join(frame(part, CONTINUATION, fin=False) for part in parts[1:-1]))
    wire.write(frame(parts[-1], CONTINUATION))
    assert await wire.next() == {"type": "pong"}
    wire.write(frame(b"x" * size, TEXT, fin=False))
    for _ in range(20):
        wire.write(frame(b"x" * size, CONTINUATION, fin=False))
    closed = await wire.ended()
    assert (closed.code, closed.reason) == (4400, "a message has at most 20 fragments")
    assert '"audit":"closed"' in server.log.read_text()
    assert await other.settled() == []


async def test_fragments_that_come_with_the_handshake_are_counted_too(serve: Serve) -> None:
    server = await serve(settings("fragments = 20", "close_seconds = 0.2"))
    parts = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(
        b"GET /api/realtime?projectId=default&apiKey=pk HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        + frame(b"", TEXT, fin=False)
        + frame(b"", CONTINUATION, fin=False) * 30
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        answer = await reader.read()
    assert frames.close(4400, "a message has at most 20 fragments") in answer
    writer.close()


async def test_a_frame_without_a_mask_ends_the_connection(serve: Serve, people: People) -> None:
    wire = await people(await serve(settings()))
    await wire.hear("connected")
    wire.write(frame(b'{"type":"ping"}', masked=False))
    assert await code(wire) == 1002


async def test_sockets_that_are_no_websocket_are_counted_by_address(serve: Serve, people: People) -> None:
    """Those that never say anything above all: they cost no request that could be refused."""
    server = await serve(settings("connections_per_address = 3"))
    wire = await people(server)
    await wire.hear("connected")
    parts = urlsplit(server.url)
    silent = [await asyncio.open_connection(parts.hostname, parts.port) for _ in range(4)]
    with suppress(ConnectionResetError):
        assert await _rest(silent[3][0]) == b""
    silent[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b" 200 " in await _rest(silent[0][0])
    again = await people(server)
    await again.hear("connected")
    assert await wire.settled() == []
    for _, writer in silent:
        writer.transport.abort()
    await server.terminate()
    assert (
        '{"audit":"refused","address":"127.0.0.1","reason":"rate_limited","sockets":1}' in server.log.read_text()
    )


async def test_sockets_opened_beyond_the_rate_are_cut(serve: Serve, people: People) -> None:
    server = await serve(settings("connects_per_second = 0.001", "connects_burst = 3"))
    first, second = [await people(server) for _ in range(2)]
    for wire in (first, second):
        await wire.hear("connected")
    await first.close()
    await (await people(server)).hear("connected")
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await people(server)
    assert await second.settled() == []


async def test_a_client_closed_for_abuse_cannot_reconnect_at_once_repeatedly(serve: Serve, people: People) -> None:
    """Neither directly nor, by the address that a proxy tells, through a proxy."""
    more = 'trusted_proxies = ["127.0.0.2"]'
    limits = ("connects_per_second = 0.001", "connects_burst = 50", "bad_messages = 1", "close_seconds = 0.1")
    server = await serve(settings(*limits, more=more))

    async def abuse(**how: Any) -> int:
        wire = await people(server, **how)
        wire.write(frame(b"not json"))
        found = await code(wire)
        await wire.reader.read()
        return found

    assert [await abuse(), await abuse()] == [4400, 4400]
    await (await people(server)).hear("connected")
    assert await abuse() == 4400
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await people(server)
    forged: dict[str, Any] = {"headers": [("X-Forwarded-For", "1.2.3.4")], "source": "127.0.0.2"}
    assert [await abuse(**forged) for _ in range(4)] == [4400, 4400, 4400, 4429]
    forged["headers"] = [("X-Forwarded-For", "1.2.3.5")]
    await (await people(server, **forged)).hear("connected")


async def test_a_client_that_is_closed_is_not_listened_to_any_more(serve: Serve, people: People) -> None:
    """What it still sends costs next to nothing, and it learns why it was closed."""
    server = await serve(settings("close_seconds = 10"))
    wire = await people(server)
    await wire.hear("connected")
    before = cpu_seconds(server.pid)
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(10):
            wire.write(frame(b"not json") * 100_000)
            await wire.writer.drain()
    assert await code(wire) == 4400
    assert cpu_seconds(server.pid) - before < 1


async def test_a_client_that_keeps_sending_after_its_close_is_cut(serve: Serve, people: People) -> None:
    server = await serve(settings("close_seconds = 3600"))
    wire = await people(server)
    await wire.hear("connected")
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(ConnectionError):
            while not wire.writer.is_closing():
                wire.write(frame(b"not json") * 100_000)
                await wire.writer.drain()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end of the connection."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await reader.read()


async def test_a_flood_of_each_kind_leaves_a_well_behaved_client_alone(
    serve: Serve, people: People, dial: Dial
) -> None:
    server = await serve(settings())
    hearer, speaker = await people(server), await people(server)
    await hearer.subscribe("calm/room")
    floods = [
        frame(b'{"type":"publish","topic":"a/b","event":"e","data":1}'),
        frame(b'{"type":"ping"}'),
        frame(b'{"type":"subscribe","topic":"a/b","since":"x.1"}'),
        frame(b"not json"),
        frame(b"", PING),
        frame(b"x" * 60_000),
    ]
    for flood in floods:
        flooder = await people(server)
        await flooder.hear("connected")
        flooder.write(flood * (20_000 if len(flood) < 1000 else 200))
    for number in range(100):
        await speaker.publish("calm/room", number)
        assert (await hearer.hear("event"))["data"] == number
