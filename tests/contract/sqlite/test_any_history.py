"""Whatever is written, the changes delivered lead a copy to exactly the table's content."""

import asyncio
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import apsw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aerostack_realtime.database.base import Change
from tests.contract.conftest import Recorder, SqliteBackend

SCHEMAS = [
    ["CREATE TABLE t(k INTEGER PRIMARY KEY, a UNIQUE, b)"],
    ["CREATE TABLE t(k TEXT PRIMARY KEY COLLATE NOCASE, a, b UNIQUE ON CONFLICT REPLACE) WITHOUT ROWID"],
    ["CREATE TABLE t(k, a, b, PRIMARY KEY(a, k)) WITHOUT ROWID", "CREATE UNIQUE INDEX i ON t(b) WHERE a > 1"],
    ["CREATE TABLE t(k UNIQUE, a UNIQUE, b)", "CREATE UNIQUE INDEX i ON t(lower(b), a DESC)"],
    ["CREATE TABLE t(k INT, a TEXT, b AS (a || k) UNIQUE)", "CREATE UNIQUE INDEX i ON t(a COLLATE NOCASE)"],
    ["CREATE TABLE t(k, a, b)"],
    [
        "CREATE TABLE t(k INTEGER PRIMARY KEY, a UNIQUE, b REFERENCES t(a) ON DELETE SET NULL ON UPDATE CASCADE)",
        "CREATE TRIGGER mine AFTER UPDATE OF a ON t WHEN NEW.a = 2 BEGIN "
        "UPDATE t SET b = NULL WHERE k = NEW.k; END",
    ],
]

value = st.sampled_from(["NULL", "1", "2", "3", "'a'", "'A'", "'b'", "2.5", "x'61'"])
column = st.sampled_from(["k", "a"])
resolution = st.sampled_from(["", "OR REPLACE", "OR IGNORE", "OR FAIL", "OR ABORT", "OR ROLLBACK"])
upsert = st.sampled_from(
    [
        "",
        "",
        "ON CONFLICT DO NOTHING",
        "ON CONFLICT DO UPDATE SET a = excluded.a",
        "ON CONFLICT DO UPDATE SET k = 3",
    ]
)
insert = st.builds(
    "INSERT {} INTO t(k, a) VALUES({}, {}), ({}, {}) {}".format, resolution, value, value, value, value, upsert
)
update = st.builds("UPDATE {} t SET {} = {} WHERE {} >= {}".format, resolution, column, value, column, value)
delete = st.builds("DELETE FROM t WHERE {} = {}".format, column, value)
control = st.sampled_from(
    ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT s", "ROLLBACK TO s", "RELEASE s", "PRAGMA recursive_triggers=1"]
)
statement = st.one_of(insert, insert, update, delete, control)


@given(schema=st.sampled_from(SCHEMAS), statements=st.lists(statement, max_size=25), cascades=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_changes_lead_to_the_content(schema: list[str], statements: list[str], cascades: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(history(SqliteBackend(Path(directory) / "user.db"), schema, statements, cascades))


async def history(backend: SqliteBackend, schema: list[str], statements: list[str], cascades: bool) -> None:
    recorder = Recorder()
    writer = apsw.Connection(str(backend.path))
    writer.set_busy_timeout(10_000)
    writer.execute("PRAGMA synchronous=OFF")
    for statement in [*schema, "CREATE TABLE the_end(a)"]:
        writer.execute(statement)
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        await database.changes.watch("the_end")
        writer.execute(f"PRAGMA foreign_keys={int(cascades)}")
        for statement in statements:
            with suppress(apsw.ConstraintError, apsw.MismatchError, apsw.SQLError):
                writer.execute(statement)
        if writer.in_transaction:
            writer.execute("COMMIT")
        writer.execute("INSERT INTO the_end VALUES(1)")
        await recorder.until(lambda: bool(recorder.changes) and recorder.changes[-1].table == "the_end")
        assert replayed(recorder.changes[:-1]) == sorted(
            (tuple(row.values()) for row in (await database.query("SELECT * FROM t")).rows), key=repr
        )
    writer.close()


def replayed(changes: list[Change]) -> list[tuple[Any, ...]]:
    """The rows that the changes leave; every old row must be there."""
    rows: list[dict[str, Any]] = []
    for change in changes:
        if change.old is not None:
            rows.remove(change.old)
        if change.operation != "DELETE":
            rows.append(change.data)
    return sorted((tuple(row.values()) for row in rows), key=repr)
