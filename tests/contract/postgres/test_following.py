"""Consuming the WAL over everything that happens to a PostgreSQL server, and what subscribers receive."""

import asyncio
import shutil

import pytest

from aerostack_realtime.database.postgres.cluster.generations import PostgresGenerations
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.marks import Marks
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import ORDERS, Shop, ids, opened, watching
from tests.postgres import PostgresServer

# --- connections and crashes -----------------------------------------------------------------------------


async def test_a_crashed_server_causes_no_gap(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
        own.server.crash()
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]
        assert recorder.interruptions == []


async def test_an_orderly_shutdown_does_not_wait_for_us(own: Shop, recorder: Recorder) -> None:
    own.execute("ALTER SYSTEM SET wal_sender_timeout = '1h'")
    own.execute("SELECT pg_reload_conf()")
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(own.server.stop)
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]
        assert recorder.interruptions == []


async def test_a_killed_walsender_causes_no_gap(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder):
        for number in range(5):
            shop.cut()
            shop.insert(number)
            await recorder.until_changes(number + 1)
        assert ids(recorder) == [0, 1, 2, 3, 4]
        assert recorder.interruptions == []


@pytest.mark.parametrize("gone", ["unwatched", "dropped", "emptied", "renamed"])
async def test_reconnecting_works_after_the_last_changed_table_is_gone(
    shop: Shop, recorder: Recorder, gone: str
) -> None:
    """It is by that change that a log is known to be the one which was followed before."""
    async with watching(shop, recorder) as database:
        shop.execute("CREATE TABLE bills(id INTEGER)")
        await database.changes.watch("bills")
        shop.insert(1)
        shop.execute("INSERT INTO bills VALUES (1)")
        await recorder.until_changes(2)
        match gone:
            case "unwatched":
                await database.changes.unwatch("bills")
            case "dropped":
                shop.execute("DROP TABLE bills")
            case "emptied":
                shop.execute("TRUNCATE bills")
            case "renamed":
                shop.execute("ALTER TABLE bills RENAME TO invoices")
            case _:
                raise AssertionError(gone)
        for number in range(2, 5):
            shop.cut()
            shop.insert(number)
            await recorder.until_changes(number + 1)
        assert ids(recorder) == [1, 1, 2, 3, 4]
        assert "orders" not in [table for table, _, _ in recorder.interruptions]


async def test_a_connection_lost_inside_a_transaction_repeats_and_loses_nothing(
    shop: Shop, recorder: Recorder
) -> None:
    async with watching(shop, recorder):
        rows = 30_000
        shop.execute(f"INSERT INTO orders SELECT i, 'new' FROM generate_series(1, {rows}) i")
        await recorder.until(lambda: len(recorder.changes) > 1_000)
        assert len(recorder.changes) < rows, "it is still under way"
        shop.cut()
        await recorder.until_changes(rows)
        assert ids(recorder) == list(range(1, rows + 1))
        assert [change.commit_end for change in recorder.changes].index(True) == rows - 1
        assert len({change.commit for change in recorder.changes}) == 1


