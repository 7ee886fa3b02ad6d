"""A dedicated connection to a real PostgreSQL server."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from aerostack_realtime.database.postgres.connection.dedicated import DedicatedConnection, bigint, exchange
from aerostack_realtime.database.postgres.connection.pool import Connections
from tests.contract.conftest import PATIENCE

_WAITING = """SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


async def test_the_event_loop_sleeps_while_an_answer_is_awaited(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    waits: Counter[int] = Counter()
    add_reader = loop.add_reader

    def counted(fd: int, *callback: Any) -> None:
        waits[fd] += 1
        add_reader(fd, *callback)

    monkeypatch.setattr(loop, "add_reader", counted)
    connections = await Connections.open(postgres_dsn)
    holder, waiter = await connections.connect(), DedicatedConnection(connections)
    await holder.execute("SELECT pg_advisory_lock(1)")
    async with waiter.use(PATIENCE) as connection:
        waits.clear()
        answer = asyncio.create_task(exchange(connection, "SELECT pg_advisory_lock($1::bigint)", [bigint(1)]))
        while not await (await holder.execute(_WAITING)).fetchall():
            continue
        await holder.execute("SELECT pg_advisory_unlock(1)")
        await answer
        assert waits[connection.fileno()] == 1
    await waiter.close()
    await holder.close()
    await connections.close()
