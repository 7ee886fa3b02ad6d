"""Partitioned tables: a row is a change of its table and of its partition."""

from typing import Any

import pytest

from aerostack_realtime.database.base import Change
from tests.contract.conftest import Recorder, replay
from tests.contract.postgres.shop import Shop, opened

LOG = (
    "CREATE TABLE log(id INTEGER, day DATE) PARTITION BY RANGE (day)",
    "CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')",
    "CREATE TABLE log_2(day DATE, gone TEXT, id INTEGER)",  # its columns are in another order
    "ALTER TABLE log_2 DROP COLUMN gone",
    "ALTER TABLE log ATTACH PARTITION log_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')",
)


def by_table(changes: list[Change]) -> dict[str, list[Any]]:
    """The changes of each table: operation and id."""
    found: dict[str, list[Any]] = {}
    for change in changes:
        found.setdefault(change.table, []).append((change.operation, change.data["id"]))
    return found


@pytest.mark.parametrize("order", [("log", "log_1", "log_2"), ("log_2", "log_1", "log")])
async def test_a_row_is_a_change_of_its_table_and_of_its_partition(
    shop: Shop, recorder: Recorder, order: tuple[str, ...]
) -> None:
    shop.execute(*LOG)
    async with opened(shop, recorder) as database:
        for name in order:
            await database.changes.watch(name)
        shop.execute(
            "INSERT INTO log VALUES (1, '2026-01-05'), (2, '2026-02-05')",
            "INSERT INTO log_1 VALUES (3, '2026-01-06')",
            "UPDATE log SET day = '2026-02-06' WHERE id = 3",
            "DELETE FROM log_2 WHERE id = 2",
        )
        await recorder.until_changes(12)
        assert by_table(recorder.changes) == {
            "log": [("INSERT", 1), ("INSERT", 2), ("INSERT", 3), ("DELETE", 3), ("INSERT", 3), ("DELETE", 2)],
            "log_1": [("INSERT", 1), ("INSERT", 3), ("DELETE", 3)],
            "log_2": [("INSERT", 2), ("INSERT", 3), ("DELETE", 2)],
        }
        assert recorder.changes[-1].old == {"id": 2, "day": "2026-02-05"}
        assert recorder.interruptions == []


@pytest.mark.parametrize("log_bytes", [1 << 26, 5_000], ids=["from memory", "read again"])
async def test_missed_changes_of_tables_and_partitions_are_replayed(
    shop: Shop, recorder: Recorder, log_bytes: int
) -> None:
    shop.execute(*LOG)
    async with opened(shop, recorder, log_bytes=log_bytes) as database:
        for name in ("log", "log_2"):
            await database.changes.watch(name)
        since = {name: database.changes.cursor(name) for name in ("log", "log_2")}
        days = "('2026-01-05'), ('2026-02-05')"
        shop.execute(*[f"INSERT INTO log SELECT {n}, day::date FROM (VALUES {days}) d(day)" for n in range(200)])
        await recorder.until_changes(600)
        live = by_table(recorder.changes)
        for name, cursor in since.items():
            changes, parts = await replay(database, name, cursor)
            assert all(part.recovered for part in parts)
            assert {name: live[name]} == by_table(changes)
    later = Recorder()
    async with opened(shop, later, log_bytes=log_bytes) as database:
        changes, parts = await replay(database, "log", since["log"])
        assert ({"log": live["log"]}, {part.recovered for part in parts}) == (by_table(changes), {True})


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE log_1",
        "TRUNCATE log",
        "ALTER TABLE log DETACH PARTITION log_1",
        "DROP TABLE log_1",
        "CREATE TABLE log_3 PARTITION OF log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01')",
    ],
)
async def test_attached_detached_and_truncated_partitions_are_a_gap(
    shop: Shop, recorder: Recorder, statement: str
) -> None:
    shop.execute(*LOG)
    async with opened(shop, recorder) as database:
        await database.changes.watch("log")
        shop.execute("INSERT INTO log VALUES (1, '2026-01-05')")
        (change,) = await recorder.until_changes(1)
        shop.execute(statement)
        database.changes.wake()
        await recorder.until_interruptions(1)
        shop.execute("INSERT INTO log VALUES (2, '2026-02-05')")
        await recorder.until(lambda: recorder.changes[-1].data["id"] == 2)
        assert {(name, present) for name, _, present in recorder.interruptions} == {("log", True)}
        _, parts = await replay(database, "log", change.cursor)
        assert not parts[0].recovered
    if "TRUNCATE" not in statement:
        async with opened(shop, Recorder()) as database:
            _, parts = await replay(database, "log", change.cursor)
            assert not parts[0].recovered


