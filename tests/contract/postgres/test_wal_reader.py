"""Continuing from a place that is not in memory any more: PostgreSQL's log is the log."""

import asyncio

import pytest

from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import Shop, ids, opened, watching

SMALL = 50_000
"""Bytes of changes in memory: some hundred of the tests' rows."""


async def written(shop: Shop, recorder: Recorder, transactions: int, rows: int, start: int = 0) -> None:
    for number in range(start, start + transactions):
        first = number * rows
        shop.execute(f"INSERT INTO orders SELECT i, 'new' FROM generate_series({first}, {first + rows - 1}) i")
    await recorder.until(lambda: len(recorder.changes) == (start + transactions) * rows)


async def slots(shop: Shop) -> int:
    """How many slots there are, once those of readers that ended are gone."""
    async with asyncio.timeout(PATIENCE):
        count = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
        while (found := await asyncio.to_thread(shop.value, count)) > 1:
            pass
        return int(found)


@pytest.mark.parametrize(("transactions", "rows"), [(60, 100), (2, 3_000)])
async def test_changes_beyond_memory_are_read_again_without_a_seam(
    shop: Shop, recorder: Recorder, transactions: int, rows: int
) -> None:
    async with watching(shop, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        await written(shop, recorder, transactions, rows)
        changes, parts = await replay(database, "orders", since)
        assert changes == recorder.changes
        assert all(part.recovered for part in parts)
        middle = recorder.changes[1_234].cursor
        changes, parts = await replay(database, "orders", middle)
        assert changes == recorder.changes[1_235:]
        assert all(part.recovered for part in parts)
    assert await slots(shop) == 1


async def test_replays_of_large_rows_come_in_small_parts(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        shop.execute("INSERT INTO orders SELECT i, repeat('x', 300000) FROM generate_series(1, 12) i")
        await recorder.until_changes(12)
        changes, parts = await replay(database, "orders", since)
        assert changes == recorder.changes
        assert max(len(part.changes) for part in parts) <= 4


async def test_a_restart_reads_the_newest_part_and_older_parts_on_demand(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        await written(shop, recorder, 60, 100)
    later = Recorder()
    async with opened(shop, later, log_bytes=SMALL) as database:
        changes, parts = await replay(database, "orders", since)
        assert [change.data["id"] for change in changes] == list(range(6_000))
        assert all(part.recovered for part in parts)
        assert later.changes == []


async def test_a_replay_reports_opaque_changes_as_a_gap(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        await written(shop, recorder, 10, 100)
    shop.execute("TRUNCATE orders", "INSERT INTO orders VALUES (-1, 'after')")
    shop.execute("ALTER TABLE orders ADD COLUMN note TEXT", "INSERT INTO orders VALUES (-2, 'wide', 'n')")
    shop.execute(
        "CREATE TABLE other(t TEXT)", "INSERT INTO other SELECT repeat('x', 900) FROM generate_series(1, 900)"
    )
    later = Recorder()
    async with opened(shop, later, log_bytes=SMALL) as database:
        _, parts = await replay(database, "orders", since)
        assert [(len(part.changes), part.recovered) for part in parts if part.changes or not part.recovered] == [
            (1_000, True),
            (1, False),
            (1, False),
        ]


async def test_a_position_whose_wal_was_removed_is_a_gap(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, log_bytes=SMALL, resume_bytes=1) as database:
        since = database.changes.cursor("orders")
        await written(shop, recorder, 20, 100)
        confirmed = f"confirmed_flush_lsn > '{shop.value('SELECT since::text FROM aerostack.watches')}'"
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(shop.state, confirmed):
                await written(shop, recorder, 1, 100, len(recorder.changes) // 100)
        changes, parts = await replay(database, "orders", since)
        assert not parts[0].recovered
        assert changes == recorder.changes[-len(changes) :]


async def test_a_replay_survives_a_server_crash(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder, log_bytes=SMALL) as database:
        since = database.changes.cursor("orders")
        await written(own, recorder, 60, 100)
        first = await part(database, since)
        own.server.crash()
        with pytest.raises(Unavailable):
            await part(database, first)
        own.server.start()
        own.insert(-1)
        await recorder.until(lambda: ids(recorder)[-1] == -1)
        changes, parts = await replay(database, "orders", first)
        assert changes == recorder.changes[1_000:]
        assert all(part.recovered for part in parts)


async def part(database: PostgresDatabase, since: str) -> str:
    """Ask for one part; where it ends."""
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    database.changes.replay(
        "orders", since, lambda part: answer.set_result(part.cursor), lambda error: answer.set_exception(error)
    )
    return await answer


async def test_several_clients_resume_from_before_memory_in_turn(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder, log_bytes=SMALL) as database:
        await written(shop, recorder, 40, 100)
        cursors = [recorder.changes[number].cursor for number in range(0, 1_000, 100)]
        found = await asyncio.gather(*(replay(database, "orders", cursor) for cursor in cursors))
        for number, (changes, parts) in enumerate(found):
            assert changes == recorder.changes[number * 100 + 1 :]
            assert all(part.recovered for part in parts)
    assert await slots(shop) == 1
