"""PostgreSQL is stopped while its log is followed."""

import asyncio
import signal
from collections.abc import Iterator

import pytest

from tests.contract.conftest import PostgresBackend, Recorder
from tests.postgres import PostgresServer


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One of its own: it is stopped."""
    server = PostgresServer.started()
    yield server
    server.remove()


async def test_a_stop_in_order_does_not_wait_for_a_follower_and_loses_it_nothing(
    server: PostgresServer, recorder: Recorder
) -> None:
    backend = PostgresBackend(server.dsn())
    backend.write("CREATE TABLE t(id int PRIMARY KEY)")
    async with backend.open(recorder) as database:
        await database.changes.watch("t")
        backend.write("INSERT INTO t VALUES(1)")
        await recorder.until_changes(1)
        await asyncio.to_thread(server.stop, signal.SIGINT)
        await asyncio.to_thread(server.start)
        backend.write("INSERT INTO t VALUES(2)")
        await recorder.until_changes(2)
    assert recorder.interruptions == []
