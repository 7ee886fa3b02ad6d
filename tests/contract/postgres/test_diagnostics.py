"""`aerostack check` on PostgreSQL: each problem is reported with its fix, and the fix works."""

from collections.abc import Iterator
from itertools import count

import pytest

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.diagnostics import Problem, diagnose
from aerostack_realtime.protocol.errors import Forbidden
from tests.contract.conftest import Recorder
from tests.contract.postgres.shop import Shop
from tests.postgres import PostgresServer

_numbers = count(1)


class Site:
    """A database with a role that was given nothing but the right to log in."""

    def __init__(self, server: PostgresServer, name: str) -> None:
        self.server = server
        self.name = name
        self.role = f"{name}_app"

    @property
    def dsn(self) -> str:
        return self.server.dsn(self.name, self.role)

    def execute(self, *statements: str) -> None:
        self.server.execute(*statements, database=self.name)

    def fix(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.execute(problem.fix.partition("  --")[0])


@pytest.fixture
def site(postgres_server: PostgresServer) -> Iterator[Site]:
    site = Site(postgres_server, f"site{next(_numbers)}")
    postgres_server.execute(f"CREATE DATABASE {site.name}", f"CREATE ROLE {site.role} LOGIN")
    yield site
    postgres_server.drop_database(site.name)
    postgres_server.execute(f"DROP ROLE {site.role}")


async def inspected(dsn: str, **settings: int) -> list[Problem]:
    return await diagnose(dsn, slot=None, publication="aerostack", **({"resume_bytes": 1 << 30} | settings))


async def test_a_role_with_every_right_has_no_problem(postgres_dsn: str) -> None:
    assert await inspected(postgres_dsn) == []


async def test_missing_role_rights_are_reported_with_working_statements(site: Site, recorder: Recorder) -> None:
    problems = await inspected(site.dsn)
    assert [problem.message for problem in problems] == [
        f"The role {site.role} may not read the WAL.",
        f"The role {site.role} may not create the schema aerostack.",
        f"There is no publication aerostack, and the role {site.role} may not create it.",
    ]
    block = str(problems[1]).splitlines()[1:]
    assert len(block) > 1
    assert all(line.startswith("    ") for line in block)
    with pytest.raises(DatabaseUnusable):
        await PostgresDatabase.open(site.dsn, recorder)
    site.fix(problems)
    assert await inspected(site.dsn) == []
    database = await PostgresDatabase.open(site.dsn, recorder)
    site.execute("CREATE TABLE orders(id INTEGER)", f"ALTER TABLE orders OWNER TO {site.role}")
    await database.changes.watch("orders")
    await database.close()


async def test_a_schema_of_another_role_is_reported_with_working_statements(
    site: Site, recorder: Recorder
) -> None:
    database = await PostgresDatabase.open(site.server.dsn(site.name), recorder)
    await database.close()
    site.execute(f"ALTER ROLE {site.role} REPLICATION")
    problems = await inspected(site.dsn)
    assert [problem.message for problem in problems] == [
        f"The role {site.role} may not use the schema aerostack.",
        f"The publication aerostack belongs to another role, not to {site.role}.",
    ]
    site.fix(problems)
    assert await inspected(site.dsn) == []
    database = await PostgresDatabase.open(site.dsn, recorder)
    await database.close()


async def test_a_dbas_publication_without_our_table_is_reported(site: Site, recorder: Recorder) -> None:
    site.fix(await inspected(site.dsn))
    site.execute(
        "CREATE TABLE theirs(id INTEGER)",
        "ALTER PUBLICATION aerostack OWNER TO postgres",
        "ALTER PUBLICATION aerostack ADD TABLE theirs",
    )
    assert await inspected(site.dsn) == []
    site.execute("CREATE TABLE ours(id INTEGER)", f"ALTER TABLE ours OWNER TO {site.role}")
    problems = await inspected(site.dsn)
    assert [problem.fix for problem in problems] == [
        f'ALTER PUBLICATION "aerostack" OWNER TO "{site.role}";  -- as a superuser'
    ]
    site.fix(problems)
    assert await inspected(site.dsn) == []
    database = await PostgresDatabase.open(site.dsn, recorder)
    await database.changes.watch("ours")
    await database.close()


async def test_a_publication_created_by_the_printed_statement_works(
    site: Site, shop: Shop, recorder: Recorder
) -> None:
    site.fix(await inspected(site.dsn))
    database = await PostgresDatabase.open(shop.dsn(), recorder)
    await database.close()
    made = "SELECT to_jsonb(p) - 'oid' - 'pubowner' FROM pg_publication p"
    assert Shop(site.server, site.name).value(made) == shop.value(made)


async def test_missing_table_rights_are_reported_with_working_statements(site: Site, recorder: Recorder) -> None:
    site.fix(await inspected(site.dsn))
    site.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY)")
    database = await PostgresDatabase.open(site.dsn, recorder)
    try:
        with pytest.raises(Forbidden):
            await database.changes.watch("orders")
        site.execute(
            "INSERT INTO aerostack.watches VALUES ('', 'orders', 'orders'::regclass, pg_current_wal_insert_lsn())"
        )
        problems = await inspected(site.dsn)
        assert [problem.fix for problem in problems] == [
            "ALTER TABLE public.orders REPLICA IDENTITY FULL;",
            'ALTER PUBLICATION "aerostack" ADD TABLE public.orders;  -- as a superuser, or a role that owns both',
            f'GRANT SELECT ON public.orders TO "{site.role}";',
        ]
        site.fix(problems)
        assert await inspected(site.dsn) == []
        await database.changes.watch("orders")
        site.execute("INSERT INTO orders VALUES (1)")
        await recorder.until_changes(1)
    finally:
        await database.close()


