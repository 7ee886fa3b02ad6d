"""The seam of a snapshot where the order of the log and that of visibility differ."""

import asyncio

import psycopg

from aerostack_realtime.database.base import Selection
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import Shop, ids, watching
from tests.contract.test_snapshot import everything, rows_of


async def test_a_commit_sent_before_it_is_seen_follows_the_snapshot(own: Shop, recorder: Recorder) -> None:
    """A commit that waits for a synchronous standby is in the log, and so with us, but no snapshot sees it yet."""
    async with watching(own, recorder) as database:
        own.insert(1)
        await recorder.until_changes(1)
        own.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()")
        waiting = asyncio.create_task(asyncio.to_thread(own.insert, 2))
        try:
            await recorder.until_changes(2)
            async with asyncio.timeout(PATIENCE):
                rows, cursor = await rows_of(database, "orders", Selection(everything))
            assert [row["id"] for row in rows] == [1], "it is sent, and not to be seen"
            changes, parts = await replay(database, "orders", cursor)
            assert ([change.data["id"] for change in changes], parts[0].recovered) == ([2], True)
        finally:
            own.server.execute(
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'",
                "ALTER SYSTEM RESET synchronous_standby_names",
                "SELECT pg_reload_conf()",
            )
            await waiting


async def test_a_commit_seen_before_it_is_sent_does_not_follow_the_snapshot(own: Shop, recorder: Recorder) -> None:
    """While the sender of the log is stopped, what is committed is seen, and not with us."""
    async with watching(own, recorder) as database:
        own.insert(1)
        await recorder.until_changes(1)
        sender = int(own.state("active_pid"))
        own.server.signal_process(sender, "STOP")
        try:
            own.insert(2)
            snapshot = asyncio.create_task(rows_of(database, "orders", Selection(everything)))
            async with asyncio.timeout(PATIENCE):
                rows, cursor = await snapshot
            assert [row["id"] for row in rows] == [1, 2]
            own.insert(3)
            missed = asyncio.create_task(replay(database, "orders", cursor))
            assert ids(recorder) == [1]
        finally:
            own.server.signal_process(sender, "CONT")
        changes, parts = await missed
        assert all(part.recovered for part in parts)
        assert 2 not in [change.data["id"] for change in changes]
        await recorder.until_changes(3)


async def test_only_transactions_open_during_a_snapshot_follow_it(own: Shop, recorder: Recorder) -> None:
    async with watching(own, recorder) as database:
        with psycopg.connect(own.dsn()) as going_on:
            going_on.execute("INSERT INTO orders VALUES (1, 'early')")
            own.insert(2)
            rows, cursor = await rows_of(database, "orders", Selection(everything))
            own.insert(3)
        await recorder.until_changes(3)
        assert [row["id"] for row in rows] == [2]
        changes, _ = await replay(database, "orders", cursor)
        assert [change.data["id"] for change in changes] == [3, 1], "in the order of their commits"
        again, _ = await replay(database, "orders", changes[0].cursor)
        assert [change.data["id"] for change in again] == [1], "each cursor on the way knows what the snapshot saw"
