"""Cursors of custom channels: `<epoch>.<position>`, opaque to clients.

One journal item can change several members of a channel, for example when a node died. All of these events but
the last carry `<epoch>.<position - 1>-<n>`: everything before the item, and `n` events of it. So a client that
was cut off in the middle of them resumes with the rest.
"""

from typing import Protocol


class Epochs(Protocol):
    """The part of a journal that cursors are made of."""

    @property
    def epoch(self) -> str: ...

    def understands(self, epoch: str, position: int) -> bool: ...


class Cursors:
    """`epochs` is the journal."""

    def __init__(self, epochs: Epochs) -> None:
        self._epochs = epochs

    def at(self, position: int) -> str:
        return f"{self._epochs.epoch}.{position}"

    def of_part(self, position: int, part: int, parts: int) -> str:
        """The cursor of event number `part`, counted from 1, of the `parts` events that one item caused."""
        return self.at(position) if part == parts else f"{self.at(position - 1)}-{part}"

    def position(self, cursor: str) -> int:
        """The position that a cursor names; -1, before everything, for a cursor of another journal."""
        return self.place(cursor)[0]

    def place(self, cursor: str) -> tuple[int, int]:
        """The position that a cursor names, and how many events of the next item its client has."""
        epoch, _, place = cursor.rpartition(".")
        written, _, parts = place.partition("-")
        if not _is_number(written):
            return -1, 0
        position = int(written)
        if epoch != self._epochs.epoch and not self._epochs.understands(epoch, position):
            return -1, 0
        return position, int(parts) if _is_number(parts) else 0


def _is_number(text: str) -> bool:
    return len(text) < 20 and text.isascii() and text.isdecimal()
