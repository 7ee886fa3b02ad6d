"""HTTP calls to a server under test."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


class Http:
    """Calls to a server, with its secret key unless another is given; answers are (status, JSON)."""

    def __init__(self, session: aiohttp.ClientSession, server: "ServerProcess") -> None:
        self._session = session
        self._server = server

    async def get(
        self, path: str, key: str | None = None, headers: Mapping[str, str] = {}, **query: Any
    ) -> tuple[int, Any]:
        return await self._call("GET", path, key, params=query, headers=headers)

    async def post(self, path: str, body: Any = None, key: str | None = None, **how: Any) -> tuple[int, Any]:
        return await self._call("POST", path, key, **({"json": body} | how if body is not None else how))

    async def history(self, topic: str, **query: Any) -> list[dict[str, Any]]:
        status, body = await self.get("/api/v1/public/realtime/history", room=topic, **query)
        assert status == 200, body
        messages: list[dict[str, Any]] = body["messages"]
        return messages

    async def sql(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        status, body = await self.post("/v1/db/query", {"sql": sql, "params": params})
        assert status == 200, body
        rows: list[dict[str, Any]] = body["results"]
        return rows

    async def _call(self, method: str, path: str, key: str | None, **how: Any) -> tuple[int, Any]:
        bearer = self._server.secret_key if key is None else key
        headers = {**({"Authorization": f"Bearer {bearer}"} if bearer else {}), **how.pop("headers", {})}
        async with self._session.request(method, self._server.url + path, headers=headers, **how) as answer:
            return answer.status, await answer.json()
