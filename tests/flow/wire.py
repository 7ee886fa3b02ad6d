"""A client of the wire protocol that knows nothing of our SDK: frames by hand, over a plain socket.

It reads only when it is asked to, so a test decides when it is slow, silent or gone.
"""

import asyncio
import base64
import json
import os
import socket
import struct
import zlib
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self
from urllib.parse import urlencode, urlsplit

PATIENCE_SECONDS: Final = 100.0
"""Longer than any promise under test, shorter than the timeout of a test."""

RECEIVE_BYTES: Final = 1 << 18
"""What is taken from the network for a client that does not read; the rest waits at the server."""

LISTED: Final = 20
LISTED_CHARACTERS: Final = 300
"""How many of the messages that were passed over a failure lists, and how much of each."""

TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
ABNORMAL = 1006


class Closed(Exception):
    """The server ended the connection, with `code`."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Refused(Exception):
    """The server answered the handshake with `status` and an error."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.body = body


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True, masked: bool = True) -> bytes:
    """One frame as a client sends it; the mask is zero, which leaves the payload readable."""
    size = len(payload)
    mask = 0x80 if masked else 0
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head += bytes([mask | size])
    elif size < 65536:
        head += struct.pack("!BH", mask | 126, size)
    else:
        head += struct.pack("!BQ", mask | 127, size)
    return head + (b"\0\0\0\0" if masked else b"") + payload


@contextmanager
def _noting(awaited: str, passed: Collection[dict[str, Any]]) -> Iterator[None]:
    """Say in an exception what was awaited, and what came instead."""
    try:
        yield
    except Exception as error:
        error.add_note(f"Awaited: {awaited[:LISTED_CHARACTERS]}. Passed over, the last {LISTED}:")
        for message in list(passed)[-LISTED:]:
            error.add_note(f"  {json.dumps(message)[:LISTED_CHARACTERS]}")
        raise


