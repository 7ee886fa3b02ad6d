"""Following the log over everything that happens to a PostgreSQL server, and what subscribers hear of it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.database import PostgresDatabase, PostgresSettings
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.postgres import PostgresServer

ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT)"
SLOT = "aerostack_shop"


@pytest.fixture
def own() -> Iterator[PostgresServer]:
    """A server of the test's own: it may be crashed."""
    server = PostgresServer.started()
    server.execute("CREATE DATABASE shop")
    yield server
    server.remove()


@asynccontextmanager
async def opened(server: PostgresServer, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(server.dsn("shop"), recorder, settings=PostgresSettings(**settings))
    try:
        yield database
    finally:
        async with asyncio.timeout(PATIENCE):
            await database.close()


@asynccontextmanager
async def watching(server: PostgresServer, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    server.execute(ORDERS, database="shop")
    async with opened(server, recorder, **settings) as database:
        await database.changes.watch("orders")
        yield database


def insert(server: PostgresServer, *numbers: int) -> None:
    values = ", ".join(f"({number}, 'new')" for number in numbers)
    server.execute(f"INSERT INTO orders VALUES {values}", database="shop")


def value(server: PostgresServer, query: str, database: str = "shop") -> Any:
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        found = connection.execute(query.encode()).fetchone()
        return None if found is None else found[0]


def ids(recorder: Recorder) -> list[Any]:
    return [change.data["id"] for change in recorder.changes]


# --- connections and crashes -----------------------------------------------------------------------------


async def test_a_crashed_server_is_followed_on_without_a_gap(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder):
        insert(own, 1)
        await recorder.until_changes(1)
        own.crash()
        own.start()
        insert(own, 2)
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]
        assert recorder.interruptions == []


async def test_a_killed_walsender_is_followed_on_without_a_gap(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder):
        for number in range(5):
            own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
            insert(own, number)
            await recorder.until_changes(number + 1)
        assert ids(recorder) == [0, 1, 2, 3, 4]
        assert recorder.interruptions == []


async def test_a_connection_lost_in_the_midst_of_a_transaction_repeats_and_loses_nothing(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder):
        rows = 30_000
        own.execute(f"INSERT INTO orders SELECT i, 'new' FROM generate_series(1, {rows}) i", database="shop")
        await recorder.until(lambda: len(recorder.changes) > 1_000)
        assert len(recorder.changes) < rows, "it is still under way"
        own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        await recorder.until_changes(rows)
        assert ids(recorder) == list(range(1, rows + 1))
        assert [change.commit_end for change in recorder.changes].index(True) == rows - 1
        assert len({change.commit for change in recorder.changes}) == 1


async def test_a_restart_reads_again_what_the_window_holds(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        since = database.changes.cursor("orders")
        insert(own, 1, 2)
        await recorder.until_changes(2)
    insert(own, 3)
    own.crash()
    own.start()
    later = Recorder()
    async with opened(own, later) as database:
        changes, parts = await replay(database, "orders", since)
        assert [change.data["id"] for change in changes] == [1, 2, 3]
        assert all(part.recovered for part in parts)
        assert later.changes == [], "what was read again is no news"
        replayed, parts = await replay(database, "orders", recorder.changes[0].cursor)
        assert [change.data["id"] for change in replayed] == [2, 3]
        assert parts[0].recovered


async def test_a_second_server_stands_by_and_takes_over(own: PostgresServer, recorder: Recorder) -> None:
    other = Recorder()
    async with watching(own, recorder) as first:
        insert(own, 1)
        await recorder.until_changes(1)
        standing_by = asyncio.create_task(PostgresDatabase.open(own.dsn("shop"), other))
        insert(own, 2)
        await recorder.until_changes(2)
        assert not standing_by.done()
        cursor = recorder.changes[-1].cursor
        await first.close()
    async with asyncio.timeout(PATIENCE):
        second = await standing_by
    insert(own, 3)
    assert [change.data["id"] for change in await other.until_changes(1)] == [3]
    changes, parts = await replay(second, "orders", cursor)
    assert ([change.data["id"] for change in changes], parts[0].recovered) == ([3], True)
    await second.close()


# --- logs that do not go on ------------------------------------------------------------------------------


async def test_a_slot_that_was_dropped_is_a_gap_and_row_changes_go_on(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder) as database:
        insert(own, 1)
        (change,) = await recorder.until_changes(1)
        with psycopg.connect(own.dsn("shop"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
            while connection.execute("SELECT FROM pg_replication_slots").fetchone():
                try:
                    connection.execute(f"SELECT pg_drop_replication_slot('{SLOT}')".encode())
                except psycopg.errors.ObjectInUse:
                    connection.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots")
                except psycopg.errors.UndefinedObject:
                    break
        await recorder.until_interruptions(1)
        assert recorder.interruptions[0][::2] == ("orders", True)
        insert(own, 2)
        await recorder.until_changes(2)
        _, parts = await replay(database, "orders", change.cursor)
        assert not parts[0].recovered


async def test_a_slot_that_was_moved_on_behind_our_back_is_a_gap(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        insert(own, 1)
        (change,) = await recorder.until_changes(1)
        await database.close()
    insert(own, 2)
    own.execute(f"SELECT pg_replication_slot_advance('{SLOT}', pg_current_wal_lsn())", database="shop")
    later = Recorder()
    async with opened(own, later) as database:
        changes, parts = await replay(database, "orders", change.cursor)
        assert (changes, parts[0].recovered) == ([], False)


async def test_a_publication_that_was_dropped_is_a_gap_and_made_again(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder):
        own.execute("DROP PUBLICATION aerostack", database="shop")
        insert(own, 1)
        own.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        await recorder.until_interruptions(1)
        await recorder.until(lambda: value(own, "SELECT count(*) FROM pg_publication_tables") == 1)
        await recorder.until(lambda: recorder.interruptions[-1][2])
        insert(own, 2)
        await recorder.until(lambda: bool(recorder.changes))
        assert ids(recorder) == [2]


async def test_a_restored_backup_is_a_gap_for_those_who_run_and_for_those_who_come_back(
    own: PostgresServer, recorder: Recorder
) -> None:
    backup = own.directory / "backup"
    async with watching(own, recorder) as database:
        insert(own, 1)
        await recorder.until_changes(1)
        await database.messages.raise_high_water(1_000)
        epoch = database.epoch
        own.stop()
        shutil.copytree(own.data, backup)
        own.start()
        insert(own, 2)
        await recorder.until_changes(2)
        beyond = recorder.changes[-1].cursor
        await database.messages.raise_high_water(2_000)
        own.stop()
        shutil.rmtree(own.data)
        _restore(own, backup)
        insert(own, *range(100, 200))
        await recorder.until_interruptions(1)
        assert database.epoch != epoch
        assert not database.understands(epoch, 2_000)
        _, parts = await replay(database, "orders", beyond)
        assert not parts[0].recovered
        await recorder.until(lambda: value(own, "SELECT active FROM pg_replication_slots"))
        insert(own, 3)
        await recorder.until(lambda: ids(recorder)[-1] == 3)
        assert ids(recorder)[:2] == [1, 2]


async def test_a_backup_that_is_restored_while_we_are_down_is_a_gap(
    own: PostgresServer, recorder: Recorder
) -> None:
    backup = own.directory / "backup"
    async with watching(own, recorder):
        insert(own, 1)
        await recorder.until_changes(1)
    own.stop()
    shutil.copytree(own.data, backup)
    own.start()
    again = Recorder()
    async with opened(own, again):
        insert(own, *range(2, 50))
        await again.until_changes(48)
    own.stop()
    shutil.rmtree(own.data)
    _restore(own, backup)
    later = Recorder()
    async with opened(own, later) as database:
        _, parts = await replay(database, "orders", again.changes[-1].cursor)
        assert not parts[0].recovered
        changes, parts = await replay(database, "orders", recorder.changes[0].cursor)
        assert (changes, parts[0].recovered) == ([], True), "what the backup knows goes on"


def _restore(server: PostgresServer, backup: Any) -> None:
    shutil.copytree(backup, server.data)
    server.own_files()
    server.start()


# --- tables ----------------------------------------------------------------------------------------------


async def test_truncate_is_a_gap_in_its_place(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder):
        insert(own, 1)
        own.execute("TRUNCATE orders", database="shop")
        insert(own, 2)
        await recorder.until_changes(2)
        first, gap, second = recorder.log
        assert (first, second) == tuple(recorder.changes)
        assert isinstance(gap, tuple)
        assert gap[::2] == ("orders", True)


async def test_a_table_that_is_renamed_and_made_anew_is_told_and_watched_by_its_name(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder) as database:
        own.execute("ALTER TABLE orders RENAME TO old_orders", ORDERS, database="shop")
        await recorder.until_interruptions(1)
        await recorder.until(lambda: recorder.interruptions[-1][2] and database.changes.watches("orders"))
        insert(own, 5)
        await recorder.until_changes(1)
        own.execute("INSERT INTO old_orders VALUES (6, 'old')", database="shop")
        insert(own, 7)
        await recorder.until_changes(2)
        assert ids(recorder) == [5, 7]
        assert value(own, "SELECT relreplident::text FROM pg_class WHERE relname = 'old_orders'") == "d"


async def test_columns_that_come_go_and_change_under_load_interrupt_and_arrive(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder):
        insert(own, 1)
        own.execute("ALTER TABLE orders ADD COLUMN note TEXT DEFAULT 'x'", database="shop")
        insert_wide = "INSERT INTO orders VALUES (2, 'new', 'noted')"
        own.execute(insert_wide, "ALTER TABLE orders DROP COLUMN state", database="shop")
        own.execute("INSERT INTO orders VALUES (3, 'n')", database="shop")
        own.execute("ALTER TABLE orders ALTER COLUMN note TYPE integer USING 7", database="shop")
        own.execute("INSERT INTO orders VALUES (4, 8)", database="shop")
        own.execute("ALTER TABLE orders RENAME COLUMN note TO number", database="shop")
        own.execute("INSERT INTO orders VALUES (5, 9)", database="shop")
        await recorder.until_changes(5)
        assert [change.data for change in recorder.changes] == [
            {"id": 1, "state": "new"},
            {"id": 2, "state": "new", "note": "noted"},
            {"id": 3, "note": "n"},
            {"id": 4, "note": 8},
            {"id": 5, "number": 9},
        ]
        kinds = ["change" if not isinstance(each, tuple) else "gap" for each in recorder.log]
        assert kinds.count("gap") >= 4
        for before, after in zip(kinds, kinds[1:], strict=False):
            assert (before, after) != ("change", "change"), "each change of shape is told where it happens"


async def test_a_schema_is_named_or_found_by_the_search_path(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        own.execute("CREATE SCHEMA sales", "CREATE TABLE sales.orders(id INTEGER PRIMARY KEY)", database="shop")
        await database.changes.watch("public.orders")
        await database.changes.watch("sales.orders")
        insert(own, 1)
        own.execute("INSERT INTO sales.orders VALUES (2)", database="shop")
        changes = await recorder.until_changes(3)
        assert [(change.table, change.data["id"]) for change in changes] == [
            ("orders", 1),
            ("public.orders", 1),
            ("sales.orders", 2),
        ]
        await database.changes.unwatch("orders")
        insert(own, 3)
        assert [(change.table, change.data["id"]) for change in (await recorder.until_changes(4))[3:]] == [
            ("public.orders", 3)
        ]


async def test_partitions_are_told_as_their_table_also_new_ones(own: PostgresServer, recorder: Recorder) -> None:
    own.execute(
        "CREATE TABLE log(id INTEGER, day DATE) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
        database="shop",
    )
    async with opened(own, recorder) as database:
        await database.changes.watch("log")
        own.execute("INSERT INTO log VALUES (1, '2026-01-05')", "UPDATE log SET id = 2", database="shop")
        await recorder.until_changes(2)
        assert [(change.table, change.operation, change.old) for change in recorder.changes] == [
            ("log", "INSERT", None),
            ("log", "UPDATE", {"id": 1, "day": "2026-01-05"}),
        ]
        own.execute(
            "CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
            database="shop",
        )
        database.changes.wake()
        mended = "SELECT relreplident::text FROM pg_class WHERE relname = 'log_2'"
        await recorder.until_interruptions(1)
        assert value(own, mended) == "f"
        own.execute("INSERT INTO log VALUES (3, '2026-02-05')", "DELETE FROM log WHERE id = 3", database="shop")
        await recorder.until_changes(4)
        assert recorder.changes[-1].old == {"id": 3, "day": "2026-02-05"}


async def test_a_large_value_that_did_not_change_is_told_whole(own: PostgresServer, recorder: Recorder) -> None:
    own.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, n INTEGER, text TEXT)", database="shop")
    own.execute("ALTER TABLE notes ALTER COLUMN text SET STORAGE EXTERNAL", database="shop")
    async with opened(own, recorder) as database:
        await database.changes.watch("notes")
        own.execute("INSERT INTO notes VALUES (1, 1, repeat('x', 1000000))", database="shop")
        own.execute("UPDATE notes SET n = 2", database="shop")
        _, update = await recorder.until_changes(2)
        assert update.data == {"id": 1, "n": 2, "text": "x" * 1_000_000}


async def test_a_transaction_of_several_tables_has_one_commit_and_one_end(
    own: PostgresServer, recorder: Recorder
) -> None:
    own.execute("CREATE TABLE items(id INTEGER PRIMARY KEY)", database="shop")
    async with watching(own, recorder) as database:
        await database.changes.watch("items")
        with psycopg.connect(own.dsn("shop")) as connection:
            connection.execute("INSERT INTO orders VALUES (1, 'new')")
            connection.execute("INSERT INTO items VALUES (1), (2)")
        insert(own, 2)
        changes = await recorder.until_changes(4)
        first, *_ = {change.commit: None for change in changes}
        assert [change.commit == first for change in changes] == [True, True, True, False]
        assert [change.commit_end for change in changes] == [False, False, True, True]


async def test_nothing_of_a_large_transaction_comes_before_its_commit_and_nothing_of_one_that_is_undone(
    recorder: Recorder,
) -> None:
    server = PostgresServer.started(settings={"logical_decoding_work_mem": "64kB"})
    try:
        server.execute("CREATE DATABASE shop")
        async with watching(server, recorder):
            with psycopg.connect(server.dsn("shop")) as connection:
                rows = "INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series({}, {}) i"
                connection.execute(rows.format(1, 5_000).encode())
                connection.execute("SAVEPOINT undone")
                connection.execute(rows.format(5_001, 9_000).encode())
                connection.execute("ROLLBACK TO undone")
                connection.execute(rows.format(20_001, 25_000).encode())
                with psycopg.connect(server.dsn("shop")) as aborted:
                    aborted.execute(rows.format(30_001, 35_000).encode())
                    aborted.rollback()
                insert(server, 0)
                await recorder.until_changes(1)
            await recorder.until_changes(10_001)
            assert ids(recorder) == [0, *range(1, 5_001), *range(20_001, 25_001)]
            streamed = value(
                server, f"SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = '{SLOT}'"
            )
            assert streamed is None or streamed > 0 or server.version < 140_000
    finally:
        server.remove()


# --- what the server has to be like ----------------------------------------------------------------------


async def test_a_server_without_logical_log_says_what_to_set(recorder: Recorder) -> None:
    server = PostgresServer.started(settings={"wal_level": "replica"})
    try:
        with pytest.raises(DatabaseUnusable, match="ALTER SYSTEM SET wal_level = 'logical'"):
            await PostgresDatabase.open(server.dsn(), recorder)
    finally:
        server.remove()


async def test_a_role_without_replication_says_what_to_grant(own: PostgresServer, recorder: Recorder) -> None:
    own.execute("CREATE ROLE app LOGIN", "ALTER DATABASE shop OWNER TO app")
    with pytest.raises(DatabaseUnusable, match="REPLICATION"):
        await PostgresDatabase.open(own.dsn("shop", "app"), recorder)


async def test_a_table_of_someone_else_says_what_its_owner_has_to_run(
    own: PostgresServer, recorder: Recorder
) -> None:
    own.execute("CREATE ROLE app LOGIN REPLICATION", "ALTER DATABASE shop OWNER TO app")
    own.execute(ORDERS, "GRANT SELECT ON orders TO app", database="shop")
    database = await PostgresDatabase.open(own.dsn("shop", "app"), recorder)
    try:
        with pytest.raises(Exception, match='"public"."orders" REPLICA IDENTITY FULL') as refused:
            await database.changes.watch("orders")
        statements = str(refused.value).partition("owner run: ")[2].split("; ")
        own.execute(*statements, database="shop")
        await database.changes.watch("orders")
        insert(own, 1)
        await recorder.until_changes(1)
    finally:
        await database.close()


async def test_an_idle_database_does_not_hold_the_log_of_the_others_back(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder, resume_seconds=0.0):
        own.execute("CREATE TABLE busy(t TEXT)")
        own.execute("INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        written = value(own, "SELECT pg_current_wal_lsn()::text")
        behind = f"SELECT confirmed_flush_lsn >= '{written}' FROM pg_replication_slots"
        async with asyncio.timeout(PATIENCE):
            while not value(own, behind):
                await asyncio.sleep(0.05)


async def test_the_window_is_kept_for_a_restart_and_bounded_by_bytes(
    own: PostgresServer, recorder: Recorder
) -> None:
    async with watching(own, recorder, resume_bytes=1 << 20):
        before = value(own, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots")
        own.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 100) i", database="shop")
        await recorder.until_changes(100)
        assert value(own, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots") == before
        own.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(101, 40100) i", database="shop")
        await recorder.until(lambda: len(recorder.changes) == 40_100)
        moved = f"SELECT confirmed_flush_lsn > '{before}' FROM pg_replication_slots"
        async with asyncio.timeout(PATIENCE):
            while not value(own, moved):
                await asyncio.sleep(0.05)


async def test_unwatching_leaves_nothing_of_the_watch(own: PostgresServer, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        assert value(own, "SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "f"
        await database.changes.unwatch("orders")
        assert value(own, "SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"
        assert value(own, "SELECT count(*) FROM pg_publication_tables") == 0
        insert(own, 1)
        await database.clean_up()
        await database.close()
        assert value(own, "SELECT count(*) FROM pg_publication") == 0
        assert value(own, "SELECT count(*) FROM pg_replication_slots") == 0
