"""The newest part of the log in memory, as row changes, for clients that resume."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

from msgspec import Struct

from aerostack_realtime.database.postgres.feed.epochs import Position, stamp
from aerostack_realtime.database.postgres.types.types import UNKNOWN
from aerostack_realtime.database.postgres.wal.pgoutput import Relation
from aerostack_realtime.database.postgres.wal.rows import Values
from aerostack_realtime.protocol.messages import Operation

ENTRY_BYTES = 400
"""Bytes of an entry besides its values, measured with two tuples of six values."""

Item = TypeVar("Item")


class LoggedTable:
    """A table as the changes that follow were made in it; after an ALTER TABLE there is another one."""

    __slots__ = ("columns", "layout", "oid")

    def __init__(self, relation: Relation) -> None:
        self.oid = relation.oid
        self.columns = tuple((column.name, column.type_oid) for column in relation.columns)
        self.layout = UNKNOWN
        """How its rows are converted, once its types are known."""


class Entry(Struct, frozen=True, gc=False):
    """One row change of the log. Its values are still text, because most are never read again.

    `end`: the last change of its transaction. `timestamp`: of the commit, in ms since the Unix epoch.
    """

    position: Position
    xid: int
    timestamp: int
    table: LoggedTable
    operation: Operation
    old: Values | None
    new: Values | None
    end: bool
    size: int

    @property
    def fits(self) -> bool:
        """Whether its values are printed as its table's types print now."""
        layout = self.table.layout
        return (self.old is None or layout.fits(self.old)) and (self.new is None or layout.fits(self.new))


class Log:
    """Entries in their order, bounded by bytes. Nothing after the position `start` is missing."""

    def __init__(self, start: Position, max_bytes: int) -> None:
        self.start = start
        self._max_bytes = max_bytes
        self._before: int | None = None
        """The commit time of the change at `start`, if there is one."""
        self._bytes = 0
        self._entries: deque[tuple[Entry, Sequence[int]]] = deque()
        self._tables: dict[int, deque[Entry]] = {}

    def append(self, entry: Entry, tables: Sequence[int]) -> None:
        """`tables`: the OIDs of the watched tables that contain its rows."""
        self._entries.append((entry, tables))
        for table in tables:
            of_table = self._tables.get(table)
            if of_table is None:
                of_table = self._tables[table] = deque()
            of_table.append(entry)
        self._bytes += entry.size
        while self._bytes > self._max_bytes:
            self._drop()

    def expire(self, before: int) -> None:
        """Remove what was committed before the position `before`."""
        while self._entries and self._entries[0][0].position.lsn < before:
            self._drop()

    def clear(self, start: Position) -> None:
        """Start again: what comes from now on does not continue the entries."""
        self._entries.clear()
        self._tables.clear()
        self._bytes = 0
        self._before = None
        self.start = start

    def count(self, table: int) -> int:
        """How many changes of the table with this OID are in memory."""
        return len(self._tables.get(table, ()))

    def after(self, table: int, position: Position) -> Iterator[Entry]:
        """The entries of a table after a position."""
        entries = self._tables.get(table)
        if entries is None:
            return iter(())
        return islice(entries, _count_until(entries, lambda entry: entry.position > position), None)

    def last(self, position: Position) -> int | None:
        """The commit time of the last change at or before a position, if it is known."""
        if self._entries and self._entries[-1][0].position <= position:  # the usual case
            return self._entries[-1][0].timestamp
        return self._newest(position)[1]

    def holds(self, position: Position, last: int | None) -> bool:
        """Whether a position belongs to this log, before a transaction or after one of its changes, and the last
        change before it was committed at `last`, a `stamp`, if both are known."""
        newest, committed = self._newest(position)
        if position.index > 0 and position != newest:
            return False
        return last is None or committed is None or stamp(committed) == last

    def forget(self, table: int) -> None:
        """Remove a table's entries."""
        if self._tables.pop(table, None):
            left = ((entry, [each for each in tables if each != table]) for entry, tables in self._entries)
            self._entries = deque(each for each in left if each[1])
            self._bytes = sum(entry.size for entry, _ in self._entries)

    def _newest(self, position: Position) -> tuple[Position, int | None]:
        """The position of the last change at or before a position, and its commit time; the start if there is
        none."""
        found = _count_until(self._entries, lambda each: each[0].position > position)
        if found == 0:
            return self.start, self._before if position >= self.start else None
        entry, _ = self._entries[found - 1]
        return entry.position, entry.timestamp

    def _drop(self) -> None:
        entry, tables = self._entries.popleft()
        self._bytes -= entry.size
        self.start, self._before = entry.position, entry.timestamp
        for table in tables:
            of_table = self._tables[table]
            of_table.popleft()
            if not of_table:
                del self._tables[table]


def bytes_of(values: Values | None) -> int:
    """The bytes of a row's values."""
    return 0 if values is None else sum([len(value) for value in values if type(value) is bytes])


def _count_until(items: deque[Item], reached: Callable[[Item], bool]) -> int:
    """How many items come before the first one for which `reached` is true; it is true for the later ones, too.

    Resuming clients need the newest items: the search starts at the end, in steps that double, because access to a
    deque's middle is slow.
    """
    high, step = len(items), 1
    while high > 0 and reached(items[high - 1]):
        low = max(0, high - step)
        if low == 0 or not reached(items[low - 1]):
            while low < high:
                middle = (low + high) // 2
                if reached(items[middle]):
                    high = middle
                else:
                    low = middle + 1
            return low
        high, step = low, step * 2
    return high
