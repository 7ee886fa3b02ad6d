"""The HTTP calls that run SQL, with the secret key."""

from collections.abc import Sequence
from typing import Any, Final

from aiohttp import web
from msgspec import Struct

from aerostack_realtime.database.base import Database, Value
from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.protocol.errors import BadMessage, QueryFailed, TooLarge

MAX_QUERIES: Final = 25


class _Query(Struct):
    sql: str
    params: list[Any] = []


class _Batch(Struct):
    queries: list[_Query]


class SqlCalls:
    """Runs SQL on the project's database."""

    def __init__(self, *, database: Database, callers: Callers, nesting: int) -> None:
        self._database = database
        self._callers = callers
        self._nesting = nesting

    async def query(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        body = await read_body(request, _Query, self._nesting)
        return as_json(await self.run(body.sql, body.params))

    async def batch(self, request: web.Request) -> web.Response:
        self._callers.require_server(request)
        body = await read_body(request, _Batch, self._nesting)
        if len(body.queries) > MAX_QUERIES:
            raise TooLarge(f"A batch holds at most {MAX_QUERIES} queries; this one has {len(body.queries)}.")
        try:
            results = await self._database.batch([(each.sql, each.params) for each in body.queries])
        except BadMessage as refused:
            raise QueryFailed(refused.message) from refused
        self._database.changes.wake()
        answers = [{"results": each.rows, "count": each.count, "success": True} for each in results]
        cursor = {"cursor": results[-1].cursor} if results else {}
        return as_json({"results": answers, "success": True, **cursor})

    async def run(self, sql: str, params: Sequence[Value]) -> dict[str, Any]:
        """Run one statement. Raises QueryFailed with the database's message, or another AerostackError."""
        try:
            result = await self._database.query(sql, params)
        except BadMessage as refused:
            raise QueryFailed(refused.message) from refused
        self._database.changes.wake()
        return {"results": result.rows, "count": result.count, "cursor": result.cursor}
