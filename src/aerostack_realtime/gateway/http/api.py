"""The HTTP calls of docs/protocol.md §8: JSON in and out, errors as `{"error": {"code", "message"}}`."""

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from msgspec import Raw, Struct

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.database.base import Database, QueryResult, Value
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.http import headers, openapi
from aerostack_realtime.gateway.http.admin import Admin
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.limits.token_bucket import Caller, HttpRateLimiter
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    Internal,
    RateLimited,
    TooLarge,
    Unauthorized,
    UnknownType,
)

log = logging.getLogger(__name__)

MAX_PUBLISHES: Final = 100
MAX_QUERIES: Final = 25


class _Publish(Struct):
    topic: str
    event: str
    data: Raw = Raw(b"null")
    persist: bool = False
    id: str | None = None


class _Query(Struct):
    sql: str
    params: list[Any] = []


class _Batch(Struct):
    queries: list[_Query]


class _Call(Struct):
    method: str
    args: list[Raw] = []


class _Disconnect(Struct, rename="camel"):
    user_id: str


class _Revoke(Struct, rename="camel"):
    user_id: str | None = None
    token_id: str | None = None


class HttpApi:
    """The calls of one project."""

    def __init__(
        self,
        *,
        project: str,
        hub: Hub,
        database: Database,
        authenticator: Authenticator,
        guard: Guard,
        admin: Admin,
        callers: HttpRateLimiter,
        proxies: Proxies,
        limits: Limits,
        version: str,
    ) -> None:
        self._project = project
        self._hub = hub
        self._database = database
        self._authenticator = authenticator
        self._guard = guard
        self._admin = admin
        self._callers = callers
        self._proxies = proxies
        self._limits = limits
        self._version = version

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/api/v1/public/realtime/history", self.history),
            web.post("/api/v1/realtime/publish", self.publish),
            web.get("/api/v1/realtime/presence", self.presence),
            web.get("/api/v1/realtime/channels", self.channels),
            web.post("/api/v1/realtime/disconnect", self.disconnect),
            web.post("/api/v1/realtime/revoke", self.revoke),
            web.post("/v1/db/query", self.query),
            web.post("/v1/db/batch", self.batch),
            web.post("/internal/hooks/rpc", self.call),
            web.get("/healthz", self.healthy),
            web.get("/readyz", self.ready),
            web.get("/openapi.json", self.described),
        ]

    async def history(self, request: web.Request) -> web.Response:
        identity = self._identify(request)
        topic = topics.canonical(request.query.get("room", ""), self._project)
        await self._guard.permissions(identity).settle(topic, "history")
        limit = _integer(request, "limit", 50, 1, self._limits.history_page)
        before = _integer(request, "before", None, 0, 2**63 - 1)
        assert limit is not None, "it has a default"
        found = await self._database.messages.history(topic, limit, before)
        return _json(
            {
                "messages": [
                    {
                        "id": each.id,
                        "room_id": each.topic,
                        "user_id": each.user_id,
                        "event": each.event,
                        "data": each.data,
                        "created_at": each.created_at,
                    }
                    for each in found
                ]
            }
        )

    async def publish(self, request: web.Request) -> web.Response:
        identity = self._identify(request)
        body = await _body(request, _Publish | list[_Publish])
        if identity.kind != "server":
            caller = self._caller(request, identity)
            self._callers.publish(caller, len(await request.read()))
            if isinstance(body, list):
                self._callers.call(caller, len(body[1:MAX_PUBLISHES]))
        if isinstance(body, _Publish):
            return _json(await self._publish(identity, body))
        if len(body) > MAX_PUBLISHES:
            raise TooLarge(f"A list holds at most {MAX_PUBLISHES} events; this one has {len(body)}.")
        outcomes = await asyncio.gather(*(self._publish(identity, each) for each in body), return_exceptions=True)
        return _json({"results": [_result(outcome) for outcome in outcomes]})

    async def presence(self, request: web.Request) -> web.Response:
        identity = self._identify(request)
        topic = topics.canonical(request.query.get("topic", ""), self._project)
        await self._guard.permissions(identity).settle(topic, "presence")
        return _json({"members": self._hub.members(topic)})

    async def channels(self, request: web.Request) -> web.Response:
        self._require_server(request)
        return _json({"channels": self._hub.channels()})

    async def disconnect(self, request: web.Request) -> web.Response:
        self._require_server(request)
        body = await _body(request, _Disconnect)
        return _json({"closed": self._admin.disconnect(body.user_id)})

    async def revoke(self, request: web.Request) -> web.Response:
        self._require_server(request)
        body = await _body(request, _Revoke)
        if (body.user_id is None) == (body.token_id is None):
            raise BadMessage("Name either userId, for all tokens issued until now, or tokenId, a token's jti.")
        if body.user_id is not None:
            return _json({"closed": await self._admin.revoke_user(body.user_id)})
        assert body.token_id is not None, "one of the two was named"
        return _json({"closed": await self._admin.revoke_token(body.token_id)})

    async def query(self, request: web.Request) -> web.Response:
        self._require_server(request)
        body = await _body(request, _Query)
        return _json(await self._query(body.sql, body.params))

    async def batch(self, request: web.Request) -> web.Response:
        self._require_server(request)
        body = await _body(request, _Batch)
        if len(body.queries) > MAX_QUERIES:
            raise TooLarge(f"A batch holds at most {MAX_QUERIES} queries; this one has {len(body.queries)}.")
        results = await self._database.batch([(each.sql, each.params) for each in body.queries])
        self._database.changes.wake()
        answers = [{"results": each.rows, "count": each.count, "success": True} for each in results]
        cursor = {"cursor": results[-1].cursor} if results else {}
        return _json({"results": answers, "success": True, **cursor})

    async def call(self, request: web.Request) -> web.Response:
        """What the published server SDK sends."""
        identity = self._require_server(request)
        body = await _body(request, _Call)
        if body.method == "socket.emit":
            event, data, topic = _args(body, tuple[str, Raw, str])
            return _json({"result": await self._publish(identity, _Publish(topic, event, data))})
        if body.method == "db.query":
            body.args = body.args if len(body.args) != 1 else [*body.args, Raw(b"[]")]
            sql, params = _args(body, tuple[str, list[Any] | None])
            return _json({"result": await self._query(sql, params or [])})
        raise UnknownType(f"There is no method {body.method[:64]!r}; there are socket.emit and db.query.")

    async def healthy(self, _: web.Request) -> web.Response:
        return _json({"status": "ok", "version": self._version})

    async def ready(self, _: web.Request) -> web.Response:
        await self._database.query("SELECT 1")
        return _json({"status": "ready", "version": self._version})

    async def described(self, _: web.Request) -> web.Response:
        return _json(openapi.description(self._version))

    # --- inside ------------------------------------------------------------------------------------------

    def _identify(self, request: web.Request) -> Identity:
        scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
        token = bearer.strip() if scheme.lower() == "bearer" else None
        try:
            identity = self._authenticator.identify(request.headers.get("X-Aerostack-Key"), token or None)
            if identity is None:
                raise Unauthorized(
                    "Send X-Aerostack-Key: <api key> or Authorization: Bearer <token or secret key>."
                )
        except AerostackError:
            self._callers.call(self._caller(request, None))
            raise
        if identity.kind == "server":
            audit.record("key used", key=identity.key, call=request.path)
        else:
            self._callers.call(self._caller(request, identity))
        return identity

    def _caller(self, request: web.Request, identity: Identity | None) -> Caller:
        if identity is not None and identity.kind == "user" and identity.user_id is not None:
            return "user", identity.user_id
        forwarded = request.headers.getall("X-Forwarded-For", [])
        return "address", self._proxies.client(request.remote, forwarded)

    def _require_server(self, request: web.Request) -> Identity:
        identity = self._identify(request)
        if identity.kind == "server":
            return identity
        if identity.kind == "anonymous":
            raise Unauthorized("This call needs the secret key: send Authorization: Bearer <secret key>.")
        raise Forbidden("This call needs the secret key; a user's token is not enough.")

    async def _publish(self, identity: Identity, event: _Publish) -> dict[str, Any]:
        topic = topics.canonical(event.topic, self._project)
        await self._guard.permissions(identity).settle(topic, "publish")
        accepted: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def done(outcome: Outcome | AerostackError) -> None:
            if accepted.done():
                return
            if isinstance(outcome, AerostackError):
                accepted.set_exception(outcome)
            else:
                accepted.set_result(outcome)

        self._hub.publish(
            topic,
            event.event,
            event.data,
            done,
            user_id=identity.user_id,
            id=event.id,
            persist=event.persist,
        )
        outcome = await accepted
        answer: dict[str, Any] = {"cursor": outcome.cursor, "timestamp": outcome.timestamp}
        return {**answer, "duplicate": True} if outcome.duplicate else answer

    async def _query(self, sql: str, params: Sequence[Value]) -> dict[str, Any]:
        result: QueryResult = await self._database.query(sql, params)
        self._database.changes.wake()
        return {"results": result.rows, "count": result.count, "cursor": result.cursor}


