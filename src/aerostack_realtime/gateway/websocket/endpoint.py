"""The WebSocket endpoint: authenticates a connect, and makes the session of the connection."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final, Protocol, cast

from aiohttp import hdrs, web

from aerostack_realtime.access.identity import Authenticator, Identity
from aerostack_realtime.access.tokens import claimed_subject
from aerostack_realtime.counters import Counters
from aerostack_realtime.gateway import audit, projects
from aerostack_realtime.gateway.limits.connections import ConnectionCounter, ConnectionSlot, PendingSockets
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.origins import ORIGIN_REFUSED, Origins
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.gateway.websocket import extensions, handshake
from aerostack_realtime.gateway.websocket.batched_writes import WriteBatch
from aerostack_realtime.gateway.websocket.handlers import NULL_HANDLER, FrameHandler
from aerostack_realtime.gateway.websocket.protocol import WebSocketProtocol
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.gateway.websocket.transport import Transport
from aerostack_realtime.gateway.websocket.upgrade import ConnectRequest, Upgrade
from aerostack_realtime.protocol import close_codes, frames, messages
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    RateLimited,
    ServerClosing,
    Unauthorized,
)
from aerostack_realtime.records import ConnectionRecords

PROTOCOL: Final = "aerostack-v1"
_KEY, _TOKEN = "aerostack-key.", "aerostack-token."
ABUSE_CODES: Final = frozenset({close_codes.BAD_MESSAGES, close_codes.LIMIT, close_codes.AUTH_TIMEOUT})
"""Close codes of clients that kept violating a limit."""
REFUSED: Final = web.RequestKey("refused", str)
"""Under which a request has the code of the error that refused its connect."""

OpenSession = Callable[[Transport, Identity | None, ConnectionSlot, str, ConnectRequest], Session]
"""Makes a session of a transport, its identity, its place in the connection counters, its project, and the request
that opened it."""
Identify = Callable[[ConnectRequest, list[str]], Identity | None]
"""The identity of a connect with these sub-protocols. Raises AerostackError."""


def offered(request: ConnectRequest) -> list[str]:
    """The sub-protocols a client offers, in its order."""
    headers = request.headers.getall(hdrs.SEC_WEBSOCKET_PROTOCOL, ())
    return [stripped for header in headers for each in header.split(",") if (stripped := each.strip())]


def select(protocols: Sequence[str]) -> str | None:
    """The sub-protocol to answer: ours, else the first without a credential, else the first, since a browser
    closes a socket on which none was selected."""
    if PROTOCOL in protocols:
        return PROTOCOL
    plain = [each for each in protocols if not each.startswith((_KEY, _TOKEN))]
    return next(iter(plain or protocols), None)


class Translator(FrameHandler, Transport, Protocol):
    """Stands between a socket and its session: for clients that speak another protocol."""

    def serve(self, session: Session) -> None:
        """Handle the frames of the socket, and write to it what `session` writes, from now on."""


class WebSocketEndpoint:
    """`GET /api/realtime`. A connection needs no task: see gateway/websocket/protocol.py."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        origins: Origins,
        limits: Limits,
        project: str,
        query_credentials: bool,
        compression: bool,
        batch: WriteBatch | None,
        proxies: Proxies,
        pending_sockets: PendingSockets,
        open_session: OpenSession,
        counters: Counters,
        records: ConnectionRecords,
    ) -> None:
        self._counters = counters
        self._records = records
        self._authenticator = authenticator
        self._origins = origins
        self._limits = limits
        self._project = project
        self._query_credentials = query_credentials
        self._compression = compression
        self._batch = batch
        self._proxies = proxies
        self._lobby = pending_sockets
        self._connections = ConnectionCounter(limits)
        self._open_session = open_session
        self._sessions: dict[WebSocketProtocol, Session] = {}
        self._emptied: asyncio.Event | None = None
        self._left = self._leave  # one callable for all sockets
        self._closed = False

    @property
    def connections(self) -> int:
        return len(self._sessions)

    @property
    def sessions(self) -> Collection[Session]:
        return list(self._sessions.values())

    def tick(self, now: float) -> None:
        """Check the deadlines of every session; call it about once a second."""
        for session in self.sessions:
            session.tick(now)

    def close(self, code: int, reason: str) -> None:
        """End every connection and refuse new ones, also on HTTP connections that were kept alive."""
        self._closed = True
        for session in self.sessions:
            session.close(code, reason)

    async def ended(self, seconds: float) -> None:
        """Wait until every connection is gone; abort those that are left after `seconds`."""
        if self._sessions:
            self._emptied = asyncio.Event()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._emptied.wait()
        for socket in list(self._sessions):
            socket.abort()

    def admits(self, request: Upgrade) -> bool:
        """Whether a request may be upgraded; if not, `handle` answers it with the reason."""
        host = request.headers.get(hdrs.HOST)
        return (
            not self._closed
            and self._origins.serves(host)
            and self._origins.allows(request.headers.get(hdrs.ORIGIN), host)
        )

    def open(self, request: Upgrade, transport: asyncio.Transport) -> None:
        """Accept a WebSocket that is admitted, and take its transport over."""
        extension = self._extension(request)
        socket = self._socket(transport, extension)
        transport.set_protocol(cast(asyncio.BaseProtocol, socket))
        accepted = handshake.answer(request, select(protocols := offered(request)), extension)
        self._serve(socket, request, protocols, accepted, request.rest, self._identify, self._project, None)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return await self.accept(request, self._identify, self._project)

    async def handle_translated(
        self, request: web.Request, translator: Callable[[Transport], Translator]
    ) -> web.StreamResponse:
        """Accept a client that speaks another protocol. Raises AerostackError before the upgrade."""
        return await self.accept(request, self._identify, self._project, translator=translator)

    async def accept(
        self,
        request: web.Request,
        identify: Identify,
        project: str,
        opened: Callable[[Session], None] | None = None,
        translator: Callable[[Transport], Translator] | None = None,
    ) -> web.StreamResponse:
        """Accept a WebSocket whose client `identify` knows; its topics are those of `project`. `opened` gets its
        session. Raises AerostackError before the upgrade."""
        self._require_open()
        if not self._origins.allows(request.headers.get(hdrs.ORIGIN), request.headers.get(hdrs.HOST)):
            self._counters.refused_connects[Forbidden.code] += 1
            raise Forbidden(ORIGIN_REFUSED)
        protocols = offered(request)
        if not handshake.proper(request, protocols):
            return web.json_response(
                BadMessage("This is a WebSocket endpoint; connect with a WebSocket client.").body(),
                status=426,
                headers={"Upgrade": "websocket", "Sec-WebSocket-Version": "13"},
            )
        transport = request.transport
        if transport is None:
            return handshake.Taken()
        # Another protocol may send what is not text, and its translator writes frames of its own.
        extension = self._extension(request) if translator is None else None
        socket = self._socket(transport, extension)
        accepted = handshake.answer(request, select(protocols), extension)
        rest = handshake.take_over(request, transport, cast(asyncio.BaseProtocol, socket))
        between = None if translator is None else translator(socket)
        found = self._serve(socket, request, protocols, accepted, rest, identify, project, between)
        if isinstance(found, AerostackError):
            request[REFUSED] = found.code
        elif opened is not None:
            opened(found)
        return handshake.Taken()

    def _serve(
        self,
        socket: WebSocketProtocol,
        request: ConnectRequest,
        protocols: list[str],
        accepted: bytes,
        rest: bytes,
        identify: Identify,
        project: str,
        between: Translator | None,
    ) -> Session | AerostackError:
        """Accept the upgrade by the head `accepted`. The greeting of the session, or the refusal, is part of the
        same write."""
        address = self._proxies.client(request.remote, request.headers.getall(hdrs.X_FORWARDED_FOR, []))
        try:
            self._lobby.forwarded(request.remote, address)
            identity = identify(request, protocols)
            user = identity.user_id if identity is not None else None
            slot = self._connections.enter(address, user, unauthenticated=identity is None)
        except AerostackError as refusal:
            self._counters.refused_connects[refusal.code] += 1
            if refusal.status == Unauthorized.status:
                self._counters.authentication_failures["connect"] += 1
            audit.record("refused", address=address, reason=refusal.code)
            token = self._token(request, protocols)
            user = request.query.get("userId") if token is None else claimed_subject(token)
            self._records.refuse(refusal.code, refusal.message, user=user)
            socket.hang_up()
            socket.serve(NULL_HANDLER, accepted + _refused(refusal, translated=between is not None), rest)
            return refusal
        if identity is not None and identity.kind == "server":
            audit.record("connected", address=address, key=identity.key)
        self._counters.connects += 1
        session = self._open_session(between or socket, identity, slot, project, request)
        self._sessions[socket] = session
        if between is None:
            socket.serve(session, accepted + session.greeting(), rest)
        else:
            between.serve(session)
            socket.serve(between, accepted, rest)
        return session

    def _socket(self, transport: asyncio.Transport, extension: str | None) -> WebSocketProtocol:
        return WebSocketProtocol(
            transport, self._limits, self._left, compression=extension is not None, batch=self._batch
        )

    def _leave(self, socket: WebSocketProtocol) -> None:
        session = self._sessions.pop(socket, None)
        if session is not None and session.closed in ABUSE_CODES:
            self._lobby.penalize(session.address)
        if not self._sessions and self._emptied is not None:
            self._emptied.set()

    def _extension(self, request: ConnectRequest) -> str | None:
        """What to answer to the extensions that a client offers; None declines them."""
        offers = request.headers.getall(hdrs.SEC_WEBSOCKET_EXTENSIONS, None) if self._compression else None
        return extensions.accept(offers) if offers else None

    def _require_open(self) -> None:
        if self._closed:
            raise ServerClosing

    def _identify(self, request: ConnectRequest, protocols: list[str]) -> Identity | None:
        key = _credential(protocols, _KEY)
        if self._query_credentials:
            key = key or request.query.get("apiKey")
        token = self._token(request, protocols)
        projects.require(request.query.get("projectId"), self._project)
        return self._authenticator.identify(key, token, request.query.get("userId"))

    def _token(self, request: ConnectRequest, protocols: list[str]) -> str | None:
        token = _credential(protocols, _TOKEN)
        if self._query_credentials:
            token = token or request.query.get("token")
        if token is None:
            scheme, _, bearer = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
            token = bearer.strip() if scheme.lower() == "bearer" else None
        return token


def _credential(protocols: list[str], prefix: str) -> str | None:
    for each in protocols:
        if each.startswith(prefix):
            return each[len(prefix) :]
    return None


def _refused(refusal: AerostackError, *, translated: bool) -> bytes:
    """The error, and a close code that decides whether the client reconnects. Clients of another protocol get the
    code alone."""
    code = close_codes.FORBIDDEN
    if isinstance(refusal, RateLimited):
        code = close_codes.LIMIT
    elif refusal.retryable:
        code = close_codes.RESTART
    elif refusal.status == Unauthorized.status:
        code = close_codes.UNAUTHORIZED
    error = b"" if translated else frames.encode(messages.Error.of(refusal))
    return error + frames.close(code, refusal.code)
