"""Which slot this node streams from: the persistent one, or a temporary copy of it."""

from __future__ import annotations

import logging
import secrets

from msgspec import Struct

from aerostack_realtime.database.postgres.feed.publication import Publication
from aerostack_realtime.database.postgres.wal.slot import Slot
from aerostack_realtime.database.postgres.wal.stream import ReplicationEnded, ReplicationStream

log = logging.getLogger(__name__)


class SlotView(Struct, frozen=True):
    """A slot to stream from: nothing that was committed before `confirmed` is sent, and the WAL ends at `wal_end`.
    `created`: it was created just now, so it continues nothing."""

    name: str
    confirmed: int
    wal_end: int
    created: bool


class SlotAccess:
    """A single node streams from the slot. In a cluster only the keeper does; every other node streams from a
    copy, which ends with its connection."""

    def __init__(self, slot: Slot, publication: Publication, *, clustered: bool) -> None:
        self.keeper = not clustered
        self._slot = slot
        self._publication = publication
        self._clustered = clustered

    async def prepare(self, stream: ReplicationStream) -> SlotView:
        """Create the publication and the slot where they are missing. A slot that lacks WAL, or was there
        without its publication, is created again: what was committed meanwhile is not in it.

        Raises AerostackError, psycopg.Error, ReplicationEnded.
        """
        state = await self._slot.state()
        missing = await self._publication.is_missing()
        if state is not None and (missing or state.lost):
            why = "its publication was dropped" if missing else "PostgreSQL has removed WAL that it needs"
            log.error("the slot %s is created again: %s", self._slot.name, why)
            await self._slot.drop()
            state = None
        await self._publication.prepare()
        created = state is None
        if state is None:
            await self._slot.create()
            state = await self._slot.state()
            if state is None:
                raise ReplicationEnded("the slot was dropped")
        if not self._clustered:
            return SlotView(self._slot.name, state.confirmed, state.wal_end, created)
        if self.keeper:
            await self._slot.free()
            return SlotView(self._slot.name, state.confirmed, state.wal_end, created)
        copy = f"{self._slot.name[:40]}_{secrets.token_hex(6)}"
        confirmed = await stream.copy_slot(self._slot.name, copy)
        return SlotView(copy, confirmed, state.wal_end, created)
