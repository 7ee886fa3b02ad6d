"""The contract of `ChangeFeed`, against every backend."""

import asyncio
from functools import partial
from typing import cast

import pytest

from aerostack_realtime.database.base import Database, Replay
from aerostack_realtime.protocol.errors import NotFound
from tests.contract.conftest import Backend, Recorder, brief, replay

Answer = asyncio.Future[None]
ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, state TEXT, price REAL)"


@pytest.fixture
async def orders(database: Database) -> Database:
    await database.query(ORDERS)
    await database.changes.watch("orders")
    return database


async def test_insert_update_and_delete_arrive_with_old_and_new_row(orders: Database, recorder: Recorder) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'new', 2.5)")
    await orders.query("UPDATE orders SET state = 'paid'")
    await orders.query("DELETE FROM orders")
    insert, update, delete = await recorder.until_changes(3)
    new = {"id": 1, "state": "new", "price": 2.5}
    paid = {"id": 1, "state": "paid", "price": 2.5}
    assert (insert.operation, insert.data, insert.old) == ("INSERT", new, None)
    assert (update.operation, update.data, update.old) == ("UPDATE", paid, new)
    assert (delete.operation, delete.data, delete.old) == ("DELETE", paid, paid)
    assert {change.table for change in (insert, update, delete)} == {"orders"}


async def test_a_change_by_another_client_arrives(orders: Database, backend: Backend, recorder: Recorder) -> None:
    backend.write("INSERT INTO orders VALUES(7, 'foreign', NULL)")
    (change,) = await recorder.until_changes(1)
    assert change.data == {"id": 7, "state": "foreign", "price": None}


async def test_a_statement_over_many_rows_arrives_row_by_row_in_order(
    orders: Database, recorder: Recorder
) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    await orders.query("UPDATE orders SET price = price + 1 WHERE id > 1")
    changes = await recorder.until_changes(5)
    assert [(change.operation, change.data["id"]) for change in changes] == [
        ("INSERT", 1),
        ("INSERT", 2),
        ("INSERT", 3),
        ("UPDATE", 2),
        ("UPDATE", 3),
    ]


async def test_what_is_rolled_back_never_arrives(orders: Database, recorder: Recorder) -> None:
    with pytest.raises(Exception, match=r"(?i)unique"):
        await orders.batch(
            [("INSERT INTO orders VALUES(1, 'a', 1)", ()), ("INSERT INTO orders VALUES(1, 'b', 1)", ())]
        )
    await orders.query("INSERT INTO orders VALUES(2, 'kept', 1)")
    (change,) = await recorder.until_changes(1)
    assert change.data["state"] == "kept"


async def test_a_table_that_is_not_there_cannot_be_watched(database: Database) -> None:
    with pytest.raises(NotFound, match="missing"):
        await database.changes.watch("missing")
    assert not database.changes.watches("missing")


async def test_a_view_cannot_be_watched_and_the_error_says_why(database: Database) -> None:
    await database.query("CREATE VIEW v AS SELECT 1 AS a")
    with pytest.raises(NotFound, match="view"):
        await database.changes.watch("v")


async def test_watching_twice_is_watching_once(orders: Database, recorder: Recorder) -> None:
    await asyncio.gather(orders.changes.watch("orders"), orders.changes.watch("orders"))
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    await recorder.until_changes(1)
    assert recorder.interruptions == []


async def test_columns_are_those_of_the_table(orders: Database) -> None:
    assert list(orders.changes.columns("orders")) == ["id", "state", "price"]


async def test_after_unwatch_nothing_arrives_and_nothing_is_left(orders: Database, recorder: Recorder) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    await recorder.until_changes(1)
    await orders.changes.unwatch("orders")
    assert not orders.changes.watches("orders")
    await orders.query("INSERT INTO orders VALUES(2, 'a', 1)")
    await orders.query("CREATE TABLE other(id INTEGER PRIMARY KEY)")
    await orders.changes.watch("other")
    await orders.query("INSERT INTO other VALUES(1)")
    changes = await recorder.until_changes(2)
    assert changes[1].table == "other"
    assert [(table.name, table.watched, table.changes) for table in await orders.tables()] == [
        ("orders", False, 0),
        ("other", True, 1),
    ]
    with pytest.raises(NotFound):
        await orders.changes.unwatch("orders")


