"""A restored backup whose log has grown beyond what was delivered: cursors of undone changes are refused."""

import asyncio
import shutil
import signal
from pathlib import Path

import psycopg
import pytest

from aerostack_realtime.database.base import Selection
from aerostack_realtime.database.message_store import NewMessage, Stored
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import Shop, opened, watching
from tests.contract.test_message_store import TOPIC, append, message
from tests.contract.test_snapshot import everything, rows_of

SMALL = 20_000
"""Bytes of changes in memory: what is written last alone."""


@pytest.mark.parametrize("log_bytes", [1 << 26, SMALL], ids=["in memory", "read again"])
async def test_a_cursor_of_an_undone_change_is_always_a_gap(own: Shop, recorder: Recorder, log_bytes: int) -> None:
    """So is one of a subscription or a snapshot after it, where the change is in memory."""
    backup = own.server.directory / "backup"
    async with watching(own, recorder) as database:
        own.insert(1)
        (kept,) = await recorder.until_changes(1)
        await asyncio.to_thread(own.server.stop)
        shutil.copytree(own.server.data, backup)
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        _, seen = await rows_of(database, "orders", Selection(everything))
        undone = [recorder.changes[1].cursor]
        if log_bytes != SMALL:
            undone += [database.changes.cursor("orders"), seen]
        before = own.value("SELECT pg_current_wal_lsn()::text")
    own.server.stop()
    own.server.restore(backup)
    overtake(own, before)
    async with opened(own, Recorder(), log_bytes=log_bytes) as database:
        for cursor in undone:
            _, parts = await replay(database, "orders", cursor)
            assert not parts[0].recovered, cursor
        changes, parts = await replay(database, "orders", kept.cursor)
        assert parts[0].recovered, "a cursor within the backup continues"
        assert [change.data["id"] for change in changes][:1] == [2]


async def test_running_servers_detect_a_restored_log_by_its_changes(own: Shop, recorder: Recorder) -> None:
    """No position of a custom channel was given out since the backup, whose mark would tell."""
    backup = own.server.directory / "backup"
    own.execute("CREATE ROLE writer SUPERUSER LOGIN")
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
        await asyncio.to_thread(own.server.stop)
        shutil.copytree(own.server.data, backup)
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        await restore_and_overtake(own, backup)
        await recorder.until_interruptions(1)
        own.insert(5_000)
        await recorder.until(lambda: recorder.changes[-1].data["id"] == 5_000)


@pytest.mark.parametrize("inserted", [0, 1])
async def test_changes_before_the_position_reached_reveal_a_restored_log(
    own: Shop, recorder: Recorder, inserted: int
) -> None:
    """No row was changed between the backup and its restoration, and the log has grown by other things."""
    backup = own.server.directory / "backup"
    own.execute("CREATE ROLE writer SUPERUSER LOGIN")
    heard = asyncio.Queue[bytes]()
    async with watching(own, recorder) as database:
        database.listen(lambda _, payload: heard.put_nowait(payload))
        for number in range(inserted):
            own.insert(number)
        await recorder.until_changes(inserted)
        await asyncio.to_thread(own.server.stop)
        shutil.copytree(own.server.data, backup)
        own.server.start()
        for payload in (bytes(100_000), b"the commit of the one before has been read"):
            await announced(database, payload)
            async with asyncio.timeout(PATIENCE):
                while await heard.get() != payload:
                    pass
        await restore_and_overtake(own, backup)
        await recorder.until_interruptions(1)
        own.insert(5_000)
        await recorder.until(lambda: recorder.changes[-1:] != [] and recorder.changes[-1].data["id"] == 5_000)


async def test_where_a_restored_server_started_reveals_its_backup(own: Shop, recorder: Recorder) -> None:
    """The backup is newer than the marks, it was overtaken, and no row of a watched table has changed."""
    backup = own.server.directory / "backup"
    own.execute("CREATE ROLE writer SUPERUSER LOGIN", "CREATE TABLE unwatched(id int, state text)")
    async with watching(own, recorder) as database:
        await asyncio.to_thread(own.server.stop)
        shutil.copytree(own.server.data, backup)
        own.server.start()
        await stored(database, message(500))
        await caught_up(database)
        await restore_and_overtake(own, backup, "unwatched")
        await recorder.until_interruptions(1)
        assert await database.messages.after(TOPIC, 0, 500, 10) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "at once"])
async def test_a_server_that_is_started_again_is_not_taken_for_a_backup(
    own: Shop, recorder: Recorder, how: signal.Signals
) -> None:
    async with watching(own, recorder) as database:
        for number in range(3):
            await stored(database, message(500 + number))
            await asyncio.to_thread(own.server.stop, how)
            own.server.start()
            own.insert(number)
            await recorder.until_changes(number + 1)
    assert recorder.interruptions == []


async def stored(database: PostgresDatabase, new: NewMessage) -> None:
    """Its connections may still be those to the server that was stopped."""
    async with asyncio.timeout(PATIENCE):
        while not isinstance((await append(database.messages, new))[0], Stored):
            pass


async def caught_up(database: PostgresDatabase) -> None:
    """Return once everything that is committed by now was read."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await database._feed.go_live()
            except Unavailable:
                pass


async def announced(database: PostgresDatabase, payload: bytes) -> None:
    """Its connections may still be those to the server that was stopped."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await database.announce("test", payload)
            except Unavailable:
                pass


async def restore_and_overtake(shop: Shop, backup: Path, table: str = "orders") -> None:
    """Keep the running server away from the restored database until its log has grown beyond the other's end."""
    before = shop.value("SELECT pg_current_wal_lsn()::text")
    await asyncio.to_thread(shop.server.stop)
    (backup / "pg_hba.conf").write_text("local postgres all trust\nlocal all writer trust\n")
    shop.server.restore(backup)
    overtake(shop, before, "writer", table)
    (shop.server.data / "pg_hba.conf").write_text("local all all trust\nlocal replication all trust\n")
    shop.server.execute("SELECT pg_reload_conf()")


def overtake(shop: Shop, lsn: str, user: str = "postgres", table: str = "orders") -> None:
    """Write more than what was undone, and first of all the very same."""
    with psycopg.connect(shop.dsn(user), autocommit=True) as writer:
        writer.execute(f"INSERT INTO {table} VALUES (2, 'new')".encode())
        while not writer.execute("SELECT WHERE pg_current_wal_lsn() > %s::pg_lsn", (lsn,)).fetchall():
            writer.execute(f"INSERT INTO {table} SELECT i, 'new' FROM generate_series(1000, 1999) i".encode())
            writer.execute(f"DELETE FROM {table} WHERE id >= 1000".encode())
        writer.execute(f"INSERT INTO {table} SELECT i, 'new' FROM generate_series(100, 299) i".encode())
