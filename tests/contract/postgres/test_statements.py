"""The user's SQL on PostgreSQL: what `Database.query` promises, and what is PostgreSQL's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from aerostack_realtime.database.base import QueryResult, Value
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.queries import statements
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden, TooLarge, Unavailable
from tests.contract.conftest import PATIENCE
from tests.postgres import PostgresServer, end_connection


class Queries:
    """The user's SQL on a pool of one connection, so that what one statement leaves the next one meets."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.types = Types()

    async def run(self, sql: str, params: Sequence[Value] = (), role: str | None = None) -> QueryResult:
        return (await self.run_all([(sql, params)], role))[0]

    async def run_all(
        self, queries: Sequence[tuple[str, Sequence[Value]]], role: str | None = None
    ) -> list[QueryResult]:
        async with self.connections.use() as connection:
            return await statements.run_all(connection, queries, self.types, str, role)

    async def value(self, sql: str, *params: Value) -> Value:
        ((value,),) = [row.values() for row in (await self.run(sql, params)).rows]
        return value


@asynccontextmanager
async def opened(dsn: str, *, size: int = 1, statement_seconds: float = 30.0) -> AsyncIterator[Queries]:
    connections = await Connections.open(dsn, size=size, statement_seconds=statement_seconds)
    try:
        yield Queries(connections)
    finally:
        await connections.close()


@pytest.fixture
async def queries(postgres_dsn: str) -> AsyncIterator[Queries]:
    async with opened(postgres_dsn) as queries:
        yield queries


@pytest.mark.parametrize(
    ("type", "given", "shown"),
    [
        ("int", 7, 7),
        ("int", "7", 7),
        ("bigint", 2**53, "9007199254740992"),
        ("bool", True, True),
        ("bool", "f", False),
        ("text", "a 'b' \\ ?", "a 'b' \\ ?"),
        ("text", 7, "7"),
        ("text", True, "t"),
        ("varchar(3)", "abc", "abc"),
        ("float8", 0.1, 0.1),
        ("float8", "Infinity", "Infinity"),
        ("numeric", 1.5, "1.5"),
        ("timestamptz", "2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00+00:00"),
        ("date", "2024-02-29", "2024-02-29"),
        ("jsonb", '{"a": [1, null]}', {"a": [1, None]}),
        ("uuid", "550E8400-E29B-41D4-A716-446655440000", "550e8400-e29b-41d4-a716-446655440000"),
        ("int[]", "{1,2}", [1, 2]),
        ("bytea", "\\x00ff", "AP8="),
        ("mood", "glad", "glad"),
        ("text", None, None),
    ],
)
async def test_a_parameter_takes_the_type_of_its_column(
    queries: Queries, type: str, given: Value, shown: Value
) -> None:
    await queries.run("CREATE TYPE mood AS ENUM ('glad')")
    await queries.run(f"CREATE TABLE t(v {type})")
    inserted = await queries.run("INSERT INTO t VALUES (?) RETURNING v", [given])
    assert inserted.rows == [{"v": shown}]
    assert await queries.value("SELECT count(*) FROM t WHERE v IS NOT DISTINCT FROM ?", given) == 1


async def test_parameters_stand_wherever_a_value_can(queries: Queries) -> None:
    assert await queries.value("SELECT ?", 1) == "1"
    assert await queries.value("SELECT ?::int", 1) == 1
    assert await queries.value("SELECT i FROM generate_series(1, ?) i LIMIT ? OFFSET ?", 9, 1, 3) == 4
    assert await queries.value("SELECT 'é' || ?", "a") == "éa"
    assert await queries.value("SELECT 3 = ANY(?)", "{1,3}") is True
    assert await queries.value("""SELECT '{"a":1}'::jsonb ?? ?""", "a") is True
    assert await queries.value("""SELECT '{"a":1}'::jsonb ?| ARRAY[?, 'b']""", "a") is True


async def test_a_query_gives_rows_and_their_count(queries: Queries) -> None:
    assert (await queries.run("CREATE TABLE t(i int)")).count == 0
    assert (await queries.run("INSERT INTO t SELECT generate_series(1, 5)")).count == 5
    assert (await queries.run("UPDATE t SET i = i WHERE i < 3")).count == 2
    assert (await queries.run("DELETE FROM t WHERE i = 1 RETURNING i")).rows == [{"i": 1}]
    assert (await queries.run("SELECT i FROM t WHERE i > 9")).count == 0
    assert (await queries.run("SELECT FROM t")).count == 4
    assert (await queries.run("TABLE t; -- the end")).count == 4


