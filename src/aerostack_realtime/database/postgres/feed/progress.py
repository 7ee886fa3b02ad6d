"""How far the log was read, and waiting until it was read further."""

from __future__ import annotations

import asyncio
import heapq
from itertools import count
from typing import Final

from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.sink import PREFIX
from aerostack_realtime.database.postgres.wal.stream import lsn_of

ORIGIN: Final = Position(0, 0)


class Progress:
    """`position` is after everything that was handed on."""

    def __init__(self, connections: Connections) -> None:
        self.position = ORIGIN
        self._connections = connections
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def advance(self, position: Position) -> None:
        """The log was read up to `position`. Callers that waited for it run before anything later is handed on,
        because nothing is awaited in between."""
        self.position = position
        while self._waiting and self._waiting[0][0] <= position.lsn:
            self._wake()

    def restart(self, position: Position) -> None:
        """The log is another one: all waiting callers run and check again."""
        self.position = position
        while self._waiting:
            self._wake()

    async def mark(self) -> int:
        """Write our message into the WAL, after everything that is committed by now; returns its position.
        It waits for no synchronous standby, because it is for this node alone. Raises Unavailable."""
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, %s, '')",
                (PREFIX,),
            )
            (_, lsn) = await rows.fetchone() or ("", "0/0")
        return lsn_of(lsn)

    async def reach(self, lsn: int) -> None:
        """Wait until the log was read up to a position, if it extends that far. Raises Unavailable."""
        if lsn > self.position.lsn:
            await self.reached(min(lsn, await self.mark()))

    async def reached(self, lsn: int) -> None:
        """Wait until the log was read up to a position that it has."""
        if self.position.lsn >= lsn:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lsn, next(self._order), reached))
        await reached

    def _wake(self) -> None:
        reached = heapq.heappop(self._waiting)[2]
        if not reached.done():
            reached.set_result(None)
