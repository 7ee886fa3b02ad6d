"""Snapshots in PostgreSQL: what holds them up, and what they hold."""

import asyncio

import psycopg
import pytest

from aerostack_realtime.database.base import Selection
from aerostack_realtime.database.postgres.queries import snapshots
from aerostack_realtime.database.postgres.queries.snapshots import AT_ONCE
from aerostack_realtime.protocol.errors import Overloaded, Unavailable
from tests.contract.conftest import PATIENCE, Recorder
from tests.contract.postgres.shop import Shop, watching
from tests.contract.test_snapshot import everything, rows_of


async def test_a_cancelled_caller_leaves_no_transaction_open(shop: Shop, recorder: Recorder) -> None:
    async with watching(shop, recorder) as database:
        with psycopg.connect(shop.dsn()) as holding:
            holding.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
            reading = asyncio.create_task(rows_of(database, "orders", Selection(everything)))
            while not await asyncio.to_thread(shop.value, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
            reading.cancel()
            async with asyncio.timeout(PATIENCE):
                await asyncio.wait((reading,))
            assert reading.cancelled()
            assert shop.value("SELECT count(*) FROM pg_locks WHERE NOT granted") == 0
        assert await rows_of(database, "orders", Selection(everything))


@pytest.mark.parametrize("change", ["ALTER TABLE orders DROP COLUMN {}", "DROP TABLE orders"])
async def test_a_table_that_is_altered_as_it_is_read_asks_for_another_attempt(
    shop: Shop, recorder: Recorder, change: str
) -> None:
    async with watching(shop, recorder) as database:
        column = shop.value("SELECT max(attname) FROM pg_attribute WHERE attrelid = 'orders'::regclass "
                            "AND attnum > 1 AND NOT attisdropped")  # fmt: skip
        with psycopg.connect(shop.dsn()) as altering:
            altering.execute(change.format(column))
            reading = asyncio.create_task(rows_of(database, "orders", Selection(everything)))
            while not await asyncio.to_thread(shop.value, "SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
        with pytest.raises(Unavailable, match="orders is being altered"):
            await reading


async def test_limited_snapshots_do_not_wait_for_whole_tables(
    shop: Shop, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "TURN_SECONDS", 0.1)
    async with watching(shop, recorder) as database, asyncio.TaskGroup() as readers:
        shop.insert(1, 2)
        enough = asyncio.Event()
        begun = [asyncio.Event() for _ in range(AT_ONCE)]

        async def read(begin: asyncio.Event) -> None:
            async with database.snapshot("orders", Selection(everything)):
                begin.set()
                await enough.wait()

        for each in begun:
            readers.create_task(read(each))
            await each.wait()
        rows, _ = await rows_of(database, "orders", Selection(everything, limit=1))
        assert len(rows) == 1
        with pytest.raises(Overloaded):
            await rows_of(database, "orders", Selection(everything))
        enough.set()
