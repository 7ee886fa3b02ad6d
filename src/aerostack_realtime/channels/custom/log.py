"""The recent events of one custom channel, for clients that come back."""

from collections import deque

from msgspec import Struct

from aerostack_realtime.channels.custom.budget import ENTRY_BYTES, Budget


class Entry(Struct, frozen=True, gc=False):
    """A sent frame and its position; `presence` when it is a presence event."""

    position: int
    frame: bytes
    presence: bool


class Bounds(Struct, frozen=True):
    """What a log may keep: events, bytes of their frames, and µs for which it keeps them."""

    count: int = 1_000
    bytes: int = 1024 * 1024
    age: int = 120_000_000


class Log:
    """Frames in the order they were sent, bounded by count, bytes and age, and by what all logs share.

    `start` is the position after which the log is complete: whoever has everything up to it misses nothing.
    """

    __slots__ = ("_age", "_budget", "_bytes", "_entries", "_max_bytes", "_max_count", "last", "queued", "start")

    def __init__(self, start: int, bounds: Bounds, budget: Budget) -> None:
        self.start = start
        self.last = start
        self.queued = False
        """The budget's own mark."""
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._max_count = bounds.count
        self._max_bytes = bounds.bytes
        self._age = bounds.age
        self._budget = budget

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> int:
        """The position of the oldest event; there has to be one."""
        return self._entries[0].position

    def append(self, position: int, frame: bytes, *, presence: bool = False) -> None:
        assert position > self.last, "positions of a channel only grow"
        self.last = position
        entries, kept = self._entries, self._bytes + len(frame)
        first, change = not entries, ENTRY_BYTES + len(frame)
        entries.append(Entry(position, frame, presence))
        while len(entries) > self._max_count or kept > self._max_bytes:  # as `drop`, for a log that is full
            gone = entries.popleft()
            kept -= len(gone.frame)
            change -= ENTRY_BYTES + len(gone.frame)
            self.start = gone.position
        self._bytes = kept
        budget = self._budget
        budget.spent += change
        if not entries:
            if not first:
                budget.emptied()
        elif first:
            budget.filled(self)
        if budget.spent > budget.limit:
            budget.make_room()

    def expire(self, now: int) -> None:
        """Let go of what is too old at the position `now`."""
        before = now - self._age
        while self._entries and self._entries[0].position < before:
            self.drop()

    def after(self, position: int) -> tuple[list[Entry], bool]:
        """The entries after `position`, and whether they are all there ever were."""
        return [entry for entry in self._entries if entry.position > position], position >= self.start

    def drop(self) -> None:
        """Let go of the oldest event."""
        entry = self._entries.popleft()
        size = len(entry.frame)
        self._bytes -= size
        self.start = entry.position
        self._budget.spent -= ENTRY_BYTES + size
        if not self._entries:
            self._budget.emptied()
