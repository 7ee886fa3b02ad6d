"""Clients of the real server, recorders of their events, and a scripted server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from aiohttp import WSMsgType, web

from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.client import RealtimeClient
from aerostack_realtime.sdk.payload import Payload

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


class EventRecorder:
    """Records the payloads that a channel delivers, so that tests can await them."""

    def __init__(self) -> None:
        self.payloads: list[Payload] = []
        self._more = asyncio.Event()

    def __call__(self, payload: Payload) -> None:
        self.payloads.append(payload)
        self._more.set()

    async def until(self, condition: Callable[[list[Payload]], bool]) -> list[Payload]:
        """All payloads so far, once `condition` holds of them."""
        while not condition(self.payloads):
            self._more.clear()
            await self._more.wait()
        return self.payloads

    async def first(self, count: int) -> list[Payload]:
        """The first `count` payloads."""
        return (await self.until(lambda payloads: len(payloads) >= count))[:count]

    async def named(self, name: str) -> Payload:
        """The first payload of that name."""
        payloads = await self.until(lambda payloads: any(each.name == name for each in payloads))
        return next(each for each in payloads if each.name == name)


def quick() -> Backoff:
    """A back-off that does not slow down the tests."""
    return Backoff(0.02, 0.1)


@pytest.fixture
async def connect(server: "ServerProcess") -> AsyncIterator[Callable[..., Awaitable[Aerostack]]]:
    """Make connected clients of the server, or of a network before it: `await connect("ann", url=…)`."""
    async with AsyncExitStack() as stack:

        async def make(user_id: str | None = None, **settings: Any) -> Aerostack:
            sdk = Aerostack(
                settings.pop("url", server.url),
                **{"api_key": server.secret_key, "user_id": user_id, "backoff": quick(), **settings},
            )
            await stack.enter_async_context(sdk)
            await sdk.realtime.connect()
            return sdk

        yield make


@pytest.fixture
def recorder() -> type[EventRecorder]:
    return EventRecorder


class Line:
    """The server's end of one accepted connection."""

    room = "chat/room/default"

    def __init__(self, socket: web.WebSocketResponse, protocols: str) -> None:
        self.socket = socket
        self.protocols = protocols
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def send(self, type: str, **fields: Any) -> None:
        await self.socket.send_str(msgspec.json.encode({"type": type, **fields}).decode())

    async def send_connected(self, heartbeat: float = 25, limits: dict[str, int] | None = None) -> None:
        more = {"limits": limits} if limits else {}
        await self.send("connected", connectionId="c", userId=None, heartbeat=heartbeat, version="test", **more)

    async def confirm(self, subscribe: dict[str, Any], cursor: str = "c0", recovered: bool | None = None) -> None:
        await self.send("subscribed", topic=self.room, cursor=cursor, recovered=recovered, id=subscribe["id"])

    async def acknowledge(self, command: dict[str, Any]) -> None:
        await self.send("ack", id=command["id"])

    async def refuse(self, command: dict[str, Any], code: str) -> None:
        """Answer a command with an error after which the client may try again."""
        await self.send("error", code=code, message="Later.", retryable=True, topic=self.room, id=command["id"])

    async def admit(self, realtime: RealtimeClient, listener: EventRecorder) -> None:
        """Let a client subscribe to the room."""
        subscribing = asyncio.create_task(realtime.channel("chat/room").on("*", listener).subscribe())
        await self.confirm(await self.receive("subscribe"))
        await subscribing

    async def message(self, number: int) -> None:
        """An event with the data `number` at the cursor `c<number>`."""
        await self.event("message", number, f"c{number}")

    async def event(self, event: str, data: Any, cursor: str, **fields: Any) -> None:
        position = {"cursor": cursor, "id": f"id {cursor}", "timestamp": 1}
        await self.send("event", topic=self.room, event=event, data=data, **position, **fields)

    async def receive(self, type: str) -> dict[str, Any]:
        """The next frame of that type; others are skipped."""
        while (frame := await self.frames.get())["type"] != type:
            pass
        return frame


class Peer:
    """A scripted server: the test accepts its connections and answers them."""

    def __init__(self) -> None:
        self.url = ""
        self.lines: asyncio.Queue[Line] = asyncio.Queue()
        self.statuses: list[int] = []  # HTTP answers to the next upgrades, instead of a connection
        self.history = b""  # the body of every history call's answer

    def client(self, **settings: Any) -> RealtimeClient:
        return RealtimeClient(self.url, **{"backoff": quick(), **settings})

    async def connect(
        self, realtime: RealtimeClient, heartbeat: float = 25, limits: dict[str, int] | None = None
    ) -> Line:
        """Connect the client to this peer."""
        connecting = asyncio.create_task(realtime.connect())
        line = await self.accept(heartbeat, limits)
        await connecting
        return line

    async def line(self) -> Line:
        """The next connection."""
        return await self.lines.get()

    async def accept(self, heartbeat: float = 25, limits: dict[str, int] | None = None) -> Line:
        """The next connection, after its `connected` frame."""
        line = await self.line()
        await line.send_connected(heartbeat, limits)
        return line

    async def answer_history(self, request: web.Request) -> web.Response:
        return web.Response(body=self.history, content_type="application/json")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        socket = web.WebSocketResponse(protocols=("aerostack-v1",))
        await socket.prepare(request)
        line = Line(socket, request.headers.get("Sec-WebSocket-Protocol", ""))
        self.lines.put_nowait(line)
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                line.frames.put_nowait(msgspec.json.decode(frame.data))
        return socket


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    app = web.Application()
    app.router.add_get("/api/realtime", peer.handle)
    app.router.add_get("/api/v1/public/realtime/history", peer.answer_history)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield peer
    await runner.cleanup()
