"""Our replication slot: it makes PostgreSQL retain WAL until we confirm it."""

from __future__ import annotations

import re
from typing import Final

import psycopg
from msgspec import Struct

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.wal.stream import lsn_of

PLUGIN: Final = "pgoutput"


class SlotState(Struct, frozen=True):
    """`confirmed`: what was committed before it is not sent again. `restart`: from where WAL is retained. `lost`:
    PostgreSQL has removed WAL that the slot needs. `left`: bytes until it does (None: never). `wal_end`: where
    the WAL ends."""

    confirmed: int
    restart: int
    lost: bool
    left: int | None
    wal_end: int


class Slot:
    """The slot `name` of one database. `version` is the server's, as a number like 170004."""

    def __init__(self, connections: Connections, name: str, version: int) -> None:
        self.name = name
        self._connections = connections
        self._version = version

    async def state(self) -> SlotState | None:
        """The slot's state; None when there is none. Raises DatabaseUnusable when the name is in use."""
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT confirmed_flush_lsn, restart_lsn, wal_status, safe_wal_size, pg_current_wal_flush_lsn(), "
                "plugin, database = current_database() FROM pg_replication_slots WHERE slot_name = %s",
                (self.name,),
            )
            found = await rows.fetchone()
        if found is None:
            return None
        confirmed, restart, status, left, wal_end, plugin, ours = found
        if plugin != PLUGIN or not ours:
            raise DatabaseUnusable(
                f"The replication slot {self.name!r} belongs to another program: set slot under [postgres]."
            )
        lost = status == "lost" or restart is None
        return SlotState(
            lsn_of(confirmed or "0/0"), lsn_of(restart or "0/0"), lost, left and int(left), lsn_of(wal_end)
        )

    async def active(self) -> bool:
        """Whether a server streams from it."""
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT FROM pg_replication_slots WHERE slot_name = %s AND active", (self.name,)
            )
            return bool(rows.rowcount)

    async def free(self) -> None:
        """End the server process that streams from it for somebody else: that one reconnects, or it
        serves a node that died without closing its connection."""
        async with self._connections.use() as connection:
            await connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                "WHERE slot_name = %s AND active",
                (self.name,),
            )

    async def create(self) -> int:
        """Create the slot; returns the position from which on it has everything. It waits for all open
        transactions.

        Raises DatabaseUnusable with what a DBA has to do, Unavailable, and DuplicateObject when another node has
        just created it.
        """
        failover = ", failover => true" if self._version >= 170000 else ""
        async with await self._connections.connect(session={"statement_timeout": "0"}) as connection:
            try:
                rows = await connection.execute(
                    f"SELECT lsn FROM pg_create_logical_replication_slot(%s, '{PLUGIN}'{failover})", (self.name,)
                )
            except psycopg.errors.DuplicateObject:
                raise
            except psycopg.Error as error:
                raise unusable_slot(error) from error
            (lsn,) = await rows.fetchone() or ("0/0",)
        return lsn_of(lsn)

    async def drop(self) -> None:
        """Remove the slot, if it is there."""
        async with self._connections.use() as connection:
            await connection.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s",
                (self.name,),
            )


def default_name(database: str) -> str:
    """The name of a database's slot: the slots of all databases share one namespace, of `a-z 0-9 _`, 63 long."""
    return f"aerostack_{re.sub('[^a-z0-9_]', '_', database.lower())}"[:63]


def unusable_slot(error: psycopg.Error) -> DatabaseUnusable:
    """Why no slot can be created, and what to do."""
    match error:
        case psycopg.errors.ObjectNotInPrerequisiteState():
            todo = "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL"
        case psycopg.errors.InsufficientPrivilege():
            todo = "ALTER ROLE … REPLICATION; for the server's role (on RDS: GRANT rds_replication TO …;)"
        case psycopg.errors.ConfigurationLimitExceeded():
            todo = "ALTER SYSTEM SET max_replication_slots = 20; then restart PostgreSQL"
        case _:
            todo = "run aerostack check"
    return DatabaseUnusable(f"No replication slot can be created ({error.diag.message_primary or error}): {todo}.")
