"""Our tables in the user's database: the log of row changes, the row layouts that explain it, and what is watched.

One log for all watched tables; its AUTOINCREMENT id is the global position. An entry names its *layout*: the
table and columns that wrote it, so old entries keep their meaning after ALTER TABLE. Values are in untyped
columns (`o0…` old, `n0…` new), which store any SQLite value exactly. A watched table's log is complete
after its `start`: older entries were pruned, or were made before the table was rebuilt.

Every function runs on the thread of its connection, those that write inside the caller's transaction.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import apsw
from msgspec import Struct

from aerostack_realtime.database.base import Change
from aerostack_realtime.database.sqlite.log_entries import EntryLayout, Values, entry_layout
from aerostack_realtime.database.sqlite.schema import PREFIX, Table, quote, read_table
from aerostack_realtime.database.sqlite.triggers import (
    CHANGES,
    REPLACED,
    trigger_prefix,
    triggers,
)
from aerostack_realtime.database.sqlite.values import repair, tolerant
from aerostack_realtime.protocol.errors import NotFound

META = f"{PREFIX}meta"
LAYOUTS = f"{PREFIX}layouts"
WATCHED = f"{PREFIX}watched"

_LAYOUT = f"""
CREATE TABLE IF NOT EXISTS {META}(key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS {CHANGES}(id INTEGER PRIMARY KEY AUTOINCREMENT, layout, op, at);
CREATE TABLE IF NOT EXISTS {REPLACED}(id INTEGER PRIMARY KEY, layout, moving);
CREATE TABLE IF NOT EXISTS {LAYOUTS}(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, columns TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS {WATCHED}(
  name TEXT PRIMARY KEY, layout INTEGER, start INTEGER NOT NULL) WITHOUT ROWID;
"""


class RowLayout(Struct, frozen=True):
    """The table and its columns at the time an entry was written."""

    id: int
    table: str
    columns: tuple[str, ...]


class Watch(Struct, frozen=True):
    """A watched table; `layout` is None while the table does not exist."""

    table: str
    layout: RowLayout | None
    start: int


class Reading(Struct, frozen=True):
    """A part of the log that ends at position `end`."""

    changes: list[Change]
    end: int


def lay_out(connection: apsw.Connection) -> None:
    """Create our tables and the epoch if they are missing."""
    connection.execute(_LAYOUT)
    connection.execute(f"INSERT OR IGNORE INTO {META} VALUES('epoch', ?)", (_new_epoch(),))


def put_in_order(connection: apsw.Connection) -> dict[str, Watch]:
    """Recreate the triggers of every watched table whose triggers are wrong or missing."""
    watches = watched(connection)
    for watch in watches.values():
        if not in_order(connection, watch):
            watches[watch.table] = install(connection, watch.table)
    return watches


def renew_epoch(connection: apsw.Connection, path: Path) -> str:
    """Begin a new epoch: cursors of earlier epochs can no longer be resumed.

    The inode of the file is stored with it, which reveals a copy that replaced the file.
    """
    epoch = _new_epoch()
    set_meta(connection, "inode", str(path.stat().st_ino))
    set_meta(connection, "epoch", epoch)
    return epoch


def high_water(connection: apsw.Connection) -> int:
    """All positions of custom channels so far are below this mark. Only restoring a backup lowers it."""
    mark = meta(connection, "high_water")
    return mark if isinstance(mark, int) else 0


def raise_high_water(connection: apsw.Connection, position: int) -> None:
    """Make the mark at least `position`, in the caller's transaction."""
    if position > high_water(connection):
        set_meta(connection, "high_water", position)


def extent(connection: apsw.Connection) -> tuple[int, int]:
    """How many changes the log keeps, and the position of the newest. Both indexes are read at their ends only."""
    oldest = number(connection, f"SELECT min(id) FROM {CHANGES}")
    _, newest = epoch_and_position(connection)
    return (0 if oldest is None else newest - oldest + 1), newest


def _new_epoch() -> str:
    return secrets.token_hex(8)


def number(connection: apsw.Connection, sql: str, *params: str | int) -> int | None:
    """The single integer that a statement returns; None for NULL and for no row."""
    for (value,) in connection.execute(sql, params).fetchall():
        return value if isinstance(value, int) else None
    return None


def meta(connection: apsw.Connection, key: str) -> apsw.SQLiteValue:
    row = connection.execute(f"SELECT value FROM {META} WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(connection: apsw.Connection, key: str, value: str | int) -> None:
    connection.execute(f"INSERT OR REPLACE INTO {META} VALUES(?, ?)", (key, value))


def epoch_and_position(connection: apsw.Connection) -> tuple[str, int]:
    """The log's epoch and the highest position ever given in it."""
    for epoch, position in connection.execute(
        f"SELECT (SELECT value FROM {META} WHERE key = 'epoch'), "
        f"coalesce((SELECT seq FROM sqlite_sequence WHERE name = '{CHANGES}'), 0)"
    ).fetchall():
        return str(epoch), cast(int, position)
    raise apsw.SQLError("the log has no epoch")


def watched(connection: apsw.Connection) -> dict[str, Watch]:
    """What is watched, as the database remembers it."""
    found = {}
    rows = connection.execute(f"SELECT name, layout, start FROM {WATCHED}").fetchall()
    for name, layout, start in cast("list[tuple[str, int | None, int]]", rows):
        found[name] = Watch(name, None if layout is None else read_layout(connection, layout), start)
    return found


def read_layout(connection: apsw.Connection, layout: int) -> RowLayout | None:
    row = connection.execute(f"SELECT name, columns FROM {LAYOUTS} WHERE id = ?", (layout,)).fetchone()
    return RowLayout(layout, str(row[0]), tuple(json.loads(str(row[1])))) if row else None


def start(connection: apsw.Connection, name: str) -> int:
    """The position after which a watched table's log is complete. Raises NotFound."""
    found = number(connection, f"SELECT start FROM {WATCHED} WHERE name = ?", name)
    if found is None:
        raise NotFound(f"{name!r} is no longer watched. Subscribe again.")
    return found


def in_order(connection: apsw.Connection, watch: Watch) -> bool:
    """Whether the table's triggers are exactly those that its present columns need, and the newest ones."""
    table = _table(connection, watch.table)
    if watch.layout is None or table is None:
        return watch.layout is None and table is None
    if table.columns != watch.layout.columns:
        return False
    prefix = trigger_prefix(watch.layout.id)
    present = connection.execute(
        "SELECT name, sql, tbl_name FROM sqlite_master WHERE type = 'trigger' "
        "AND (tbl_name = ?1 OR substr(name, 1, ?3) = ?2) ORDER BY rowid DESC",
        (watch.table, prefix, len(prefix)),
    ).fetchall()
    wanted = triggers(watch.layout.id, table)
    newest = {str(name): sql for name, sql, _ in present[: len(wanted)]}
    return newest == wanted and all(row[2] == watch.table for row in present if str(row[0]).startswith(prefix))


def _table(connection: apsw.Connection, name: str) -> Table | None:
    try:
        return read_table(connection, name)
    except NotFound:
        return None


def install(connection: apsw.Connection, name: str) -> Watch:
    """Watch `name` from now on, with new triggers; a missing table is watched once it exists. Raises NotFound."""
    remove_triggers(connection, name)
    table = _table(connection, name)
    _, position = epoch_and_position(connection)
    layout = None
    if table is not None:
        connection.execute(f"INSERT INTO {LAYOUTS}(name, columns) VALUES(?, ?)", (name, json.dumps(table.columns)))
        layout = RowLayout(connection.last_insert_rowid(), name, table.columns)
        _widen(connection, CHANGES, "on", len(table.columns))
        _widen(connection, REPLACED, "o", len(table.columns))
        _widen(connection, REPLACED, "k", len(table.identity))
        for statement in triggers(layout.id, table).values():
            connection.execute(statement)
    connection.execute(
        f"INSERT OR REPLACE INTO {WATCHED} VALUES(?, ?, ?)", (name, layout.id if layout else None, position)
    )
    return Watch(name, layout, position)


def remove_triggers(connection: apsw.Connection, name: str) -> None:
    """Drop the triggers of every layout that `name` ever had, also on a table that was renamed since."""
    for (layout,) in connection.execute(f"SELECT id FROM {LAYOUTS} WHERE name = ?", (name,)).fetchall():
        prefix = trigger_prefix(int(layout))  # type: ignore[arg-type]
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND substr(name, 1, ?) = ?",
            (len(prefix), prefix),
        ).fetchall():
            connection.execute(f"DROP TRIGGER {quote(str(trigger))}")
        connection.execute(f"DELETE FROM {REPLACED} WHERE layout = ?", (layout,))


def forget(connection: apsw.Connection, name: str) -> None:
    """Remove the triggers and the watch; `clear` removes the log's entries."""
    remove_triggers(connection, name)
    connection.execute(f"DELETE FROM {WATCHED} WHERE name = ?", (name,))


def _widen(connection: apsw.Connection, table: str, letters: str, count: int) -> None:
    present = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table})").fetchall()}
    for number in range(count):
        for letter in letters:
            if f"{letter}{number}" not in present:
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {letter}{number}")


