"""Cursors of custom channels: `<epoch>.<position>`, opaque to everyone else."""

from collections.abc import Callable


class Cursors:
    """`epoch` is that of the database now; another database's cursor says nothing here.

    An epoch that ended while we run, by a backup restored into the open database, is still understood: positions
    come from one clock and the channels' logs are in memory, so nothing is told twice and no gap for nothing.
    """

    def __init__(self, epoch: Callable[[], str]) -> None:
        self._epoch = epoch
        self._given = {epoch()}

    def at(self, position: int) -> str:
        epoch = self._epoch()
        self._given.add(epoch)
        return f"{epoch}.{position}"

    def position(self, cursor: str) -> int:
        """The position a cursor names; -1, before everything, when it is none of ours."""
        epoch, _, position = cursor.rpartition(".")
        known = epoch in self._given and position.isdecimal() and len(position) < 20
        return int(position) if known else -1
