"""The recent events of one custom channel, for clients that come back."""

from collections import deque
from typing import Final

from msgspec import Struct

MAX_COUNT: Final = 1_000
MAX_BYTES: Final = 1024 * 1024
MAX_AGE_US: Final = 120_000_000


class Entry(Struct, frozen=True, gc=False):
    """A sent frame and its position; `presence` when it is a presence event."""

    position: int
    frame: bytes
    presence: bool


class Log:
    """Frames in the order they were sent, bounded by count, bytes and age.

    `start` is the position after which the log is complete: whoever has everything up to it misses nothing.
    """

    __slots__ = ("_bytes", "_entries", "last", "start")

    def __init__(self, start: int) -> None:
        self.start = start
        self.last = start
        self._entries: deque[Entry] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, position: int, frame: bytes, *, presence: bool = False) -> None:
        assert position > self.last, "positions of a channel only grow"
        self.last = position
        self._entries.append(Entry(position, frame, presence))
        self._bytes += len(frame)
        while len(self._entries) > MAX_COUNT or self._bytes > MAX_BYTES:
            self._drop()

    def expire(self, before: int) -> None:
        """Let go of what is older than the position `before`."""
        while self._entries and self._entries[0].position < before:
            self._drop()

    def after(self, position: int) -> tuple[list[Entry], bool]:
        """The entries after `position`, and whether they are all there ever were."""
        return [entry for entry in self._entries if entry.position > position], position >= self.start

    def _drop(self) -> None:
        entry = self._entries.popleft()
        self._bytes -= len(entry.frame)
        self.start = entry.position
