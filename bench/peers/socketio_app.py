"""python-socketio on uvicorn, WebSocket only, no compression."""

from typing import Any

import socketio  # type: ignore[import-not-found, unused-ignore]

server: Any = socketio.AsyncServer(
    async_mode="asgi",
    transports=["websocket"],
    http_compression=False,
    logger=False,
    engineio_logger=False,
    always_connect=True,
)


async def subscribe(sid: str, room: str) -> str:
    """Enter a room; what is returned is the acknowledgement."""
    await server.enter_room(sid, room)
    return "subscribed"


async def publish(_sid: str, room: str, data: Any) -> None:
    """Send `data` to all in a room."""
    await server.emit("m", data, room=room)


server.on("subscribe", subscribe)
server.on("publish", publish)
app: Any = socketio.ASGIApp(server)
