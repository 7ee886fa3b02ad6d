"""Following the log over everything that happens to a PostgreSQL server, and what subscribers hear of it."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.database import PostgresDatabase, PostgresSettings
from aerostack_realtime.protocol.errors import Forbidden
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.postgres import PostgresServer

ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT)"


class Shop:
    """A database of the test's own on a server, and a writer that is not ours."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.slot = f"aerostack_{name}"

    def dsn(self, user: str = "postgres") -> str:
        return self.server.dsn(self.name, user)

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, database=self.name)

    def insert(self, *numbers: int) -> None:
        self.execute(f"INSERT INTO orders VALUES {', '.join(f'({number}, {NEW})' for number in numbers)}")

    def value(self, query: str) -> Any:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            found = connection.execute(query.encode()).fetchone()
            return None if found is None else found[0]

    def state(self, columns: str) -> Any:
        """Of the replication slot."""
        return self.value(f"SELECT {columns} FROM pg_replication_slots WHERE slot_name = '{self.slot}'")

    def cut(self) -> None:
        """End whoever streams from the slot."""
        self.state("pg_terminate_backend(active_pid)")

    def drop_slot(self) -> None:
        while True:
            self.cut()
            try:
                self.execute(f"SELECT pg_drop_replication_slot('{self.slot}')")
            except psycopg.errors.ObjectInUse:
                continue
            return

    def restore(self, backup: Path) -> None:
        """Put the files of a server that is stopped back as they were."""
        shutil.rmtree(self.server.data)
        shutil.copytree(backup, self.server.data)
        self.server.own_files()
        self.server.start()


NEW = "'new'"


@pytest.fixture
def shop(postgres_server: PostgresServer) -> Iterator[Shop]:
    """On the server of all tests."""
    name = f"shop{next(_numbers)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield Shop(postgres_server, name)
    postgres_server.drop_database(name)


_numbers = count(1)


@pytest.fixture
def own() -> Iterator[Shop]:
    """On a server of the test's own, which may be crashed."""
    server = PostgresServer.started()
    server.execute("CREATE DATABASE shop")
    yield Shop(server, "shop")
    server.remove()


