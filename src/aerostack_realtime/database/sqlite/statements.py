"""The user's SQL: one statement at a time, in a transaction, with a bounded result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

import apsw

from aerostack_realtime.database.base import QueryResult, Row, Value
from aerostack_realtime.database.sqlite.changelog import epoch_and_position
from aerostack_realtime.database.sqlite.connection import transaction
from aerostack_realtime.database.sqlite.values import repair, size, to_parameters, to_row, tolerant
from aerostack_realtime.protocol.errors import BadMessage, TooLarge

RESULT_ROWS = 100_000
RESULT_BYTES = 16 << 20
"""Bounds of one result, so that a query cannot exhaust the server's memory."""

_FIRST_WORD = re.compile(r"(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?(?:\*/|\Z)|;)*(\w*)", re.DOTALL)
_PRAGMA = re.compile(
    r"(?:\s+|--[^\n]*\n|/\*.*?\*/|;)*PRAGMA\s+(?:\w+\s*\.\s*)?(\w+)\s*(=?)", re.DOTALL | re.IGNORECASE
)

_REFUSED = {
    **dict.fromkeys(
        ("BEGIN", "COMMIT", "END", "ROLLBACK", "SAVEPOINT", "RELEASE"),
        "Each query is its own transaction: send several statements as a batch instead.",
    ),
    **dict.fromkeys(("ATTACH", "DETACH"), "Other databases cannot be attached: start one server per database."),
    "VACUUM": "VACUUM cannot run in a transaction: run it in the sqlite3 shell; the server may keep running.",
}
_PRAGMAS_TO_READ = frozenset(
    {
        "application_id",
        "auto_vacuum",
        "collation_list",
        "compile_options",
        "data_version",
        "database_list",
        "encoding",
        "foreign_key_check",
        "foreign_key_list",
        "foreign_keys",
        "freelist_count",
        "function_list",
        "index_info",
        "index_list",
        "index_xinfo",
        "integrity_check",
        "journal_mode",
        "page_count",
        "page_size",
        "quick_check",
        "schema_version",
        "table_info",
        "table_list",
        "table_xinfo",
        "user_version",
    }
)
"""Read-only pragmas; with a value, only `user_version` and `application_id` are allowed."""
_PRAGMAS_WITH_ARGUMENT = re.compile(r"(info|list|check)$")


def run(connection: apsw.Connection, sql: str, params: Sequence[Value]) -> QueryResult:
    """One statement in a transaction of its own. Raises AerostackError, apsw.Error."""
    return run_all(connection, [(sql, params)])[0]


def run_all(connection: apsw.Connection, queries: Sequence[tuple[str, Sequence[Value]]]) -> list[QueryResult]:
    """Statements in one transaction: all or none. Raises AerostackError, apsw.Error."""
    prepared = [(_accepted(sql), to_parameters(params)) for sql, params in queries]
    writes = any(not _reads_only(connection, sql, params) for sql, params in prepared)
    with transaction(connection, "IMMEDIATE" if writes else "DEFERRED"):
        outcomes = [_execute(connection, sql, params) for sql, params in prepared]
        epoch, position = epoch_and_position(connection)
    cursor = f"{epoch}.{position}"
    return [QueryResult(rows, count, cursor) for rows, count in outcomes]


def _accepted(sql: str) -> str:
    """Raises BadMessage for what cannot run as one statement in our transaction."""
    found = _FIRST_WORD.match(sql)
    word = found.group(1).upper() if found else ""
    if not word:
        raise BadMessage("The SQL contains no statement.")
    if "\0" in sql or any("\ud800" <= letter <= "\udfff" for letter in sql):
        raise BadMessage("The SQL contains a lone surrogate, which is not valid text.")
    if word in _REFUSED:
        raise BadMessage(_REFUSED[word])
    if word == "PRAGMA":
        _check_pragma(sql)
    return sql


