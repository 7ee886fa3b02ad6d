"""Whether a log is the one that was delivered before: it has the same change at the same position."""

from __future__ import annotations

from aerostack_realtime.database.postgres.feed.epochs import Cursor, stamp
from aerostack_realtime.database.postgres.feed.log import Entry
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, OpaqueChange
from aerostack_realtime.database.postgres.wal.stream import ReplicationEnded


class LogDiverged(ReplicationEnded):
    """This is another log: a backup was restored, and more written than it had undone."""

    def __init__(self) -> None:
        super().__init__("the log has other changes than those that were delivered")


class Continuity:
    """The check of one delivered change, by the first items of a stream that sends its transaction again."""

    def __init__(self, delivered: Cursor) -> None:
        self._delivered = delivered

    def see(self, item: Item) -> bool:
        """Whether the item is the change. Raises LogDiverged when another one is there, or none."""
        if not isinstance(item, Entry | OpaqueChange | Committed) or item.position < self._delivered.position:
            return False
        if item.position > self._delivered.position:
            raise LogDiverged
        if isinstance(item, Entry) and self._delivered.last not in (None, stamp(item.timestamp)):
            raise LogDiverged
        return True

    def reached(self, lsn: int) -> None:
        """The stream has reached this position. Raises LogDiverged when it has passed the change."""
        if lsn > self._delivered.position.lsn:
            raise LogDiverged
