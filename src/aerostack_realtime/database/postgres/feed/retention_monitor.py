"""Monitors how much WAL PostgreSQL retains for our slot, and which transactions make it retain more."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.wal.slot import Slot, SlotState
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 10.0
SPARE: Final = 0.25
"""The window is released when less than this part of it is left until PostgreSQL would invalidate the slot."""

_OLDEST: Final = """
SELECT pid, usename, EXTRACT(epoch FROM now() - xact_start)::int FROM pg_stat_activity
WHERE backend_xid IS NOT NULL ORDER BY xact_start LIMIT 1
"""


class RetentionMonitor:
    """`limit` bytes of WAL may be retained behind the consumer; `release` releases them."""

    def __init__(self, connections: Connections, slot: Slot, limit: int, release: Callable[[], None]) -> None:
        self._connections = connections
        self._slot = slot
        self._limit = limit
        self._release = release
        self._warned = False

    async def watch(self) -> None:
        """Check periodically. It never ends."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                state = await self._slot.state()
                if state is not None:
                    await self.check(state)
            except AerostackError as error:
                log.debug("the slot cannot be checked: %s", error.message)

    async def check(self, state: SlotState) -> None:
        """Release the window before PostgreSQL invalidates the slot, and log what makes it retain more WAL.

        Raises AerostackError.
        """
        if state.left is not None and state.left < self._limit * SPARE:
            log.warning(
                "PostgreSQL will remove WAL that the slot %s needs in %d MiB: max_slot_wal_keep_size is too "
                "small for resume_bytes under [postgres], so nothing is retained for a restart now",
                self._slot.name,
                state.left >> 20,
            )
            self._release()
        if state.confirmed - state.restart <= self._limit:
            self._warned = False
        elif not self._warned:
            self._warned = True
            log.warning(
                "PostgreSQL retains %d MiB of WAL for open transactions%s",
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
