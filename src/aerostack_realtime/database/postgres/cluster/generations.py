"""The arbiter of a cluster: which generation of the journal counts, and which nodes may commit messages.

Source of the protocol: the row `aerostack.journal` names the newest generation, and `aerostack.nodes` holds one
licence per node. A node that begins a generation updates that row and deletes all licences in one transaction;
a group commit locks its node's licence (FOR KEY SHARE), so that the deletion waits for commits under way.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import psycopg

from aerostack_realtime.backplane.base import Generation
from aerostack_realtime.database.postgres.connection.errors import translate
from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.marks import ANNOUNCED_BY_NODE, RESTORED, Marks, announced_in
from aerostack_realtime.database.postgres.migrations import SCHEMA
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

_DURABLE: Final = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
_ALL: Final = f"SELECT number, server, start FROM {SCHEMA}.generations ORDER BY number"
_CURRENT: Final = f"""
SELECT pg_is_in_recovery(), g.number, g.server, g.start
FROM (VALUES (true)) always LEFT JOIN {SCHEMA}.generations g ON true ORDER BY g.number
"""
"""The generations, and whether the server is a standby, which may not know the newest: one row at least."""
_ADVANCE: Final = f"UPDATE {SCHEMA}.journal SET generation = %(next)s WHERE generation = %(seen)s"
_BEGIN: Final = f"""
INSERT INTO {SCHEMA}.generations(number, server, start)
SELECT %(next)s, %(server)s, greatest(
  %(start)s,
  1 + coalesce((SELECT max(start) FROM {SCHEMA}.generations), 0),
  1 + coalesce((SELECT value::bigint FROM {SCHEMA}.meta WHERE key = 'high_water'), 0))
"""
_NEWEST: Final = f"""
newest AS (
  SELECT j.generation FROM {SCHEMA}.journal j JOIN {SCHEMA}.generations g ON g.number = j.generation
  WHERE g.number = %(number)s AND g.start = %(start)s FOR SHARE OF j)
