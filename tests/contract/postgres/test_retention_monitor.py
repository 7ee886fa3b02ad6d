"""The WAL retained for our slot: it is released in time, and what else retains it is logged."""

import logging
from collections.abc import AsyncIterator

import psycopg
import pytest

from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.retention_monitor import RetentionMonitor
from aerostack_realtime.database.postgres.wal.slot import Slot, SlotState
from tests.contract.conftest import Recorder

MIB = 1 << 20


class Window:
    given_up = 0

    def release(self) -> None:
        self.given_up += 1


@pytest.fixture
async def connections(postgres_dsn: str) -> AsyncIterator[Connections]:
    connections = await Connections.open(postgres_dsn)
    yield connections
    await connections.close()


def slot_state(*, restart: int = 0, left: int | None = None) -> SlotState:
    return SlotState(confirmed=1_000 * MIB, restart=restart, lost=False, left=left, wal_end=1_001 * MIB)


async def test_the_window_is_released_before_the_slot_is_lost(
    connections: Connections, caplog: pytest.LogCaptureFixture, recorder: Recorder
) -> None:
    window = Window()
    lag = RetentionMonitor(connections, Slot(connections, "s", 150000), 100 * MIB, window.release)
    await lag.check(slot_state(restart=999 * MIB, left=26 * MIB))
    await lag.check(slot_state(restart=999 * MIB, left=None))
    assert window.given_up == 0
    await lag.check(slot_state(restart=999 * MIB, left=24 * MIB))
    assert window.given_up == 1
    assert "max_slot_wal_keep_size" in caplog.text


async def test_a_transaction_that_retains_wal_is_logged_once(
    connections: Connections, postgres_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    lag = RetentionMonitor(connections, Slot(connections, "s", 150000), 100 * MIB, Window().release)
    with psycopg.connect(postgres_dsn) as going_on:
        going_on.execute("SELECT txid_current()")
        await lag.check(slot_state(restart=0))
        await lag.check(slot_state(restart=0))
    assert caplog.text.count("retains 1001 MiB of WAL") == 1
    assert "pg_terminate_backend(" in caplog.text
    await lag.check(slot_state(restart=950 * MIB))
    await lag.check(slot_state(restart=0))
    assert caplog.text.count("retains 1001 MiB of WAL") == 2
