"""The console's data without sockets: a node, its connections, and the views of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.gateway.console.figures import Figures
from aerostack_realtime.gateway.console.live import Live
from aerostack_realtime.gateway.console.parts import Parts
from aerostack_realtime.gateway.console.queries import Query, topic_of
from aerostack_realtime.gateway.console.recent_log import RecentLog
from aerostack_realtime.gateway.console.sessions import Operator
from aerostack_realtime.gateway.console.views import Views
from aerostack_realtime.protocol import topics
from tests.unit.gateway.websocket.stage import Connection, Stage, stage


class Desk:
    """A console on a stage. `valid` is whether its operator's session continues."""

    def __init__(self, node: Stage) -> None:
        self.node = node
        self.connections: list[Connection] = []
        self.log = RecentLog()
        self.valid = True
        parts = Parts(
            hub=node.hub,
            guard=node.guard,
            log=self.log,
            figures=Figures(node.hub, lambda: len(self.connections)),
            sessions=lambda: [each.session for each in self.connections],
        )
        self.views = Views(hub=node.hub, database=node.database, guard=node.guard, parts=parts)
        self.live = Live(hub=node.hub, views=self.views, is_valid=lambda _: self.valid)

    def connect(self, user: str | None = None) -> Connection:
        connection = self.node.connect(user)
        self.connections.append(connection)
        return connection

    async def subscribed(self, user: str, *topics: str) -> Connection:
        """A user's connection that is subscribed to these topics."""
        connection = self.connect(user)
        for topic in topics:
            [answer] = await connection.ask(type="subscribe", topic=topic, presence=False)
            assert answer["type"] == "subscribed", answer
        return connection

    def open(self) -> Connection:
        """A console's connection to the reserved project."""
        connection = self.node.join(Identity("operator"), project=topics.CONSOLE)
        self.connections.append(connection)
        self.live.opened(connection.session, Operator("1", "read", 0))
        return connection

    async def view(self, view: str, **query: Any) -> dict[str, Any]:
        """The data of a view, as JSON has it."""
        found = await self.views.view(msgspec.convert({"view": view, **query}, Query))
        data: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found))
        return data


def topic(view: str, **query: Any) -> str:
    return topic_of(msgspec.convert({"view": view, **query}, Query))


@asynccontextmanager
async def desk(path: Path, **how: Any) -> AsyncIterator[Desk]:
    async with stage(path, **how) as node:
        yield Desk(node)
