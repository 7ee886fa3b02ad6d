"""The epochs in the database, and the nodes that follow the WAL in the newest one.

A single node starts an epoch whenever it starts. The nodes of a cluster share one: a node adopts the newest
epoch if another live node is in it, and starts one otherwise. The node that starts it announces it in the WAL by
the same transaction, so that all nodes change to it at the same commit.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Epoch, Epochs
from aerostack_realtime.database.postgres.feed.sink import PREFIX
from aerostack_realtime.database.postgres.migrations import SCHEMA
from aerostack_realtime.database.postgres.wal.stream import lsn_of

MAX_EPOCHS: Final = 1_000
PEER_SECONDS: Final = 5
"""Seconds since its last registration after which a node is not live."""
EPOCH_STARTED: Final = f"{PREFIX}.epoch"
"""The prefix of the message that announces an epoch; its content is the epoch's id."""

_LOCK: Final = 0x6570636F
"""Our advisory lock ("epco"): one node at a time decides whether to start an epoch."""
_REGISTER: Final = f"""
INSERT INTO {SCHEMA}.peers(node, epoch, cursor) VALUES (%s, %s, %s)
ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, cursor = excluded.cursor, seen = now()
"""
_STAY: Final = f"""
WITH gone AS (
  DELETE FROM {SCHEMA}.peers WHERE seen < now() - interval '1 minute' AND node <> %(node)s)
INSERT INTO {SCHEMA}.peers(node, epoch, cursor) VALUES (%(node)s, %(epoch)s, %(cursor)s)
ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, cursor = excluded.cursor, seen = now()
"""
_PEER: Final = f"""
SELECT p.epoch, p.cursor FROM {SCHEMA}.peers p
WHERE p.node <> %s AND p.seen > now() - interval '{PEER_SECONDS} seconds'
AND p.epoch = (SELECT id FROM {SCHEMA}.epochs ORDER BY lsn DESC LIMIT 1)
ORDER BY p.seen DESC LIMIT 1
"""


class Peer(Struct, frozen=True):
    """Another live node: the epoch it is in, and the cursor of the last change that it delivered."""

    epoch: str
    cursor: str


class EpochTable:
    """`node` names this node in its cluster; None for a single node."""

    def __init__(self, connections: Connections, node: str | None) -> None:
        self._connections = connections
        self._node = node

    async def live_peer(self) -> Peer | None:
        """Another node that is live in the newest epoch. Raises Unavailable."""
        async with self._connections.use() as connection:
            return await self._peer(connection)

    async def load(self, switches: Mapping[int, int]) -> Epochs:
        """The epochs as they are now; `switches` are where earlier timelines ended. Raises Unavailable."""
        async with self._connections.use() as connection:
            return await _read(connection, switches)

    async def start(
        self, timeline: int, mark: int, switches: Mapping[int, int], *, forget: bool, known: str | None
    ) -> Epochs:
        """Start an epoch here, or adopt one that a live node started after the epoch `known`.

        `mark` is where the positions of custom channels stand. With `forget`, no cursor of an earlier epoch is
        valid any more. A lost slot invalidates no cursor: those of row changes are too old then, and those of
        custom channels are as good as before. Raises Unavailable.
        """
        async with self._connections.use() as connection, connection.transaction():
            await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            peer = await self._peer(connection)
            if peer is not None and peer.epoch != known:
                return await _read(connection, switches)
            if forget:
                await connection.execute(f"DELETE FROM {SCHEMA}.epochs")
            started = secrets.token_hex(6)
            await connection.execute(
                f"INSERT INTO {SCHEMA}.epochs(id, lsn, timeline, position) "
                "VALUES(%s, pg_current_wal_insert_lsn(), %s, %s)",
                (started, timeline, mark),
            )
            await connection.execute(
                f"DELETE FROM {SCHEMA}.epochs WHERE lsn < (SELECT min(lsn) FROM "
                f"(SELECT lsn FROM {SCHEMA}.epochs ORDER BY lsn DESC LIMIT {MAX_EPOCHS}) newest)"
            )
            if self._node is not None:
                await connection.execute(_REGISTER, (self._node, started, ""))
                await connection.execute(
                    "SELECT pg_logical_emit_message(true, %s, %s::text)", (EPOCH_STARTED, started)
                )
            return await _read(connection, switches)

    async def register(self, epoch: str, cursor: str) -> None:
        """Say that this node is live, in an epoch, and has delivered everything up to a cursor. Raises
        Unavailable."""
        async with self._connections.use() as connection:
            await connection.execute(_STAY, {"node": self._node, "epoch": epoch, "cursor": cursor})

    async def unregister(self) -> None:
        """This node ends. Raises Unavailable."""
        async with self._connections.use() as connection:
            await connection.execute(f"DELETE FROM {SCHEMA}.peers WHERE node = %s", (self._node,))

    async def _peer(self, connection: Connection) -> Peer | None:
        if self._node is None:
            return None
        found = await (await connection.execute(_PEER, (self._node,))).fetchone()
        return None if found is None else Peer(*found)


async def _read(connection: Connection, switches: Mapping[int, int]) -> Epochs:
    rows = await connection.execute(f"SELECT id, lsn, timeline, position FROM {SCHEMA}.epochs ORDER BY lsn")
    return Epochs([Epoch(id, lsn_of(lsn), *rest) for id, lsn, *rest in await rows.fetchall()], switches)


def continuation(epochs: Epochs, cursor: str) -> Cursor | None:
    """The last change of a peer, by which a log is known to be the same; None when it has delivered none."""
    found = epochs.decode(cursor)
    return found if found is not None and found.position.index > 0 else None