async def test_a_partitioned_table_that_is_watched_has_no_problem(site: Site, recorder: Recorder) -> None:
    site.fix(await inspected(site.dsn))
    site.execute(
        "CREATE TABLE log(id INTEGER) PARTITION BY LIST (id)",
        "CREATE TABLE log_1 PARTITION OF log FOR VALUES IN (1)",
        *[f"ALTER TABLE {name} OWNER TO {site.role}" for name in ("log", "log_1")],
    )
    database = await PostgresDatabase.open(site.dsn, recorder)
    try:
        await database.changes.watch("log")
        await database.changes.watch("log_1")
        site.execute(*[f"ALTER TABLE {name} OWNER TO postgres" for name in ("log", "log_1")])
        problems = await inspected(site.dsn)
        assert [problem.fix for problem in problems] == [
            f'GRANT SELECT ON public.{name} TO "{site.role}";' for name in ("log", "log_1")
        ]
    finally:
        await database.close()


async def test_foreign_slots_and_small_limits_are_reported() -> None:
    server = PostgresServer.started(
        settings={"wal_level": "logical", "max_slot_wal_keep_size": "64MB", "max_replication_slots": "1"}
    )
    try:
        server.execute("SELECT pg_create_logical_replication_slot('other', 'pgoutput')")
        message = [problem.message for problem in await inspected(server.dsn())]
        assert message == [
            "max_replication_slots is 1, and all are in use.",
            "max_slot_wal_keep_size is 64 MB, less than resume_bytes (1024 MB).",
        ]
        found = await diagnose(server.dsn(), slot="other", publication="aerostack", resume_bytes=1)
        assert found == [], "ours, though not by its usual name"
        server.execute(
            "SELECT pg_drop_replication_slot('other')",
            "SELECT pg_create_logical_replication_slot('aerostack_postgres', 'test_decoding')",
        )
        (problem,) = await inspected(server.dsn(), resume_bytes=1)
        assert problem.message == "The replication slot aerostack_postgres belongs to another program or database."
        server.stop()
        with pytest.raises(DatabaseUnusable, match="that the server runs"):
            await inspected(server.dsn())
    finally:
        server.remove()


async def test_a_wal_level_without_row_changes_is_reported() -> None:
    server = PostgresServer.started(settings={"wal_level": "replica"})
    try:
        (problem,) = await inspected(server.dsn())
        assert problem.fix.startswith("ALTER SYSTEM SET wal_level = 'logical';")
    finally:
        server.remove()


async def test_a_cluster_needs_senders_and_slots_for_every_node() -> None:
    server = PostgresServer.started(settings={"max_wal_senders": "10", "max_replication_slots": "8"})
    try:
        assert await inspected(server.dsn(), nodes=2) == []
        assert [str(problem) for problem in await inspected(server.dsn(), nodes=4)] == [
            "max_replication_slots is 8: 4 nodes need up to 12, beside 0 that others use.\n"
            "    ALTER SYSTEM SET max_replication_slots = 17;  -- then restart PostgreSQL",
            "max_wal_senders is 10: 4 nodes need up to 12, beside 0 that others use.\n"
            "    ALTER SYSTEM SET max_wal_senders = 17;  -- then restart PostgreSQL",
        ]
    finally:
        server.remove()