class Wire:
    """One connection. `protocol` is the sub-protocol that the server selected, `extensions` its answer to those
    that were offered. Compressed messages are inflated, and counted in `compressed`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        protocol: str | None,
        extensions: str | None = None,
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.protocol = protocol
        self.extensions = extensions
        self.compressed = 0
        self.answers_pings = True
        self.connected: dict[str, Any] = {}
        self._passed: deque[dict[str, Any]] = deque()

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        path: str = "/api/realtime",
        query: Mapping[str, str | None] = {},
        raw_query: str = "",
        protocols: Sequence[str] = ("aerostack-v1",),
        headers: Sequence[tuple[str, str]] = (),
        source: str | None = None,
    ) -> Self:
        """Shake hands, from the address `source` if one is given. Raises Refused.

        The query names the project `default`; a parameter that is None is left out.
        """
        parts = urlsplit(url)
        given = {"projectId": "default", **query}
        parameters = urlencode({name: value for name, value in given.items() if value is not None})
        peer = socket.create_connection(
            (parts.hostname, parts.port), source_address=(source, 0) if source else None
        )
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        reader, writer = await asyncio.open_connection(sock=peer, limit=RECEIVE_BYTES)
        try:
            lines = [
                f"GET {path}?{parameters}{raw_query} HTTP/1.1",
                f"Host: {parts.netloc}",
                "Upgrade: websocket",
                "Connection: Upgrade",
                "Sec-WebSocket-Version: 13",
                f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            ]
            if protocols:
                lines.append(f"Sec-WebSocket-Protocol: {', '.join(protocols)}")
            lines += [f"{name}: {value}" for name, value in headers]
            writer.write("\r\n".join([*lines, "", ""]).encode(errors="surrogateescape"))
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                status = int(head[0].split()[1])
                answer = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
                if status != 101:
                    body = await reader.readexactly(int(answer.get("content-length", "0")))
                    raise Refused(status, json.loads(body))
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, answer.get("sec-websocket-protocol"), answer.get("sec-websocket-extensions"))

    # --- saying --------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Bytes, whatever they are."""
        self.writer.write(data)

    def say(self, type: str, **fields: Any) -> None:
        self.write(frame(json.dumps({"type": type, **fields}).encode()))

    async def ask(self, type: str, **fields: Any) -> dict[str, Any]:
        """Say something with an `id`, and return what is answered to it; what comes before is heard later."""
        fields.setdefault("id", os.urandom(6).hex())
        self.say(type, **fields)
        with _noting(f"an answer to {type} {fields}", self._passed):
            while (answer := await self._receive()).get("id") != fields["id"] or answer["type"] == "event":
                self._passed.append(answer)
        return answer

    async def subscribe(self, topic: str, **fields: Any) -> dict[str, Any]:
        answer = await self.ask("subscribe", topic=topic, **fields)
        assert answer["type"] == "subscribed", answer
        return answer

    async def publish(self, topic: str, data: Any, event: str = "message", **fields: Any) -> dict[str, Any]:
        answer = await self.ask("publish", topic=topic, event=event, data=data, **fields)
        assert answer["type"] == "ack", answer
        return answer

    # --- hearing -------------------------------------------------------------------------------------------

    async def next(self) -> dict[str, Any]:
        """The next message. Raises Closed when there is none any more."""
        return self._passed.popleft() if self._passed else await self._receive()

    async def _receive(self) -> dict[str, Any]:
        """The next message from the network. Pings do not lengthen the wait for it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                opcode, payload = await self._frame()
                if opcode == TEXT:
                    message: dict[str, Any] = json.loads(payload)
                    return message
                if opcode == PING and self.answers_pings:
                    self.write(frame(payload, PONG))
                if opcode == CLOSE:
                    raise Closed(struct.unpack("!H", payload[:2])[0], payload[2:].decode())

    async def hear(self, type: str, **fields: Any) -> dict[str, Any]:
        """The next message of that type with those fields; others are passed over.

        If there is none, the exception lists the messages that were passed over.
        """
        passed: deque[dict[str, Any]] = deque(maxlen=LISTED)
        with _noting(f"{type} {fields}", passed):
            while True:
                message = await self.next()
                if message["type"] == type and all(message.get(name) == value for name, value in fields.items()):
                    return message
                passed.append(message)

    async def events(self, count: int) -> list[dict[str, Any]]:
        """The next `count` events; other messages are passed over."""
        return [await self.hear("event") for _ in range(count)]

    async def settled(self) -> list[dict[str, Any]]:
        """Everything that the server had for us when it handled a ping sent now."""
        self.say("ping")
        heard: list[dict[str, Any]] = []
        with _noting("pong", heard):
            while (message := await self.next())["type"] != "pong":
                heard.append(message)
        return heard

    async def control(self, opcode: int) -> bytes:
        """The payload of the next control frame of a kind."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found, payload = await self._frame()
                if found == opcode:
                    return payload

    async def ended(self) -> Closed:
        """How the server ends the connection; ABNORMAL when it cuts it."""
        try:
            while True:
                await self.next()
        except Closed as closed:
            return closed
        except (asyncio.IncompleteReadError, ConnectionError):
            return Closed(ABNORMAL)

    async def close(self, code: int = 1000) -> None:
        """Say goodbye and wait for the answer."""
        self.write(frame(struct.pack("!H", code), CLOSE))
        await self.ended()
        self.drop()

    def drop(self) -> None:
        """Be gone without a word."""
        self.writer.transport.abort()

    async def _frame(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        assert first & 0x30 == 0, "no other extension exists"
        assert second & 0x80 == 0, "a server does not mask"
        size = second & 0x7F
        if size == 126:
            [size] = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            [size] = struct.unpack("!Q", await self.reader.readexactly(8))
        payload = await self.reader.readexactly(size)
        if first & 0x40:
            assert self.extensions is not None, "no extension was agreed on"
            assert first == 0xC1, "only text is compressed"
            self.compressed += 1
            payload = zlib.decompressobj(-15).decompress(payload + b"\x00\x00\xff\xff")
        return first & 0x0F, payload


Dial = Callable[..., Awaitable[Wire]]
"""Connects to a server, as a user if one is named, and has heard `connected`: `await dial(node, "ann")`."""
