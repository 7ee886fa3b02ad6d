"""The reader of connections with permessage-deflate: it takes compressed messages out of what a client sends.

Everything else is aiohttp's reader's, which would keep a window for each connection. A compressed message stays
compressed until it is handled, so what waits takes no more memory than what was received.
"""

from typing import Any, Final, cast

from aiohttp import WSMessage, WSMsgType
from aiohttp._websocket.helpers import websocket_mask
from aiohttp.http import WebSocketError, WebSocketReader
from msgspec import Struct

from aerostack_realtime.protocol import close_codes, deflate
from aerostack_realtime.protocol.deflate import RSV1, TooLong, Undecodable

SHARE_BYTES: Final = 64 * 1024
"""A message counts once more for each of these that it is inflated to, when connections take turns."""

_FIN, _RESERVED, _OPCODE, _LENGTH = 0x80, 0x70, 0x0F, 0x7F
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_MASK_BYTES: Final = 4


class CompressedText(Struct, frozen=True):
    """A text message that is still compressed. `type` is none of aiohttp's."""

    payload: bytes
    type: None = None

    def inflated(self, limit: int) -> bytes:
        """The message. Raises WebSocketError."""
        try:
            return deflate.inflated(self.payload, limit)
        except TooLong:
            raise WebSocketError(
                close_codes.MESSAGE_TOO_BIG, f"A message is at most {limit} bytes, inflated."
            ) from None
        except Undecodable:
            raise WebSocketError(close_codes.INVALID_DATA, "A compressed message cannot be inflated.") from None


Message = WSMessage | CompressedText


class InflatingReader:
    """Reads as `aiohttp.http.WebSocketReader` does, and gives `queue` a `CompressedText` for a compressed text.

    It is fed frames that were checked by `Framing`. A message may have `limit` bytes, compressed as well.
    """

    __slots__ = ("_begun", "_fragmented", "_header", "_limit", "_passed", "_plain", "_queue", "_unread")

    def __init__(self, queue: Any, limit: int) -> None:
        self._queue = queue
        self._limit = limit
        self._plain = WebSocketReader(queue, limit, compress=False, decode_text=False)
        self._header = b""
        """The begun header of a frame."""
        self._passed = 0
        """Bytes of a frame that are still to be passed to aiohttp's reader."""
        self._unread = 0
        """Bytes of a compressed frame that are still to come."""
        self._begun: _Begun | None = None
        self._fragmented = False
        """Whether a message without compression has begun."""

    def feed_data(self, data: bytes | memoryview) -> None:
        try:
            self._feed(bytes(data) if not self._header else self._header + data)
        except Exception as error:
            self._queue.set_exception(error, error)

    def _feed(self, data: bytes) -> None:
        self._header = b""
        at, start, end = 0, 0, len(data)
        while at < end:
            if self._passed:
                taken = min(self._passed, end - at)
                self._passed -= taken
                at += taken
            elif self._begun is not None and self._unread:
                at = start = self._take(data, at)
            else:
                payload = _payload_at(data, at)
                if payload > end:
                    break
                first, length = data[at], _length(data, at)
                if not self._is_compressed(first):
                    self._passed = payload - at + length
                    continue
                self._plain.feed_data(data[start:at])
                self._begin(first, data[payload - _MASK_BYTES : payload], length)
                at = start = payload
                if not length:
                    self._end_frame()
        if start < at:
            self._plain.feed_data(data[start:at])
        self._header = data[at:]

    def _is_compressed(self, first: int) -> bool:
        """Whether a frame is part of a compressed message. What else has a reserved bit is refused by aiohttp's
        reader. Raises WebSocketError."""
        opcode, reserved = first & _OPCODE, first & _RESERVED
        if opcode == _CONTINUATION:
            if self._begun is not None:
                return not reserved
            self._fragmented = self._fragmented and not first & _FIN
            return False
        if opcode not in (_TEXT, _BINARY):
            return False
        if self._begun is not None:
            raise WebSocketError(close_codes.PROTOCOL_ERROR, "A message begins inside another one.")
        if self._fragmented:
            return False
        self._fragmented = not first & _FIN and not reserved
        return reserved == RSV1

    def _begin(self, first: int, mask: bytes, length: int) -> None:
        if self._begun is None:
            self._begun = _Begun(first & _OPCODE)
        begun = self._begun
        if len(begun.payload) + length > self._limit:
            raise WebSocketError(close_codes.MESSAGE_TOO_BIG, f"A message is at most {self._limit} bytes.")
        begun.mask, begun.is_last, self._unread = mask, bool(first & _FIN), length

    def _take(self, data: bytes, at: int) -> int:
        """Take what is there of a compressed frame, and return where it ends."""
        begun = cast(_Begun, self._begun)
        part = data[at : at + self._unread]
        begun.frame += part
        self._unread -= len(part)
        if not self._unread:
            self._end_frame()
        return at + len(part)

    def _end_frame(self) -> None:
        begun = cast(_Begun, self._begun)
        websocket_mask(begun.mask, begun.frame)
        begun.payload += begun.frame
        begun.frame = bytearray()
        if not begun.is_last:
            return
        self._begun = None
        if begun.opcode == _TEXT:
            self._queue.feed_data(CompressedText(bytes(begun.payload)), len(begun.payload))
        else:  # nobody reads it: it is refused whatever is in it
            self._queue.feed_data(WSMessage(WSMsgType.BINARY, b"", None), 0)


class _Begun(Struct):
    """A compressed message that is not complete: its frames so far, and the last one, still masked."""

    opcode: int
    payload: bytearray = bytearray()
    frame: bytearray = bytearray()
    mask: bytes = b""
    is_last: bool = False


def _payload_at(data: bytes, at: int) -> int:
    """Where the payload of the frame at `at` begins; beyond the data, if its header is not complete."""
    if at + 1 >= len(data):
        return len(data) + 1
    length = data[at + 1] & _LENGTH
    return at + 2 + (0 if length < 126 else 2 if length == 126 else 8) + _MASK_BYTES


def _length(data: bytes, at: int) -> int:
    """The length of the payload of a frame whose header is complete."""
    length = data[at + 1] & _LENGTH
    if length < 126:
        return length
    return int.from_bytes(data[at + 2 : at + (4 if length == 126 else 10)])
