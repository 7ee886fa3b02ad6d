"""Writes transactions of some hundred row changes each, by one of three ways, and records what was committed.

Triggers of our own keep the truth beside the table: every change in the order of the commits.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from tests.faults.child import Progress, Role, role, tell, told_to_finish
from tests.faults.journal import Journal, records

SIZE = 100
"""Rows that a transaction inserts, about as many as it updates and as many as it deletes."""
STAMPS_PER_TRANSACTION = 2
STAMPS_PER_WRITER = 1_000_000_000

SCHEMA = """
CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, w TEXT NOT NULL, grp INTEGER NOT NULL, body TEXT);
CREATE INDEX items_by_writer ON items(w, id);
CREATE TABLE truth(seq INTEGER PRIMARY KEY AUTOINCREMENT, id, old_n, old_grp, new_n, new_grp);
CREATE TRIGGER truth_of_insert AFTER INSERT ON items BEGIN
  INSERT INTO truth(id, new_n, new_grp) VALUES(new.id, new.n, new.grp); END;
CREATE TRIGGER truth_of_update AFTER UPDATE ON items BEGIN
  INSERT INTO truth(id, old_n, old_grp, new_n, new_grp) VALUES(new.id, old.n, old.grp, new.n, new.grp); END;
CREATE TRIGGER truth_of_delete AFTER DELETE ON items BEGIN
  INSERT INTO truth(id, old_n, old_grp) VALUES(old.id, old.n, old.grp); END;
"""


def transaction(writer: str, stamp: int, size: int) -> list[str]:
    """The statements of a transaction; its inserts carry `stamp`, its updates the one after."""
    newest = f"SELECT id FROM items WHERE w = '{writer}' ORDER BY id DESC"
    return [
        f"WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < {size}) "
        f"INSERT INTO items(n, w, grp, body) SELECT {stamp}, '{writer}', (i + {stamp}) % 10, hex(randomblob(12)) "
        "FROM c",
        f"UPDATE items SET n = {stamp + 1}, grp = (grp + id) % 10 "
        f"WHERE id IN ({newest} LIMIT {size} OFFSET {size // 2})",
        f"DELETE FROM items WHERE id IN ({newest} LIMIT -1 OFFSET {size * 2})",
    ]


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
    """One life of a writer: `writer-file` opens the file, `writer-shell` runs `sqlite3`, `writer-sdk` asks the
    server."""

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
        statements = transaction(self._part.name, stamp, SIZE)
        if self._part.name == "writer-file":
            committed = by_file(self._part.database, statements)
        elif self._part.name == "writer-shell":
            committed = await by_shell(self._part.database, statements)
        else:
            committed = await by_sdk(sdk, statements)
        if committed:
            self._journal.add("C", stamp)
            self._progress.add(3 * SIZE)


def by_file(path: Path, statements: list[str]) -> bool:
    """Whether the commit returned."""
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(5000)
            connection.execute("BEGIN IMMEDIATE; " + "; ".join(statements) + "; COMMIT")
        finally:
            connection.close(force=True)
    except apsw.Error:
        return False
    return True


async def by_shell(path: Path, statements: list[str]) -> bool:
    """Whether the shell, which stops at the first error, came to the end."""
    process = await asyncio.create_subprocess_exec(
        *("sqlite3", "-bail", "-cmd", ".timeout 5000", str(path)),
        f"BEGIN IMMEDIATE; {'; '.join(statements)}; COMMIT",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait() == 0


async def by_sdk(sdk: Aerostack, statements: list[str]) -> bool:
    """Whether the server answered that it is done."""
    try:
        await sdk.db.batch(statements)
    except AerostackError:
        return False
    return True


if __name__ == "__main__":
    part = role()
    asyncio.run(Writer(part, ("writer-file", "writer-shell", "writer-sdk").index(part.name) + 1).run())
