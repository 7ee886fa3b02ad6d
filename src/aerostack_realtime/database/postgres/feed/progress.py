"""Where the log stands that is here, and waiting until it stands further on."""

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
    """`place` is after everything that was handed on."""

    def __init__(self, connections: Connections) -> None:
        self.position = ORIGIN
        self._connections = connections
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()

    def come(self, position: Position) -> None:
        """The log is here up to `place`. Who waited for it goes on before anything later is handed on to others,
        since nobody waits in between."""
        self.position = position
        while self._waiting and self._waiting[0][0] <= position.lsn:
            self._wake()

    def begin_anew(self, position: Position) -> None:
        """The log is another one: who waits looks again."""
        self.position = position
        while self._waiting:
            self._wake()

    async def mark(self) -> int:
        """Put a message of ours into the log; its place is after everything that is committed by now. It waits for
        no synchronous standby, since it is for this server alone. Raises Unavailable."""
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, %s, '')",
                (PREFIX,),
            )
            (_, lsn) = await rows.fetchone() or ("", "0/0")
        return lsn_of(lsn)

    async def reach(self, lsn: int) -> None:
        """Wait until the log is here up to a place, if it goes that far. Raises Unavailable."""
        if lsn > self.position.lsn:
            await self.reached(min(lsn, await self.mark()))

    async def reached(self, lsn: int) -> None:
        """Wait until the log is here up to a place that is in it."""
        if self.position.lsn >= lsn:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lsn, next(self._order), reached))
        await reached

    def _wake(self) -> None:
        reached = heapq.heappop(self._waiting)[2]
        if not reached.done():
            reached.set_result(None)
