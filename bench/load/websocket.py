"""The client side of RFC 6455, as far as a load generator needs it."""

from struct import Struct
from typing import Final, NamedTuple

TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

_KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT: Final = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The answer to the sample key of RFC 6455 §1.3, which every connection here sends."""

_MASK = b"\x37\xfa\x21\x3d"
_MEDIUM = Struct("!BBH")
_LONG = Struct("!BBQ")
_BIG16 = Struct("!H").unpack_from
_BIG64 = Struct("!Q").unpack_from


class Frame(NamedTuple):
    """One unfragmented frame; `end` is where the next one begins in the buffer it was read from."""

    opcode: int
    content: bytes
    end: int


def request(host: str, port: int, target: str, subprotocols: str | None, extensions: str | None = None) -> bytes:
    """The upgrade request; without `extensions` compression stays off."""
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {_KEY}",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocols}")
    if extensions:
        lines.append(f"Sec-WebSocket-Extensions: {extensions}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def encode(content: bytes, opcode: int = TEXT) -> bytes:
    """A masked frame. The mask is constant: it guards proxies, and there is none here."""
    size = len(content)
    if size < 126:
        header = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        header = _MEDIUM.pack(0x80 | opcode, 0x80 | 126, size)
    else:
        header = _LONG.pack(0x80 | opcode, 0x80 | 127, size)
    mask = int.from_bytes((_MASK * (size // 4 + 1))[:size], "little")
    return header + _MASK + (int.from_bytes(content, "little") ^ mask).to_bytes(size, "little")


def bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the frame at `at` begins and ends; (0, 0) while its header is incomplete."""
    left = len(data) - at
    if left < 2:
        return 0, 0
    size = data[at + 1] & 0x7F
    if size < 126:
        return at + 2, at + 2 + size
    if size == 126:
        if left < 4:
            return 0, 0
        (size,) = _BIG16(data, at + 2)
        return at + 4, at + 4 + size
    if left < 10:
        return 0, 0
    (size,) = _BIG64(data, at + 2)
    return at + 10, at + 10 + size


def decode(data: bytes, at: int) -> Frame | None:
    """The server's frame at `at`, or None while it is incomplete."""
    begin, end = bounds(data, at)
    if not begin or end > len(data):
        return None
    return Frame(data[at] & 0x0F, data[begin:end], end)


class Deframer:
    """Takes the frame headers out of a stream, for protocols that cut their messages into frames as they
    please.

    `terminator` is put after each frame's content (Centrifugo separates messages by frames or line ends).
    """

    def __init__(self, terminator: bytes = b"") -> None:
        self._terminator = terminator
        self._held = b""
        self._left = 0

    def feed(self, data: bytes) -> bytes:
        """The content within `data`; control frames are left out (their senders here need no answer)."""
        if self._held:
            data, self._held = self._held + data, b""
        parts: list[bytes] = []
        at = 0
        while at < len(data):
            if self._left:
                part = data[at : at + self._left]
                self._left -= len(part)
                at += len(part)
                parts.append(part)
            else:
                begin, end = bounds(data, at)
                if not begin or (data[at] & 0x08 and end > len(data)):
                    self._held = data[at:]
                    break
                if data[at] & 0x08:
                    at = end
                    continue
                self._left = end - begin
                at = begin
            if not self._left:
                parts.append(self._terminator)
        return b"".join(parts)