def answering(origins: Origins) -> Middleware:
    """The middleware around every call: errors become JSON with their status, and pages of allowed origins
    may read the answers (CORS)."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        allowed = origins.allows(origin, request.headers.get("Host"))
        response: web.StreamResponse
        if not origins.serves(request.headers.get("Host")):
            response = error_response(Forbidden("aerostack dev answers to localhost and to addresses only."))
        elif request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response = web.Response(status=204)
        elif not allowed:
            audit.record("refused", reason="origin", origin=origin, call=request.path, peer=request.remote)
            response = error_response(Forbidden("Pages of this origin may not connect: add it to origins."))
        else:
            response = await _answer(request, handler)
        if response.prepared:
            return response
        headers.protect(response, secure=request.secure)
        if origin is not None and allowed:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Vary"] = "Origin"
            response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-Aerostack-Key"
            response.headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
            response.headers["Access-Control-Expose-Headers"] = "Retry-After"
            response.headers["Access-Control-Max-Age"] = "600"
        return response

    return middleware


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except AerostackError as error:
        if error.status in (Unauthorized.status, Forbidden.status):
            audit.record("refused", reason=error.code, call=request.path, peer=request.remote)
        return error_response(error)
    except web.HTTPRequestEntityTooLarge:
        return error_response(TooLarge("The body is too large for this call."))
    except web.HTTPException as answer:
        if answer.status < 400:
            raise
        code = "not_found" if answer.status == 404 else "bad_message"
        text = f"{request.method} {request.path[:200]}: {answer.reason}. /openapi.json describes the calls."
        return _json({"error": {"code": code, "message": text}}, answer.status, answer.headers.get("Allow"))
    except Exception as failure:
        reference = secrets.token_hex(4)
        log.error("internal error %s in %s %s", reference, request.method, request.path, exc_info=failure)
        return error_response(Internal(f"The server failed; its log has the details under {reference}."))


def error_response(error: AerostackError) -> web.Response:
    response = _json({"error": {"code": error.code, "message": error.message}}, error.status)
    if isinstance(error, RateLimited):
        response.headers["Retry-After"] = str(error.seconds)
        response.force_close()  # a refusal costs as much as an answer: a flood has to connect again for each
    return response


def _json(content: Any, status: int = 200, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow else {}
    return web.Response(
        body=msgspec.json.encode(content), status=status, content_type="application/json", headers=headers
    )


def _result(outcome: dict[str, Any] | BaseException) -> dict[str, Any]:
    if isinstance(outcome, AerostackError):
        return {"error": {"code": outcome.code, "message": outcome.message}}
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


async def _body(request: web.Request, kind: Any) -> Any:
    data = await request.read()
    try:
        data.decode()
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f"The body is not what this call takes: {invalid}. See /openapi.json.") from None
    except RecursionError:
        raise BadMessage("The body is nested too deeply; flatten its data.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise BadMessage(f"The body has to be JSON in UTF-8: {malformed}.") from None


def _args(call: _Call, kind: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(call.args), type=kind)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f"The arguments of {call.method} are wrong: {invalid}. See /openapi.json.") from None


def _integer(request: web.Request, name: str, default: int | None, low: int, high: int) -> int | None:
    written = request.query.get(name)
    if written is None:
        return default
    number = int(written) if len(written) < 20 and written.isascii() and written.isdigit() else -1
    if not low <= number <= high:
        raise BadMessage(f"{name} is a whole number from {low} to {high}; {written[:40]!r} is not.")
    return number
