"""An arbiter of generations in a SQLite file: the smallest one that keeps the contract `Generations`."""

import asyncio
import sqlite3
from pathlib import Path

from aerostack_realtime.backplane.base import Generation
from aerostack_realtime.protocol.errors import Unavailable
from tests.contract.backplane.node import PATIENCE, TICK

SCHEMA = """
CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY, server TEXT NOT NULL, start INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS mark (position INTEGER NOT NULL);
INSERT INTO mark SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM mark);
CREATE TABLE IF NOT EXISTS licences (node TEXT PRIMARY KEY, generation INTEGER NOT NULL);
"""


class SqliteGenerations:
    """`reachable` is whether the database answers."""

    def __init__(self, path: Path, cluster: str = "cluster-a") -> None:
        self._database = sqlite3.connect(path, isolation_level=None, timeout=10)
        self._database.executescript(SCHEMA)
        self._cluster = cluster
        self.reachable = True

    @property
    def cluster(self) -> str:
        return self._cluster

    async def current(self) -> Generation | None:
        self._check()
        return self._newest()

    async def open(self, seen: Generation | None, server: str, start: int) -> Generation:
        self._check()
        with self._database as database:
            database.execute("BEGIN IMMEDIATE")
            newest = self._newest()
            if newest != seen:
                assert newest is not None, "generations only grow"
                return newest
            (mark,) = database.execute("SELECT position FROM mark").fetchone()
            begun = Generation(
                (seen.number if seen else 0) + 1, server, max(start, mark + 1, seen.start + 1 if seen else 0)
            )
            database.execute("INSERT INTO generations VALUES (?, ?, ?)", (begun.number, begun.server, begun.start))
            database.execute("DELETE FROM licences")
        return begun

    async def raise_high_water(self, generation: Generation, position: int) -> bool:
        self._check()
        changed = self._database.execute(
            "UPDATE mark SET position = max(position, ?) WHERE ? = (SELECT max(number) FROM generations)",
            (position, generation.number),
        )
        return changed.rowcount == 1

    def understands(self, number: int, position: int) -> bool:
        rows = self._database.execute("SELECT number, start FROM generations ORDER BY number").fetchall()
        starts = dict(rows)
        return (
            number in starts
            and starts[number] <= position
            and (number + 1 not in starts or position < starts[number + 1])
        )

    def number_of(self, position: int) -> int | None:
        row = self._database.execute(
            "SELECT max(number) FROM generations WHERE start <= ?", (position,)
        ).fetchone()
        number: int | None = row[0]
        return number

    async def grant(self, node: str, generation: Generation) -> bool:
        self._check()
        if generation != self._newest():
            return False
        self._database.execute("INSERT OR REPLACE INTO licences VALUES (?, ?)", (node, generation.number))
        return True

    async def revoke(self, node: str) -> None:
        self._check()
        self._database.execute("DELETE FROM licences WHERE node = ?", (node,))

    async def until_mark(self, wanted: int) -> None:
        """Until the high-water mark is at least `wanted`."""
        async with asyncio.timeout(PATIENCE):
            while True:
                (mark,) = self._database.execute("SELECT position FROM mark").fetchone()
                if mark >= wanted:
                    return
                await asyncio.sleep(TICK)

    def close(self) -> None:
        self._database.close()

    def _newest(self) -> Generation | None:
        row = self._database.execute("SELECT * FROM generations ORDER BY number DESC LIMIT 1").fetchone()
        return Generation(*row) if row else None

    def _check(self) -> None:
        if not self.reachable:
            raise Unavailable("The database is out of reach.")
