"""The protocols the generator speaks: how to get subscribed, how to publish, what is a heartbeat."""

from itertools import count
from typing import ClassVar, Final, NamedTuple

import jwt

from bench.load import websocket

TOKEN_SECRET: Final = "the benchmark's secret, which signs tokens"
_EXPIRES: Final = 4_102_444_800
"""2100-01-01."""


class Exchange(NamedTuple):
    """One step of the set-up: send `say` (unless None), then wait for a frame that holds `until`."""

    say: bytes | None
    until: bytes


class Dialect:
    """A protocol over WebSocket. `channel` is a topic, room or subject; `data` is JSON without spaces.

    Where `framed` holds, one message is one WebSocket frame, cut alike for every subscriber. Otherwise the
    server cuts the stream as it likes: `unit` then finds the messages within the content of the frames.
    """

    name: ClassVar[str]
    target: ClassVar[str] = "/"
    subprotocols: ClassVar[str | None] = None
    opcode: ClassVar[int] = websocket.TEXT
    framed: ClassVar[bool] = True
    terminator: ClassVar[bytes] = b""

    def prepare(self, connections: int) -> None:
        """Make what `connections` connections need beforehand, so that it delays none of them."""

    def offered(self) -> str | None:
        """The subprotocols that the next connection offers."""
        return self.subprotocols

    def setup(self, channel: str | None) -> list[Exchange]:
        """The steps until `channel` is subscribed, or for None until publishing is possible."""
        raise NotImplementedError

    def publish(self, channel: str, data: bytes) -> bytes:
        """The content of the frame that publishes `data`."""
        raise NotImplementedError

    def answer(self, content: bytes) -> bytes | None:  # noqa: ARG002  (the default has nothing to look at)
        """None for a message; for a heartbeat or another aside what to send back, b"" for nothing."""
        return None

    def unit(self, data: bytes, at: int) -> int:
        """Where the message at `at` ends, 0 while it is incomplete. Only where `framed` is false."""
        raise NotImplementedError


class Aerostack(Dialect):
    """Ours: docs/protocol.md."""

    name = "aerostack"
    target = "/api/realtime?projectId=default"
    subprotocols = "aerostack-v1"

    def setup(self, channel: str | None) -> list[Exchange]:
        steps = [Exchange(None, b'"type":"connected"')]
        if channel is not None:
            frame = b'{"type":"subscribe","topic":"bench/%s"}' % channel.encode()
            steps.append(Exchange(frame, b'"type":"subscribed"'))
        return steps

    def publish(self, channel: str, data: bytes) -> bytes:
        return b'{"type":"publish","topic":"bench/%s","event":"m","data":%s}' % (channel.encode(), data)


class AerostackPersisted(Aerostack):
    """The same with messages that the database keeps: they are delivered after their commit."""

    name = "aerostack-persisted"

    def publish(self, channel: str, data: bytes) -> bytes:
        return super().publish(channel, data)[:-1] + b',"persist":true}'


class OneToken(Aerostack):
    """Ours, where every connection has the same token."""

    name = "aerostack, one token"

    def __init__(self) -> None:
        self._token: str | None = None

    def offered(self) -> str | None:
        if self._token is None:
            self._token = signed("ann")
        return f"{self.subprotocols}, aerostack-token.{self._token}"


class TokenEach(Aerostack):
    """Ours, where every connection has a token of its own."""

    name = "aerostack, a token each"

    def __init__(self) -> None:
        self._numbers = count()
        self._ready: list[str] = []

    def prepare(self, connections: int) -> None:
        self._ready = [self._signed() for _ in range(connections)]

    def offered(self) -> str | None:
        token = self._ready.pop() if self._ready else self._signed()
        return f"{self.subprotocols}, aerostack-token.{token}"

    def _signed(self) -> str:
        return signed(f"user-{next(self._numbers)}")


def signed(user: str) -> str:
    """A token of a user."""
    return jwt.encode({"sub": user, "exp": _EXPIRES, "role": "member"}, TOKEN_SECRET, algorithm="HS256")


