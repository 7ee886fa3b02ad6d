"""The contract of `Database.snapshot`, against every backend."""

from typing import Any

import pytest

from aerostack_realtime.database.base import Database, Row, Selection, Value
from aerostack_realtime.protocol.errors import InvalidFilter, NotFound, Unavailable
from tests.contract.conftest import Backend, Recorder, brief, replay


def everything(_: Row) -> bool:
    return True


async def rows_of(database: Database, table: str, selection: Selection) -> tuple[list[Row], str]:
    async with database.snapshot(table, selection) as snapshot:
        return [row async for chunk in snapshot for row in chunk], snapshot.cursor


@pytest.fixture
async def orders(backend: Backend, database: Database) -> Database:
    blob, hi = ("bytea", "'hi'") if backend.name == "postgres" else ("BLOB", "x'6869'")
    backend.write(
        f"CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total DOUBLE PRECISION, seal {blob})"
    )
    backend.write(
        "INSERT INTO orders VALUES (1, 'open', 5, NULL), (2, 'paid', 2.5, NULL), (3, 'open', NULL, NULL), "
        f"(4, NULL, 7, {hi})"
    )
    await database.changes.watch("orders")
    return database


async def test_it_holds_the_rows_as_they_are_on_the_wire(orders: Database) -> None:
    rows, _ = await rows_of(orders, "orders", Selection(everything))
    assert rows == [
        {"id": 1, "status": "open", "total": 5, "seal": None},
        {"id": 2, "status": "paid", "total": 2.5, "seal": None},
        {"id": 3, "status": "open", "total": None, "seal": None},
        {"id": 4, "status": None, "total": 7, "seal": "aGk="},
    ]


@pytest.mark.parametrize(
    ("equal", "ids"),
    [
        ({"status": "open"}, [1, 3]),
        ({"status": None}, [4]),
        ({"seal": "aGk="}, [4]),
        ({"total": 5}, [1]),
        ({"status": "open", "total": None}, [3]),
        ({"status": "nothing"}, []),
    ],
)
async def test_equal_values_are_what_the_wire_shows(
    orders: Database, equal: dict[str, Value], ids: list[int]
) -> None:
    selection = Selection(lambda row: all(row[column] == value for column, value in equal.items()), equal)
    rows, _ = await rows_of(orders, "orders", selection)
    assert [row["id"] for row in rows] == ids


async def test_large_integers_are_found_by_the_string_they_are_on_the_wire(
    backend: Backend, database: Database
) -> None:
    backend.write("CREATE TABLE big (n BIGINT)", f"INSERT INTO big VALUES ({2**53 + 1}), ({2**53})")
    await database.changes.watch("big")
    wanted = str(2**53 + 1)
    rows, _ = await rows_of(database, "big", Selection(lambda row: row["n"] == wanted, {"n": wanted}))
    assert rows == [{"n": wanted}]


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        (Selection(everything, order=("id", True)), [4, 3, 2, 1]),
        (Selection(everything, order=("status", False), limit=2), [4, 1]),
        (Selection(lambda row: row["id"] != 4, order=("id", True), limit=2), [3, 2]),
        (Selection(everything, limit=0), []),
        (Selection(everything, limit=10), [1, 2, 3, 4]),
    ],
)
async def test_order_and_limit_count_what_is_shown(orders: Database, selection: Selection, ids: list[int]) -> None:
    rows, _ = await rows_of(orders, "orders", selection)
    assert [row["id"] for row in rows] == ids


async def test_the_log_after_its_cursor_is_exactly_what_the_rows_lack(
    backend: Backend, recorder: Recorder
) -> None:
    backend.write("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER)")
    await seam(backend, recorder)


async def seam(backend: Backend, recorder: Recorder) -> None:
    """A snapshot of 2,000 rows of `t`, written to meanwhile, and its log make the table."""
    insert = (
        "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < 2000) "
        "INSERT INTO t SELECT i, 0 FROM c"
    )
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        backend.write(insert)
        async with database.snapshot("t", Selection(everything)) as snapshot:
            chunks = aiter(snapshot)
            state: dict[Any, Row] = {row["id"]: row for row in await anext(chunks)}
            assert len(state) < 2000
            backend.write(
                "UPDATE t SET n = 1 WHERE id % 3 = 0",
                "DELETE FROM t WHERE id % 7 = 0",
                "INSERT INTO t VALUES (0, 9)",
            )
            async for chunk in chunks:
                state |= {row["id"]: row for row in chunk}
        assert all(row["n"] == 0 for row in state.values())
        assert len(state) == 2000
        await recorder.until(lambda: bool(recorder.changes) and recorder.changes[-1].data["id"] == 0)
        changes, parts = await replay(database, "t", snapshot.cursor)
        assert all(part.recovered for part in parts)
        for change in changes:
            if change.operation == "DELETE":
                del state[change.data["id"]]
            else:
                state[change.data["id"]] = change.data
        rows, _ = await rows_of(database, "t", Selection(everything))
        assert sorted(state.values(), key=lambda row: str(row)) == sorted(rows, key=lambda row: str(row))


