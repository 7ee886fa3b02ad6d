"""The WebSocket endpoint: a thin shell between aiohttp's socket and a session."""

import asyncio
import itertools
from collections.abc import Callable, Collection, Iterable
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, hdrs, web

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.gateway import audit
from aerostack_realtime.gateway.connection import Connection
from aerostack_realtime.gateway.crowd import Crowd, Lobby, Visit
from aerostack_realtime.gateway.limits import Limits
from aerostack_realtime.gateway.origins import Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.session import Session, Transport
from aerostack_realtime.protocol import close_codes, frames, messages
from aerostack_realtime.protocol.errors import AerostackError, Forbidden, RateLimited, Unauthorized, Unavailable

PROTOCOL: Final = "aerostack-v1"
_KEY, _TOKEN = "aerostack-key.", "aerostack-token."
TURN: Final = 16
"""Frames of one connection handled in a row: there may be thousands in its buffer, and everyone else waits. With
64 the median beside a flood of subscriptions was 28 ms, with 16 it is 4 (bench/flood.py)."""

PUT_OUT: Final = frozenset({close_codes.BAD_MESSAGES, close_codes.LIMIT, close_codes.AUTH_TIMEOUT})
"""Close codes of those who went on although they were told."""

OpenSession = Callable[[Transport, Callable[[], None], Identity | None, Visit], Session]
"""Makes a session of a transport, the callable that hangs up, who it is, and its place in the crowd."""


def offered(request: web.Request) -> list[str]:
    """The sub-protocols a client offers, in its order."""
    header = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    return [each for each in (part.strip() for part in header.split(",")) if each]


def select(protocols: Iterable[str]) -> str | None:
    """The sub-protocol to answer: ours, else the first without a credential, else the first, since a browser
    closes a socket on which none was selected."""
    protocols = list(protocols)
    if PROTOCOL in protocols:
        return PROTOCOL
    plain = [each for each in protocols if not each.startswith((_KEY, _TOKEN))]
    return next(iter(plain or protocols), None)