@asynccontextmanager
async def opened(shop: Shop, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    database = await PostgresDatabase.open(shop.dsn(), recorder, settings=PostgresSettings(**settings))
    try:
        yield database
    finally:
        async with asyncio.timeout(PATIENCE):
            await database.close()


@asynccontextmanager
async def watching(shop: Shop, recorder: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
    shop.execute(ORDERS)
    async with opened(shop, recorder, **settings) as database:
        await database.changes.watch("orders")
        yield database


def ids(recorder: Recorder) -> list[Any]:
    return [change.data["id"] for change in recorder.changes]


# --- connections and crashes -----------------------------------------------------------------------------


async def test_a_crashed_server_is_followed_on_without_a_gap(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
        own.server.crash()
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]
        assert recorder.interruptions == []


async def test_a_server_that_is_stopped_in_order_does_not_wait_for_us(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder):
        own.insert(1)
        await recorder.until_changes(1)
        async with asyncio.timeout(5):
            await asyncio.to_thread(own.server.stop)
        own.server.start()
        own.insert(2)
        await recorder.until_changes(2)
        assert ids(recorder) == [1, 2]
        assert recorder.interruptions == []


async def test_a_killed_walsender_is_followed_on_without_a_gap(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder):
        for number in range(5):
            shop.cut()
            shop.insert(number)
            await recorder.until_changes(number + 1)
        assert ids(recorder) == [0, 1, 2, 3, 4]
        assert recorder.interruptions == []


async def test_a_connection_lost_in_the_midst_of_a_transaction_repeats_and_loses_nothing(
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
        assert later.changes == [], "what was read again is no news"
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


# --- logs that do not go on ------------------------------------------------------------------------------


async def test_a_slot_that_was_dropped_is_a_gap_and_row_changes_go_on(shop: Shop, recorder: Recorder) -> None:
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


async def test_a_slot_that_was_moved_on_behind_our_back_is_a_gap(shop: Shop, recorder: Recorder) -> None:
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


async def test_a_publication_that_was_dropped_is_a_gap_and_made_again(shop: Shop, recorder: Recorder) -> None:
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


async def test_a_restored_backup_is_a_gap_for_those_who_run_and_for_those_who_come_back(
    own: Shop, recorder: Recorder
) -> None:
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
        own.restore(backup)
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


async def test_a_backup_that_is_restored_while_we_are_down_is_a_gap(own: Shop, recorder: Recorder) -> None:
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
    own.restore(backup)
    later = Recorder()
    async with opened(own, later) as database:
        changes, parts = await replay(database, "orders", again.changes[-1].cursor)
        assert (changes, parts[0].recovered) == ([], False), "what the backup has was told before"
        changes, parts = await replay(database, "orders", recorder.changes[0].cursor)
        assert (changes, parts[0].recovered) == ([], True), "what the backup knows goes on"


async def test_a_standby_that_is_promoted_is_followed_on_or_its_gap_is_told(recorder: Recorder) -> None:
    """PostgreSQL 17 and newer keep the slot over a promotion; before, what it held is lost, and that is told."""
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


# --- tables ----------------------------------------------------------------------------------------------


async def test_truncate_is_a_gap_in_its_place(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder):
        shop.insert(1)
        shop.execute("TRUNCATE orders")
        shop.insert(2)
        await recorder.until_changes(2)
        first, gap, second = recorder.log
        assert (first, second) == tuple(recorder.changes)
        assert isinstance(gap, tuple)
        assert gap[::2] == ("orders", True)


async def test_a_table_that_is_renamed_and_made_anew_is_told_and_watched_by_its_name(
    shop: Shop, recorder: Recorder
) -> None:
    async with watching(shop, recorder) as database:
        shop.execute("ALTER TABLE orders RENAME TO old_orders", ORDERS)
        await recorder.until_interruptions(1)
        await recorder.until(lambda: recorder.interruptions[-1][2] and database.changes.watches("orders"))
        shop.insert(5)
        await recorder.until_changes(1)
        shop.execute("INSERT INTO old_orders VALUES (6, 'old')")
        shop.insert(7)
        await recorder.until_changes(2)
        assert ids(recorder) == [5, 7]
        assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'old_orders'") == "d"


async def test_columns_that_come_go_and_change_under_load_interrupt_and_arrive(
    shop: Shop, recorder: Recorder
) -> None:
    async with watching(shop, recorder):
        shop.insert(1)
        shop.execute("ALTER TABLE orders ADD COLUMN note TEXT")
        insert_wide = "INSERT INTO orders VALUES (2, 'new', 'noted')"
        shop.execute(insert_wide, "ALTER TABLE orders DROP COLUMN state")
        shop.execute("INSERT INTO orders VALUES (3, 'n')")
        shop.execute("ALTER TABLE orders ALTER COLUMN note TYPE integer USING 7")
        shop.execute("INSERT INTO orders VALUES (4, 8)")
        shop.execute("ALTER TABLE orders RENAME COLUMN note TO number")
        shop.execute("INSERT INTO orders VALUES (5, 9)")
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
        for before, after in pairwise(kinds):
            assert (before, after) != ("change", "change"), "each change of shape is told where it happens"


async def test_a_schema_is_named_or_found_by_the_search_path(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        shop.execute("CREATE SCHEMA sales", "CREATE TABLE sales.orders(id INTEGER PRIMARY KEY)")
        await database.changes.watch("public.orders")
        await database.changes.watch("sales.orders")
        shop.insert(1)
        shop.execute("INSERT INTO sales.orders VALUES (2)")
        changes = await recorder.until_changes(3)
        assert [(change.table, change.data["id"]) for change in changes] == [
            ("orders", 1),
            ("public.orders", 1),
            ("sales.orders", 2),
        ]
        await database.changes.unwatch("orders")
        shop.insert(3)
        assert [(change.table, change.data["id"]) for change in (await recorder.until_changes(4))[3:]] == [
            ("public.orders", 3)
        ]


async def test_partitions_are_told_as_their_table_also_new_ones(shop: Shop, recorder: Recorder) -> None:
    shop.execute(
        "CREATE TABLE log(id INTEGER, day DATE) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    )
    async with opened(shop, recorder) as database:
        await database.changes.watch("log")
        shop.execute("INSERT INTO log VALUES (1, '2026-01-05')", "UPDATE log SET id = 2")
        await recorder.until_changes(2)
        assert [(change.table, change.operation, change.old) for change in recorder.changes] == [
            ("log", "INSERT", None),
            ("log", "UPDATE", {"id": 1, "day": "2026-01-05"}),
        ]
        shop.execute("CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
        database.changes.wake()
        mended = "SELECT relreplident::text FROM pg_class WHERE relname = 'log_2'"
        await recorder.until_interruptions(1)
        assert shop.value(mended) == "f"
        shop.execute("INSERT INTO log VALUES (3, '2026-02-05')", "DELETE FROM log WHERE id = 3")
        await recorder.until_changes(4)
        assert recorder.changes[-1].old == {"id": 3, "day": "2026-02-05"}


async def test_a_large_value_that_did_not_change_is_told_whole(shop: Shop, recorder: Recorder) -> None:
    shop.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, n INTEGER, text TEXT)")
    shop.execute("ALTER TABLE notes ALTER COLUMN text SET STORAGE EXTERNAL")
    async with opened(shop, recorder) as database:
        await database.changes.watch("notes")
        shop.execute("INSERT INTO notes VALUES (1, 1, repeat('x', 1000000))")
        shop.execute("UPDATE notes SET n = 2")
        _, update = await recorder.until_changes(2)
        assert update.data == {"id": 1, "n": 2, "text": "x" * 1_000_000}


async def test_a_transaction_of_several_tables_has_one_commit_and_one_end(shop: Shop, recorder: Recorder) -> None:
    shop.execute("CREATE TABLE items(id INTEGER PRIMARY KEY)")
    async with watching(shop, recorder) as database:
        await database.changes.watch("items")
        with psycopg.connect(shop.dsn()) as connection:
            connection.execute("INSERT INTO orders VALUES (1, 'new')")
            connection.execute("INSERT INTO items VALUES (1), (2)")
        shop.insert(2)
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
        shop = Shop(server, "shop")
        async with watching(shop, recorder):
            with psycopg.connect(shop.dsn()) as connection:
                rows = "INSERT INTO orders SELECT i, repeat('x', 100) FROM generate_series({}, {}) i"
                connection.execute(rows.format(1, 5_000).encode())
                connection.execute("SAVEPOINT undone")
                connection.execute(rows.format(5_001, 9_000).encode())
                connection.execute("ROLLBACK TO undone")
                connection.execute(rows.format(20_001, 25_000).encode())
                with psycopg.connect(shop.dsn()) as aborted:
                    aborted.execute(rows.format(30_001, 35_000).encode())
                    aborted.rollback()
                shop.insert(0)
                await recorder.until_changes(1)
            await recorder.until_changes(10_001)
            assert ids(recorder) == [0, *range(1, 5_001), *range(20_001, 25_001)]
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


@pytest.fixture
def app(shop: Shop) -> Iterator[str]:
    """A role that owns the database and may do nothing else."""
    role = f"app_{shop.name}"
    shop.execute(f"CREATE ROLE {role} LOGIN", f"ALTER DATABASE {shop.name} OWNER TO {role}")
    yield role
    shop.server.execute(f"ALTER DATABASE {shop.name} OWNER TO postgres")
    shop.execute(f"DROP OWNED BY {role} CASCADE", f"DROP ROLE {role}")


async def test_a_role_without_replication_says_what_to_grant(shop: Shop, app: str, recorder: Recorder) -> None:
    with pytest.raises(DatabaseUnusable, match="REPLICATION"):
        await PostgresDatabase.open(shop.dsn(app), recorder)


async def test_a_table_of_someone_else_says_what_its_owner_has_to_run(
    shop: Shop, app: str, recorder: Recorder
) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION", ORDERS, f"GRANT SELECT ON orders TO {app}")
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    try:
        with pytest.raises(Forbidden, match="REPLICA IDENTITY FULL") as refused:
            await database.changes.watch("orders")
        statements = refused.value.message.partition("owner run: ")[2].split("; ")
        shop.execute(*statements)
        await database.changes.watch("orders")
        shop.insert(1)
        await recorder.until_changes(1)
    finally:
        await database.close()


async def test_an_idle_database_does_not_hold_the_log_of_the_others_back(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder, resume_seconds=0.0):
        own.server.execute("CREATE TABLE busy(t TEXT)")
        own.server.execute("INSERT INTO busy SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
        written = own.value("SELECT pg_current_wal_lsn()::text")
        behind = f"confirmed_flush_lsn >= '{written}'"
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(own.state, behind):
                pass


async def test_the_window_is_kept_for_a_restart_and_bounded_by_bytes(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, resume_bytes=1 << 20):
        before = shop.state("confirmed_flush_lsn::text")
        shop.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(1, 100) i")
        await recorder.until_changes(100)
        assert shop.state("confirmed_flush_lsn::text") == before
        shop.execute("INSERT INTO orders SELECT i, 'new' FROM generate_series(101, 40100) i")
        await recorder.until(lambda: len(recorder.changes) == 40_100)
        moved = f"confirmed_flush_lsn > '{before}'"
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(shop.state, moved):
                pass


async def test_unwatching_leaves_nothing_of_the_watch(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "f"
        await database.changes.unwatch("orders")
        assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"
        assert shop.value("SELECT count(*) FROM pg_publication_tables") == 0
        shop.insert(1)
        await database.changes.watch("orders")
    async with asyncio.timeout(PATIENCE):
        command = await PostgresDatabase.open(shop.dsn(), recorder, follow=False)
        await command.clean_up()
        await command.close()
        assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"
        assert shop.value("SELECT count(*) FROM pg_publication") == 0
        assert shop.state("1") is None
