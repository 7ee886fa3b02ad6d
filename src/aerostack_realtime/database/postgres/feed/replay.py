"""Replays the log after a cursor, from memory or by reading the WAL again."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from aerostack_realtime.database.base import LARGE_BYTES, Change, Replay
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Epochs, Position, SnapshotVisibility
from aerostack_realtime.database.postgres.feed.log import Entry, Log
from aerostack_realtime.database.postgres.feed.progress import ORIGIN, Progress
from aerostack_realtime.database.postgres.feed.wal_reader import PART_BYTES, Describe, WalReader
from aerostack_realtime.database.postgres.feed.watches import Watches
from aerostack_realtime.protocol.errors import Unavailable

PART: Final = 1_000
"""Changes in a part of a replay: some ms on the loop."""
REMEMBERED: Final = 50_000
"""The newest transactions: a new snapshot may not see them yet although they were sent to us."""


class ReplayReader:
    """`epochs` gives the epochs as they are now, `describe` makes the rows of a table convertible, `reload_epochs`
    reads the epochs again."""

    def __init__(
        self,
        epochs: Callable[[], Epochs],
        log: Log,
        progress: Progress,
        watches: Watches,
        reader: WalReader,
        describe: Describe,
        reload_epochs: Callable[[], Awaitable[None]],
    ) -> None:
        self._epochs = epochs
        self._log = log
        self._progress = progress
        self._watches = watches
        self._reader = reader
        self._describe = describe
        self._reload_epochs = reload_epochs
        self._sent: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._partial: tuple[int, int] | None = None
        """The transaction of which a part was handed on last."""

    def sent(self, transactions: Iterable[tuple[int, int]], partial: tuple[int, int] | None) -> None:
        """These transactions were handed on, and a part of `partial`: their numbers and commit positions."""
        self._sent.extend(transactions)
        self._partial = partial

    def clear(self) -> None:
        """The log was replaced by another one."""
        self._sent.clear()
        self._partial = None

    async def seam(self, snapshot: str) -> str:
        """The cursor after which the log holds exactly what a `pg_snapshot` does not see.

        A transaction may be sent to us before a new snapshot sees it, and vice versa: so the cursor stands before
        the first transaction that the snapshot lacks, and names those that it has. Raises Unavailable.
        """
        mark = await self._progress.mark()
        try:
            visibility = SnapshotVisibility.of(snapshot, mark)
        except ValueError:
            raise Unavailable("Too many transactions are running. Try again in a moment.") from None
        sent = self._sent if self._partial is None else (*self._sent, self._partial)
        unseen = [lsn for xid, lsn in sent if not visibility.sees(xid)]
        here = self._progress.position
        return self._cursor(min(Position(min(unseen), 0), here) if unseen else here, visibility)

    async def part(self, table: str, since: str, most: int = PART) -> Replay:
        """The first part of the log after a cursor, at most `most` changes. Without `more`, the next change that
        is handed on follows it, as long as the caller does not await. Raises NotFound, Unavailable."""
        if not self._epochs().knows(since.partition(".")[0]):
            await self._reload_epochs()  # the cursor may be of another node that has just started an epoch
        found = self._epochs().decode(since)
        if found is not None:
            position, visibility = found.position, found.visibility
            after = position.lsn + (position.index > 0)
            await self._progress.reach(after if visibility is None else max(after, visibility.until))
            if self._watches.start(table, ORIGIN) <= position < self._log.start:
                part = await self._reread(table, found, most)
                if part is not None:
                    return part
        return self._remembered(table, since, most)

    def _remembered(self, table: str, since: str, most: int) -> Replay:
        watch = self._watches.get(table)
        assert watch.relation is not None, "the table exists"
        here = self._progress.position
        known = self._epochs().decode(since)
        position, visibility = (
            (self._epochs().fork(since), None) if known is None else (known.position, known.visibility)
        )
        self._reader.leave(watch.parts, position)
        recovered = (
            known is not None
            and max(self._log.start, watch.start) <= position <= max(here, watch.start)
            and (position == watch.start or self._log.holds(position, known.last))  # a TRUNCATE has no entry
        )
        entries: list[Entry] = []
        room = PART_BYTES
        for entry in self._log.after(watch.relation, max(position, watch.readable)):
            if len(entries) == most or room <= 0:
                changes = self.changes(entries, [table], visibility)
                return Replay(changes, changes[-1].cursor, recovered, more=True)
            if not _was_seen(entry, visibility):
                entries.append(entry)
                room -= entry.size
        changes = self.changes(entries, [table], visibility)
        return Replay(changes, self.cursor(self._watches.start(table, here)), recovered, more=False)

    async def _reread(self, table: str, since: Cursor, most: int) -> Replay | None:
        parts = self._watches.get(table).parts
        part = await self._reader.part(parts, since, most, lambda: self._log.start, self._describe)
        if part is None:
            return None
        visibility = since.visibility
        unseen = [entry for entry in part.entries if not _was_seen(entry, visibility)]
        changes = self.changes(unseen, [table], visibility)
        cursor = self._cursor(part.position, visibility)
        return Replay(changes, cursor, not part.lost, more=True, recent=False)

    def changes(
        self, entries: Iterable[Entry], names: Sequence[str], visibility: SnapshotVisibility | None = None
    ) -> list[Change]:
        """Entries as changes of the watched names."""
        epochs = self._epochs()
        found: list[Change] = []
        lsn, head, tail, commit = -1, "", "", ""
        for entry in entries:
            position = entry.position
            if position.lsn != lsn:  # most changes come in transactions of many
                lsn = position.lsn
                seen = None if visibility is None else _within(position, visibility)
                (head, tail), commit = epochs.around(lsn, entry.timestamp, seen), f"{lsn:x}"
            data, old = entry.rows()
            cursor = f"{head}{position.index}{tail}"
            large = entry.size > LARGE_BYTES
            for name in names:
                found.append(  # noqa: PERF401 - a comprehension costs a call, and there is one name
                    Change(name, entry.operation, data, old, entry.timestamp, cursor, commit, entry.end, large)
                )
        return found

    def cursor(self, position: Position) -> str:
        """The cursor of a position of the log."""
        return self._cursor(position, None)

    def _cursor(self, position: Position, visibility: SnapshotVisibility | None) -> str:
        seen = None if visibility is None else _within(position, visibility)
        return self._epochs().encode(position, self._log.last(position), seen)


def _within(position: Position, visibility: SnapshotVisibility) -> SnapshotVisibility | None:
    """The cursor of a position that the snapshot may have seen holds what it saw."""
    return visibility if position.lsn < visibility.until else None


def _was_seen(entry: Entry, visibility: SnapshotVisibility | None) -> bool:
    return visibility is not None and entry.position.lsn < visibility.until and visibility.sees(entry.xid)
