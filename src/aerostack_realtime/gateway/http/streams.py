"""The HTTP calls of writers of streams that hold no socket."""

from secrets import token_urlsafe
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Raw, Struct

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.verdicts import Action
from aerostack_realtime.channels.hub import Hub, Outcome
from aerostack_realtime.gateway.http.answers import as_json, read_body
from aerostack_realtime.gateway.http.callers import Callers
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.messages import End


class Opening(Struct):
    """A stream to open, or to continue."""

    topic: str
    event: str
    data: Raw = Raw(b'""')
    id: str | None = None
    persist: bool = False


class Piece(Struct):
    """A piece to append; `n` is how many pieces this writer has appended before."""

    topic: str
    id: str
    n: Annotated[int, Meta(ge=0)]
    data: Raw = Raw(b"null")
    state: End | None = None


class Finish(Struct):
    """The end of a stream without another piece."""

    topic: str
    id: str
    state: End = "complete"


class Cancellation(Struct):
    """A stream to cancel."""

    topic: str
    id: str
    reason: str = ""


class StreamCalls:
    """The calls about streams of one project."""

    def __init__(self, *, project: str, hub: Hub, guard: Guard, callers: Callers, limits: Limits) -> None:
        self._project = project
        self._hub = hub
        self._guard = guard
        self._callers = callers
        self._limits = limits

    async def open(self, request: web.Request) -> web.Response:
        identity, opening = await self._read(request, Opening)
        topic = await self._permitted(identity, opening.topic, "publish")
        id = token_urlsafe(16) if opening.id is None else opening.id
        answer = Answer[Outcome]()
        self._hub.streams.open(
            topic,
            opening.event,
            opening.data,
            answer.done,
            user_id=identity.user_id,
            id=id,
            persist=opening.persist,
            connection=None,
            by_key=identity.kind == "server",
        )
        return _answered(id, await answer)

    async def append(self, request: web.Request) -> web.Response:
        identity, piece = await self._read(request, Piece)
        topic = await self._permitted(identity, piece.topic, "publish")
        data = bytes(piece.data)
        return await self._append(identity, topic, piece, piece.n, b"" if data == b"null" else data, piece.state)

    async def finish(self, request: web.Request) -> web.Response:
        identity, finish = await self._read(request, Finish)
        topic = await self._permitted(identity, finish.topic, "publish")
        n = self._hub.streams.pieces(topic, finish.id)
        return await self._append(identity, topic, finish, n, b"", finish.state)

    async def cancel(self, request: web.Request) -> web.Response:
        identity, cancellation = await self._read(request, Cancellation)
        topic = await self._permitted(identity, cancellation.topic, "cancel")
        answer = Answer[Outcome]()
        self._hub.streams.cancel(
            topic, cancellation.id, cancellation.reason, answer.done, user_id=identity.user_id
        )
        return _answered(cancellation.id, await answer)

    async def _append(
        self, identity: Identity, topic: str, stream: Piece | Finish, n: int, data: bytes, state: End | None
    ) -> web.Response:
        answer = Answer[Outcome]()
        self._hub.streams.append(
            topic,
            stream.id,
            n,
            data,
            state,
            answer.done,
            user_id=identity.user_id,
            connection=None,
            by_key=identity.kind == "server",
        )
        return _answered(stream.id, await answer)

    async def _read(self, request: web.Request, kind: Any) -> tuple[Identity, Any]:
        identity = self._callers.identify(request)
        self._callers.charge(request, identity, size=len(await request.read()))
        return identity, await read_body(request, kind, self._limits.nesting)

    async def _permitted(self, identity: Identity, topic: str, action: Action) -> str:
        canonical = topics.canonical(topic, self._project)
        await self._guard.permissions(identity).settle(canonical, action)
        return canonical


def _answered(id: str, outcome: Outcome) -> web.Response:
    answer: dict[str, Any] = {
        "id": id,
        "cursor": outcome.cursor,
        "timestamp": outcome.timestamp,
        "n": outcome.n,
        "state": outcome.state,
    }
    return as_json({**answer, "duplicate": True} if outcome.duplicate else answer)
