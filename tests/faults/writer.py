"""Writes transactions of some hundred row changes each, by one of three ways, and records what was committed."""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from aerostack_realtime.sdk.aerostack import Aerostack
from tests.faults.child import Progress, Role, role, tell, told_to_finish
from tests.faults.journal import Journal, records
from tests.faults.plan import WRITERS
from tests.faults.transactions import commit, database_of, transaction

SIZE = 100
"""Rows that a transaction inserts, about as many as it updates and as many as it deletes."""
STAMPS_PER_TRANSACTION = 2
STAMPS_PER_WRITER = 1_000_000_000


@contextmanager
def gate(path: Path) -> Iterator[None]:
    """Between these no backup is restored. Held by one at a time; a killed process lets go of it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def gate_of(place: Path, writer: str) -> Path:
    return place / f"{writer}.gate"


class Writer:
    """One life of a writer: `writer-driver` is a program with the database's driver, `writer-shell` runs `sqlite3`
    or `psql`, `writer-sdk` asks the server."""

    def __init__(self, part: Role, number: int) -> None:
        self._part = part
        path = part.place / f"{part.name}.written"
        begun = [int(stamp) for kind, stamp in records(path) if kind == "T"]
        self._stamp = begun[-1] + STAMPS_PER_TRANSACTION if begun else number * STAMPS_PER_WRITER
        self._journal = Journal(path)
        self._progress = Progress()

    async def run(self) -> None:
        async with self._part.sdk() as sdk:
            finish = asyncio.create_task(told_to_finish())
            tell("ready")
            loop = asyncio.get_running_loop()
            due = loop.time()
            while not finish.done():
                with gate(gate_of(self._part.place, self._part.name)):
                    await self._write(sdk)
                due = max(due + 3 * SIZE / self._part.rate if self._part.rate else 0, loop.time() + 0.001)
                with suppress(TimeoutError):
                    await asyncio.wait_for(asyncio.shield(finish), due - loop.time())
        tell("done")

    async def _write(self, sdk: Aerostack) -> None:
        stamp, self._stamp = self._stamp, self._stamp + STAMPS_PER_TRANSACTION
        self._journal.add("T", stamp)
        part = self._part
        statements = transaction(database_of(part.database), part.name, stamp, SIZE)
        if await commit(part.name, part.database, sdk, statements):
            self._journal.add("C", stamp)
            self._progress.add(3 * SIZE)


if __name__ == "__main__":
    part = role()
    asyncio.run(Writer(part, WRITERS.index(part.name) + 1).run())
