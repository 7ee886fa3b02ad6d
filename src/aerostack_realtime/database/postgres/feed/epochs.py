"""Runs: which cursors are of the log as it is now.

Whenever a server begins to follow the log it begins a run, with a random id, and notes in the database where the
log stood. A cursor names its run. It is of this log's past when its run is known and it does not lie beyond the
place where the next run began: a database that was restored from a backup has either never heard of the run, or
begins the next one before the place that the cursor names. After a promotion, what lies beyond the point where the
timeline was left is not of the past either. A log that was written beyond the place before the next run began has
other changes there: so a cursor also tells when the last one that it follows was committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

MAX_XIDS: Final = 10_000


class Position(Struct, frozen=True, order=True, gc=False):
    """A place in the log: after the change number `index` of the transaction committed at `lsn`, and with index 0
    before the first of its changes."""

    lsn: int
    index: int


class SnapshotVisibility(Struct, frozen=True, gc=False):
    """Which transactions a snapshot saw: those that ended before, by the numbers of `pg_current_snapshot()`.

    Transactions committed at or after `until` were not seen anyhow.
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
    """What a cursor says. `last`: when the last change that it follows was committed, as `stamp` has it; None when
    that was not known. `visible`: what its snapshot saw, if it is one's."""

    position: Position
    last: int | None = None
    visibility: SnapshotVisibility | None = None


def stamp(timestamp: int) -> int:
    """A time in ms as cursors tell it: its low 32 bits, which come again after 49 days."""
    return timestamp & 0xFFFFFFFF


class Epoch(Struct, frozen=True):
    """A run of a server on this database: where the log (`lsn`, on `timeline`) and the clock of custom channels
    (`position`) stood when it began."""

    id: str
    lsn: int
    timeline: int
    position: int


class Epochs:
    """The runs that are known, in their order; the last one goes on.

    `switches`: for each earlier timeline the place where it was left.
    """

    def __init__(self, epochs: Sequence[Epoch], switches: Mapping[int, int]) -> None:
        assert epochs, "there is a run that goes on"
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
        """`last`: when the last change up to the place was committed, in ms, if that is known."""
        if last is None:
            text = f"{self.current.id}.{position.lsn:x}.{position.index}."
        else:  # for every change: an f-string takes half as long again
            text = "%s.%x.%d.%x" % (self.current.id, position.lsn, position.index, last & 0xFFFFFFFF)  # noqa: UP031
        return text if visibility is None else f"{text}.{visibility}"

    def decode(self, encode: str) -> Cursor | None:
        """What a cursor says; None when it is not of this log's past."""
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
        """Where that begins which whoever holds a cursor that is not of this log's past cannot have seen yet."""
        ends = self._ends.get(encode.partition(".")[0])
        return Position(self.current.lsn if ends is None else ends[0], 0)

    def understands(self, epoch: str, position: int) -> bool:
        """Whether a position of a custom channel, given out in the run `epoch`, is of this database's past."""
        if epoch == self.current.id:
            return True
        ends = self._ends.get(epoch)
        return ends is not None and position <= ends[1]

    def _holds(self, epoch: str, lsn: int) -> bool:
        if epoch == self.current.id:
            return True
        ends = self._ends.get(epoch)
        return ends is not None and lsn <= ends[0]
