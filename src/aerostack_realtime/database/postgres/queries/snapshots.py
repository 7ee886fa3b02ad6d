"""Reads a table's rows at one moment, by a server-side cursor in a transaction of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import psycopg
from psycopg import pq, sql

from aerostack_realtime.database.base import UNIDENTIFIED_ROWS, Row, Selection, Value
from aerostack_realtime.database.postgres.connection.errors import translate
from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.feed.changes import PostgresChangeFeed
from aerostack_realtime.database.postgres.feed.publication import Columns
from aerostack_realtime.database.postgres.types.types import Layout, Types
from aerostack_realtime.database.postgres.wal.rows import Values, bytes_of
from aerostack_realtime.protocol.errors import InvalidFilter, Overloaded, ServerClosing, Unavailable

AT_ONCE: Final = 4
"""Snapshots of whole tables that are read at the same time, and as many with a limit: those are short, and do not
wait for the others."""
TURN_SECONDS: Final = 5.0
"""How long a snapshot waits for its turn before it fails with Overloaded."""
FETCH_ROWS: Final = 500
FETCH_BYTES: Final = 4 << 20
"""Bytes of one step: large rows are fetched in smaller numbers."""
GROWTH: Final = 10
"""Each step fetches at most ten times as many rows as the one before, whose size is known."""

_TEXT: Final = frozenset(("text", "varchar", "name"))
_INTEGER: Final = {"int2": 15, "int4": 31, "int8": 63}
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Snapshots:
    """Opens snapshots of watched tables, on connections of their own: twice `AT_ONCE`."""

    def __init__(self, connections: Connections, feed: PostgresChangeFeed, types: Types) -> None:
        self._connections = connections
        self._whole, self._limited = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._feed = feed
        self._types = types

    @asynccontextmanager
    async def open(self, table: str, selection: Selection) -> AsyncIterator[PostgresSnapshot]:
        """The table's rows at this moment. Raises InvalidFilter, NotFound, Overloaded, Unavailable."""
        columns = self._feed.shape(table)
        turns = self._whole if selection.limit is None else self._limited
        try:
            async with _yield_if_due(turns), self._connections.use() as connection, connection.transaction():
                await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                rows = await connection.execute("SELECT pg_current_snapshot()::text")
                (seen,) = await rows.fetchone() or ("",)
                cursor = await self._feed.seam(seen)
                ordered = selection.order is not None or selection.limit is not None
                key = await _key_columns(table, connection) if ordered else ()
                if selection.limit is not None and not key:
                    raise InvalidFilter(UNIDENTIFIED_ROWS)
                try:
                    await connection.execute(_declare(table, columns, key, selection, connection))
                except (psycopg.errors.UndefinedColumn, psycopg.errors.UndefinedTable):  # the feed is behind
                    raise Unavailable(f"The table {table} is being altered. Try again in a moment.") from None
                yield PostgresSnapshot(
                    cursor,
                    connection,
                    self._types.layout(columns).compiled(),
                    lambda: self._feed.layout_now(table),
                    selection,
                    lambda: self._feed.closing,
                )
        except psycopg.Error as error:
            raise translate(error) from error


