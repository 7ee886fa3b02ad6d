"""Changes of tables that are altered, renamed, emptied, in schemas, in large transactions."""

from itertools import pairwise

import psycopg

from aerostack_realtime.database.base import Selection
from tests.contract.conftest import Recorder
from tests.contract.postgres.shop import ORDERS, Shop, ids, opened, watching
from tests.contract.test_snapshot import everything, rows_of
from tests.postgres import PostgresServer


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


async def test_a_renamed_and_recreated_table_is_watched_by_its_name(shop: Shop, recorder: Recorder) -> None:
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


async def test_columns_altered_under_load_are_a_gap_and_arrive(shop: Shop, recorder: Recorder) -> None:
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
        column_types = ["change" if not isinstance(each, tuple) else "gap" for each in recorder.log]
        assert column_types.count("gap") >= 4
        for before, after in pairwise(column_types):
            assert (before, after) != ("change", "change"), "each altered definition is reported where it happens"


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


async def test_an_unchanged_large_value_is_delivered(shop: Shop, recorder: Recorder) -> None:
    shop.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, n INTEGER, text TEXT)")
    shop.execute("ALTER TABLE notes ALTER COLUMN text SET STORAGE EXTERNAL")
    async with opened(shop, recorder) as database:
        await database.changes.watch("notes")
        shop.execute("INSERT INTO notes VALUES (1, 1, repeat('x', 1000000))")
        shop.execute("UPDATE notes SET n = 2")
        _, update = await recorder.until_changes(2)
        assert update.data == {"id": 1, "n": 2, "text": "x" * 1_000_000}


async def test_transactions_over_several_tables_share_one_commit(shop: Shop, recorder: Recorder) -> None:
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


async def test_large_transactions_appear_after_commit_and_not_after_rollback(
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


async def test_stored_generated_columns_arrive_where_postgresql_publishes_them(
    shop: Shop, recorder: Recorder
) -> None:
    shop.execute(
        "CREATE TABLE boxes(id INTEGER PRIMARY KEY, side INTEGER, "
        "area INTEGER GENERATED ALWAYS AS (side * side) STORED)"
    )
    area = {"area": 9} if shop.server.version >= 180_000 else {}
    async with opened(shop, recorder) as database:
        await database.changes.watch("boxes")
        shop.execute("INSERT INTO boxes VALUES (1, 3)", "UPDATE boxes SET side = 3")
        _, update = await recorder.until_changes(2)
        assert update.data == update.old == {"id": 1, "side": 3} | area
        rows, _ = await rows_of(database, "boxes", Selection(everything))
        assert rows == [update.data], "a snapshot has the columns that changes have"
        assert recorder.interruptions == []
