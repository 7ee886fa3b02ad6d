"""How much of the WAL the slot retains for clients that resume."""

from __future__ import annotations

from collections import deque

from msgspec import Struct


class Window(Struct, frozen=True):
    """How much WAL the slot retains behind the consumer: by time, and at most `bytes`; and how many bytes of it
    are read again at a start, to have the newest part in memory."""

    seconds: float
    bytes: int
    reread: int


class RetentionWindow:
    """Remembers when the consumer was where, so that it can confirm positions that are old enough."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._waymarks: deque[tuple[float, int]] = deque()

    def restart(self, now: float, lsn: int) -> None:
        """Nothing before `lsn` is retained."""
        self._waymarks = deque([(now, lsn)])

    def release(self) -> None:
        """Retain nothing of what was read: it would fill the disk or cost the slot."""
        self._waymarks.clear()

    def kept_from(self, now: float, lsn: int) -> int:
        """The position from which on WAL is retained when the consumer stands at `lsn`; it only grows."""
        marks = self._waymarks
        if not marks or now - marks[-1][0] >= self._window.seconds / 100:
            marks.append((now, lsn))
        while len(marks) > 1 and (
            marks[1][0] <= now - self._window.seconds or marks[0][1] < lsn - self._window.bytes
        ):
            marks.popleft()
        return marks[0][1]
