"""The call that the published server SDK makes for everything: `POST /internal/hooks/rpc`."""

from typing import Any

import msgspec
from aiohttp import web
from msgspec import Raw, Struct

from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers, traceparent_of
from aerostack_realtime.gateway.http.realtime import Publish, RealtimeCalls
from aerostack_realtime.gateway.http.sql import SqlCalls
from aerostack_realtime.protocol.errors import BadMessage, UnknownType


class _Call(Struct):
    method: str
    args: list[Raw] = []


class RpcCalls:
    """Answers `socket.emit` and `db.query`. The answer is the result itself, which `result` repeats."""

    def __init__(self, *, realtime: RealtimeCalls, sql: SqlCalls, callers: Callers, nesting: int) -> None:
        self._realtime = realtime
        self._sql = sql
        self._callers = callers
        self._nesting = nesting

    async def call(self, request: web.Request) -> web.Response:
        identity = self._callers.require_server(request)
        body = await read_body(request, _Call, self._nesting)
        if body.method == "socket.emit":
            if len(body.args) < 3 or bytes(body.args[2]) == b"null":
                raise BadMessage(
                    "socket.emit needs a room: emit(event, data, room). There is no broadcast to all rooms."
                )
            event, data, topic = _args(body, tuple[str, Raw, str])
            result = await self._realtime.accept(identity, Publish(topic, event, data), traceparent_of(request))
        elif body.method == "db.query":
            body.args = body.args if len(body.args) != 1 else [*body.args, Raw(b"[]")]
            sql, params = _args(body, tuple[str, list[Any] | None])
            result = {**await self._sql.run(sql, params or []), "success": True, "meta": {}}
        else:
            raise UnknownType(f"There is no method {body.method[:64]!r}; there are socket.emit and db.query.")
        return as_json({**result, "result": result})


def _args(call: _Call, kind: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(call.args), type=kind)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f"The arguments of {call.method} are wrong: {invalid}. See /openapi.json.") from None
