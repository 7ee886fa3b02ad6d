"""Epochs: which cursors belong to the log as it is now.

An epoch has a random id and starts at a position of the log, which the database stores. A cursor names its epoch.
It belongs to this log's past when its epoch is known and it does not lie beyond the start of the next one: a
database that was restored from a backup either does not know the epoch, or starts the next one before the position
of the cursor. After a promotion, positions beyond the end of the old timeline do not belong to the past either. A
restored log that has grown beyond the position before the next epoch starts has other changes there: therefore a
cursor also holds the commit time of the last change before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

MAX_XIDS: Final = 10_000


class Position(Struct, frozen=True, order=True, gc=False):
    """A position in the log: after change number `index` of the transaction committed at `lsn`; with index 0,
    before its first change."""

    lsn: int
    index: int


class SnapshotVisibility(Struct, frozen=True, gc=False):
    """Which transactions a snapshot saw: those that had ended, by the numbers of `pg_current_snapshot()`.

    It saw no transaction that committed at or after `until`.
    """

    xmin: int
    xmax: int
    running: frozenset[int]
    until: int

    @classmethod
    def of(cls, snapshot: str, until: int) -> SnapshotVisibility:
        """From the text of a `pg_snapshot`. Raises ValueError."""
        xmin, xmax, running = snapshot.split(":")
        xids = running.split(",") if running else []
        if len(xids) > MAX_XIDS:
            raise ValueError("too many transactions")
        return cls(int(xmin), int(xmax), frozenset(map(int, xids)), until)

    def sees(self, xid: int) -> bool:
        """Whether the snapshot saw the transaction with this 32-bit number, if it was committed."""
        ahead = (xid - self.xmax) & 0xFFFFFFFF
        if ahead < 0x80000000:
            return False
        return self.xmax + ahead - 0x100000000 not in self.running

    def __str__(self) -> str:
        running = ",".join(map(str, sorted(self.running)))
        return f"{self.xmin}:{self.xmax}:{running}:{self.until:x}"


class Cursor(Struct, frozen=True):
    """A decoded cursor. `last`: the commit time of the last change before it, as a `stamp`; None if it was
    unknown. `visibility`: what its snapshot saw, if it is the cursor of one."""

    position: Position
    last: int | None = None
    visibility: SnapshotVisibility | None = None


def stamp(timestamp: int) -> int:
    """A time in ms as cursors hold it: its low 32 bits, which repeat after 49 days."""
    return timestamp & 0xFFFFFFFF


class Epoch(Struct, frozen=True):
    """An epoch: where the log (`lsn`, on `timeline`) and the clock of custom channels (`position`) stood when it
    started."""

    id: str
    lsn: int
    timeline: int
    position: int


class Epochs:
    """The known epochs in their order; the last one is the current one.

    `switches`: for each earlier timeline, the position where it ended.
    """

    def __init__(self, epochs: Sequence[Epoch], switches: Mapping[int, int]) -> None:
        assert epochs, "there is a current epoch"
        self.current = epochs[-1]
        self._ends: dict[str, tuple[int, int]] = {}
        for epoch, following in pairwise(epochs):
            end = following.lsn
            if epoch.timeline != following.timeline:
                end = min(end, switches.get(epoch.timeline, 0))
            self._ends[epoch.id] = (end, following.position)

    def knows(self, epoch: str) -> bool:
        """Whether an epoch is one of these."""
        return epoch == self.current.id or epoch in self._ends

    def encode(
        self, position: Position, last: int | None = None, visibility: SnapshotVisibility | None = None
    ) -> str:
        """A cursor's text. `last`: the commit time of the last change up to the position, in ms, if it is
        known."""
        head, tail = self.around(position.lsn, last, visibility)
        return f"{head}{position.index}{tail}"

    def around(self, lsn: int, last: int | None, visibility: SnapshotVisibility | None) -> tuple[str, str]:
        """What comes before and after the index in the cursors of one transaction."""
        tail = "." if last is None else f".{stamp(last):x}"
        return f"{self.current.id}.{lsn:x}.", tail if visibility is None else f"{tail}.{visibility}"

    def decode(self, encode: str) -> Cursor | None:
        """Parse a cursor; None when it does not belong to this log's past."""
        epoch, _, rest = encode.partition(".")
        parts = rest.split(".")
        if len(parts) not in (3, 4) or not encode.isascii():
            return None
        try:
            position = Position(int(parts[0], 16), int(parts[1]))
            last = int(parts[2], 16) if parts[2] else None
            visibility = None
            if len(parts) == 4:
                snapshot, _, until = parts[3].rpartition(":")
                visibility = SnapshotVisibility.of(snapshot, int(until, 16))
        except ValueError:
            return None
        return Cursor(position, last, visibility) if self._holds(epoch, position.lsn) else None

    def fork(self, encode: str) -> Position:
        """The position after which the holder of a cursor that does not belong to this log's past has seen
        nothing."""
        ends = self._ends.get(encode.partition(".")[0])
        return Position(self.current.lsn if ends is None else ends[0], 0)

    def understands(self, epoch: str, position: int) -> bool:
        """Whether a position of a custom channel, given out in `epoch`, belongs to this database's past."""
        if epoch == self.current.id:
            return True
        ends = self._ends.get(epoch)
        return ends is not None and position <= ends[1]

    def _holds(self, epoch: str, lsn: int) -> bool:
        if epoch == self.current.id:
            return True
        ends = self._ends.get(epoch)
        return ends is not None and lsn <= ends[0]