class Plain(Dialect):
    """The JSON protocol that a team writes by hand; spoken by peers/ws.js and peers/fastapi_app.py."""

    name = "plain"

    def setup(self, channel: str | None) -> list[Exchange]:
        if channel is None:
            return []
        return [Exchange(b'{"type":"subscribe","topic":"%s"}' % channel.encode(), b'"subscribed"')]

    def publish(self, channel: str, data: bytes) -> bytes:
        return b'{"type":"publish","topic":"%s","event":"m","data":%s}' % (channel.encode(), data)


class SocketIO(Dialect):
    """Socket.IO protocol 5 over Engine.IO 4, WebSocket only (as after `transports: ["websocket"]`)."""

    name = "socket.io"
    target = "/socket.io/?EIO=4&transport=websocket"

    def setup(self, channel: str | None) -> list[Exchange]:
        steps = [Exchange(None, b'0{"sid"'), Exchange(b"40", b'40{"sid"')]
        if channel is not None:
            steps.append(Exchange(b'420["subscribe","%s"]' % channel.encode(), b"430["))
        return steps

    def publish(self, channel: str, data: bytes) -> bytes:
        return b'42["publish","%s",%s]' % (channel.encode(), data)

    def answer(self, content: bytes) -> bytes | None:
        if content == b"2":  # Engine.IO ping, pong
            return b"3"
        return None


class Nats(Dialect):
    """The NATS client protocol in binary frames. With one `sid` for all, all are sent the same bytes."""

    name = "nats"
    opcode = websocket.BINARY
    framed = False

    def setup(self, channel: str | None) -> list[Exchange]:
        options = b'{"verbose":false,"pedantic":false,"echo":true,"lang":"bench","version":"1","protocol":1}'
        subscribe = b"SUB %s 1\r\n" % channel.encode() if channel is not None else b""
        return [
            Exchange(None, b"INFO "),
            Exchange(b"CONNECT " + options + b"\r\n" + subscribe + b"PING\r\n", b"PONG\r\n"),
        ]

    def publish(self, channel: str, data: bytes) -> bytes:
        return b"PUB %s %d\r\n%s\r\n" % (channel.encode(), len(data), data)

    def answer(self, content: bytes) -> bytes | None:
        if content == b"PING\r\n":
            return b"PONG\r\n"
        return None if content.startswith((b"MSG ", b"-ERR")) else b""

    def unit(self, data: bytes, at: int) -> int:
        line = data.find(b"\r\n", at)
        if line < 0:
            return 0
        end = line + 2
        if data.startswith(b"MSG ", at):
            end += int(data[data.rindex(b" ", at, line) : line]) + 2
        return end if end <= len(data) else 0


class Centrifugo(Dialect):
    """Centrifugo's JSON protocol, with the permissions that servers.py configures."""

    name = "centrifugo"
    target = "/connection/websocket"
    framed = False
    terminator = b"\n"

    def setup(self, channel: str | None) -> list[Exchange]:
        steps = [Exchange(b'{"id":1,"connect":{}}', b'"id":1,')]
        if channel is not None:
            steps.append(Exchange(b'{"id":2,"subscribe":{"channel":"%s"}}' % channel.encode(), b'"id":2,'))
        return steps

    def publish(self, channel: str, data: bytes) -> bytes:
        return b'{"id":3,"publish":{"channel":"%s","data":%s}}' % (channel.encode(), data)

    def answer(self, content: bytes) -> bytes | None:
        if content == b"{}\n":  # ping and pong are empty objects
            return b"{}"
        if content.startswith(b'{"id":3,') and b'"error"' not in content:
            return b""
        return None

    def unit(self, data: bytes, at: int) -> int:
        return data.find(b"\n", at) + 1


DIALECTS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Aerostack(),
        AerostackPersisted(),
        OneToken(),
        TokenEach(),
        Plain(),
        SocketIO(),
        Nats(),
        Centrifugo(),
    )
}
