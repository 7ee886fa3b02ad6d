"""What goes wrong with PostgreSQL itself, or with the way to it."""

import asyncio
import os
import random
import signal
from contextlib import suppress
from typing import Final

import psycopg

from tests.faults.plan import Fault
from tests.faults.postgres import SLOT, Postgres, children, stop
from tests.faults.postgres_backup import PostgresVault

WAL: Final = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"
LATENCY_SECONDS: Final = 0.02
"""Of the link, each way, for each chunk: a database in another place, not another continent."""
STAMPS_PER_TABLE: Final = 1 << 40
"""What a row's stamp grows by when its table is created again: stamps are never used twice."""
REPLACE: Final = f"""
LOCK TABLE items IN ACCESS EXCLUSIVE MODE;
ALTER TABLE items RENAME TO items_before;
CREATE TABLE items (LIKE items_before INCLUDING ALL);
ALTER TABLE items REPLICA IDENTITY FULL;
INSERT INTO items SELECT * FROM items_before;
UPDATE items SET n = n + {STAMPS_PER_TABLE};
DROP TABLE items_before
"""


class PostgresFaults:
    """Carries out the faults of one PostgreSQL; returns when each is healed."""

    def __init__(self, postgres: Postgres, vault: PostgresVault, seed: int) -> None:
        self._postgres = postgres
        self._vault = vault
        self._chance = random.Random(f"{seed} postgres")

    async def carry_out(self, fault: Fault) -> None:
        """Raises TimeoutError when something did not recover."""
        link = self._postgres.link
        match fault.kind:
            case "crash postgres":
                await asyncio.to_thread(self._postgres.restart, signal.SIGQUIT)
            case "restart postgres":
                await asyncio.to_thread(self._postgres.restart, signal.SIGINT)
            case "kill walsender":
                await self._kill(await asyncio.to_thread(self._postgres.walsender))
            case "kill backend":
                await self._kill(self._chance.choice(children(self._postgres.server.pid)))
            case "terminate connections":
                query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s"
                await asyncio.to_thread(self._postgres.ask, query, "aerostack")
            case "pause walsender":
                await self._pause(await asyncio.to_thread(self._postgres.walsender), fault.seconds)
            case "cut link":
                link.cut()
            case "stall link" | "silence link" | "slow link":
                if fault.kind == "stall link":
                    link.stall()
                elif fault.kind == "silence link":
                    link.silence()
                else:
                    link.latency = LATENCY_SECONDS
                await asyncio.sleep(fault.seconds)
                link.heal()
            case "drop slot":
                await self._drop_slot()
            case "add column":
                await self._execute("ALTER TABLE items ADD COLUMN IF NOT EXISTS extra integer DEFAULT 7")
            case "drop column":
                await self._execute("ALTER TABLE items DROP COLUMN IF EXISTS extra")
            case "replace table":
                await self._replace_table()
            case _:
                raise AssertionError(f"{fault.kind} is not a fault of PostgreSQL")

    async def _kill(self, pid: int | None) -> None:
        """`kill -9`: PostgreSQL ends all its other processes, too, and recovers as from a crash."""
        if pid is not None and stop(pid, signal.SIGKILL):
            await self._postgres.until("SELECT true")

    async def _pause(self, pid: int | None, seconds: float) -> None:
        if pid is not None and stop(pid):
            await asyncio.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    async def _execute(self, statements: str) -> None:
        def execute() -> None:
            with self._postgres.connected() as connection, connection.transaction():
                connection.execute(statements.encode())

        await asyncio.to_thread(execute)

    async def _drop_slot(self) -> None:
        """As a DBA does who takes it for a forgotten one."""
        begin = await asyncio.to_thread(self._postgres.ask, WAL)
        await asyncio.to_thread(self._vault.note_epochs)  # a server that starts again forgets them
        await asyncio.to_thread(self._drop)
        await self._postgres.until("SELECT active FROM pg_replication_slots WHERE slot_name = %s", SLOT)
        self._vault.seam(begin, await asyncio.to_thread(self._postgres.ask, WAL))

    def _drop(self) -> None:
        with self._postgres.connected() as connection:
            while True:
                connection.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                    "WHERE slot_name = %s AND active",
                    (SLOT,),
                )
                with suppress(psycopg.errors.ObjectInUse):
                    connection.execute(
                        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots "
                        "WHERE slot_name = %s",
                        (SLOT,),
                    )
                    return

    async def _replace_table(self) -> None:
        begin = await asyncio.to_thread(self._postgres.ask, WAL)
        await self._execute(REPLACE)
        await self._postgres.until(
            "SELECT true FROM aerostack.watches WHERE table_name = 'items' AND relation = 'items'::regclass"
        )
        self._vault.seam(begin, await asyncio.to_thread(self._postgres.ask, WAL))
