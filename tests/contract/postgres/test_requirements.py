"""What a server and a role need, how much WAL is retained, and what cleaning up leaves."""

import asyncio
from collections.abc import Iterator

import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.feed.publication import InsufficientPrivilege
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.protocol.errors import Forbidden, NotFound, Unavailable
from tests.contract.conftest import PATIENCE, Recorder
from tests.contract.postgres.heard import Heard
from tests.contract.postgres.shop import ORDERS, Shop, opened, watching
from tests.postgres import PostgresServer


async def test_a_server_without_logical_wal_names_the_setting(recorder: Recorder) -> None:
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


async def test_a_role_without_replication_names_the_grant(shop: Shop, app: str, recorder: Recorder) -> None:
    with pytest.raises(DatabaseUnusable, match="REPLICATION"):
        await PostgresDatabase.open(shop.dsn(app), recorder)


async def test_a_foreign_table_names_what_its_owner_has_to_run(shop: Shop, app: str, recorder: Recorder) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION", ORDERS, f"GRANT SELECT ON orders TO {app}")
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    try:
        with pytest.raises(Forbidden, match="REPLICA IDENTITY FULL") as refused:
            await database.changes.watch("orders")
        statements = refused.value.message.partition(", run: ")[2].split("; ")
        shop.execute(*statements)
        await database.changes.watch("orders")
        shop.insert(1)
        await recorder.until_changes(1)
    finally:
        await database.close()


async def test_system_tables_and_our_tables_cannot_be_watched(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        for name in ("pg_class", "pg_catalog.pg_class", "aerostack.messages", "information_schema.sql_features"):
            with pytest.raises(NotFound, match="cannot be watched"):
                await database.changes.watch(name)


@pytest.mark.parametrize("role", ["missing", 'a "quoted" one'])
async def test_an_unusable_query_role_names_the_missing_grant(
    shop: Shop, app: str, recorder: Recorder, role: str
) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION")
    granted = '"' + role.replace('"', '""') + '"'
    settings = PostgresSettings(query_role=role)
    with pytest.raises(DatabaseUnusable, match="query_role") as refused:
        await PostgresDatabase.open(shop.dsn(app), recorder, settings=settings)
    statement = f'GRANT {granted} TO "{app}";'
    assert str(refused.value).endswith(statement)
    shop.execute(f"CREATE ROLE {granted}", statement)
    try:
        database = await PostgresDatabase.open(shop.dsn(app), recorder, settings=settings)
        await database.close()
    finally:
        shop.execute(f"DROP ROLE {granted}")


async def test_an_idle_database_does_not_retain_wal_of_others(own: Shop, recorder: Recorder) -> None:
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


@pytest.mark.parametrize(
    ("identity", "before"),
    [
        ("DEFAULT", "d-"),
        ("FULL", "f-"),
        ("NOTHING", "n-"),
        ("USING INDEX orders_state_key", "i-orders_state_key"),
    ],
)
async def test_unwatching_gives_a_table_its_replica_identity_back(
    shop: Shop, recorder: Recorder, identity: str, before: str
) -> None:
    """Other subscribers of the log may need it. A name of its own each and watching it again change nothing."""
    now = (
        "SELECT relreplident::text || '-' || COALESCE((SELECT i.relname FROM pg_index x JOIN pg_class i "
        "ON i.oid = indexrelid WHERE indrelid = c.oid AND indisreplident), '') "
        "FROM pg_class c WHERE relname = 'orders'"
    )
    shop.execute(
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT NOT NULL UNIQUE)",
        f"ALTER TABLE orders REPLICA IDENTITY {identity}",
    )
    async with opened(shop, recorder) as database:
        await database.changes.watch("orders")
        await database.changes.watch("public.orders")
        assert shop.value(now) == "f-"
        shop.execute("ALTER TABLE orders REPLICA IDENTITY DEFAULT")
        database.changes.wake()
        await recorder.until(lambda: shop.value(now) == "f-")
        await database.changes.unwatch("orders")
        assert shop.value(now) == "f-"
        await database.changes.unwatch("public.orders")
        assert shop.value(now) == before


async def test_a_watch_of_an_earlier_version_restores_the_default_identity(shop: Shop, recorder: Recorder) -> None:
    """It did not note what had been before; that a table is FULL is our doing, also when it is watched again."""
    shop.execute(
        "CREATE TABLE orders(id INTEGER) PARTITION BY LIST (id)",
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES IN (1)",
    )
    async with opened(shop, recorder) as database:
        await database.changes.watch("orders")
    shop.execute(
        "ALTER TABLE aerostack.watches DROP COLUMN identities",
        "UPDATE aerostack.meta SET value = '2' WHERE key = 'version'",
        "ALTER PUBLICATION aerostack DROP TABLE orders",
    )
    async with opened(shop, recorder) as database:
        await database.changes.watch("orders")
        assert shop.value("SELECT count(*) FROM pg_class WHERE relreplident = 'f' AND relname ~ '^orders'") == 2
        await database.changes.unwatch("orders")
    assert shop.value("SELECT count(*) FROM pg_class WHERE relreplident = 'd' AND relname ~ '^orders'") == 2