def read(
    connection: apsw.Connection,
    layouts: dict[int, EntryLayout],
    epoch: str,
    after: int,
    until: int,
    rows: int,
    max_bytes: int,
    only: Sequence[int] | None = None,
) -> Reading:
    """Entries after one position up to another, at most `rows` of them and about `max_bytes` bytes.

    `layouts` is a cache of layouts that this call fills; `only` limits the entries to these layouts. Entries of
    unknown layout are skipped.
    """
    changes: list[Change] = []
    end, count, taken, prefix = after, 0, 0, f"{epoch}."
    with closing(_entries(connection, after, until, rows, only)) as entries:
        for entry in entries:
            count += 1
            end = cast(int, entry[0])
            layout = layouts.get(entry[1]) or _layout(connection, layouts, entry[1])  # type: ignore[arg-type]
            if layout is not None:
                change, bytes_of_entry = layout.change(entry, f"{prefix}{end}")
                changes.append(change)
                taken += bytes_of_entry
                if taken > max_bytes:
                    return Reading(changes, end)
    return Reading(changes, end if count == rows else until)


def _entries(
    connection: apsw.Connection, after: int, until: int, rows: int, only: Sequence[int] | None
) -> Generator[Values, None, None]:
    """Entries of the log as they are stored, with text that is not UTF-8 repaired."""
    names = [f"{letter}{number}" for number in range(_width(connection)) for letter in "on"]
    head = "SELECT id, layout, op, at"
    chosen = "" if only is None else f"AND layout IN ({', '.join(map(str, only))}) "
    tail = f"FROM {CHANGES} WHERE id > ? AND id <= ? {chosen}ORDER BY id LIMIT ?"
    while rows > 0:
        cursor = connection.execute(f"{', '.join([head, *names])} {tail}", (after, until, rows))
        try:
            for entry in cursor:
                after = entry[0]
                rows -= 1
                yield entry
            return
        except UnicodeDecodeError:
            pass
        finally:
            cursor.close(force=True)
        doubled = ", ".join([head, *map(tolerant, names)])
        [found] = connection.execute(f"{doubled} {tail}", (after, until, 1)).fetchall()
        after = found[0]  # type: ignore[assignment]
        rows -= 1
        yield *found[:4], *repair(found[4:])


