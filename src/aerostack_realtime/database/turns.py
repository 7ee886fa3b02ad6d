"""How many row changes a feed delivers before other tasks of the event loop run."""

from collections.abc import Callable
from time import thread_time
from typing import Final

TURN_SECONDS: Final = 0.0015
"""CPU time of one turn: reading, delivering, and writing to subscribers. A reply waits for it."""
LEAST: Final = 32
"""A turn costs a system call for each subscriber of all changes, however few changes it has."""
FIRST: Final = 64
"""The size before anything was measured."""
OTHERS: Final = 0.75
"""How much of a turn's time the other tasks of an iteration may take from it."""


class TurnSize:
    """Follows what turns take: a change may concern one subscriber or all of them.

    `changes` is the size of the turn, `most` the largest. `clock` is the CPU time of the loop's thread, or of all
    threads where others take the interpreter from it, so that other processes do not count.
    """

    def __init__(self, most: int, clock: Callable[[], float] = thread_time) -> None:
        self.changes = self._fitting = min(FIRST, most)
        self._most = most
        self._clock = clock
        self._began = clock()
        self._paused: float | None = None

    def begin(self) -> None:
        """A turn begins. After a pause it is shorter by what other tasks took: replies have waited for them."""
        self._began = self._clock()
        if self._paused is not None:
            taken = (self._began - self._paused) / TURN_SECONDS
            self.changes = max(min(LEAST, self._most), int(self._fitting * (1 - min(taken, OTHERS))))
            self._paused = None

    def delivered(self, changes: int) -> None:
        """`changes` were read and delivered since the turn began, or since the last call of this method."""
        began, self._began = self._began, self._clock()
        self.took(changes, self._began - began)

    def pause(self) -> None:
        """The turn is over. The next one begins after one iteration of the loop, in which its other tasks run."""
        self._paused = self._clock()

    def took(self, changes: int, seconds: float) -> None:
        """The delivery of `changes` took `seconds`."""
        fitting = int(changes * TURN_SECONDS / seconds) if seconds > 0 else self._most
        if seconds > TURN_SECONDS:
            # By half at most: it may have been one large row.
            self._fitting = max(min(LEAST, self._most), fitting, self._fitting // 2)
        elif changes >= self.changes:
            self._fitting = max(self._fitting, min(self._most, fitting, self._fitting + self._fitting // 4))
        self.changes = self._fitting

    def worth(self, seconds: float) -> int:
        """How many changes take as long as something else that took `seconds`."""
        return int(self._fitting * seconds / TURN_SECONDS)