async def test_a_dropped_index_is_not_restored_as_replica_identity(shop: Shop, recorder: Recorder) -> None:
    shop.execute(
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT NOT NULL UNIQUE)",
        "ALTER TABLE orders REPLICA IDENTITY USING INDEX orders_state_key",
    )
    async with opened(shop, recorder) as database:
        await database.changes.watch("orders")
        shop.execute("ALTER TABLE orders DROP CONSTRAINT orders_state_key")
        await database.changes.unwatch("orders")
    assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"


async def test_cleaning_up_lists_what_others_have_to_run(shop: Shop, app: str, recorder: Recorder) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION", ORDERS, "CREATE TABLE bills(id INTEGER)")
    shop.execute(f"ALTER TABLE bills OWNER TO {app}", f"ALTER TABLE orders OWNER TO {app}")
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    try:
        await database.changes.watch("bills")
        await database.changes.watch("orders")
        shop.execute("ALTER TABLE orders OWNER TO postgres")
        command = await PostgresDatabase.open(shop.dsn(app), recorder, follow=False)
        with pytest.raises(Unavailable, match="stop it first"):
            await command.clean_up()
    finally:
        await database.close()
    with pytest.raises(InsufficientPrivilege, match="belongs to other roles") as left:
        await command.clean_up()
    await command.close()
    assert shop.state("1") is None
    assert shop.value("SELECT count(*) FROM pg_publication") == 0
    assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'bills'") == "d"
    shop.execute(*left.value.statements)
    assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"


async def test_cleaning_up_names_watched_partitions_of_other_owners(
    shop: Shop, app: str, recorder: Recorder
) -> None:
    shop.execute(
        f"ALTER ROLE {app} REPLICATION",
        "CREATE TABLE orders(id INTEGER) PARTITION BY LIST (id)",
        "CREATE TABLE orders_1 PARTITION OF orders FOR VALUES IN (1)",
        *[f"ALTER TABLE {name} OWNER TO {app}" for name in ("orders", "orders_1")],
    )
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    await database.changes.watch("orders")
    await database.changes.watch("orders_1")
    await database.close()
    shop.execute(*[f"ALTER TABLE {name} OWNER TO postgres" for name in ("orders", "orders_1")])
    command = await PostgresDatabase.open(shop.dsn(app), recorder, follow=False)
    with pytest.raises(InsufficientPrivilege) as left:
        await command.clean_up()
    await command.close()
    shop.execute(*left.value.statements)
    assert shop.value("SELECT count(*) FROM pg_class WHERE relreplident = 'd' AND relname ~ '^orders'") == 2


async def test_cleaning_up_removes_our_tables_from_a_foreign_publication(
    shop: Shop, app: str, recorder: Recorder
) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION", ORDERS, f"ALTER TABLE orders OWNER TO {app}")
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    await database.changes.watch("orders")
    await database.close()
    shop.execute("ALTER PUBLICATION aerostack OWNER TO postgres")
    command = await PostgresDatabase.open(shop.dsn(app), recorder, follow=False)
    with pytest.raises(InsufficientPrivilege) as left:
        await command.clean_up()
    await command.close()
    assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"
    shop.execute(*left.value.statements)
    assert shop.value("SELECT count(*) FROM pg_publication") == 0


async def test_cleaning_up_makes_no_publication_to_drop_it(shop: Shop, app: str, recorder: Recorder) -> None:
    shop.execute(f"ALTER ROLE {app} REPLICATION", ORDERS, f"ALTER TABLE orders OWNER TO {app}")
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    await database.changes.watch("orders")
    await database.close()
    shop.execute("DROP PUBLICATION aerostack", f"ALTER DATABASE {shop.name} OWNER TO postgres")
    command = await PostgresDatabase.open(shop.dsn(app), recorder, follow=False)
    await command.clean_up()
    await command.clean_up()
    await command.close()
    assert shop.state("1") is None
    assert shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'orders'") == "d"


async def test_a_capture_problem_is_logged_once_per_occurrence(
    shop: Shop, app: str, recorder: Recorder, heard: Heard
) -> None:
    """The printed statement fixes it; no SELECT is needed."""
    own = ("bills", "carts", "goods")
    shop.execute(
        f"ALTER ROLE {app} REPLICATION",
        ORDERS,
        *[f"CREATE TABLE {name}(id INTEGER)" for name in own],
        *[f"ALTER TABLE {name} OWNER TO {app}" for name in ("orders", *own)],
    )
    database = await PostgresDatabase.open(shop.dsn(app), recorder)
    try:
        await database.changes.watch("orders")
        shop.execute("ALTER TABLE orders OWNER TO postgres", f"REVOKE ALL ON orders FROM {app}")
        for name in own:
            heard.lines.clear()
            shop.execute("ALTER PUBLICATION aerostack DROP TABLE orders")
            said = await heard.until("row changes of orders cannot be captured until this is fixed")
            await database.changes.watch(name)  # which tries orders again
            await database.changes.unwatch(name)
            assert len([line for line in heard.lines if "row changes of orders cannot be captured" in line]) == 1
            recorder.interruptions.clear()
            shop.execute(said.partition(", run: ")[2])
            await recorder.until(lambda: any(present for _, _, present in recorder.interruptions))
        shop.insert(1)
        await recorder.until_changes(1)
    finally:
        await database.close()
