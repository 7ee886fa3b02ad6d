"""The contract of `Database`, against every backend."""

import pytest

from aerostack_realtime.database.base import Database, Value
from aerostack_realtime.protocol.errors import BadMessage, TooLarge, Unavailable
from tests.contract.conftest import Backend, Recorder


async def test_a_query_gives_rows_and_their_count(database: Database) -> None:
    await database.query("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    inserted = await database.query("INSERT INTO t VALUES(?, ?), (?, ?)", [1, "a", 2, None])
    assert (inserted.rows, inserted.count) == ([], 2)
    found = await database.query("SELECT * FROM t ORDER BY id")
    assert found.rows == [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
    assert found.count == 2
    assert (await database.query("SELECT * FROM t WHERE id > 9")).count == 0


@pytest.mark.parametrize(
    ("sql", "params", "says"),
    [
        ("SELEC 1", [], "syntax"),
        ("SELECT * FROM missing", [], "missing"),
        ("INSERT INTO t VALUES(1, 'x')", [], "(?i)unique"),
        ("SELECT ?", [], "bindings"),
        ("SELECT ?", [1, 2], "bindings"),
        ("SELECT ?", [[1]], "JSON"),
        ("SELECT ?", [{"a": 1}], "JSON"),
        ("SELECT ?", [2**63], "64 bits"),
        ("SELECT ?", ["\ud800"], "surrogate"),
        ("SELECT '\ud800'", [], "text"),
        ("SELECT 1; SELECT 2", [], "batch"),
        ("INSERT INTO t VALUES(8, 'x'); DELETE FROM t", [], "batch"),
        ("BEGIN", [], "batch"),
        ("/* sly */ COMMIT", [], "batch"),
        ("SAVEPOINT a", [], "batch"),
        ("", [], "no statement"),
        ("  -- nothing", [], "no statement"),
    ],
)
async def test_bad_sql_is_the_clients_fault_and_says_why(
    database: Database, sql: str, params: list[Value], says: str
) -> None:
    await database.query("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT)")
    await database.query("INSERT INTO t VALUES(1, 'a')")
    with pytest.raises(BadMessage, match=says):
        await database.query(sql, params)
    assert (await database.query("SELECT * FROM t")).rows == [{"id": 1, "name": "a"}]


async def test_a_batch_is_all_or_nothing(database: Database) -> None:
    await database.query("CREATE TABLE t(id INTEGER PRIMARY KEY)")
    outcomes = await database.batch([("INSERT INTO t VALUES(?)", [1]), ("SELECT * FROM t", [])])
    assert [(outcome.rows, outcome.count) for outcome in outcomes] == [([], 1), ([{"id": 1}], 1)]
    with pytest.raises(BadMessage):
        await database.batch([("INSERT INTO t VALUES(2)", []), ("INSERT INTO t VALUES(1)", [])])
    assert (await database.query("SELECT count(*) AS n FROM t")).rows == [{"n": 1}]


async def test_a_result_too_large_for_the_memory_is_refused(database: Database) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"
    with pytest.raises(TooLarge, match="LIMIT"):
        await database.query(endless)
    assert (await database.query(f"{endless} LIMIT 10")).count == 10


async def test_tables_are_the_users_and_not_ours(database: Database) -> None:
    await database.query("CREATE TABLE b(id INTEGER PRIMARY KEY AUTOINCREMENT)")
    await database.query("CREATE TABLE a(id INTEGER)")
    await database.changes.watch("b")
    await database.query("INSERT INTO b VALUES(1)")
    assert [(table.name, table.watched, table.changes) for table in await database.tables()] == [
        ("a", False, 0),
        ("b", True, 1),
    ]


async def test_the_epoch_lasts_while_the_logs_go_on(backend: Backend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        epoch = database.epoch
    async with backend.open(recorder) as database:
        assert database.epoch == epoch


async def test_a_closed_database_is_unavailable_and_closes_again(backend: Backend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        pass
    await database.close()
    with pytest.raises(Unavailable):
        await database.query("SELECT 1")