def position_of(change: Change) -> int:
    """The position of a change that was read here."""
    return int(change.cursor.rpartition(".")[2])


def first(connection: apsw.Connection) -> int:
    """The position of the oldest entry; of the next one when there is none."""
    oldest = number(connection, f"SELECT min(id) FROM {CHANGES}")
    return oldest if oldest is not None else epoch_and_position(connection)[1] + 1


def _width(connection: apsw.Connection) -> int:
    columns = connection.execute(f"PRAGMA table_info({CHANGES})").fetchall()
    return (len(columns) - 4) // 2


def _layout(
    connection: apsw.Connection, layouts: dict[int, EntryLayout], number: apsw.SQLiteValue
) -> EntryLayout | None:
    found = read_layout(connection, number) if isinstance(number, int) else None
    if found is None:
        return None
    layouts[found.id] = entry_layout(found.table, found.columns)
    return layouts[found.id]


def layouts_of(connection: apsw.Connection, name: str) -> list[int]:
    """Every layout that a table ever had."""
    rows = connection.execute(f"SELECT id FROM {LAYOUTS} WHERE name = ?", (name,)).fetchall()
    return [int(row[0]) for row in rows]  # type: ignore[arg-type]


def counts(connection: apsw.Connection) -> Mapping[str, int]:
    """How many entries the log holds, by table."""
    rows = connection.execute(
        f"SELECT s.name, count(*) FROM {CHANGES} AS c JOIN {LAYOUTS} AS s ON s.id = c.layout GROUP BY s.name"
    ).fetchall()
    return {str(name): int(count) for name, count in rows}  # type: ignore[arg-type]
