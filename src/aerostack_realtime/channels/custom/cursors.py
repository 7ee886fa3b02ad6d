"""Cursors of custom channels: `<epoch>.<position>`, opaque to everyone else."""

from collections.abc import Callable


class Cursors:
    """`epoch` is that of the database now; another database's cursor says nothing here.

    `understands` tells of the epochs of earlier runs which positions are of this database's past.

    An epoch that ended while we run, by a backup restored into the open database, is still understood: positions
    come from one clock and the channels' logs are in memory, so nothing is told twice and no gap for nothing.
    """

    def __init__(self, epoch: Callable[[], str], understands: Callable[[str, int], bool]) -> None:
        self._epoch = epoch
        self._understands = understands
        self._given = {epoch()}
        self._last = "", -1, ""

    def at(self, position: int) -> str:
        epoch = self._epoch()
        of, last, cursor = self._last
        if position != last or epoch != of:  # an event's is asked for twice: for its frame, and its publisher
            self._given.add(epoch)
            cursor = f"{epoch}.{position}"
            self._last = epoch, position, cursor
        return cursor

    def position(self, cursor: str) -> int:
        """The position a cursor names; -1, before everything, when it is none of ours."""
        epoch, _, position = cursor.rpartition(".")
        if not (position.isascii() and position.isdecimal() and len(position) < 20):
            return -1
        found = int(position)
        return found if epoch in self._given or self._understands(epoch, found) else -1