async def test_rows_of_a_new_partition_are_covered_by_its_gap_or_delivered(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*LOG)
    async with opened(shop, recorder) as database:
        await database.changes.watch("log")
        shop.execute(
            "BEGIN; CREATE TABLE log_3 PARTITION OF log FOR VALUES FROM ('2026-03-01') TO ('2026-04-01'); "
            "INSERT INTO log VALUES (1, '2026-03-05'); COMMIT",
            "INSERT INTO log VALUES (2, '2026-03-06')",
        )
        database.changes.wake()
        await recorder.until_interruptions(1)
        await recorder.until(
            lambda: shop.value("SELECT relreplident::text FROM pg_class WHERE relname = 'log_3'") == "f"
        )
        gap = recorder.log.index(recorder.interruptions[0])
        assert all(isinstance(each, Change) for each in recorder.log[:gap])
        shop.execute("UPDATE log SET id = 3 WHERE id = 2")
        await recorder.until(lambda: bool(recorder.changes) and recorder.changes[-1].operation == "UPDATE")
        assert recorder.changes[-1].old == {"id": 2, "day": "2026-03-06"}


async def test_nested_partitions_are_changes_of_each_parent(shop: Shop, recorder: Recorder) -> None:
    shop.execute(
        "CREATE TABLE log(id INTEGER, day DATE) PARTITION BY RANGE (day)",
        "CREATE TABLE log_1 PARTITION OF log DEFAULT PARTITION BY LIST (id)",
        "CREATE TABLE log_1_1 PARTITION OF log_1 FOR VALUES IN (1)",
        "CREATE TABLE log_1_x PARTITION OF log_1 DEFAULT",
    )
    async with opened(shop, recorder) as database:
        for name in ("log_1", "log", "log_1_x"):
            await database.changes.watch(name)
        shop.execute("INSERT INTO log VALUES (1, '2026-01-05'), (2, '2026-01-05')")
        await recorder.until_changes(5)
        assert by_table(recorder.changes) == {
            "log_1": [("INSERT", 1), ("INSERT", 2)],
            "log": [("INSERT", 1), ("INSERT", 2)],
            "log_1_x": [("INSERT", 2)],
        }


async def test_a_watched_partition_continues_after_its_table_is_unwatched(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*LOG)
    async with opened(shop, recorder) as database:
        await database.changes.watch("log")
        await database.changes.watch("log_1")
        await database.changes.unwatch("log")
        await recorder.until(lambda: ("log_1", True) in [(name, here) for name, _, here in recorder.interruptions])
        shop.execute("INSERT INTO log VALUES (1, '2026-01-05')", "UPDATE log SET id = 2")
        await recorder.until_changes(2)
        assert [(change.table, change.data["id"], change.old) for change in recorder.changes] == [
            ("log_1", 1, None),
            ("log_1", 2, {"id": 1, "day": "2026-01-05"}),
        ]


async def test_publishing_via_the_partition_root_is_turned_off(shop: Shop, recorder: Recorder) -> None:
    shop.execute(*LOG, "CREATE PUBLICATION aerostack WITH (publish_via_partition_root = true)")
    async with opened(shop, recorder) as database:
        await database.changes.watch("log")
        await database.changes.watch("log_1")
        shop.execute("INSERT INTO log VALUES (1, '2026-01-05')")
        await recorder.until_changes(2)
        assert by_table(recorder.changes) == {"log": [("INSERT", 1)], "log_1": [("INSERT", 1)]}
