"""The events of a document: Yjs updates as base64, in pieces where they are too large (docs/protocol.md §10)."""

from base64 import b64encode
from binascii import Error as Malformed
from binascii import a2b_base64
from collections.abc import Callable, Iterator
from typing import Final

import msgspec
from msgspec import Raw, Struct

from aerostack_realtime.protocol.errors import BadMessage

EVENT: Final = "yjs"
"""The event whose messages are the updates of a document."""
MAX_PARTS: Final = 4_096
"""Pieces of one update: with the smallest frames this is more than the largest document."""


class Piece(Struct, frozen=True):
    """A piece of the update `of`, which its writer named: number `part` of `parts`, counted from 0."""

    of: str
    part: int
    parts: int
    update: str


_decode: Callable[[bytes | Raw], str | Piece] = msgspec.json.Decoder(str | Piece).decode


def read(data: bytes | Raw) -> bytes | Piece:
    """A whole update, or a checked piece of one. Raises BadMessage."""
    try:
        found = _decode(data)
    except (msgspec.DecodeError, msgspec.ValidationError):
        raise BadMessage(
            "An update of a document is a base64 string, or a piece {of, part, parts, update}."
        ) from None
    if isinstance(found, str):
        return _bytes(found)
    if not 0 <= found.part < found.parts <= MAX_PARTS:
        raise BadMessage(f"The pieces of an update are numbered from 0, and are at most {MAX_PARTS}.")
    _bytes(found.update)
    return found


def written(update: bytes) -> str:
    """A whole update, as the `data` of an event."""
    return b64encode(update).decode()


def pieces(update: bytes, of: str, size: int) -> Iterator[Piece]:
    """An update in pieces of at most `size` bytes of base64."""
    step = size // 4 * 3
    parts = -(-len(update) // step)
    for part in range(parts):
        yield Piece(of, part, parts, written(update[part * step : (part + 1) * step]))


class Assembly:
    """Updates from the messages of one document, in their order. `incomplete` are the positions of the pieces of
    each update that is not complete, by user and name."""

    def __init__(self) -> None:
        self.incomplete: dict[tuple[str, str], list[int]] = {}
        self._pieces: dict[tuple[str, str], dict[int, bytes]] = {}

    def take(self, user_id: str, data: bytes | Raw, position: int = 0) -> bytes | None:
        """Take the next message; returns the update that it completes, if it does. Raises BadMessage."""
        found = read(data)
        if isinstance(found, bytes):
            return found
        key = user_id, found.of
        self.incomplete.setdefault(key, []).append(position)
        pieces = self._pieces.setdefault(key, {})
        pieces[found.part] = _bytes(found.update)
        if len(pieces) < found.parts:
            return None
        del self._pieces[key], self.incomplete[key]
        return b"".join(pieces[part] for part in sorted(pieces))


def _bytes(text: str) -> bytes:
    try:
        found = a2b_base64(text, strict_mode=True)
    except (Malformed, ValueError):
        raise BadMessage("An update of a document is base64 with padding.") from None
    if not found:
        raise BadMessage("An update of a document is not empty.")
    return found