class WebSocketEndpoint:
    """`GET /api/realtime`. Every connection is one task that reads; writes go straight to its transport."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        origins: Origins,
        limits: Limits,
        project: str,
        query_credentials: bool,
        proxies: Proxies,
        lobby: Lobby,
        open_session: OpenSession,
    ) -> None:
        self._authenticator = authenticator
        self._origins = origins
        self._limits = limits
        self._project = project
        self._query_credentials = query_credentials
        self._proxies = proxies
        self._lobby = lobby
        self._crowd = Crowd(limits)
        self._open_session = open_session
        self._sessions: set[Session] = set()
        self._closed = False

    @property
    def connections(self) -> int:
        return len(self._sessions)

    @property
    def sessions(self) -> Collection[Session]:
        return list(self._sessions)

    def tick(self, now: float) -> None:
        """Let every session look at its clocks; call it about once a second."""
        for session in list(self._sessions):
            session.tick(now)

    def close(self, code: int, reason: str) -> None:
        """End every connection, and let nobody in any more, over kept HTTP connections either."""
        self._closed = True
        for session in list(self._sessions):
            session.close(code, reason)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self._require_open()
        if not self._origins.allows(request.headers.get("Origin"), request.headers.get("Host")):
            raise Forbidden("Pages of this origin may not connect: add it to origins in the settings.")
        protocols = offered(request)
        chosen = select(protocols)
        if len(request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, [])) > 1:
            request = _in_one_header(request, protocols)
        socket = web.WebSocketResponse(
            autoping=False,
            autoclose=False,
            compress=False,
            max_msg_size=self._limits.frame_bytes_hard,
            protocols=(chosen,) if chosen else (),
            decode_text=False,
        )
        if not socket.can_prepare(request).ok:
            return web.json_response(
                {
                    "error": {
                        "code": "bad_message",
                        "message": "This is a WebSocket endpoint: connect with one.",
                    }
                },
                status=426,
                headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
            )
        await socket.prepare(request)
        transport, connection = request.transport, request.protocol
        if transport is None:
            return socket
        assert isinstance(connection, Connection), "the listener makes no other"
        address = self._proxies.client(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, []))
        try:
            self._require_open()  # the answer to the handshake may have waited
            self._lobby.forwarded(request.remote, address)
            identity = self._identify(request, protocols)
            user = identity.user_id if identity is not None else None
            visit = self._crowd.enter(address, user, stranger=identity is None)
        except AerostackError as refusal:
            audit.record("refused", address=address, reason=refusal.code)
            await _refuse(socket, transport, connection, refusal)
            return socket
        if identity is not None and identity.kind == "server":
            audit.record("connected", address=address, key=identity.key)
        session = self._open_session(transport, connection.hang_up, identity, visit)
        self._sessions.add(session)
        connection.watch(lambda breach: session.close(breach.code, breach.reason))
        try:
            await _read(socket, session, connection)
        finally:
            self._sessions.discard(session)
            visit.leave()
            session.lost()
            if session.closed in PUT_OUT:
                self._lobby.put_out(address)
            transport.close()
        return socket

    def _require_open(self) -> None:
        if self._closed:
            raise Unavailable("The server is going away: connect again in a moment.")

    def _identify(self, request: web.Request, protocols: list[str]) -> Identity | None:
        key = _credential(protocols, _KEY)
        token = _credential(protocols, _TOKEN)
        if self._query_credentials:
            key = key or request.query.get("apiKey")
            token = token or request.query.get("token")
        if token is None:
            scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
            token = bearer.strip() if scheme.lower() == "bearer" else None
        project = request.query.get("projectId", self._project)
        if project != self._project:
            raise Forbidden(f"This server holds no project {project[:64]!r}: check projectId.")
        return self._authenticator.identify(key, token, request.query.get("userId"))


_ENDS: Final = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


async def _refuse(
    socket: web.WebSocketResponse, transport: asyncio.Transport, connection: Connection, refusal: AerostackError
) -> None:
    """Say why, with a close code that tells a client whether to come back."""
    code = close_codes.FORBIDDEN
    if isinstance(refusal, RateLimited):
        code = close_codes.LIMIT
    elif refusal.retryable:
        code = close_codes.RESTART
    elif refusal.status == Unauthorized.status:
        code = close_codes.UNAUTHORIZED
    transport.write(frames.text(messages.encode(messages.Error.of(refusal))))
    transport.write(frames.close(code, refusal.code))
    connection.hang_up()
    for _ in range(TURN):
        if (await socket.receive()).type in _ENDS:
            break
    else:
        await connection.deafen()
    transport.close()


async def _read(socket: web.WebSocketResponse, session: Session, connection: Connection) -> None:
    """Hand everything that comes to the session, until the socket ends.

    A client that sends without a pause lets the others have their turn after every `TURN` frames, and is not
    listened to any more once its session is closed.
    """
    for count in itertools.count(1):
        if count % TURN == 0:
            if session.closed is not None:
                await connection.deafen()
                return
            await asyncio.sleep(0)
        message = await socket.receive()
        kind = message.type
        if kind is WSMsgType.TEXT:
            pending = session.receive(message.data)
            if pending is not None:
                await pending
        elif kind is WSMsgType.PING:
            session.pong(bytes(message.data))
        elif kind is WSMsgType.PONG:
            session.control()
        elif kind is WSMsgType.BINARY:
            session.heard()
            session.binary()
        elif kind is WSMsgType.CLOSE:
            session.close(message.data or WSCloseCode.OK, "")
            return
        else:
            return


def _in_one_header(request: web.Request, protocols: list[str]) -> web.Request:
    """The request with its offers in one header: aiohttp reads the first alone, and logs what it finds there
    when it is not what was chosen, which may be a credential."""
    name = hdrs.SEC_WEBSOCKET_PROTOCOL
    others = [(each, value) for each, value in request.headers.items() if each.lower() != name.lower()]
    return request.clone(headers=[*others, (name, ", ".join(protocols))])


def _credential(protocols: list[str], prefix: str) -> str | None:
    return next((each[len(prefix) :] for each in protocols if each.startswith(prefix)), None)
