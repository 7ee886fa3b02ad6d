"""permessage-deflate (RFC 7692) without context takeover, so that a frame is compressed once for all receivers.

Neither side keeps a window between messages. The most recent results of compressing are kept for the other
receivers of the same bytes.
"""

import zlib
from typing import Final

from aerostack_realtime.protocol import frames

RSV1: Final = 0x40
"""This bit of a message's first byte says that it is compressed (RFC 7692 §6)."""
SMALLEST: Final = 1024
"""Shorter payloads are sent as they are: compressing one costs 10 µs, and they fill no packet."""
LARGEST: Final = 2**20
"""Longer payloads are sent as they are: compressing 1 MiB takes 8 ms, in which nothing else happens, and some
clients inflate no more than 4 MiB."""
WINDOW_BITS: Final = 12
"""The window is 4 KiB. One of 32 KiB makes JSON hardly smaller, and is allocated for each message."""
MEMORY_BYTES: Final = 2**20
"""Recent results that are kept, in bytes."""
MAX_STREAMS: Final = 8
"""The deflate streams that a message may consist of. Senders end a stream with a message, or never."""

_LEVEL: Final = 1
"""Level 6 takes twice the time and saves another sixth."""
_MEMORY_LEVEL: Final = 8
_TAIL: Final = b"\x00\x00\xff\xff"
"""The end of each compressed message, which is left out on the wire (§7.2.1)."""


class TooLong(Exception):
    """A message is longer than the limit once it is inflated."""


class Undecodable(Exception):
    """A message is not valid deflate data."""


def compressed(data: bytes) -> bytes:
    """Complete frames made by protocol.frames, with the large text frames among them compressed."""
    if len(data) <= SMALLEST:
        return data
    known = _recent.get(data)
    if known is None:
        known = _compressed(data)
        _recent.put(data, known)
    return known


def inflated(payload: bytes, limit: int) -> bytes:
    """The message of a compressed payload. Raises TooLong when it is longer than `limit` bytes, of which never
    more than one byte is inflated, and Undecodable.
    """
    parts: list[bytes] = []
    rest, left = payload + _TAIL, limit + 1
    try:
        for _ in range(MAX_STREAMS):
            stream = zlib.decompressobj(-zlib.MAX_WBITS)
            part = stream.decompress(rest, left)
            parts.append(part)
            left -= len(part)
            if left <= 0:
                raise TooLong
            rest = stream.unused_data
            if not rest:
                return part if len(parts) == 1 else b"".join(parts)
    except zlib.error as wrong:
        raise Undecodable from wrong
    raise Undecodable


def _compressed(data: bytes) -> bytes:
    parts: list[bytes] = []
    at = 0
    while at < len(data):
        end = at + frames.size(data[at : at + frames.LONGEST_HEADER])
        parts.append(_frame(data[at:end]))
        at = end
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _frame(frame: bytes) -> bytes:
    payload = frames.payload(frame)
    if frame[0] != frames.TEXT or not SMALLEST < len(payload) <= LARGEST:
        return frame
    known = _recent.get(frame)
    if known is None:
        deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, -WINDOW_BITS, _MEMORY_LEVEL)
        body = deflater.compress(payload) + deflater.flush(zlib.Z_SYNC_FLUSH)
        known = frames.headed(frames.TEXT | RSV1, body.removesuffix(_TAIL))
        if len(known) >= len(frame):
            known = frame
        _recent.put(frame, known)
    return known


class RecentResults:
    """The last compressed frames by what they were, MEMORY_BYTES together at most."""

    def __init__(self) -> None:
        self._results: dict[bytes, bytes] = {}
        self.size = 0
        """Bytes that are kept."""

    def get(self, data: bytes) -> bytes | None:
        return self._results.get(data)

    def put(self, data: bytes, result: bytes) -> None:
        size = len(data) + len(result)
        if self.size + size > MEMORY_BYTES:
            self._results.clear()
            self.size = 0
        if size <= MEMORY_BYTES and data not in self._results:
            self._results[data] = result
            self.size += size


_recent: Final = RecentResults()
