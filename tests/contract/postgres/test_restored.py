"""A database that is another one than it was a moment ago: restored from a backup while it is followed."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from psycopg.pq.abc import PGresult

from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.marks import RAISE_NEXT_MARK, Marks
from aerostack_realtime.database.postgres.messages.store import PostgresMessageStore
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, PostgresBackend, Recorder, replay
from tests.contract.postgres.shop import CUT
from tests.postgres import PostgresServer


@asynccontextmanager
async def watching(backend: PostgresBackend, recorder: Recorder) -> AsyncIterator[PostgresDatabase]:
    """A database whose table `t` is watched."""
    backend.write("CREATE TABLE t(id int PRIMARY KEY)")
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        yield database


async def test_a_restored_backup_is_reported_once(postgres_dsn: str, recorder: Recorder) -> None:
    backend = PostgresBackend(postgres_dsn)
    async with watching(backend, recorder) as database:
        await database.messages.raise_high_water(1_000)
        backend.write("UPDATE aerostack.meta SET value = '900' WHERE key = 'high_water'", CUT)
        await recorder.until_interruptions(1)
        backend.write("INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
        assert await database.messages.high_water() == 1_000
        backend.write(CUT, "INSERT INTO t VALUES(2)")
        await recorder.until_changes(2)
    assert len(recorder.interruptions) == 1


async def test_raising_the_mark_does_not_hide_a_restored_backup(postgres_dsn: str, recorder: Recorder) -> None:
    backend = PostgresBackend(postgres_dsn)
    async with watching(backend, recorder) as database:
        await database.messages.raise_high_water(1_000)
        backend.write("UPDATE aerostack.meta SET value = '900' WHERE key = 'high_water'")
        with pytest.raises(Unavailable, match="restored"):
            await database.messages.raise_high_water(1_100)
        assert await database.messages.high_water() == 900
        backend.write(CUT)
        await recorder.until_interruptions(1)
        async with asyncio.timeout(PATIENCE):
            while await database.messages.high_water() < 1_000:
                pass
        await database.messages.raise_high_water(1_100)
        assert await database.messages.high_water() == 1_100


async def test_a_raise_without_an_answer_does_not_hide_a_restored_backup(
    postgres_dsn: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backup is older than the mark, and the raise is sent again to the database that was restored from it."""
    backend = PostgresBackend(postgres_dsn)
    read = PostgresMessageStore._read
    restored: list[int] = []

    async def read_and_restore(store: PostgresMessageStore, sql: str, *params: bytes) -> PGresult:
        result = await read(store, sql, *params)
        if sql == RAISE_NEXT_MARK and store.known_marks.stored == 1_000 and not restored:
            restored.append(1_000)
            backend.write("UPDATE aerostack.meta SET value = '1000' WHERE key = 'next_mark'")
        return result

    monkeypatch.setattr(PostgresMessageStore, "_read", read_and_restore)
    async with watching(backend, recorder) as database:
        await database.messages.raise_high_water(1_000)
        with pytest.raises(Unavailable, match="restored"):
            await database.messages.raise_high_water(2_000)
        with pytest.raises(Unavailable, match="restored"):
            await database.messages.after("room", 0, 500, 10)
        assert await database.messages.high_water() == 1_000
        backend.write(CUT, "INSERT INTO t VALUES(1)")
        await recorder.until_interruptions(1)
        async with asyncio.timeout(PATIENCE):
            while await database.messages.high_water() < 2_000:
                with suppress(Unavailable):
                    await database.messages.raise_high_water(2_000)
    assert len(recorder.interruptions) == 1


async def test_raising_the_mark_while_it_is_read_reports_no_gap(
    postgres_dsn: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a node of a cluster does, by another connection."""
    backend = PostgresBackend(postgres_dsn)
    read = PostgresMessageStore.marks
    found: list[int] = []

    async def marks(store: PostgresMessageStore) -> Marks:
        marks = await read(store)
        if marks.stored == 1_000:
            backend.write("UPDATE aerostack.meta SET value = '2000' WHERE key = 'high_water'")
            store.raised(Marks(stored=2_000))
            found.append(marks.stored)
        return marks

    monkeypatch.setattr(PostgresMessageStore, "marks", marks)
    async with watching(backend, recorder) as database:
        await database.messages.raise_high_water(1_000)
        backend.write(CUT, "INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
    assert found == [1_000]
    assert recorder.interruptions == []


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of the test's own: it is stopped."""
    server = PostgresServer.started()
    yield server
    server.remove()


def back_up(server: PostgresServer) -> Path:
    backup = server.directory / "backup"
    server.stop()
    shutil.copytree(server.data, backup)
    server.start()
    return backup


async def test_restored_changes_are_not_delivered_again(server: PostgresServer, recorder: Recorder) -> None:
    backend = PostgresBackend(server.dsn())
    async with watching(backend, recorder):
        backend.write("INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
        backup = await asyncio.to_thread(back_up, server)
        backend.write("INSERT INTO t SELECT generate_series(2, 5001)")
        await recorder.until_changes(5001)
        await asyncio.to_thread(server.restore, backup)
        await recorder.until_interruptions(1)
        backend.write("INSERT INTO t VALUES(9000)")
        changes = await recorder.until_changes(5002)
    assert [change.data["id"] for change in changes] == [*range(1, 5002), 9000]


async def test_a_table_that_was_replaced_after_the_backup_is_complete_again(
    server: PostgresServer, recorder: Recorder
) -> None:
    """Its changes were complete from a position on that the restored log has not reached."""
    backend = PostgresBackend(server.dsn())
    backend.write("CREATE TABLE other AS SELECT generate_series(1, 10)")
    async with watching(backend, recorder) as database:
        backend.write("INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
        backup = await asyncio.to_thread(back_up, server)
        backend.write("INSERT INTO other SELECT generate_series(1, 10000)")
        backend.write("DROP TABLE t", "CREATE TABLE t(id int PRIMARY KEY)")
        await recorder.until_interruptions(1)
        await asyncio.to_thread(server.restore, backup)
        backend.write("INSERT INTO t VALUES(2)")
        changes = await recorder.until_changes(2)
        backend.write("INSERT INTO t VALUES(3)")
        await recorder.until_changes(3)
        missed, parts = await replay(database, "t", changes[1].cursor)
    assert [each.data["id"] for each in missed] == [3]
    assert all(part.recovered for part in parts)


async def test_messages_of_a_restored_backup_are_not_served_as_complete(
    postgres_dsn: str, recorder: Recorder
) -> None:
    backend = PostgresBackend(postgres_dsn)
    async with backend.open(recorder) as database:
        await database.messages.raise_high_water(1_000)
        assert await database.messages.after("room", 0, 500, 10) == []
        backend.write("UPDATE aerostack.meta SET value = '900' WHERE key = 'high_water'")
        with pytest.raises(Unavailable, match="restored"):
            await database.messages.after("room", 0, 500, 10)
