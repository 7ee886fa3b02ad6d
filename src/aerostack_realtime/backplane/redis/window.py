"""How much of the log Redis holds, and down to where it has to be trimmed."""

from __future__ import annotations

from collections import deque
from typing import Final

from msgspec import Struct

from aerostack_realtime.backplane.redis.settings import DEFAULTS

STEP_US: Final = 1_000_000
STEPS: Final = 64
"""The size is known at one position per second of the journal's time, and per 1/64 of the limit."""
KEPT_US: Final = int(DEFAULTS.kept_seconds * 1_000_000)
SIGNS: Final = 10
"""A tenth of what is kept, three seconds, stays when all of the log is older."""
ENTRY_BYTES: Final = 100
"""What Redis needs for an entry besides its batch."""


class _Mark(Struct, frozen=True):
    position: int
    at: int
    before: int


class LogWindow:
    """Counts what is read. `limit` is in bytes, `kept` in µs: the newest part, which is never trimmed."""

    def __init__(self, limit: int, kept: int = KEPT_US) -> None:
        self._limit = limit
        self._kept = kept
        self._step = limit // STEPS
        self._total = 0
        self._marks: deque[_Mark] = deque()

    @property
    def held(self) -> int:
        """Bytes that are kept, about."""
        return self._total - self._marks[0].before if self._marks else 0

    @property
    def full(self) -> bool:
        return self.held > self._limit

    def read(self, position: int, at: int, size: int) -> None:
        """An entry was read that begins at `position`."""
        marks = self._marks
        if not marks or at - marks[-1].at >= STEP_US or self._total - marks[-1].before >= self._step:
            self._marks.append(_Mark(position, at, self._total))
        self._total += size + ENTRY_BYTES

    def trim(self, floor: int) -> int:
        """Nothing below `floor` is needed any more; the entry up to which all may go, 0 for none. It is not above
        `floor`: an entry holds many positions, and is removed as a whole."""
        while len(self._marks) > 1 and self._marks[1].position <= floor:
            self._marks.popleft()
        return self._marks[0].position if self._marks and self._marks[0].position <= floor else 0

    def cleared(self) -> None:
        """The log was lost and begins again."""
        self._marks.clear()

    def size_floor(self) -> int:
        """Where the log has to begin to take at most three quarters of the limit; 0 while it does."""
        allowed = self._limit * 3 // 4
        if self.held <= allowed:
            return 0
        newest = self._marks[-1].at
        floor = 0
        for mark in self._marks:
            if mark.at > newest - self._kept:
                break
            floor = mark.position
            if self._total - mark.before <= allowed:
                break
        return floor

    def emergency_floor(self, newest: int, stalled: int = 0) -> int:
        """The entry at which the log may begin when the server is out of memory: the newest 30 seconds stay.

        `newest` is the position of the newest entry. For `stalled` µs nothing has been appended, by this node's
        clock. The journal's time stands still meanwhile, so every entry is older by that. If the log is longer, a
        few seconds of the journal's time stay: a node that joins finds a sign of life of every other node there.
        """
        if not self._marks:
            return 0
        kept = max(self._kept - stalled, self._kept // SIGNS)
        limit = self._marks[-1].at - kept
        floor = max((mark.position for mark in self._marks if mark.at <= limit), default=0)
        return floor if floor > self._marks[0].position or stalled < self._kept else newest