def _check_pragma(sql: str) -> None:
    found = _PRAGMA.match(sql)
    name = found.group(1).lower() if found else ""
    sets = found is not None and (
        found.group(2) == "=" or ("(" in sql and not _PRAGMAS_WITH_ARGUMENT.search(name))
    )
    if name not in _PRAGMAS_TO_READ or (sets and name not in ("user_version", "application_id")):
        raise BadMessage(f"PRAGMA {name} cannot be run here: it would change the server's own connection.")


def _reads_only(connection: apsw.Connection, sql: str, params: Sequence[apsw.SQLiteValue]) -> bool:
    """Whether SQLite reports the statement as read-only. Raises BadMessage for a second statement.

    It is prepared but not run; preparing it again hits the statement cache.
    """
    readonly = True
    seen = 0

    def before_run(cursor: apsw.Cursor, _sql: str, _bindings: apsw.Bindings | None) -> bool:
        nonlocal readonly, seen
        seen += 1
        readonly = cursor.is_readonly
        return False

    cursor = connection.cursor()
    cursor.exec_trace = before_run
    try:
        cursor.execute(sql, params)
    except apsw.ExecTraceAbort:
        pass
    finally:
        cursor.close(force=True)
    return readonly


def _execute(connection: apsw.Connection, sql: str, params: Sequence[apsw.SQLiteValue]) -> tuple[list[Row], int]:
    cursor = connection.cursor()
    seen: list[bool] = []

    def before_run(running: apsw.Cursor, text: str, _bindings: apsw.Bindings | None) -> bool:
        if not seen:
            seen.append(running.is_readonly)
            return True
        found = _FIRST_WORD.fullmatch(text)
        return found is not None and not found.group(1)

    cursor.exec_trace = before_run
    before = connection.total_changes()
    try:
        rows = _fetch(cursor.execute(sql, params))
    except apsw.ExecTraceAbort:
        raise BadMessage("The SQL contains several statements: send them as a batch instead.") from None
    except UnicodeDecodeError:
        if not seen[0]:
            raise BadMessage("A returned text is not valid UTF-8: leave it out of RETURNING.") from None
        rows = _fetch_tolerantly(connection, sql, params)
    finally:
        cursor.close(force=True)
    if rows or seen[0]:
        return rows, len(rows)
    return [], connection.changes() if connection.total_changes() != before else 0


def _fetch(cursor: apsw.Cursor) -> list[Row]:
    """All rows within the bounds. Raises TooLarge."""
    rows: list[Row] = []
    columns: tuple[str, ...] = ()
    taken = 0
    for values in cursor:
        columns = columns or tuple(entry[0] for entry in cursor.get_description())
        taken += size(values)
        _check_bounds(len(rows), taken)
        rows.append(to_row(columns, values))
    return rows


def _fetch_tolerantly(connection: apsw.Connection, sql: str, params: Sequence[apsw.SQLiteValue]) -> list[Row]:
    """The rows of a SELECT some of whose text is not UTF-8, read as bytes."""
    described: list[tuple[str, ...]] = []

    def describe(cursor: apsw.Cursor, _sql: str, _bindings: apsw.Bindings | None) -> bool:
        described.append(tuple(entry[0] for entry in cursor.get_description()))
        return False

    cursor = connection.cursor()
    cursor.exec_trace = describe
    with suppress(apsw.ExecTraceAbort):
        cursor.execute(sql, params)
    names = [f"c{number}" for number in range(len(described[0]))]
    wrapped = (
        f"WITH q({', '.join(names)}) AS ({sql.rstrip().rstrip(';')}\n) "
        f"SELECT {', '.join(map(tolerant, names))} FROM q"
    )
    rows: list[Row] = []
    taken = 0
    for pairs in connection.execute(wrapped, params):
        taken += size(pairs)
        _check_bounds(len(rows), taken)
        rows.append(to_row(described[0], repair(pairs)))
    return rows


def _check_bounds(rows: int, taken: int) -> None:
    if rows >= RESULT_ROWS:
        raise TooLarge(f"The result has more than {RESULT_ROWS} rows: add a LIMIT.")
    if taken > RESULT_BYTES:
        raise TooLarge(f"The result takes more than {RESULT_BYTES >> 20} MiB: add a LIMIT or fewer columns.")
