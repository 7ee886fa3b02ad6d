"""`GET /yjs/<topic>`: the WebSocket of y-websocket clients, for documents."""

from aiohttp import web

from aerostack_realtime.documents.service import Documents
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.endpoint import WebSocketEndpoint
from aerostack_realtime.gateway.yjs.door import Door
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import NotFound

PATH = "/yjs/{topic:.+}"


class DocumentEndpoint:
    """Serves `documents` on the sockets of `sockets`, with its credentials and limits."""

    def __init__(self, sockets: WebSocketEndpoint, documents: Documents, project: str, limits: Limits) -> None:
        self._sockets = sockets
        self._documents = documents
        self._project = project
        self._limits = limits

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Raises AerostackError before the upgrade."""
        topic = topics.canonical(request.match_info["topic"], self._project)
        if not self._documents.has(topic):
            raise NotFound("This topic is not a document: name it under [[documents]] in the settings.")
        return await self._sockets.handle_translated(
            request, lambda socket: Door(socket, topic, self._documents, self._limits.frame_bytes)
        )
