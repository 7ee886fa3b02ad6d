"""The newest part of the log in memory, as row changes, for clients that resume."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from msgspec import Struct

from aerostack_realtime.database.base import Row
from aerostack_realtime.database.postgres.feed.entry_queue import EntryQueue
from aerostack_realtime.database.postgres.feed.epochs import Position, stamp
from aerostack_realtime.database.postgres.types.types import UNKNOWN
from aerostack_realtime.database.postgres.wal.pgoutput import ROW_AT, Decoder, Delete, Insert, Relation, Update
from aerostack_realtime.database.postgres.wal.rows import SHORT, UNCHANGED, Misread, Values, merged
from aerostack_realtime.protocol.messages import Operation

ENTRY_BYTES = 220
"""Bytes of an entry besides its message, measured."""


class LoggedTable:
    """A table as the changes that follow were made in it; after an ALTER TABLE there is another one."""

    __slots__ = ("columns", "layout", "oid")

    def __init__(self, relation: Relation) -> None:
        self.oid = relation.oid
        self.columns = tuple((column.name, column.type_oid) for column in relation.columns)
        self.layout = UNKNOWN
        """How its rows are converted, once its types are known."""


class Entry(Struct, frozen=True, gc=False):
    """One row change of the log. `message` is that of pgoutput, with whole rows and as it is outside of streamed
    pieces: most of them are never read again.

    `end`: the last change of its transaction. `timestamp`: of the commit, in ms since the Unix epoch.
    """

    position: Position
    xid: int
    timestamp: int
    table: LoggedTable
    operation: Operation
    message: bytes | memoryview
    end: bool
    size: int

    @property
    def fits(self) -> bool:
        """Whether its values are printed as its table's types print now."""
        layout = self.table.layout
        return layout.is_fixed or all(row is None or layout.fits(row) for row in self.values())

    def values(self) -> tuple[Values | None, Values | None]:
        """The new row and the old one, as the server printed them. Raises MalformedMessage."""
        new, old = self._decoded()
        return None if new is None else merged(old, new), old

    def rows(self) -> tuple[Row, Row | None]:
        """The new row, of a DELETE the deleted one, and the old row, if there is one. Raises MalformedMessage."""
        message, layout = self.message, self.table.layout
        read = layout.read
        if read is not None and isinstance(message, bytes) and len(message) < SHORT:
            try:
                data, at = read(message, ROW_AT)
                old = None if self.operation == "INSERT" else data
                if self.operation == "UPDATE":
                    data, at = read(message, at + 1)
                if at == len(message):
                    return data, old
            except (ValueError, Misread, IndexError, struct.error):
                pass  # a value that its type does not print, an unchanged one, or a malformed message
        new, old_values = self._decoded()
        old = None if old_values is None else layout.to_row(old_values)
        found = old if new is None else layout.to_row(new)
        assert found is not None, "a change has an old row or a new one"
        if new is not None and old is not None and UNCHANGED in new:
            found = old | found  # its unchanged values are left out, and those of the old row may be large
        return found, old

    def _decoded(self) -> tuple[Values | None, Values | None]:
        """The rows of the message: the new one, in which values may be UNCHANGED, and the old one."""
        match Decoder().decode(self.message):
            case Insert(new=new):
                return new, None
            case Update(new=new, old=old):
                return new, old
            case Delete(old=old):
                return None, old
            case _:
                raise AssertionError("an entry is made of a message with rows")


class Log:
    """Entries in their order, bounded by bytes. Nothing after the position `start` is missing."""

    def __init__(self, start: Position, max_bytes: int) -> None:
        self.start = start
        self._max_bytes = max_bytes
        self._before: int | None = None
        """The commit time of the change at `start`, if there is one."""
        self._bytes = 0
        self._entries = EntryQueue[Entry]()
        self._tables: dict[int, EntryQueue[Entry]] = {}
        self._within: dict[int, set[int]] = {}
        """For the OID of an entry's table, the OIDs of the watched tables that contain its rows, or did."""

    def extend(self, entries: Sequence[Entry], tables: Sequence[int]) -> None:
        """Append entries of one table; `tables`: the OIDs of the watched tables that contain its rows."""
        self._entries.extend(entries)
        self._within.setdefault(entries[0].table.oid, set()).update(tables)
        for table in tables:
            if table not in self._tables:
                self._tables[table] = EntryQueue()
            self._tables[table].extend(entries)
        self._bytes += sum([entry.size for entry in entries])
        if self._bytes > self._max_bytes:
            self._shrink(self._bytes - self._max_bytes)

    def clear(self, start: Position) -> None:
        """Start again: what comes from now on does not continue the entries."""
        self._entries = EntryQueue()
        self._tables.clear()
        self._within.clear()
        self._bytes = 0
        self._before = None
        self.start = start

    def count(self, table: int) -> int:
        """How many changes of the table with this OID are in memory."""
        return len(self._tables.get(table, ()))

    def after(self, table: int, position: Position) -> Iterator[Entry]:
        """The entries of a table after a position."""
        entries = self._tables.get(table)
        return iter(()) if entries is None else entries.after(position)

    def last(self, position: Position) -> int | None:
        """The commit time of the last change at or before a position, if it is known."""
        if self._entries and self._entries.last.position <= position:  # the usual case
            return self._entries.last.timestamp
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
            for tables in self._within.values():
                tables.discard(table)
            self._entries = EntryQueue(each for each in self._entries if self._within[each.table.oid])
            self._bytes = sum(entry.size for entry in self._entries)

    def _newest(self, position: Position) -> tuple[Position, int | None]:
        """The position of the last change at or before a position, and its commit time; the start if there is
        none."""
        entry = self._entries.newest(position)
        if entry is None:
            return self.start, self._before if position >= self.start else None
        return entry.position, entry.timestamp

    def _shrink(self, excess: int) -> None:
        """Remove the oldest entries, of `excess` bytes and more."""
        count = freed = 0
        last: Entry | None = None
        oids: set[int] = set()
        for entry in self._entries:
            if last is None or entry.table is not last.table:
                oids.add(entry.table.oid)
            last = entry
            count += 1
            freed += entry.size
            if freed >= excess:
                break
        assert last is not None, "there are as many bytes as their entries have"
        self._entries.drop(count)
        self._bytes -= freed
        self.start, self._before = last.position, last.timestamp
        for table in {each for oid in oids for each in self._within[oid]}:
            of_table = self._tables.get(table)
            if of_table is not None:
                of_table.drop_until(self.start)
                if not of_table:
                    del self._tables[table]