"""
"""The row of a generation while it is the newest; locked, so that the next one cannot begin meanwhile."""
_MARKS: Final = f"SELECT key, value::bigint FROM {SCHEMA}.meta WHERE key IN ('high_water', %(announced)s)"
_RAISE: Final = f"""
WITH {_NEWEST}
INSERT INTO {SCHEMA}.meta AS m SELECT %(key)s, %(position)s::text FROM newest
ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, excluded.value::bigint)::text
"""
_FORGET: Final = f"""
DELETE FROM {SCHEMA}.meta WHERE starts_with(key, '{ANNOUNCED_BY_NODE}') AND value::bigint < %(position)s
"""
"""Marks of nodes that have ended."""
FORGOTTEN_US: Final = 86_400_000_000
_GRANT: Final = f"""
WITH {_NEWEST}
INSERT INTO {SCHEMA}.nodes(node, generation) SELECT %(node)s, generation FROM newest
ON CONFLICT (node) DO UPDATE SET generation = excluded.generation, granted = now()
"""
_REVOKE: Final = f"DELETE FROM {SCHEMA}.nodes WHERE node = %(node)s OR starts_with(node, %(node)s || '.')"
"""Also the licences that a node got after its first one."""


class PostgresGenerations:
    """Implements `Generations`. `granted` is called with this node's name and the number of its generation when
    `own` gets its licence: commits are fenced by it from then on. `known` gives the marks that are known to be
    stored, and `marked` is called with each that is."""

    def __init__(
        self,
        connections: Connections,
        cluster: str,
        own: str,
        granted: Callable[[str, int], None],
        known: Callable[[], Marks],
        marked: Callable[[Marks], None],
    ) -> None:
        self._connections = connections
        self._cluster = cluster
        self._own = own
        self._granted = granted
        self._known_marks = known
        self._marked = marked
        self._announced = announced_in(own)
        self._known: list[Generation] = []
        self._grants = 0

    @property
    def cluster(self) -> str:
        return self._cluster

    async def current(self) -> Generation | None:
        # Asked twice a second by each node, so in one round trip and without a transaction.
        async with self._connection() as connection:
            rows = await (await connection.execute(_CURRENT)).fetchall()
        if rows[0][0]:
            raise Unavailable("The database is a standby, which does not decide for the cluster")
        return self._know([Generation(*row[1:]) for row in rows if row[1] is not None])

    async def open(self, seen: Generation | None, server: str, start: int) -> Generation:
        start = max(start, self._known_marks().stored + 1)  # a restored database may know a lower one
        async with self._transaction() as connection:
            number = 0 if seen is None else seen.number
            # A concurrent opening holds the row: this waits for its end, and then finds another generation there.
            advanced = await connection.execute(_ADVANCE, {"seen": number, "next": number + 1})
            if advanced.rowcount == 1:
                await connection.execute(f"DELETE FROM {SCHEMA}.nodes")
                await connection.execute(_BEGIN, {"next": number + 1, "server": server, "start": start})
            newest = await self._read(connection)
        assert newest is not None, "a generation has begun"
        return newest

    async def raise_high_water(self, generation: Generation, position: int) -> bool:
        """As in the contract. Also raises Unavailable until subscribers know that the database was restored from a
        backup, because raising the mark would hide it."""
        for key, marks in (self._announced, Marks(next=position)), ("high_water", Marks(stored=position)):
            async with self._transaction() as connection:
                rows = await connection.execute(_MARKS, {"announced": self._announced})
                found = dict(await rows.fetchall())
                if Marks(found.get("high_water", 0), found.get(self._announced, 0)).lack(self._known_marks()):
                    raise Unavailable(RESTORED)
                raised = await connection.execute(
                    _RAISE, _parameters(generation) | {"key": key, "position": position}
                )
                stored = raised.rowcount == 1
            if not stored:
                return False
            self._marked(marks)
        return True

    def understands(self, number: int, position: int) -> bool:
        following = [each.start for each in self._known if each.number == number + 1]
        return any(
            each.number == number and each.start <= position and all(position < start for start in following)
            for each in self._known
        )

    def number_of(self, position: int) -> int | None:
        return next((each.number for each in reversed(self._known) if each.start <= position), None)

    async def grant(self, node: str, generation: Generation) -> bool:
        # Each licence has a name of its own: a commit that was sent under an earlier one and arrives late stores
        # nothing, because the others may have settled by then that it did not.
        name = f"{node}.{self._grants}" if self._grants else node
        async with self._transaction() as connection:
            await connection.execute(_REVOKE, {"node": node})
            await connection.execute(_FORGET, {"position": self._known_marks().stored - FORGOTTEN_US})
            granted = await connection.execute(_GRANT, _parameters(generation) | {"node": name})
            done = granted.rowcount == 1
        if done and node == self._own:
            self._grants += 1
            self._granted(name, generation.number)
        return done

    async def revoke(self, node: str) -> None:
        async with self._transaction() as connection:
            await connection.execute(_REVOKE, {"node": node})

    async def _read(self, connection: Connection) -> Generation | None:
        rows = await connection.execute(_ALL)
        return self._know([Generation(*row) for row in await rows.fetchall()])

    def _know(self, generations: list[Generation]) -> Generation | None:
        self._known = generations
        return generations[-1] if generations else None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        """Raises Unavailable, whatever keeps the database from deciding."""
        async with self._connection() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE")
            await connection.execute(_DURABLE)
            yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        """Raises Unavailable, whatever keeps the database from deciding."""
        try:
            async with self._connections.use() as connection:
                yield connection
        except Unavailable:
            raise
        except (AerostackError, psycopg.Error) as error:
            raise Unavailable(f"The cluster's tables do not answer ({translate(error).message})") from error


def _parameters(generation: Generation) -> dict[str, int | str]:
    return {"number": generation.number, "start": generation.start}


async def cluster_of(connection: Connection) -> str:
    """The id of the cluster that this database decides for. Raises psycopg.Error."""
    rows = await connection.execute(f"SELECT cluster FROM {SCHEMA}.journal")
    (cluster,) = await rows.fetchone() or ("",)
    return str(cluster)
