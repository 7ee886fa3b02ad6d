"""Writes numbered rows straight into the database, whatever is between it and our server."""

import asyncio

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from tests.outage.clients import TABLE

NOTE_BYTES = 100


class Writer:
    """One row a transaction, `rate` of them a second, and now and then a large transaction."""

    def __init__(self, address: str, rate: float) -> None:
        self.rows = 0
        """How many are committed."""
        self._address = address
        self._rate = rate
        self._turn = asyncio.Lock()
        self._connection: AsyncConnection[TupleRow] | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Make the table."""
        self._connection = await psycopg.AsyncConnection.connect(self._address, autocommit=True)
        await self._connection.execute(f"CREATE TABLE {TABLE}(id BIGINT PRIMARY KEY, note TEXT)")

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def burst(self, rows: int) -> None:
        """Write `rows` rows in one transaction."""
        assert self._connection is not None, "it is open"
        async with self._turn:
            await self._connection.execute(
                f"INSERT INTO {TABLE} SELECT %s + i, repeat('x', {NOTE_BYTES}) FROM generate_series(1, {rows}) i",
                (self.rows - 1,),
            )
            self.rows += rows

    async def end(self) -> None:
        """Commit what was begun, then stop. Raises what ended it before."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            async with self._turn:
                task.cancel()
        if task is not None:
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()
        if self._connection is not None:
            await self._connection.close()

    async def _run(self) -> None:
        assert self._connection is not None, "it is open"
        while True:
            await asyncio.sleep(1 / self._rate)
            async with self._turn:
                await self._connection.execute(
                    f"INSERT INTO {TABLE} VALUES (%s, repeat('x', {NOTE_BYTES}))", (self.rows,)
                )
                self.rows += 1
