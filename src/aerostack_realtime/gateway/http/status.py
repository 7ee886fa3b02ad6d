"""The calls that need no credentials: whether the server runs and can serve, and which calls it has."""

import asyncio
from typing import Final

from aiohttp import web
from msgspec import Struct

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.http import openapi
from aerostack_realtime.gateway.http.answers import as_json
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol.errors import AerostackError

READY: Final = "ready"
DATABASE_SECONDS: Final = 5.0
"""How long a probe waits for the database; probes themselves usually wait for less."""


class Readiness(Struct, frozen=True):
    """What can keep a running server from serving."""

    hub: Hub
    database: Database
    guard: Guard

    async def parts(self) -> dict[str, str]:
        """Each part with `ready`, or with a sentence on what is wrong with it."""
        unread = self.guard.memberships.unread
        database, changes = await self._database()
        return {
            "database": database,
            "changes": changes,
            "memberships": f"The rows of {', '.join(unread)} are not known yet." if unread else READY,
            "journal": READY
            if self.hub.is_ready
            else "The journal of the cluster is out of reach or not read yet.",
        }

    async def _database(self) -> tuple[str, str]:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                await self.database.query("SELECT 1")
                status = await self.database.status()
        except AerostackError as error:
            return error.message, "Not known while the database does not answer."
        except TimeoutError:
            silence = f"The database has not answered within {DATABASE_SECONDS:g} s."
            return silence, "Not known while the database does not answer."
        return READY, status.problem or READY


class StatusCalls:
    """Liveness, readiness and the description of the API."""

    def __init__(self, *, readiness: Readiness, version: str) -> None:
        self._readiness = readiness
        self._version = version

    async def live(self, _: web.Request) -> web.Response:
        return as_json({"status": "ok", "version": self._version})

    async def ready(self, _: web.Request) -> web.Response:
        parts = await self._readiness.parts()
        ready = all(value == READY for value in parts.values())
        body = {"status": READY if ready else f"not {READY}", "version": self._version, "parts": parts}
        return as_json(body, 200 if ready else 503)

    async def description(self, _: web.Request) -> web.Response:
        return as_json(openapi.description(self._version))
