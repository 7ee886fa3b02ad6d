"""Cursors of custom channels: `<epoch>.<position>`, opaque to everyone else."""

from collections.abc import Callable


class Cursors:
    """`epoch` is that of the database now: what another database's cursor says means nothing in this one."""

    def __init__(self, epoch: Callable[[], str]) -> None:
        self._epoch = epoch

    def at(self, position: int) -> str:
        return f"{self._epoch()}.{position}"

    def position(self, cursor: str) -> int:
        """The position a cursor names; -1, before everything, when it is none of this epoch."""
        epoch, _, position = cursor.rpartition(".")
        known = epoch == self._epoch() and position.isdecimal() and len(position) < 20
        return int(position) if known else -1
