"""Our own tables in a user's database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import psycopg
import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.migrations import VERSION, migrate, sql
from tests.postgres import PostgresServer


async def open_and_migrate(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await migrate(connection)


def as_user(dsn: str, user: str) -> str:
    return dsn.replace("postgres@", f"{user}@")


@pytest.fixture
def guest(postgres_server: PostgresServer, postgres_dsn: str) -> Iterator[str]:
    """The fresh database's address for a role without rights in it."""
    postgres_server.execute('CREATE ROLE "guest" LOGIN')
    yield as_user(postgres_dsn, "guest")
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("DROP OWNED BY guest CASCADE")
    postgres_server.execute("DROP OWNED BY guest CASCADE", "DROP ROLE guest")


async def test_concurrent_starts_create_the_tables_once(postgres_dsn: str) -> None:
    await asyncio.gather(*(open_and_migrate(postgres_dsn) for _ in range(8)))
    with psycopg.connect(postgres_dsn) as look:
        tables = look.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'aerostack'").fetchall()
        assert {("messages",), ("meta",), ("epochs",), ("watches",)} <= set(tables)
        assert look.execute("SELECT * FROM aerostack.meta").fetchall() == [("version", str(VERSION))]


async def test_a_role_without_rights_gets_the_sql_to_run(postgres_dsn: str, guest: str) -> None:
    with pytest.raises(DatabaseUnusable, match='role "guest" may not') as caught:
        await open_and_migrate(guest)
    script = str(caught.value).partition("\n\n")[2]
    assert script == sql("guest")
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute(script.encode())
        owner.execute(script.encode())
    await open_and_migrate(guest)
    with psycopg.connect(guest) as look:
        assert look.execute("DELETE FROM aerostack.messages").rowcount == 0


async def test_a_schema_of_ones_own_is_enough(postgres_dsn: str, guest: str) -> None:
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA aerostack AUTHORIZATION guest")
    await open_and_migrate(guest)


async def test_missing_rights_on_our_tables_are_reported_at_start(postgres_dsn: str, guest: str) -> None:
    await open_and_migrate(postgres_dsn)
    with pytest.raises(DatabaseUnusable, match="GRANT USAGE"):
        await open_and_migrate(guest)
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("GRANT USAGE ON SCHEMA aerostack TO guest")
        owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA aerostack TO guest")
    with pytest.raises(DatabaseUnusable, match="GRANT SELECT, INSERT"):
        await open_and_migrate(guest)


async def test_a_schema_that_a_newer_program_made_is_left_alone(postgres_dsn: str) -> None:
    await open_and_migrate(postgres_dsn)
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute("UPDATE aerostack.meta SET value = '99' WHERE key = 'version'")
    with pytest.raises(DatabaseUnusable, match="version 99, made by a newer aerostack"):
        await open_and_migrate(postgres_dsn)


async def test_an_interrupted_start_leaves_nothing(postgres_dsn: str) -> None:
    connection: Connection = await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True)
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute(
            "CREATE FUNCTION stop() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''stop''; END'"
        )
        owner.execute(
            "CREATE EVENT TRIGGER stop ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION stop()"
        )
        with pytest.raises(DatabaseUnusable, match="stop"):
            await migrate(connection)
        assert owner.execute("SELECT to_regnamespace('aerostack')").fetchone() == (None,)
        owner.execute("DROP EVENT TRIGGER stop")
    await migrate(connection)
    await connection.close()
