"""How many row changes a feed delivers before other tasks of the event loop run."""

from typing import Final

TURN_SECONDS: Final = 0.0015
"""CPU time that the delivery of one turn may take, with the writes to subscribers: a reply waits for it."""
LEAST: Final = 64
"""A turn costs a system call for each subscriber of all changes, however few changes it has."""
FIRST: Final = 96
"""The size before anything was measured."""


class TurnSize:
    """Follows what deliveries take: a change may concern one subscriber or all of them.

    `changes` is the size of the next turn, `most` the largest.
    """

    def __init__(self, most: int) -> None:
        self.changes = min(FIRST, most)
        self._most = most

    def took(self, changes: int, seconds: float) -> None:
        """A delivery of `changes` took `seconds`, as CPU time of its thread."""
        if seconds > TURN_SECONDS:
            fitting = int(changes * TURN_SECONDS / seconds)
            # By half at most: it may have been one large row.
            self.changes = max(LEAST, fitting, self.changes // 2)
        elif changes >= self.changes:
            self.changes = min(self._most, self.changes + self.changes // 4)