@pytest.mark.parametrize(
    ("sql", "params", "kind", "expected"),
    [
        ("SELEC 1", [], BadMessage, "syntax"),
        ("SELECT * FROM missing", [], BadMessage, "missing"),
        ("INSERT INTO t VALUES (1)", [], BadMessage, r"unique.*\(i\)=\(1\)"),
        ("INSERT INTO t VALUES (?)", ["a"], BadMessage, "integer"),
        ("SELECT 1 / 0", [], BadMessage, "zero"),
        ("SELECT ?", [], BadMessage, "1 placeholders and 0 bindings"),
        ("SELECT ?", [1, 2], BadMessage, "bindings.*\\?\\?"),
        ("SELECT ?", [[1]], BadMessage, "JSON"),
        ("SELECT ?", [2**63], BadMessage, "64 bits"),
        ("SELECT ?", ["a\0"], BadMessage, "NUL"),
        ("SELECT '\ud800'", [], BadMessage, "text"),
        ("SELECT 1; SELECT 2", [], BadMessage, "batch"),
        ("BEGIN", [], BadMessage, "batch"),
        ("start transaction", [], BadMessage, "batch"),
        ("/* sly /* very */ */ COMMIT", [], BadMessage, "batch"),
        ("SAVEPOINT a", [], BadMessage, "batch"),
        ("PREPARE TRANSACTION 'a'", [], BadMessage, "batch"),
        ("PREPARE a AS SELECT 1", [], BadMessage, "outlive"),
        ("DO $$ BEGIN COMMIT; END $$", [], BadMessage, "termination"),
        ("COPY t TO STDOUT", [], BadMessage, "psql"),
        ("LISTEN a", [], BadMessage, "subscribe"),
        ("SET search_path = a", [], BadMessage, "SET LOCAL"),
        ("SET SESSION AUTHORIZATION a", [], BadMessage, "SET LOCAL"),
        ("RESET ALL", [], BadMessage, "SET LOCAL"),
        ("DECLARE a CURSOR FOR SELECT 1", [], BadMessage, "LIMIT"),
        ("VACUUM", [], BadMessage, "psql"),
        ("", [], BadMessage, "no statement"),
        ("  -- nothing", [], BadMessage, "no statement"),
        (";;", [], BadMessage, "no statement"),
        (f"SELECT ARRAY[{'?,' * 65_535}?]", [1] * 65_536, TooLarge, "65535"),
    ],
)
async def test_bad_sql_is_the_clients_fault_and_says_why(
    queries: Queries, sql: str, params: list[Value], kind: type[AerostackError], expected: str
) -> None:
    await queries.run("CREATE TABLE t(i int PRIMARY KEY)")
    await queries.run("INSERT INTO t VALUES (1)")
    with pytest.raises(kind, match=expected):
        await queries.run(sql, params)
    assert (await queries.run("TABLE t")).rows == [{"i": 1}]


async def test_a_batch_is_all_or_nothing(queries: Queries) -> None:
    created, inserted, found = await queries.run_all(
        [
            ("CREATE TABLE t(i int UNIQUE DEFERRABLE INITIALLY DEFERRED)", []),
            ("INSERT INTO t VALUES (?)", [1]),
            ("TABLE t", []),
        ]
    )
    assert (created.count, inserted.count, found.rows) == (0, 1, [{"i": 1}])
    assert created.cursor == inserted.cursor == found.cursor
    for failing in ("SELECT 1 / 0", "INSERT INTO t VALUES (1)"):  # the second one at the commit
        with pytest.raises(BadMessage):
            await queries.run_all([("INSERT INTO t VALUES (2)", []), (failing, []), ("TABLE t", [])])
        assert (await queries.run("TABLE t")).rows == [{"i": 1}]


async def test_a_batch_larger_than_the_pipe_does_not_block(queries: Queries) -> None:
    large = "x" * 100_000
    async with asyncio.timeout(PATIENCE):
        results = await queries.run_all([("SELECT repeat(?, 20) AS v", [large])] * 5)
    assert [result.rows[0]["v"] for result in results] == [large * 20] * 5


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT generate_series(1, 1000000000000)",
        "SELECT repeat('x', 1000000), generate_series(1, 1000000000000)",
        "INSERT INTO t SELECT generate_series(1, 100001) RETURNING i",
    ],
)
async def test_a_result_too_large_for_memory_is_refused_and_rolled_back(queries: Queries, sql: str) -> None:
    await queries.run("CREATE TABLE t(i int)")
    with pytest.raises(TooLarge, match="LIMIT"):
        await queries.run(sql)
    assert await queries.value("SELECT count(*) FROM t") == 0
    assert (await queries.run("SELECT generate_series(1, 100000)")).count == 100_000


