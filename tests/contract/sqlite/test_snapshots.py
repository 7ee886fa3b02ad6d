"""Snapshots of what only SQLite has: columns without a type, journals other than WAL, text that is none."""

import asyncio

import pytest

from aerostack_realtime.database.base import Selection
from aerostack_realtime.database.sqlite import SqliteDatabase
from tests.contract.conftest import PATIENCE, Recorder, SqliteBackend
from tests.contract.test_snapshot import everything, rows_of, seam


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST", "MEMORY"])
async def test_log_and_snapshot_fit_exactly_in_every_journal_mode(
    backend: SqliteBackend, recorder: Recorder, mode: str
) -> None:
    backend.write(f"PRAGMA journal_mode={mode}", "CREATE TABLE t (id INTEGER PRIMARY KEY, n)")
    await seam(backend, recorder)


async def test_untyped_columns_find_a_large_integer_and_its_text(
    backend: SqliteBackend, database: SqliteDatabase
) -> None:
    backend.write("CREATE TABLE big (n)", f"INSERT INTO big VALUES ({2**53 + 1}), ('{2**53 + 1}'), ({2**53})")
    await database.changes.watch("big")
    wanted = str(2**53 + 1)
    rows, _ = await rows_of(database, "big", Selection(lambda row: row["n"] == wanted, {"n": wanted}))
    assert rows == [{"n": wanted}, {"n": wanted}]


async def test_invalid_utf8_in_text_is_repaired(backend: SqliteBackend, database: SqliteDatabase) -> None:
    backend.write("CREATE TABLE t (s)", "INSERT INTO t VALUES (CAST(x'61ff62' AS TEXT))")
    await database.changes.watch("t")
    rows, _ = await rows_of(database, "t", Selection(everything))
    assert rows == [{"s": "a\ufffdb"}]


async def test_cancelling_does_not_wait_until_the_rows_are_sorted(
    backend: SqliteBackend, recorder: Recorder
) -> None:
    backend.write(
        "CREATE TABLE t(id INTEGER PRIMARY KEY)",
        "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 9999) "
        "INSERT INTO t SELECT i FROM c",
        "ALTER TABLE t ADD COLUMN n AS (length(hex(zeroblob(20000000 + id))))",  # minutes for all rows
    )
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        for looks in range(3):  # at once, and when it has begun
            reading = asyncio.create_task(rows_of(database, "t", Selection(everything, order=("n", False))))
            for _ in range(looks):
                await database.query("SELECT 1")
            reading.cancel()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait((reading,))
            assert reading.cancelled()
            assert backend.write("PRAGMA wal_checkpoint(TRUNCATE)").startswith("0|"), "nobody reads"