class PostgresSnapshot:
    """Implements `TableSnapshot`."""

    def __init__(
        self,
        cursor: str,
        connection: Connection,
        layout: Layout,
        layout_now: Callable[[], Awaitable[Layout]],
        selection: Selection,
        closing: Callable[[], bool],
    ) -> None:
        self.cursor = cursor
        self._connection = connection
        self._layout = layout
        self._layout_now = layout_now
        self._selection = selection
        self._closing = closing

    async def __aiter__(self) -> AsyncIterator[list[Row]]:
        left = self._selection.limit
        size = GROWTH
        while left is None or left > 0:
            if self._closing():
                raise ServerClosing
            fetched = await self._connection.execute(f"FETCH {size} FROM aerostack_rows")
            result = fetched.pgresult
            assert result is not None, "FETCH gives rows"
            if not all(self._layout.fits(values) for values in _read(result)):
                self._layout = await self._layout_now()
            rows, taken = self._shown(result, left)
            yield rows
            if left is not None:
                left -= len(rows)
            if result.ntuples < size:
                return
            size = max(1, min(FETCH_ROWS, GROWTH * size, FETCH_BYTES * size // max(taken, 1)))

    def _shown(self, result: pq.abc.PGresult, left: int | None) -> tuple[list[Row], int]:
        """The rows that belong to the selection, at most `left`; and the bytes of all rows."""
        taken = 0
        rows: list[Row] = []
        for values in _read(result):
            taken += bytes_of(values)
            row = self._layout.to_row(values)
            if self._selection.shows(row):
                rows.append(row)
                if len(rows) == left:
                    break
        return rows, taken


@asynccontextmanager
async def _yield_if_due(turns: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(TURN_SECONDS):
            await turns.acquire()
    except TimeoutError:
        raise Overloaded(
            f"{AT_ONCE} snapshots are being read, and no other could begin in time. Try again in a moment."
        ) from None
    try:
        yield
    finally:
        turns.release()


def _read(result: pq.abc.PGresult) -> Iterator[Values]:
    for number in range(result.ntuples):
        yield tuple([result.get_value(number, column) for column in range(result.nfields)])


async def _key_columns(table: str, connection: Connection) -> Sequence[str]:
    """The columns that identify a table's rows, in their order: its primary key, else columns that are unique and
    NOT NULL; none when it has neither."""
    rows = await connection.execute(
        "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(number, place) "
        "JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number "
        "WHERE k.place <= i.indnkeyatts AND (a.attnotnull OR i.indisprimary) ORDER BY k.place), i.indnkeyatts "
        "FROM pg_index i WHERE i.indrelid = to_regclass(%s) "
        "AND i.indisunique AND i.indisvalid AND i.indpred IS NULL ORDER BY i.indisprimary DESC, i.indexrelid",
        (sql.Identifier(*table.split(".")).as_string(connection),),
    )
    return next((names for names, count in await rows.fetchall() if len(names) == count), ())


def _declare(
    table: str, columns: Columns, key: Sequence[str], selection: Selection, connection: Connection
) -> str:
    """SQL that opens a cursor for all rows that may belong to the selection, in its order and then by `key`."""
    known = {name: (connection.adapters.types.get(oid), oid) for name, oid in columns}
    # The lookup by an array's OID finds its element type.
    column_types = {
        name: info.name if info is not None and info.oid == oid else None for name, (info, oid) in known.items()
    }
    conditions = [
        condition
        for column, value in selection.equal.items()
        if (condition := _equals(column, column_types.get(column), value)) is not None
    ]
    statement = sql.SQL("DECLARE aerostack_rows NO SCROLL CURSOR FOR SELECT {} FROM {}").format(
        sql.SQL(", ").join(sql.Identifier(name) for name, _ in columns), sql.Identifier(*table.split("."))
    )
    if conditions:
        statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions)
    places = ([selection.order] if selection.order else []) + [(column, False) for column in key]
    if places:
        by = [_by(column, column_types.get(column), descending) for column, descending in places]
        statement += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(by)
    return statement.as_string(connection)


def _by(column: str, kind: str | None, descending: bool) -> sql.Composable:
    """The order that clients use: null comes first, text is ordered by code points."""
    collation = sql.SQL(' COLLATE "C"') if kind in _TEXT else sql.SQL("")
    return sql.Identifier(column) + collation + sql.SQL(" DESC NULLS LAST" if descending else " ASC NULLS FIRST")


def _equals(column: str, kind: str | None, value: Value) -> sql.Composable | None:
    """SQL that is true at least for the rows whose column is `value` on the wire; None when no SQL surely is."""
    name = sql.Identifier(column)
    if value is None:  # JSON has a null of its own
        return None if kind in (None, "json", "jsonb") else sql.SQL("{} IS NULL").format(name)
    if kind in _TEXT:
        if not isinstance(value, str) or "\0" in value:
            return sql.SQL("false")
        return sql.SQL("{} = {}").format(name, value)
    if kind in _INTEGER:
        whole = _whole(value)
        if whole is None or whole.bit_length() > _INTEGER[kind]:
            return sql.SQL("false")
        return sql.SQL("{} = {}").format(name, sql.Literal(whole))
    if kind == "bool":
        return sql.SQL("{} = {}").format(name, bool(value)) if isinstance(value, bool | int) else sql.SQL("false")
    if kind == "uuid":
        fits = isinstance(value, str) and _UUID.fullmatch(value.lower())
        return sql.SQL("{} = {}::uuid").format(name, value) if fits else sql.SQL("false")
    if kind == "numeric" and isinstance(value, str):
        return sql.SQL("{} = {}::numeric").format(name, value) if _is_decimal(value) else sql.SQL("false")
    return None


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if value.removeprefix("-").isdecimal() and len(value) < 30 else None
    return int(value) if value == int(value) else None


def _is_decimal(value: str) -> bool:
    try:
        Decimal(value)
    except InvalidOperation:
        return False
    return len(value) < 1_000 and value.isascii() and "_" not in value
