"""A watched table whose form changes under the triggers, by a foreign writer."""

import asyncio

import pytest

from aerostack_realtime.database.sqlite import SqliteDatabase
from tests.contract.conftest import Recorder, SqliteBackend, replay

TABLE = "CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT)"


@pytest.fixture
async def watched(backend: SqliteBackend, database: SqliteDatabase) -> SqliteDatabase:
    backend.write(TABLE)
    await database.changes.watch("t")
    return database


@pytest.mark.parametrize(
    ("statement", "columns"),
    [
        ("ALTER TABLE t ADD COLUMN c", ["id", "a", "b", "c"]),
        ("ALTER TABLE t RENAME COLUMN a TO z", ["id", "z", "b"]),
        ("ALTER TABLE t DROP COLUMN b", ["id", "a"]),
    ],
)
async def test_a_changed_column_interrupts_and_the_next_write_succeeds(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder, statement: str, columns: list[str]
) -> None:
    backend.write(statement, "INSERT INTO t(id) VALUES(1)", "REPLACE INTO t(id) VALUES(1)", "UPDATE t SET id = 2")
    ((table, _, present),) = await recorder.until_interruptions(1)
    assert (table, present) == ("t", True)
    assert list(watched.changes.columns("t")) == columns
    backend.write("INSERT INTO t(id) VALUES(5)")
    await recorder.until(lambda: bool(recorder.changes) and recorder.changes[-1].data["id"] == 5)
    assert list(recorder.changes[-1].data) == columns


async def test_columns_can_be_dropped_while_no_server_runs(backend: SqliteBackend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        backend.write(TABLE, "CREATE UNIQUE INDEX i ON t(a)", "CREATE UNIQUE INDEX j ON t(lower(b)) WHERE a > 'a'")
        await database.changes.watch("t")
        cursor = database.changes.cursor("t")
    backend.write(
        "INSERT INTO t VALUES(1, 'x', 'y')",
        "DROP INDEX i",
        "DROP INDEX j",
        "ALTER TABLE t DROP COLUMN a",
        "REPLACE INTO t VALUES(1, 'z')",
        "ALTER TABLE t DROP COLUMN b",
        "UPDATE t SET id = 2",
        "DELETE FROM t",
    )
    async with backend.open(recorder) as database:
        assert list(database.changes.columns("t")) == ["id"]
        changes, parts = await replay(database, "t", cursor)
        assert not parts[0].recovered
        assert [change.operation for change in changes] == ["INSERT", "DELETE", "INSERT", "UPDATE", "DELETE"]
        assert changes[0].data == {"id": 1, "a": "x", "b": "y"}


async def test_a_table_rebuilt_by_a_migration_tool(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write(
        "INSERT INTO t VALUES(1, 'x', 'y')",
        "PRAGMA foreign_keys=OFF",
        "BEGIN",
        "CREATE TABLE new_t(id INTEGER PRIMARY KEY, a TEXT NOT NULL, b TEXT)",
        "INSERT INTO new_t SELECT * FROM t",
        "DROP TABLE t",
        "ALTER TABLE new_t RENAME TO t",
        "COMMIT",
    )
    ((table, _, present),) = await recorder.until_interruptions(1)
    assert (table, present) == ("t", True)
    backend.write("UPDATE t SET a = 'new'")
    await recorder.until(lambda: len(recorder.changes) == 2)
    assert recorder.changes[1].data == {"id": 1, "a": "new", "b": "y"}


async def test_a_renamed_table_is_gone_and_keeps_no_trigger(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write("ALTER TABLE t RENAME TO renamed", "INSERT INTO renamed VALUES(1, 'x', 'y')")
    await recorder.until(lambda: ("t", False) in [(table, there) for table, _, there in recorder.interruptions])
    left = await watched.query("SELECT name FROM sqlite_master WHERE type = 'trigger'")
    assert left.rows == []
    backend.write("INSERT INTO renamed VALUES(2, 'x', 'y')", TABLE)
    await recorder.until(lambda: recorder.interruptions[-1][2])
    backend.write("INSERT INTO t VALUES(3, 'x', 'y')")
    await recorder.until(lambda: bool(recorder.changes) and recorder.changes[-1].data["id"] == 3)


async def test_vacuum_interrupts_nobody(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    since = watched.changes.cursor("t")
    backend.write("INSERT INTO t VALUES(1, 'x', 'y')", "VACUUM", "INSERT INTO t VALUES(2, 'x', 'y')")
    changes = await recorder.until_changes(2)
    assert recorder.interruptions == []
    assert (await replay(watched, "t", since))[0] == changes


async def test_a_new_unique_index_is_noticed(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write("CREATE UNIQUE INDEX i ON t(a)")
    await recorder.until_interruptions(1)
    backend.write("INSERT INTO t VALUES(1, 'x', 'y')", "REPLACE INTO t VALUES(2, 'x', 'z')")
    changes = await recorder.until_changes(3)
    assert [change.operation for change in changes] == ["INSERT", "DELETE", "INSERT"]


async def test_a_dropped_unique_index_leaves_no_false_delete(backend: SqliteBackend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        backend.write(TABLE, "CREATE UNIQUE INDEX i ON t(a)")
        await database.changes.watch("t")
        cursor = database.changes.cursor("t")
    backend.write("DROP INDEX i", "INSERT INTO t VALUES(1, 'x', 'y'), (2, 'x', 'z')")
    async with backend.open(recorder) as database:
        changes, _ = await replay(database, "t", cursor)
        assert [change.operation for change in changes] == ["INSERT", "INSERT"]


async def test_unwatch_removes_every_trace(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write("INSERT INTO t VALUES(1, 'x', 'y')", "ALTER TABLE t ADD COLUMN c", "INSERT INTO t(id) VALUES(2)")
    await recorder.until_interruptions(1)
    await watched.changes.unwatch("t")
    traces = backend.write(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'",
        "SELECT * FROM _aerostack_changes",
        "SELECT * FROM _aerostack_layouts",
        "SELECT * FROM _aerostack_watched",
        "SELECT * FROM _aerostack_replaced",
    )
    assert traces == ""


async def test_a_large_log_is_cleared_in_steps(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 5500) "
        "INSERT INTO t SELECT i, 'x', 'y' FROM n"
    )
    await recorder.until_changes(5500)
    await watched.changes.unwatch("t")
    assert backend.write("SELECT count(*) FROM _aerostack_changes") == "0\n"


async def test_a_table_watched_again_while_its_old_log_is_cleared(
    watched: SqliteDatabase, backend: SqliteBackend, recorder: Recorder
) -> None:
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3500)"
    backend.write(f"{rows} INSERT INTO t SELECT i, 'x', 'y' FROM n")
    await recorder.until_changes(3500)
    clearing = asyncio.create_task(watched.changes.unwatch("t"))
    while watched.changes.watches("t"):
        await watched.query("SELECT 1")
    await watched.changes.watch("t")
    cursor = watched.changes.cursor("t")
    await watched.query("INSERT INTO t VALUES(9999, 'x', 'y')")
    await clearing
    await recorder.until_changes(3501)
    changes, parts = await replay(watched, "t", cursor)
    assert [change.data["id"] for change in changes] == [9999]
    assert parts[0].recovered
