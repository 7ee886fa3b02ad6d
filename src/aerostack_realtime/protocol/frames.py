"""WebSocket frames (RFC 6455) as the server sends them: unmasked, unfragmented, ready to be shared.

A text frame is built once and the same bytes are written to every subscriber, so the header is part of it.
"""

from struct import Struct
from typing import Final

from aerostack_realtime.protocol import messages

PING: Final = b"\x89\x00"
LARGEST_ROWS: Final = 32 * 2**20
"""Bytes of rows in one frame, whatever the settings: a client that takes frames of 64 MiB takes every frame."""

_SHORT = Struct("!BB").pack
_MEDIUM = Struct("!BBH").pack
_LONG = Struct("!BBQ").pack
_CODE = Struct("!H").pack

TEXT: Final = 0x81
"""The first byte of a text frame."""
LONGEST_HEADER: Final = 10
"""Bytes of the longest header."""
_TEXT, _BINARY, _CLOSE, _PONG = TEXT, 0x82, 0x88, 0x8A
_MAX_CONTROL = 125  # RFC 6455 §5.5


def encode(reply: messages.Reply) -> bytes:
    """The text frame of a message. It runs once for every event, so it makes the usual header itself."""
    payload = messages.encode(reply)
    size = len(payload)
    return _MEDIUM(_TEXT, 126, size) + payload if 126 <= size < 65536 else headed(_TEXT, payload)


def text(payload: bytes) -> bytes:
    """A complete text frame around UTF-8 `payload`."""
    size = len(payload)
    return _MEDIUM(_TEXT, 126, size) + payload if 126 <= size < 65536 else headed(_TEXT, payload)


def binary(payload: bytes) -> bytes:
    """A complete binary frame."""
    return headed(_BINARY, payload)


def headed(kind: int, payload: bytes) -> bytes:
    """A complete frame whose first byte is `kind`."""
    return header(kind, len(payload)) + payload


def header(kind: int, size: int) -> bytes:
    """The header of a frame whose first byte is `kind`, with a payload of `size` bytes."""
    if size < 126:
        return _SHORT(kind, size)
    if size < 65536:
        return _MEDIUM(kind, 126, size)
    return _LONG(kind, 127, size)


def payload(frame: bytes) -> bytes:
    """The payload of a frame made by `text`."""
    size = frame[1]
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def size(frames: bytes) -> int:
    """The bytes of the first of several frames made by this module, header included; its header is enough."""
    length = frames[1]
    if length < 126:
        return 2 + length
    if length == 126:
        return 4 + int.from_bytes(frames[2:4], "big")
    return 10 + int.from_bytes(frames[2:10], "big")


def close(code: int, reason: str = "") -> bytes:
    """A close frame; a reason beyond what a control frame holds is cut at a character."""
    body = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return _SHORT(_CLOSE, 2 + len(body)) + _CODE(code) + body


def pong(payload: bytes) -> bytes:
    """The answer to a ping of the same payload (at most 125 bytes, as the ping had)."""
    return _SHORT(_PONG, len(payload)) + payload
