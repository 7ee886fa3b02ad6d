"""Watches how much log PostgreSQL keeps for us, and who else makes it keep more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.wal.slot import Slot, SlotState
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 10.0
SPARE: Final = 0.25
"""The part of the log we keep behind us that has to be left before PostgreSQL would take the slot away."""

_OLDEST: Final = """
SELECT pid, usename, EXTRACT(epoch FROM now() - xact_start)::int FROM pg_stat_activity
WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 1
"""


class RetentionMonitor:
    """`bytes` of log may be kept behind us; `give_up` lets go of them."""

    def __init__(self, connections: Connections, slot: Slot, bytes: int, give_up: Callable[[], None]) -> None:
        self._connections = connections
        self._slot = slot
        self._bytes = bytes
        self._give_up = give_up
        self._warned = False

    async def watch(self) -> None:
        """Look now and then. It never ends."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                state = await self._slot.state()
                if state is not None:
                    await self.judge(state)
            except AerostackError as error:
                log.debug("the slot cannot be looked at: %s", error.message)

    async def judge(self, state: SlotState) -> None:
        """Give up what is kept when PostgreSQL is about to; say who makes it keep more. Raises AerostackError."""
        if state.left is not None and state.left < self._bytes * SPARE:
            log.warning(
                "PostgreSQL will remove log that the slot %s needs in %d MiB: max_slot_wal_keep_size is too "
                "small for resume_bytes under [postgres], so nothing is kept for a restart now",
                self._slot.name,
                state.left >> 20,
            )
            self._give_up()
        if state.confirmed - state.restart <= self._bytes:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "PostgreSQL keeps %d MiB of log for transactions that go on%s",
                (state.wal_end - state.restart) >> 20,
                await self._oldest(),
            )

    async def _oldest(self) -> str:
        async with self._connections.use() as connection:
            found = await (await connection.execute(_OLDEST)).fetchone()
        if found is None:
            return ""
        pid, user, seconds = found
        return f": the oldest is {seconds} s old, process {pid} of {user} (pg_terminate_backend({pid}) ends it)"
