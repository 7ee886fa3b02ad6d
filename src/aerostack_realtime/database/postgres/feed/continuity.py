"""Whether a log is the one that was read before: it has the same change at the same position, and no other change
up to where the log was read."""

from __future__ import annotations

from typing import Self

from aerostack_realtime.database.postgres.feed.epochs import Cursor, Position, stamp
from aerostack_realtime.database.postgres.feed.log import Entry
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, OpaqueChange
from aerostack_realtime.database.postgres.wal.stream import ReplicationEnded


class LogDiverged(ReplicationEnded):
    """This is another log: a backup was restored, and more written than it had undone."""

    def __init__(self) -> None:
        super().__init__("the log has other changes than those that were delivered")


class Continuity:
    """The check of a log by the first items of a stream, which sends again what was read of it.

    `delivered` is a change that the log must hold; None: the stream begins after it. From there to `until` the
    log must hold no change beyond `seen`.
    """

    def __init__(self, delivered: Cursor | None, seen: Position, until: Position) -> None:
        self._delivered = delivered
        self._seen = seen
        self._until = until

    @classmethod
    def at(cls, delivered: Cursor) -> Self:
        """The check of one change."""
        return cls(delivered, delivered.position, delivered.position)

    def see(self, item: Item) -> bool:
        """Whether the check is passed with this item. Raises LogDiverged when the item, or one missing before it,
        shows another log."""
        if not isinstance(item, Entry | OpaqueChange | Committed):
            return False
        if self._delivered is not None:
            if item.position < self._delivered.position:
                return False
            if item.position > self._delivered.position:
                raise LogDiverged
            if isinstance(item, Entry) and self._delivered.last not in (None, stamp(item.timestamp)):
                raise LogDiverged
            self._delivered = None
        elif not isinstance(item, Committed) and self._seen < item.position <= self._until:
            raise LogDiverged
        return item.position >= self._until

    def reached(self, lsn: int) -> bool:
        """Whether the check is passed, now that the stream has reached this position. Raises LogDiverged when the
        stream has passed the change that must be there."""
        if self._delivered is not None:
            if lsn > self._delivered.position.lsn:
                raise LogDiverged
            return False
        return lsn >= self._until.lsn