async def test_replay_gives_what_came_after_a_cursor(orders: Database, recorder: Recorder) -> None:
    for number in range(5):
        await orders.query("INSERT INTO orders VALUES(?, 'a', 1)", [number])
    changes = list(await recorder.until_changes(5))
    replayed, parts = await replay(orders, "orders", changes[1].cursor)
    assert replayed == changes[2:]
    assert [part.recovered for part in parts] == [True]
    assert parts[-1].cursor == orders.changes.cursor("orders")
    for newest in (parts[-1].cursor, changes[-1].cursor):
        replayed, parts = await replay(orders, "orders", newest)
        assert (replayed, parts[0].recovered) == ([], True)


async def test_a_part_of_a_replay_of_large_rows_holds_a_few(orders: Database, recorder: Recorder) -> None:
    since = orders.changes.cursor("orders")
    for number in range(12):
        await orders.query("INSERT INTO orders VALUES(?, ?, 1)", [number, "x" * 300_000])
    await recorder.until_changes(12)
    replayed, parts = await replay(orders, "orders", since)
    assert [change.data["id"] for change in replayed] == list(range(12))
    assert max(len(part.changes) for part in parts) <= 4


async def test_replay_leaves_other_tables_out(orders: Database, recorder: Recorder) -> None:
    since = orders.changes.cursor("orders")
    await orders.query("CREATE TABLE other(id INTEGER PRIMARY KEY)")
    await orders.changes.watch("other")
    await orders.query("INSERT INTO other VALUES(1)")
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    await recorder.until_changes(2)
    replayed, _ = await replay(orders, "orders", since)
    assert [change.table for change in replayed] == ["orders"]


@pytest.mark.parametrize("since", ["", "nonsense", "another.1", "another.", ".", "0.\u0661", "9" * 300])
async def test_a_cursor_that_is_not_of_this_log_is_a_gap_with_what_is_left(
    orders: Database, recorder: Recorder, since: str
) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    changes = list(await recorder.until_changes(1))
    replayed, parts = await replay(orders, "orders", since)
    assert not parts[0].recovered
    assert replayed == changes


async def test_a_cursor_ahead_of_the_log_is_a_gap(orders: Database, recorder: Recorder) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    (change,) = await recorder.until_changes(1)
    ahead = change.cursor[:-1] + "99"
    _, parts = await replay(orders, "orders", ahead)
    assert not parts[0].recovered


async def test_changes_made_while_the_server_was_down_are_replayed(backend: Backend, recorder: Recorder) -> None:
    async with backend.open(recorder) as database:
        await database.query(ORDERS)
        await database.changes.watch("orders")
        await database.query("INSERT INTO orders VALUES(1, 'before', 1)")
        (change,) = await recorder.until_changes(1)
    backend.write("INSERT INTO orders VALUES(2, 'meanwhile', 1)")
    later = Recorder()
    async with backend.open(later) as database:
        assert database.changes.watches("orders")
        replayed, parts = await replay(database, "orders", change.cursor)
        assert [change.data["state"] for change in replayed] == ["meanwhile"]
        assert parts[0].recovered
        await database.query("INSERT INTO orders VALUES(3, 'after', 1)")
        (after,) = await later.until_changes(1)
        assert after.data["state"] == "after"


async def test_replay_of_a_table_that_is_not_watched_fails(database: Database) -> None:
    with pytest.raises(NotFound):
        await replay(database, "nothing", "x.1")


def more_than(recorder: Recorder, count: int) -> bool:
    return len(recorder.changes) > count


