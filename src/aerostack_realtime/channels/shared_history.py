"""Stored messages that clients which resume have in common: each page is read once, and kept for a moment.

After a restart the logs of all custom channels are empty, so every client that resumes asks the store for what it
has missed. The clients of a channel have the same cursor, or cursors close to each other. A client that is given
what was read a moment ago is like one for which it was read and which is slow to take it: what follows the page
comes from the channel's log, or again from the store if that log has forgotten it meanwhile.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from aerostack_realtime.database.message_store import MessageStore, StoredMessage

MOST_BYTES: Final = 8 << 20
"""Of all pages that are kept."""
KEPT_SWEEPS: Final = 5
"""Seconds after which a page is dropped."""
PAGE_BYTES: Final = 500
MESSAGE_BYTES: Final = 500
"""Memory of a page and of a message beside its data."""

Place = tuple[str, str, int]
"""The database's epoch, the topic, and the position up to which its messages are read."""


class _Page(Struct, frozen=True, eq=False):
    """All messages of a topic after one position, in order."""

    after: int
    messages: Sequence[StoredMessage]
    size: int
    read_at: int


class SharedHistory:
    """The pages that were read last, about `most` bytes of them, and the reads that are under way."""

    def __init__(self, store: MessageStore, most: int = MOST_BYTES) -> None:
        self._store = store
        self._most = most
        self._size = 0
        self._sweeps = 0
        self._pages: dict[Place, _Page] = {}
        """The oldest one is the first."""
        self._reads: dict[tuple[Place, int, int], asyncio.Task[list[StoredMessage]]] = {}

    async def after(
        self, epoch: str, topic: str, position: int, until: int, limit: int
    ) -> Sequence[StoredMessage]:
        """The oldest `limit` messages of a topic after one position and up to another, oldest first. Raises as
        `MessageStore.after`. Cancelling it ends the reading for nobody else."""
        found = self.find(epoch, topic, position, until)
        if found is not None:
            return found[:limit]
        key = ((epoch, topic, until), position, limit)
        reading = self._reads.get(key)
        if reading is None:
            reading = asyncio.ensure_future(self._read(key))
            self._reads[key] = reading
            reading.add_done_callback(lambda task: self._ended(key, task))
        return await asyncio.shield(reading)

    def find(self, epoch: str, topic: str, position: int, until: int) -> Sequence[StoredMessage] | None:
        """All messages of a topic between two positions, if they were read just now."""
        page = self._pages.get((epoch, topic, until))
        if page is None or page.after > position:
            return None
        if page.after == position:
            return page.messages
        return [each for each in page.messages if each.position > position]

    def sweep(self) -> None:
        """Drop the pages that are old. Call it once a second."""
        self._sweeps += 1
        for place, page in list(self._pages.items()):
            if page.read_at > self._sweeps - KEPT_SWEEPS:
                break
            self._drop(place)

    async def _read(self, key: tuple[Place, int, int]) -> list[StoredMessage]:
        place, position, limit = key
        _, topic, until = place
        messages = await self._store.after(topic, position, until, limit)
        if len(messages) < limit:
            self._keep(place, position, messages)
        return messages

    def _keep(self, place: Place, position: int, messages: list[StoredMessage]) -> None:
        size = PAGE_BYTES + sum(MESSAGE_BYTES + len(memoryview(each.data)) for each in messages)
        known = self._pages.get(place)
        if size > self._most or (known is not None and known.after <= position):
            return
        self._drop(place)
        self._pages[place] = _Page(position, messages, size, self._sweeps)
        self._size += size
        while self._size > self._most:
            self._drop(next(iter(self._pages)))

    def _drop(self, place: Place) -> None:
        page = self._pages.pop(place, None)
        if page is not None:
            self._size -= page.size

    def _ended(self, key: tuple[Place, int, int], task: "asyncio.Task[list[StoredMessage]]") -> None:
        del self._reads[key]
        if not task.cancelled():
            task.exception()  # those who wait have it; nobody may be left
