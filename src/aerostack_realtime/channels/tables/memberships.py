"""Live memberships: which rows of membership tables are there, followed through the change feed.

A rule that says `members` asks here. The table is read once, at one moment, and from that moment on its
changes are applied; while that is not so, nobody is let in. When a row is deleted, the sessions
that depend on it are evicted synchronously with the change.

Values are compared as text, since a room in a topic is text, and by what the text means where the column has a
kind: `7.0` is 7 in a column of decimals, a UUID is the same in either case.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from aerostack_realtime.access.rules import as_text
from aerostack_realtime.access.verdicts import Membership
from aerostack_realtime.channels.tables.column_types import NORMALIZERS, ComparableValue
from aerostack_realtime.database.base import Change, ColumnType, Database, Replay, Row, Selection
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0

Columns = tuple[str, ...]
Values = tuple[ComparableValue, ...]
ColumnTypes = Mapping[str, ColumnType]
Counts = dict[Columns, Counter[Values]]
"""How many rows there are, by the columns that are counted and by what their values mean."""
Held = tuple[str, Columns, Values]
"""The rows of a table that are one membership."""


class Holder(Protocol):
    """A connection that is somewhere by a membership. `evict` ends that at once; it neither raises nor waits."""

    def evict(self, topic: str) -> None: ...


class _Table:
    """The rows of one table, counted by the values of the columns that rules name."""

    def __init__(self, name: str, columns: Iterable[tuple[str, ...]]) -> None:
        self.name = name
        self.columns = tuple(columns)
        self.live = False
        self.turn = 0
        """Grows with every interruption: what was read before one is not installed after it."""
        self.column_types: ColumnTypes = {}
        """Of its columns, which the counts are made by."""
        self.counts = self.empty()

    def empty(self) -> Counts:
        return {columns: Counter() for columns in self.columns}


class Memberships:
    """`wanted`: the tables and columns that rules ask for. It is a listener of the change feed."""

    def __init__(self, wanted: Iterable[tuple[str, tuple[str, ...]]], database: Database) -> None:
        by_table: dict[str, set[tuple[str, ...]]] = defaultdict(set)
        for table, columns in wanted:
            by_table[table].add(columns)
        self.wanted = frozenset((table, columns) for table, found in by_table.items() for columns in found)
        """The tables and columns that were asked for."""
        self._tables = {name: _Table(name, sorted(columns)) for name, columns in by_table.items()}
        self._database = database
        self._holders: dict[Held, set[tuple[Membership, Holder, str]]] = {}
        self._stale = asyncio.Event()
        self._stale.set()

    @property
    def unread(self) -> list[str]:
        """The tables whose rows are not known now."""
        return [table.name for table in self._tables.values() if not table.live]

    def holds(self, membership: Membership) -> bool:
        """Whether the row is there now. Raises Unavailable while that is not known."""
        table = self._tables[membership.table]
        if not table.live:
            raise Unavailable("The members of this topic are being read from the database; try again in a moment.")
        return self._held(membership)[2] in table.counts[membership.columns]

    def hold(self, membership: Membership, holder: Holder, topic: str) -> None:
        """`holder` is on `topic` by a membership from now on. Idempotent."""
        self._holders.setdefault(self._held(membership), set()).add((membership, holder, topic))

    def release(self, membership: Membership, holder: Holder, topic: str) -> None:
        """`holder` is not on `topic` any more. Idempotent."""
        held = self._held(membership)
        holders = self._holders.get(held)
        if holders is not None:
            holders.discard((membership, holder, topic))
            if not holders:
                del self._holders[held]

    async def load(self) -> None:
        """Read every table that is not followed now. Raises AerostackError for the first that cannot be."""
        for table in self._tables.values():
            if not table.live:
                await self._load(table)

    async def keep(self) -> None:
        """Read the tables again whenever their feed was interrupted. It never ends."""
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self.load()
            except AerostackError as error:
                log.warning("memberships cannot be read, nobody is let in by them: %s", error.message)
                self._deny_unknown()
                await asyncio.sleep(RETRY_SECONDS)
                self._stale.set()

    # --- the change feed's listener ----------------------------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        if not self._tables:
            return
        touched: dict[Held, None] = {}
        for change in changes:
            table = self._tables.get(change.table)
            if table is not None and table.live:
                for columns, values in _apply(table.counts, change, table.column_types):
                    touched[table.name, columns, values] = None
        for name, columns, values in touched:
            if values not in self._tables[name].counts[columns]:
                self._evict((name, columns, values))

    def interrupted(self, table: str, cursor: str, present: bool) -> None:  # noqa: ARG002 - the listener's
        found = self._tables.get(table)
        if found is None:
            return
        found.live = False
        found.turn += 1
        if not present:
            found.counts = found.empty()
            self._evict_all(found)
        self._stale.set()

    # --- inside ------------------------------------------------------------------------------------------

    async def _load(self, table: _Table) -> None:
        while not table.live:
            turn = table.turn
            await self._database.changes.watch(table.name)
            self._check_columns(table)
            counts, column_types = table.empty(), self._database.changes.column_types(table.name)
            async with self._database.snapshot(table.name, Selection(_any)) as snapshot:
                async for rows in snapshot:
                    for row in rows:
                        _count(counts, row, 1, column_types)
                cursor: str | None = snapshot.cursor
            while cursor is not None and table.turn == turn:
                cursor = await self._follow(table, counts, column_types, cursor, turn)

    async def _follow(
        self, table: _Table, counts: Counts, column_types: ColumnTypes, cursor: str, turn: int
    ) -> str | None:
        """Apply the next part of the log; after the last one the table is live, in the same step."""
        answer = Answer[str | None]()

        def then(part: Replay) -> None:
            if not answer.awaited:
                return
            if not part.recovered:
                answer.done(Unavailable(f"The log of {table.name} was lost while it was read."))
                return
            for change in part.changes:
                for _ in _apply(counts, change, column_types):
                    pass
            if not part.more and table.turn == turn:
                self._install(table, counts, column_types)
            answer.done(part.cursor if part.more else None)

        self._database.changes.replay(table.name, cursor, then, answer.done)
        return await answer

    def _install(self, table: _Table, counts: Counts, column_types: ColumnTypes) -> None:
        """Use this state of the table; holders that depend on a missing row are evicted."""
        holders = [each for held in self._of(table) for each in self._holders.pop(held)]
        table.counts, table.column_types, table.live = counts, column_types, True
        for membership, holder, topic in holders:
            self.hold(membership, holder, topic)
        for _, columns, values in self._of(table):
            if values not in counts[columns]:
                self._evict((table.name, columns, values))

    def _held(self, membership: Membership) -> Held:
        column_types = self._tables[membership.table].column_types
        named = zip(membership.columns, membership.values, strict=True)
        values = tuple([_meant(value, column_types.get(column)) for column, value in named])
        return membership.table, membership.columns, values

    def _of(self, table: _Table) -> list[Held]:
        return [held for held in self._holders if held[0] == table.name]

    def _check_columns(self, table: _Table) -> None:
        known = self._database.changes.columns(table.name)
        for missing in {column for columns in table.columns for column in columns if column not in known}:
            log.error("members: the table %s has no column %s, so nobody is a member by it", table.name, missing)

    def _evict_all(self, table: _Table) -> None:
        for each in self._of(table):
            self._evict(each)

    def _deny_unknown(self) -> None:
        for table in self._tables.values():
            if not table.live:
                self._evict_all(table)

    def _evict(self, held: Held) -> None:
        for _, holder, topic in self._holders.pop(held, ()):
            holder.evict(topic)


def _any(_: Row) -> bool:
    return True


def _apply(counts: Counts, change: Change, column_types: ColumnTypes) -> list[tuple[Columns, Values]]:
    """Count a change, and return what it took away, by columns."""
    gone = [] if change.old is None else _count(counts, change.old, -1, column_types)
    if change.operation != "DELETE":
        _count(counts, change.data, 1, column_types)
    return gone


def _count(counts: Counts, row: Row, by: int, column_types: ColumnTypes) -> list[tuple[Columns, Values]]:
    counted = []
    for columns, counter in counts.items():
        found = [as_text(row.get(column)) for column in columns]
        if None in found:
            continue
        named = zip(columns, found, strict=True)
        values = tuple([_meant(value, column_types.get(column)) for column, value in named])
        counter[values] += by
        if counter[values] <= 0:
            del counter[values]
        counted.append((columns, values))
    return counted


def _meant(text: str | None, kind: ColumnType | None) -> ComparableValue:
    return text if kind is None else NORMALIZERS[kind](text)
