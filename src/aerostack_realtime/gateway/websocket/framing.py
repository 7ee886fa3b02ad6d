"""How a client frames its messages (RFC 6455 §5), as far as aiohttp's reader does not mind it: it takes any number
of fragments, also empty ones, and frames without a mask."""

from typing import Final

from aiohttp._websocket.helpers import websocket_mask
from msgspec import Struct

from aerostack_realtime.native import compiled_or
from aerostack_realtime.protocol import close_codes

_FIN, _CONTROL, _MASKED = 0x80, 0x08, 0x80
_LONG: Final = 126
"""This length says that the length follows in two bytes, the one above it in eight."""
_MASK_BYTES: Final = 4
_TEXT: Final = 0x81
_SHORTEST: Final = 8
"""Bytes of a frame with the shortest JSON, `{}`, which is also a header whose length takes two bytes."""


class ProtocolViolation(Struct, frozen=True):
    """Why a connection has to end: its close code and the reason given."""

    code: int
    reason: str


UNMASKED: Final = ProtocolViolation(close_codes.PROTOCOL_ERROR, "frames of a client are masked")


class Framing:
    """Follows one connection's frames from header to header, whatever pieces the bytes come in.

    It holds no payload: what it keeps is a count and at most nine bytes of a header that is not all there.
    """

    __slots__ = ("_ahead", "_begun", "_limit", "_open", "is_between")

    def __init__(self, fragments: int) -> None:
        """A message may come in at most `fragments` fragments."""
        self._limit = fragments
        self.is_between = True
        """Whether every message that has begun is complete."""
        self._open = 0
        self._ahead = 0
        self._begun = b""

    def feed(self, data: bytes) -> ProtocolViolation | None:
        """Look at what came next; what is returned ends the connection, and nothing may be fed after it."""
        if self._begun:
            data = self._begun + data
            self._begun = b""
        at, end, unfinished = self._ahead, len(data), self._open
        while at + 1 < end:
            first, second = data[at], data[at + 1]
            length = second - _MASKED
            if length < _LONG:
                if length < 0:
                    return UNMASKED
                at += 2 + _MASK_BYTES + length
            else:
                payload = at + (4 if length == _LONG else 10)
                if payload > end:
                    break
                if length == _LONG:
                    length = data[at + 2] << 8 | data[at + 3]
                else:
                    length = int.from_bytes(data[at + 2 : payload])
                at = payload + _MASK_BYTES + length
            if first < _FIN:
                unfinished += 1
                if unfinished >= self._limit:
                    return ProtocolViolation(
                        close_codes.BAD_MESSAGES, f"a message has at most {self._limit} fragments"
                    )
            elif unfinished and not first & _CONTROL:
                unfinished = 0
        self._open = unfinished
        if at < end:
            self._begun = data[at:]
            self._ahead = 0
        else:
            self._ahead = at - end
        self.is_between = at == end and not unfinished
        return None


def whole_texts_in_python(data: bytes) -> list[bytes] | None:
    """The texts in bytes that are nothing but whole text messages of a client, each in one frame below 64 KiB.
    Almost every read brings such bytes. None for any others."""
    texts = []
    at, end = 0, len(data)
    while at + _SHORTEST <= end and data[at] == _TEXT:
        mask, length = at + 2, data[at + 1] - _MASKED
        if length == _LONG:
            mask, length = at + 4, data[at + 2] << 8 | data[at + 3]
        elif not 0 <= length < _LONG:
            return None
        begin = mask + _MASK_BYTES
        at = begin + length
        if at > end:
            return None
        text = bytearray(data[begin:at])
        websocket_mask(data[mask:begin], text)
        texts.append(bytes(text))
    return texts if at == end else None


whole_texts: Final = compiled_or(whole_texts_in_python, "whole_texts")
"""In C it takes a fifth of the time."""
