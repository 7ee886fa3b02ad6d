"""FastAPI WebSockets with a broadcast loop: the ConnectionManager of its documentation, with rooms.

The event is serialized once; each subscriber is awaited in turn, as the documentation does.
"""

import json
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect  # type: ignore[import-not-found, unused-ignore]


class ConnectionManager:
    """The connections of each room."""

    def __init__(self) -> None:
        self._rooms: dict[str, list[WebSocket]] = {}

    def join(self, room: str, socket: WebSocket) -> None:
        """Add a subscriber."""
        self._rooms.setdefault(room, []).append(socket)

    def leave(self, socket: WebSocket) -> None:
        """Forget a subscriber everywhere."""
        for members in self._rooms.values():
            if socket in members:
                members.remove(socket)

    async def broadcast(self, room: str, text: str) -> None:
        """Send to all in the room."""
        for socket in list(self._rooms.get(room, ())):
            await socket.send_text(text)


manager = ConnectionManager()


async def realtime(socket: WebSocket) -> None:
    """One connection: subscribe and publish."""
    await socket.accept()
    try:
        while True:
            message: dict[str, Any] = json.loads(await socket.receive_text())
            topic = message["topic"]
            if message["type"] == "subscribe":
                manager.join(topic, socket)
                await socket.send_text('{"type":"subscribed"}')
            else:
                event = {"type": "event", "topic": topic, "event": message["event"], "data": message["data"]}
                await manager.broadcast(topic, json.dumps(event, separators=(",", ":")))
    except WebSocketDisconnect:
        manager.leave(socket)


app: Any = FastAPI(openapi_url=None)
app.add_api_websocket_route("/", realtime)
