"""One connection to one Redis process, in RESP2 or RESP3. Nothing is ever sent twice: a lost connection fails what
waits.

A TCP connection is bound to one server process, so what was found out about the server holds as long as the
connection does.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Self, cast

import hiredis

from aerostack_realtime.backplane.redis.address import Endpoint, Tls

Reply = Any
"""bytes, int, None, a list of them, or a ServerError."""
Part = str | bytes | int
Answered = Callable[[Reply], None]

CONNECT_SECONDS: Final = 2.0
COMMAND_SECONDS: Final = 2.0
"""A server that takes longer is taken for frozen. Redis answers in well under a millisecond."""

_NOTHING: Final = object()
_PING: Final = hiredis.pack_command(("PING",))


class ConnectionLost(Exception):
    """The connection is gone: what was under way may have been carried out or not."""


class NotRedis(ConnectionLost):
    """What answered does not speak Redis' protocol."""


class ServerError(Exception):
    """An error reply: the command was not carried out. `code` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


def _ignore(_: Reply) -> None:
    """Nobody waits for it."""


def _nothing() -> None:
    """Nobody wants to know."""


class Connection(asyncio.Protocol):
    """Commands in, replies out, in order. Use `open`."""

    def __init__(self) -> None:
        self.tls = False
        self._reader = hiredis.Reader(replyError=ServerError, notEnoughData=_NOTHING)
        self._expected: deque[Answered] = deque()
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[ConnectionLost] = self._loop.create_future()
        """Resolved when the connection is gone."""
        self._since = self._loop.time()
        self.published: Callable[[bytes], None] = _ignore
        """Gets each message of the channels that the connection has subscribed to, in RESP3; it must not raise."""
        self.handled: Callable[[], None] = _nothing
        """Called after all that a read brought was handled; it must not raise."""

    @classmethod
    async def open(cls, endpoint: Endpoint, tls: Tls | None = None) -> Self:
        """Raises OSError (ssl.SSLError and TimeoutError included), or JournalUnusable for unusable TLS files."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_SECONDS):
            if endpoint.path:
                _, connection = await loop.create_unix_connection(cls, endpoint.path)
            else:
                context = tls.context() if tls else None
                _, connection = await loop.create_connection(cls, endpoint.host, endpoint.port, ssl=context)
                connection.tls = tls is not None
        return connection

    @property
    def silence(self) -> float:
        """For how many seconds the server has owed an answer."""
        return self._loop.time() - self._since if self._expected else 0.0

    def send(self, answered: Answered, *parts: Part, others_first: bool = False) -> None:
        """Send a command. `answered` gets its reply, a ServerError, or a ConnectionLost; it must not raise.

        With `others_first` Redis writes to this connection after those to which the command publishes. It writes
        in the reverse of the order in which connections got something to wait for them, so a ping before the
        command, in the same packet, puts this connection at the end. Nothing but latency depends on it.
        """
        if self.lost.done() or self._transport is None:
            self._loop.call_soon(answered, self._why())
            return
        if not self._expected:
            self._since = self._loop.time()
        packed: bytes = hiredis.pack_command(parts)  # type: ignore[arg-type]
        if others_first:
            self._expected.append(_ignore)
            packed = _PING + packed
        self._expected.append(answered)
        self._transport.write(packed)

    async def call(self, *parts: Part, seconds: float = COMMAND_SECONDS) -> Reply:
        """The reply to a command. Raises ServerError, or ConnectionLost; a server that does not answer within
        `seconds` is disconnected."""
        answer: asyncio.Future[Reply] = self._loop.create_future()

        def answered(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self.send(answered, *parts)
        try:
            async with asyncio.timeout(seconds):
                reply = await answer
        except TimeoutError:
            self.abort(f"no answer within {seconds:g} s")
            raise ConnectionLost(f"the server did not answer within {seconds:g} seconds") from None
        if isinstance(reply, ServerError | ConnectionLost):
            raise reply
        return reply

    def abort(self, reason: str = "closed by this node") -> None:
        """Disconnect at once."""
        if self._transport is not None:
            self._transport.abort()
        self._lose(ConnectionLost(reason))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes
        # The asyncio and uvloop transports set TCP_NODELAY; keep-alive finds a peer that vanished while idle.
        found = transport.get_extra_info("socket")
        if found is not None and found.family != socket.AF_UNIX:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def data_received(self, data: bytes) -> None:
        self._since = self._loop.time()
        reader, expected = self._reader, self._expected
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _NOTHING:
                if type(reply) is hiredis.PushNotification and reply[0] == b"message":
                    self.published(reply[2])
                    continue
                if not expected:
                    raise hiredis.ProtocolError("a reply that nothing asked for")
                expected.popleft()(reply)
        except hiredis.ProtocolError:
            self._lose(NotRedis("what answers there does not speak the protocol of Redis"))
            if self._transport is not None:
                self._transport.abort()
        finally:
            self.handled()

    def connection_lost(self, exc: Exception | None) -> None:
        if isinstance(exc, ssl.SSLError):
            self._lose(ConnectionLost(f"TLS failed: {exc}"))
        else:
            self._lose(ConnectionLost(str(exc) if exc else "the server closed the connection"))

    def _lose(self, reason: ConnectionLost) -> None:
        if self.lost.done():
            return
        self.lost.set_result(reason)
        waiting, self._expected = self._expected, deque()
        for answered in waiting:
            answered(reason)

    def _why(self) -> ConnectionLost:
        return self.lost.result() if self.lost.done() else ConnectionLost("not connected")