async def test_a_restart_reads_again_what_the_window_holds(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        since = database.changes.cursor("orders")
        own.insert(1, 2)
        await recorder.until_changes(2)
    own.insert(3)
    own.server.crash()
    own.server.start()
    later = Recorder()
    async with opened(own, later) as database:
        changes, parts = await replay(database, "orders", since)
        assert [change.data["id"] for change in changes] == [1, 2, 3]
        assert all(part.recovered for part in parts)
        assert later.changes == [], "what was read again is not delivered again"
        replayed, parts = await replay(database, "orders", recorder.changes[0].cursor)
        assert [change.data["id"] for change in replayed] == [2, 3]
        assert parts[0].recovered


async def test_a_second_server_stands_by_and_takes_over(shop: Shop, recorder: Recorder) -> None:
    other = Recorder()
    async with watching(shop, recorder) as first:
        shop.insert(1)
        await recorder.until_changes(1)
        standing_by = asyncio.create_task(PostgresDatabase.open(shop.dsn(), other))
        shop.insert(2)
        await recorder.until_changes(2)
        assert not standing_by.done()
        cursor = recorder.changes[-1].cursor
        await first.close()
    async with asyncio.timeout(PATIENCE):
        second = await standing_by
    shop.insert(3)
    assert [change.data["id"] for change in await other.until_changes(1)] == [3]
    changes, parts = await replay(second, "orders", cursor)
    assert ([change.data["id"] for change in changes], parts[0].recovered) == ([3], True)
    await second.close()


# --- logs that are interrupted ---------------------------------------------------------------------------


async def test_a_dropped_slot_is_a_gap_and_is_created_again(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        shop.insert(1)
        (change,) = await recorder.until_changes(1)
        epoch = database.epoch
        await database.messages.raise_high_water(1_000)
        await asyncio.to_thread(shop.drop_slot)
        await recorder.until_interruptions(1)
        assert recorder.interruptions[0][::2] == ("orders", True)
        assert database.understands(epoch, 1_000), "custom channels have nothing to do with it"
        shop.insert(2)
        await recorder.until_changes(2)
        _, parts = await replay(database, "orders", change.cursor)
        assert not parts[0].recovered


async def test_a_slot_advanced_by_others_is_a_gap(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        shop.insert(1)
        (change,) = await recorder.until_changes(1)
        await database.close()
    shop.insert(2)
    shop.execute(f"SELECT pg_replication_slot_advance('{shop.slot}', pg_current_wal_lsn())")
    later = Recorder()
    async with opened(shop, later) as database:
        changes, parts = await replay(database, "orders", change.cursor)
        assert (changes, parts[0].recovered) == ([], False)


async def test_a_dropped_publication_is_a_gap_and_is_created_again(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder):
        shop.execute("DROP PUBLICATION aerostack")
        shop.insert(1)
        shop.cut()
        await recorder.until_interruptions(1)
        await recorder.until(lambda: shop.value("SELECT count(*) FROM pg_publication_tables") == 1)
        await recorder.until(lambda: recorder.interruptions[-1][2])
        shop.insert(2)
        await recorder.until(lambda: bool(recorder.changes))
        assert ids(recorder) == [2]


async def test_a_restored_backup_is_a_gap_for_live_and_resuming_subscribers(own: Shop, recorder: Recorder) -> None:
    backup = own.server.directory / "backup"
    async with watching(own, recorder) as database:
        own.insert(1)
        await recorder.until_changes(1)
        await database.messages.raise_high_water(1_000)
        epoch = database.epoch
        await asyncio.to_thread(own.server.stop)
        shutil.copytree(own.server.data, backup)
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        beyond = recorder.changes[-1].cursor
        await database.messages.raise_high_water(2_000)
        await asyncio.to_thread(own.server.stop)
        own.server.restore(backup)
        own.insert(*range(100, 200))
        await recorder.until_interruptions(1)
        assert database.epoch != epoch
        assert not database.understands(epoch, 2_000)
        _, parts = await replay(database, "orders", beyond)
        assert not parts[0].recovered
        await recorder.until(lambda: own.state("active"))
        own.insert(3)
        await recorder.until(lambda: ids(recorder)[-1] == 3)
        assert ids(recorder)[:2] == [1, 2]


async def test_a_backup_restored_while_no_server_runs_is_a_gap(own: Shop, recorder: Recorder) -> None:
    backup = own.server.directory / "backup"
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
    own.server.stop()
    shutil.copytree(own.server.data, backup)
    own.server.start()
    again = Recorder()
    async with opened(own, again):
        own.insert(*range(2, 50))
        await again.until_changes(48)
    own.server.stop()
    own.server.restore(backup)
    later = Recorder()
    async with opened(own, later) as database:
        changes, parts = await replay(database, "orders", again.changes[-1].cursor)
        assert (changes, parts[0].recovered) == ([], False), "the changes of the backup were delivered before"
        changes, parts = await replay(database, "orders", recorder.changes[0].cursor)
        assert (changes, parts[0].recovered) == ([], True), "a cursor within the backup continues"


async def assert_undecided(standby: Shop) -> None:
    """A standby may lack the newest generation of a cluster's journal, so it does not name one."""
    connections = await Connections.open(standby.dsn())
    try:
        with pytest.raises(Unavailable, match="standby"):
            await PostgresGenerations(connections, "", "", lambda *_: None, Marks, lambda _: None).current()
    finally:
        await connections.close()


async def test_a_promoted_standby_continues_or_is_a_gap(recorder: Recorder) -> None:
    """PostgreSQL 17 and newer keep the slot over a promotion; with older ones a promotion is a gap."""
    primary = PostgresServer.started(settings={"hot_standby_feedback": "on"})
    standby = None
    try:
        keeps = primary.version >= 170_000
        primary.execute("CREATE DATABASE shop", "SELECT pg_create_physical_replication_slot('standby')")
        primary.execute(ORDERS, database="shop")
        primary.stop()
        following = f"host={primary.directory} port={primary.port} user=postgres dbname=postgres"
        settings = {"primary_conninfo": following, "primary_slot_name": "standby", "hot_standby_feedback": "on"}
        if keeps:
            settings["sync_replication_slots"] = "on"
        standby = PostgresServer(settings=settings, copy_of=primary.data)
        (standby.data / "standby.signal").touch()
        standby.own_files()
        primary.start()
        standby.start()
        hosts = f"host={primary.directory},{standby.directory}&port={primary.port},{standby.port}"
        dsn = f"postgresql://postgres@/shop?{hosts}&target_session_attrs=read-write"
        database = await PostgresDatabase.open(dsn, recorder, settings=PostgresSettings(resume_seconds=0.0))
        await database.changes.watch("orders")
        old, new = Shop(primary, "shop"), Shop(standby, "shop")
        old.insert(1)
        (change,) = await recorder.until_changes(1)
        synced = "synced AND confirmed_flush_lsn <> '0/0'" if keeps else "true"
        caught_up = f"pg_last_wal_replay_lsn() >= '{old.value('SELECT pg_current_wal_lsn()::text')}'"
        async with asyncio.timeout(PATIENCE * 2):
            while not await asyncio.to_thread(new.value, f"SELECT {caught_up}"):
                pass
            while keeps and not await asyncio.to_thread(new.state, synced):
                pass
        await assert_undecided(new)
        primary.crash()
        await asyncio.to_thread(standby.execute, "SELECT pg_promote()")
        if not keeps:
            await recorder.until_interruptions(1)
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(new.state, "active"):
                pass
        new.insert(2)
        await recorder.until(lambda: ids(recorder)[-1] == 2)
        assert ids(recorder) == [1, 2]
        assert len(recorder.interruptions) == (0 if keeps else 1)
        _, parts = await replay(database, "orders", change.cursor)
        assert parts[0].recovered == keeps
        await database.close()
    finally:
        primary.remove()
        if standby is not None:
            standby.remove()
