"""Parts of tables' logs as frames: what is read for one slow reader serves the others that come by."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from aerostack_realtime.channels.tables.views import View

PLACE_BYTES: Final = 250
"""Bytes of a place: its key, its value, and the cursor."""


class _Part(Struct, frozen=True, eq=False):
    data: bytes
    end: str
    places: list[tuple[View, str]]
    size: int


class SharedParts:
    """The parts that were read last, about `most` bytes of them.

    A reader may begin anywhere in a part: it left live delivery after any change, and has that one's cursor.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._parts: deque[_Part] = deque()
        self._places: dict[tuple[View, str], tuple[_Part, int]] = {}

    def find(self, view: View, cursor: str) -> tuple[bytes, str] | None:
        """The frames that follow a cursor in a view, and the cursor after them."""
        found = self._places.get((view, cursor))
        if found is None:
            return None
        part, offset = found
        return (part.data[offset:] if offset else part.data), part.end

    def add(self, view: View, since: str, frames: Sequence[tuple[str, bytes]], end: str) -> bytes:
        """Keep the frames between two cursors, each with the cursor of its change; returns them joined."""
        data = b"".join(frame for _, frame in frames)
        places = [(view, since), *((view, cursor) for cursor, _ in frames)]
        part = _Part(data, end, places, len(data) + PLACE_BYTES * len(places))
        offset = 0
        for place, length in zip(places, (*(len(frame) for _, frame in frames), 0), strict=True):
            if place[1] != end:
                self._places[place] = part, offset
            offset += length
        self._parts.append(part)
        self._size += part.size
        while self._size > self._most:
            self._drop()
        return data

    def clear(self) -> None:
        """Keep nothing."""
        self._parts.clear()
        self._places.clear()
        self._size = 0

    def _drop(self) -> None:
        part = self._parts.popleft()
        self._size -= part.size
        for place in part.places:
            if place in self._places and self._places[place][0] is part:
                del self._places[place]
