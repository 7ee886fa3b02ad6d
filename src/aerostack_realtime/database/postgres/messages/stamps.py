"""The `created_at` of messages: it only grows within a topic, and a repeated commit keeps its own."""

from collections.abc import Callable, Sequence
from typing import Final

from aerostack_realtime.database.postgres.connection.pool import Connection
from aerostack_realtime.database.postgres.messages.table import Key, Write, last_stamps

REMEMBERED_TOPICS: Final = 10_000
"""Topics whose last `created_at` is cached; others are read from the table."""


class Stamps:
    """`now` is the wall clock in ms."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._last: dict[bytes, int] = {}
        self._unanswered: dict[tuple[Key, int], int] = {}

    async def stamp(self, connection: Connection, writes: Sequence[Write]) -> None:
        """Set the `created_at` of each, above all earlier ones of its topic. A repeat keeps its own: what was
        accepted after it may have been stored meanwhile."""
        if len(self._last) > REMEMBERED_TOPICS:
            self._last.clear()
        if unknown := list({write.key[0] for write in writes} - self._last.keys()):
            self._last |= await last_stamps(connection, unknown)
        for write in writes:
            topic = write.key[0]
            given, last = write.message.created_at, self._last[topic]
            if earlier := self._unanswered.get(write.place):
                write.created_at, self._last[topic] = earlier, max(earlier, last)
                continue
            now = max(self._now(), write.message.position // 1000, last + 1)
            write.created_at = self._last[topic] = given if given > last else now

    def keep(self, writes: Sequence[Write]) -> None:
        """The commit of those that were sent has no answer, and will be repeated."""
        self._unanswered |= {write.place: write.created_at for write in writes if write.is_sent}

    def answered(self, writes: Sequence[Write]) -> None:
        """The result of their commits is known."""
        if self._unanswered:
            for write in writes:
                self._unanswered.pop(write.place, None)

    def collided(self, writes: Sequence[Write]) -> None:
        """Another node has used one of these: choose others for all."""
        self.answered(writes)
        for write in writes:
            self._last.pop(write.key[0], None)
