"""What a PostgreSQL server and a role have to be like, what of the log is kept, and what is left in the end."""

import asyncio
from collections.abc import Iterator

import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.protocol.errors import Forbidden
from tests.contract.conftest import PATIENCE, Recorder
from tests.contract.postgres.shop import ORDERS, Shop, watching
from tests.postgres import PostgresServer


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