async def test_a_table_that_is_not_there_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        await rows_of(database, "nothing", Selection(everything))


async def test_a_database_that_closes_ends_the_reading_with_an_error(backend: Backend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        backend.write("CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1)")
        await database.changes.watch("t")
        async with database.snapshot("t", Selection(everything)) as snapshot:
            await database.close()
            with pytest.raises(Unavailable):
                await anext(aiter(snapshot))


SCATTERED = [7, 3, 9, 1, 8, 2, 6, 4, 5, 0]
"""An order in which rows are written that is none."""


@pytest.mark.parametrize(
    "columns",
    [
        "id TEXT PRIMARY KEY, n INTEGER",
        "id TEXT NOT NULL UNIQUE, n INTEGER",
        "n INTEGER, id TEXT NOT NULL, part INTEGER, UNIQUE (n), PRIMARY KEY (id, part)",
        "n INTEGER, id TEXT NOT NULL, hint TEXT UNIQUE, UNIQUE (id)",
    ],
)
@pytest.mark.parametrize("order", [None, ("n", False), ("n", True)])
async def test_a_limit_takes_the_first_by_the_columns_that_tell_rows_apart(
    backend: Backend, database: Database, columns: str, order: tuple[str, bool] | None
) -> None:
    backend.write(f"CREATE TABLE t ({columns})")
    for number in SCATTERED:
        part = ", part" if "part" in columns else ""
        backend.write(f"INSERT INTO t (id, n{part}) VALUES ('k{number}', NULL{', 1' if part else ''})")
    await database.changes.watch("t")
    rows, _ = await rows_of(database, "t", Selection(everything, order=order, limit=3))
    assert [row["id"] for row in rows] == ["k0", "k1", "k2"]


@pytest.mark.parametrize(
    "columns", ["id INTEGER, n INTEGER", "id INTEGER UNIQUE, n INTEGER", "id INTEGER NOT NULL, n INTEGER"]
)
async def test_a_limit_is_refused_where_nothing_tells_rows_apart(
    backend: Backend, database: Database, columns: str
) -> None:
    backend.write(f"CREATE TABLE t ({columns})", "INSERT INTO t VALUES (1, 1)")
    if "UNIQUE" in columns:
        backend.write("CREATE UNIQUE INDEX in_part ON t (n) WHERE n > 0")
    await database.changes.watch("t")
    with pytest.raises(InvalidFilter, match="primary key"):
        await rows_of(database, "t", Selection(everything, limit=3))
    rows, _ = await rows_of(database, "t", Selection(everything, order=("n", True)))
    assert rows == [{"id": 1, "n": 1}]


async def test_text_is_ordered_by_code_point_in_every_collation(backend: Backend, database: Database) -> None:
    sorted_otherwise = "NOCASE" if backend.name == "sqlite" else '"en-x-icu"'
    backend.write(
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT COLLATE {sorted_otherwise})",
        "INSERT INTO t VALUES (1, 'b'), (2, 'A'), (3, 'a'), (4, 'B')",
    )
    await database.changes.watch("t")
    rows, _ = await rows_of(database, "t", Selection(everything, order=("s", False)))
    assert [row["s"] for row in rows] == ["A", "B", "a", "b"]


async def test_of_rows_that_are_identical_each_is_there_and_goes_by_itself(
    backend: Backend, recorder: Recorder
) -> None:
    place = "ctid" if backend.name == "postgres" else "rowid"
    async with backend.open(recorder) as database:
        backend.write("CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1), (1), (1), (2)")
        await database.changes.watch("t")
        rows, cursor = await rows_of(database, "t", Selection(everything))
        assert sorted(str(row["n"]) for row in rows) == ["1", "1", "1", "2"]
        one = f"WHERE {place} = (SELECT {place} FROM t WHERE n = 1 LIMIT 1)"
        backend.write(f"DELETE FROM t {one}", f"UPDATE t SET n = 3 {one}", "INSERT INTO t VALUES (2)")
        await recorder.until_changes(3)
        changes, _ = await replay(database, "t", cursor)
        assert [brief(change) for change in changes] == [
            ("DELETE", (1,), (1,)),
            ("UPDATE", (3,), (1,)),
            ("INSERT", (2,), None),
        ]
