"""The calls that need no credentials: whether the server runs, and which calls it has."""

from aiohttp import web

from aerostack_realtime.database.base import Database
from aerostack_realtime.gateway.http import openapi
from aerostack_realtime.gateway.http.answers import as_json


class StatusCalls:
    """Liveness, readiness and the description of the API."""

    def __init__(self, *, database: Database, version: str) -> None:
        self._database = database
        self._version = version

    async def live(self, _: web.Request) -> web.Response:
        return as_json({"status": "ok", "version": self._version})

    async def ready(self, _: web.Request) -> web.Response:
        await self._database.query("SELECT 1")
        return as_json({"status": "ready", "version": self._version})

    async def description(self, _: web.Request) -> web.Response:
        return as_json(openapi.description(self._version))
