"""Proof that a log is the one which was told before: it has the same change in the same place."""

from __future__ import annotations

from aerostack_realtime.database.postgres.feed.epochs import Cursor, stamp
from aerostack_realtime.database.postgres.feed.log import Entry
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, OpaqueChange
from aerostack_realtime.database.postgres.wal.stream import ReplicationEnded


class LogDiverged(ReplicationEnded):
    """The log is another: a backup was put back, and more written than it undid."""

    def __init__(self) -> None:
        super().__init__("the log has other changes than those that were told")


class Continuity:
    """Of one change, by the first items of a stream from its commit on: its transaction is sent once more."""

    def __init__(self, told: Cursor) -> None:
        self._told = told

    def see(self, item: Item) -> bool:
        """Whether the item is the change. Raises Undone when it is another, or comes behind its place."""
        if not isinstance(item, Entry | OpaqueChange | Committed) or item.position < self._told.position:
            return False
        if item.position > self._told.position:
            raise LogDiverged
        if isinstance(item, Entry) and self._told.last not in (None, stamp(item.timestamp)):
            raise LogDiverged
        return True

    def come(self, lsn: int) -> None:
        """The stream has come to this place in the log. Raises Undone when the change is behind it."""
        if lsn > self._told.position.lsn:
            raise LogDiverged
