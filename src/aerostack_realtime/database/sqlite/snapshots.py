"""A table's rows at one moment, read on a separate connection.

In WAL mode a read transaction does not block writers, so it stays open while the rows are read. In the other
journal modes it would, so there the rows are first copied to temporary storage, and the transaction ends.
"""

from __future__ import annotations

import asyncio
import threading
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import apsw

from aerostack_realtime.database.base import UNIDENTIFIED_ROWS, Row, Selection, Value
from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.connection import translate
from aerostack_realtime.database.sqlite.files import DatabaseFile
from aerostack_realtime.database.sqlite.schema import Table, quote, read_table
from aerostack_realtime.database.sqlite.values import SAFE_INTEGER, repair, size, to_row, tolerant
from aerostack_realtime.protocol.errors import InvalidFilter, NotFound, ServerClosing, Unavailable

AT_ONCE = 4
"""Snapshots that read at the same time; others wait for their turn."""
CHUNK_ROWS = 500
CHUNK_BYTES = 256 << 10
LOOKED_AT = 5_000
"""Bounds of one step: about 10 ms of a thread."""
INTERRUPT_SECONDS = 0.05

Result = TypeVar("Result")


class Snapshots:
    """Opens snapshots of the tables in a file."""

    def __init__(self, file: DatabaseFile, busy_ms: int) -> None:
        self._file = file
        self._busy_ms = busy_ms
        self._threads = ThreadPoolExecutor(AT_ONCE, "aerostack-snapshot")
        self._closed = False

    @asynccontextmanager
    async def open(self, table: str, selection: Selection) -> AsyncIterator[SqliteSnapshot]:
        """The table's rows at this moment. Raises InvalidFilter, NotFound, Unavailable."""
        snapshot = SqliteSnapshot(self._file, self._run, self._threads.submit, self._busy_ms, table, selection)
        try:
            await self._run(snapshot.begin)
            yield snapshot
        except asyncio.CancelledError:
            snapshot.interrupt()
            raise
        finally:
            if self._closed:
                snapshot.end()
            else:
                await asyncio.shield(
                    self._run(snapshot.end)
                )  # also when the caller is cancelled before a thread starts it

    def close(self) -> None:
        """End the threads; readers get an error."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, step: Callable[[], Result]) -> Result:
        if self._closed:
            raise ServerClosing
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, step)
        except apsw.Error as error:
            raise translate(error, self._file.path) from error


class SqliteSnapshot:
    """Implements `TableSnapshot`.

    `begin`, `read` and `end` run on a worker thread, one at a time; `interrupt` may be called from another one.
    """

    def __init__(
        self,
        file: DatabaseFile,
        run: Callable[[Callable[[], list[Row] | None]], Awaitable[list[Row] | None]],
        submit: Callable[[Callable[[], None]], object],
        busy_ms: int,
        table: str,
        selection: Selection,
    ) -> None:
        self.cursor = ""
        self._file = file
        self._run = run
        self._table = table
        self._selection = selection
        self._left = selection.limit
        self._columns: tuple[str, ...] = ()
        self._rows: apsw.Cursor | None = None
        self._connection: apsw.Connection | None = None
        self._using = threading.Lock()
        self._submit = submit
        self._thread = file.thread(busy_ms, self._rouse)

    async def __aiter__(self) -> AsyncIterator[list[Row]]:
        while (rows := await self._run(self.read)) is not None:
            yield rows

    def begin(self) -> None:
        with self._using:
            connection = self._connection = self._thread.connection()
            connection.execute("BEGIN")
            epoch, position = changelog.epoch_and_position(connection)
            self.cursor = f"{epoch}.{position}"
            table = read_table(connection, self._table)
            if table is None:
                raise NotFound(f"There is no table {self._table!r}.")
            self._columns = table.columns
            sql, params = _select(table, self._selection)
            if connection.execute("PRAGMA journal_mode").fetchall() != [("wal",)]:
                connection.execute(f"CREATE TEMP TABLE snapshot AS {sql}", params)
                connection.execute("COMMIT")
                sql, params = "SELECT * FROM temp.snapshot ORDER BY rowid", ()
            self._rows = connection.execute(sql, params)

    def read(self) -> list[Row] | None:
        """The next rows of the selection, possibly none in this step; None at the end."""
        with self._using:
            rows = self._rows
            if self._left == 0:
                return None
            if rows is None:
                raise Unavailable("The database file was replaced during the snapshot. Subscribe again.")
            chunk: list[Row] = []
            taken = 0
            for looked_at, values in enumerate(rows, 1):
                pairs = repair(values)
                row = to_row(self._columns, pairs)
                if self._selection.shows(row):
                    chunk.append(row)
                    taken += size(pairs)
                    if len(chunk) == self._left:
                        break
                if len(chunk) >= CHUNK_ROWS or taken >= CHUNK_BYTES or looked_at >= LOOKED_AT:
                    break
            else:
                return chunk or None
            if self._left is not None:
                self._left -= len(chunk)
            return chunk

    def interrupt(self) -> None:
        """Make the current step fail: sorting a large table can take long."""
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.interrupt()

    def end(self) -> None:
        while not self._using.acquire(timeout=INTERRUPT_SECONDS):
            self.interrupt()  # again: a step whose statement has not started does not notice the first
        self._using.release()
        self._make_room()
        self._file.remove(self._thread)

    def _rouse(self) -> None:
        """The file was replaced: close our connection even if nobody reads on."""
        with suppress(RuntimeError):  # closing: the connection ends anyway
            self._submit(self._make_room)

    def _make_room(self) -> None:
        with self._using:
            self._rows = None
            self._thread.leave()


def _select(table: Table, selection: Selection) -> tuple[str, tuple[str | int | float | bytes, ...]]:
    """SQL for all rows that may belong to the selection, in its order, and its parameters."""
    params: list[str | int | float | bytes] = []
    conditions = []
    for column, value in selection.equal.items():
        if value is None:
            conditions.append(f"{quote(column)} IS NULL")
            continue
        candidates = _candidates(value)
        conditions.append(f"{quote(column)} IN ({', '.join('?' * len(candidates))})")
        params += candidates
    if selection.limit is not None and not table.named_by:
        raise InvalidFilter(UNIDENTIFIED_ROWS)
    order = [quote(name) for name in table.identity]  # in the order of the file
    if table.named_by and (selection.limit is not None or selection.order is not None):
        order = [f"{quote(name)} COLLATE BINARY" for name in table.named_by]
    if selection.order is not None:
        column, descending = selection.order
        order.insert(0, f"{quote(column)} COLLATE BINARY{' DESC' if descending else ''}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    by = f" ORDER BY {', '.join(order)}" if order else ""
    columns = ", ".join(tolerant(quote(column)) for column in table.columns)
    return f"SELECT {columns} FROM {quote(table.name)}{where}{by}", tuple(params)


def _candidates(value: Value) -> list[str | int | float | bytes]:
    """Every SQLite value that is `value` on the wire: text may be a large integer or a BLOB."""
    if isinstance(value, bool | int | float):
        return [int(value) if isinstance(value, bool) else value]
    assert isinstance(value, str), "a filter compares scalars"
    found: list[str | int | float | bytes] = [value]
    if value.removeprefix("-").isdecimal() and len(value) <= 20:
        number = int(value)
        if SAFE_INTEGER < abs(number) < 2**63:
            found.append(number)
    if value in ("Infinity", "-Infinity"):
        found.append(float(value))
    with suppress(NotBase64, ValueError):
        found.append(b64decode(value, validate=True))
    return found
