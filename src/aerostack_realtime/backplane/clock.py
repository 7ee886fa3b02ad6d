"""Positions in the order of custom channels: a hybrid clock, in microseconds since the Unix epoch.

Source of the idea: Kulkarni et al., "Logical Physical Clocks", 2014; here one number is enough, since one
server hands out the positions.
"""

from collections.abc import Callable
from typing import Final

RESERVE_US: Final = 10_000_000
"""How far ahead of the clock the high-water mark is kept: it is raised about every five seconds."""
HEADROOM_US: Final = RESERVE_US // 10
"""Headroom below the stored mark: the positions that are still available by increment when the wall clock reaches
the mark first."""


def mark_above(now: int, last: int) -> int:
    """A mark for positions that follow the clock from `now` on, and are above `last`: as little as that takes, so
    that a server that starts again and again does not run ahead of its clock."""
    return max(now + RESERVE_US, last + HEADROOM_US)


class HybridClock:
    """Strictly increasing positions that follow the wall clock and never go back, also across restarts.

    `last` is the high-water mark that the last run left, `mark` the one stored for this run. No position is
    above the stored mark, so a server that starts above the mark it finds is above everything that was handed
    out before, whatever the wall clock says. `reserve` is called with the next mark when half of the reserve
    is used; when that mark is stored, call `reserved`. A wall clock that jumps beyond the mark is followed as
    soon as the mark is; until then, and while no mark can be stored, positions count up by one, which HEADROOM_US
    has room for, and `timestamp` is ahead of them.
    """

    def __init__(self, now: Callable[[], int], last: int, mark: int, reserve: Callable[[int], None]) -> None:
        self._now = now
        self.at = last
        """The time of the newest position, in µs since the Unix epoch. It never goes back."""
        self._last = last
        self._reserve = reserve
        self._asked = mark
        self._mark = mark
        self._compute_bounds()

    @property
    def last(self) -> int:
        """The newest position; before the first, the mark of the last run."""
        return self._last

    @property
    def timestamp(self) -> int:
        """When the newest position was handed out, in ms since the Unix epoch."""
        return self.at // 1000

    def next(self) -> int:
        now = self._now()
        last = self._last
        if now > self._wall_bound or last > self._count_bound:
            self._asked = mark_above(now, last)
            self._compute_bounds()
            self._reserve(self._asked)
        if last < now <= self._highest_wall:
            self._last = now
            if now > self.at:
                self.at = now
            return now
        self._last = position = last + 1
        self.at = max(self.at, now, position)
        return position

    def reserved(self, mark: int) -> None:
        """`mark` is durable from now on."""
        self._mark = max(self._mark, mark)
        self._compute_bounds()

    def _compute_bounds(self) -> None:
        """What `next` compares with; it runs for every event."""
        self._highest_wall = self._mark - HEADROOM_US
        """The wall clock is followed up to here."""
        self._wall_bound = self._asked - RESERVE_US // 2
        """The wall clock beyond which the next mark is asked for."""
        self._count_bound = self._asked - HEADROOM_US // 2
        """The newest position beyond which it is asked for, too."""