@pytest.mark.parametrize(
    ("leave", "look"),
    [
        ("SELECT set_config('search_path', 'elsewhere', false)", "SHOW search_path"),
        ("SELECT set_config('role', 'pg_monitor', false)", "SELECT current_user::text"),
        ("SELECT pg_advisory_lock(1)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        (
            "SELECT pg_advisory_lock(1), 1 / (random() < 0)::int",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        ),
    ],
)
async def test_session_state_of_a_statement_is_reset(queries: Queries, leave: str, look: str) -> None:
    before = await queries.value(look)
    try:
        await queries.run(leave)
    except BadMessage:
        assert "1 /" in leave
    assert await queries.value(look) == before


async def test_the_cursor_is_the_position_after_the_commit(queries: Queries) -> None:
    created = await queries.run("CREATE TABLE t(i int)")
    inserted = await queries.run("INSERT INTO t VALUES (1)")
    read = await queries.run("TABLE t")
    assert int(created.cursor) < int(inserted.cursor) <= int(read.cursor)
    assert await queries.value("SELECT ?::pg_lsn - '0/0'::pg_lsn <= pg_current_wal_lsn() - '0/0'", _lsn(inserted))


def _lsn(result: QueryResult) -> str:
    return f"{int(result.cursor) >> 32:X}/{int(result.cursor) & 0xFFFFFFFF:X}"


async def test_statements_run_as_the_role_for_them(postgres_server: PostgresServer, queries: Queries) -> None:
    await queries.run('CREATE ROLE "read er"')
    try:
        await queries.run_all(
            [
                ("CREATE TABLE t(i int)", []),
                ('GRANT SELECT ON t TO "read er"', []),
            ]
        )
        assert (await queries.run("TABLE t", role="read er")).rows == []
        with pytest.raises(Forbidden, match="grant"):
            await queries.run("INSERT INTO t VALUES (1)", role="read er")
        for escape in (
            "SET LOCAL ROLE postgres",
            "SET LOCAL SESSION AUTHORIZATION postgres",
            'SET LOCAL "role" = a',
        ):
            with pytest.raises(BadMessage, match="read er"):
                await queries.run(escape, role="read er")
        with pytest.raises(BadMessage):
            await queries.run("RESET ROLE", role="read er")
        with pytest.raises(Forbidden):
            await queries.run_all(
                [("SELECT set_config('role', 'none', false)", []), ("INSERT INTO t VALUES (1)", [])],
                role="read er",
            )
        assert await queries.value("SELECT current_user::text") == "postgres"
        with pytest.raises(Unavailable, match="nobody"):
            await queries.run("TABLE t", role="nobody")
    finally:
        await queries.run_all([("DROP TABLE t", []), ('DROP ROLE "read er"', [])])


async def test_results_are_bounded_inside_a_batch(queries: Queries) -> None:
    """The server does not read on while it answers, so the rest cannot be sent before the answer is read."""
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(TooLarge, match="LIMIT"):
            await queries.run_all(
                [("SELECT generate_series(1, 1000000000000)", []), ("SELECT ?", ["x" * 10_000_000])]
            )


async def test_a_statement_has_a_time_limit(postgres_dsn: str) -> None:
    async with opened(postgres_dsn, statement_seconds=0.5) as queries:
        with pytest.raises(BadMessage, match="statement_timeout"):
            await queries.run("SELECT pg_sleep(60)")


ACTIVE = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"


async def test_a_cancelled_query_ends_on_the_server(postgres_dsn: str) -> None:
    async with opened(postgres_dsn, size=2) as queries, asyncio.timeout(PATIENCE):
        running = asyncio.create_task(queries.run("SELECT pg_sleep(60)"))
        while await queries.value(ACTIVE) == 0:
            pass
        running.cancel()
        await asyncio.wait((running,))
        while await queries.value(ACTIVE) != 0:
            pass


async def test_closing_ends_the_queries_that_run(postgres_dsn: str) -> None:
    async with opened(postgres_dsn, size=2) as queries, asyncio.timeout(PATIENCE):
        running = asyncio.create_task(queries.run("SELECT pg_sleep(60)"))
        while await queries.value(ACTIVE) == 0:
            pass
        await queries.connections.close()
        with pytest.raises(Unavailable, match="closing"):
            await running
        with pytest.raises(Unavailable, match="closing"):
            await queries.run("SELECT 1")


async def test_a_connection_broken_while_idle_is_replaced(queries: Queries, postgres_dsn: str) -> None:
    pid = await queries.value("SELECT pg_backend_pid()")
    assert isinstance(pid, int)
    end_connection(postgres_dsn, pid)
    assert await queries.value("SELECT pg_backend_pid()") != pid


async def test_a_connection_that_is_lost_in_a_statement_is_unavailable(queries: Queries) -> None:
    with pytest.raises(Unavailable, match="again"):
        await queries.run("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await queries.value("SELECT 1") == 1
