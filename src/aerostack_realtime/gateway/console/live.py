"""Live data of the console, over our own protocol: each open page is a topic of the reserved project.

The data of a topic is collected once a second while somebody on this node is subscribed to it, and sent when it
has changed or when somebody is new there, whose page may show older data. While no console is open, nothing runs.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from msgspec import Raw

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.gateway.console.queries import query_of
from aerostack_realtime.gateway.console.sessions import Operator
from aerostack_realtime.gateway.console.views import Views
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.protocol import close_codes, frames, messages, topics
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

EVENT: Final = "view"
SECONDS: Final = 1.0


class Live:
    """Sends the data of open views to operators whose sessions are valid. `sleep` takes seconds."""

    def __init__(
        self,
        *,
        hub: Hub,
        views: Views,
        is_valid: Callable[[Operator], bool],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._is_valid = is_valid
        self._hub = hub
        self._views = views
        self._sleep = sleep
        self._sessions: dict[Session, Operator] = {}
        self._opened = asyncio.Event()
        self._sent: dict[str, bytes] = {}
        self._subscribed: set[tuple[str, str]] = set()
        """Connection and topic, when the data was collected last."""

    def opened(self, session: Session, operator: Operator) -> None:
        """An operator's console has connected to this node."""
        self._sessions[session] = operator
        self._opened.set()

    @property
    def is_open(self) -> bool:
        """Whether a console is connected to this node."""
        return bool(self._sessions)

    def check(self) -> None:
        """Close the connections of sessions that have ended, and forget connections that are closed."""
        for session, operator in list(self._sessions.items()):
            if session.closed is None and not self._is_valid(operator):
                session.close(close_codes.UNAUTHORIZED, "the console's session has ended")
            if session.closed is not None:
                del self._sessions[session]

    async def run(self) -> None:
        """Send live data, until cancelled."""
        while True:
            await self._opened.wait()
            await self.collect()
            await self._sleep(SECONDS)
            self.check()
            if not self.is_open:
                self._opened.clear()
                self._sent.clear()

    async def collect(self) -> None:
        """Send the data of every open topic that has changed or has a new subscriber."""
        subscribed = {
            (session.connection_id, topic)
            for session in self._sessions
            for topic in self._hub.inspection.joined(session.connection_id)
            if topics.is_console(topic)
        }
        open_topics = {topic for _, topic in subscribed}
        new = {topic for _, topic in subscribed - self._subscribed}
        self._subscribed = subscribed
        for topic in open_topics:
            try:
                data = msgspec.json.encode(await self._views.view(query_of(topic)))
            except AerostackError as error:
                log.debug("no data for the console's topic %s: %s", topic, error)
                continue
            if topic in new or self._sent.get(topic) != data:
                self._sent[topic] = data
                self._show(topic, data)
        for topic in self._sent.keys() - open_topics:
            del self._sent[topic]

    def _show(self, topic: str, data: bytes) -> None:
        now = int(time.time() * 1000)
        cursor = self._hub.inspection.end(topic)
        event = messages.Event(topic, EVENT, Raw(data), now, f"{now:x}", cursor, snapshot=True)
        self._hub.inspection.show(topic, frames.encode(event))