async def test_a_replay_joins_the_live_changes_without_a_seam(
    orders: Database, backend: Backend, recorder: Recorder
) -> None:
    """While another thread writes, replays end exactly where the next live change begins."""
    since = orders.changes.cursor("orders")
    total = 1_000
    writing = asyncio.create_task(
        asyncio.to_thread(
            backend.write, *(f"INSERT INTO orders VALUES({number}, 'a', 1)" for number in range(total))
        )
    )
    while len(recorder.changes) < total:
        answer: Answer = asyncio.get_running_loop().create_future()
        joined: list[int] = []
        position = since

        def part(replayed: Replay, joined: list[int] = joined, answer: Answer = answer) -> None:
            joined += [cast(int, change.data["id"]) for change in replayed.changes]
            if replayed.more:
                orders.changes.replay("orders", replayed.cursor, part, answer.set_exception)
                return
            assert joined == list(range(len(recorder.changes)))
            answer.set_result(None)

        orders.changes.replay("orders", position, part, answer.set_exception)
        await answer
        seen = len(recorder.changes)
        if seen < total:
            await recorder.until(partial(more_than, recorder, seen))
    await writing
    assert [change.data["id"] for change in recorder.changes] == list(range(total))


async def test_a_replay_continues_at_a_query_cursor(orders: Database, recorder: Recorder) -> None:
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    snapshot = await orders.query("SELECT * FROM orders")
    replayed, parts = await replay(orders, "orders", snapshot.cursor)
    assert (replayed, parts[0].recovered) == ([], True)
    await orders.query("INSERT INTO orders VALUES(2, 'b', 1)")
    await recorder.until_changes(2)
    replayed, _ = await replay(orders, "orders", snapshot.cursor)
    assert [brief(change)[1] for change in replayed] == [(2, "b", 1.0)]


async def test_a_dropped_table_is_reported_and_watched_again_later(orders: Database, recorder: Recorder) -> None:
    await orders.query("DROP TABLE orders")
    ((table, _, present),) = await recorder.until_interruptions(1)
    assert (table, present) == ("orders", False)
    assert not orders.changes.watches("orders")
    await orders.query("CREATE TABLE orders(id INTEGER PRIMARY KEY, other TEXT)")
    (_, back) = await recorder.until_interruptions(2)
    assert back[::2] == ("orders", True)
    assert list(orders.changes.columns("orders")) == ["id", "other"]
    await orders.query("INSERT INTO orders VALUES(1, 'again')")
    (change,) = await recorder.until_changes(1)
    assert change.data == {"id": 1, "other": "again"}


async def test_an_added_column_interrupts_and_then_arrives(orders: Database, recorder: Recorder) -> None:
    since = orders.changes.cursor("orders")
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    await orders.query("ALTER TABLE orders ADD COLUMN note TEXT")
    await recorder.until_interruptions(1)
    await orders.query("INSERT INTO orders VALUES(2, 'b', 1, 'noted')")
    first, second = await recorder.until_changes(2)
    assert first.data == {"id": 1, "state": "a", "price": 1.0}
    assert second.data == {"id": 2, "state": "b", "price": 1.0, "note": "noted"}
    replayed, parts = await replay(orders, "orders", since)
    assert replayed == [first, second]
    assert not parts[0].recovered


async def test_changes_of_other_tables_schema_interrupt_nobody(orders: Database, recorder: Recorder) -> None:
    await orders.query("CREATE TABLE unrelated(a TEXT)")
    await orders.query("CREATE INDEX by_state ON orders(state)")
    await orders.query("ALTER TABLE unrelated ADD COLUMN b TEXT")
    await orders.query("INSERT INTO orders VALUES(1, 'a', 1)")
    await orders.query("DROP TABLE unrelated")
    await orders.query("INSERT INTO orders VALUES(2, 'a', 1)")
    await recorder.until_changes(2)
    assert recorder.interruptions == []
