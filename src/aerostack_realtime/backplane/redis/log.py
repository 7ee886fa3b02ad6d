"""The log as one node knows it: what was read, and how much of it the server holds."""

from __future__ import annotations

from typing import Final

from aerostack_realtime.backplane.redis.connection import Part, Reply
from aerostack_realtime.backplane.redis.reader import LogReader
from aerostack_realtime.backplane.redis.scripts import Keys
from aerostack_realtime.backplane.redis.window import LogWindow

ENTRIES: Final = 64
"""Entries per read: at most 16 MiB, as a batch has at most 256 KiB unless a single item is larger."""
BLOCK_MS: Final = 1_000
ALL_PUBLISHED_US: Final = 3_000_000
"""A node that does not publish its entries would have appended a Beat within this part of the journal's time."""


class Log:
    """Takes entries, whichever way they come, in the order of the log and each once."""

    def __init__(self, keys: Keys, reader: LogReader, window: LogWindow) -> None:
        self._keys = keys
        self._reader = reader
        self._window = window
        self._uncounted: list[tuple[int, int, int]] = []
        """Position, time and size of the entries from the channel that are not in the window yet."""

    @property
    def all_published(self) -> bool:
        """Whether each node of the cluster publishes what it appends, as far as the log shows."""
        missing = self._reader.unpublished_at
        return missing is None or self._reader.at - missing >= ALL_PUBLISHED_US

    @property
    def newest(self) -> int:
        """The position of the newest entry that was taken."""
        return self._reader.entry

    @property
    def heard(self) -> int:
        """The position of the newest entry that was heard of on the channel."""
        return self._reader.heard

    @property
    def promised(self) -> int:
        """The position of the newest entry that was published and came by a read."""
        return self._reader.promised

    def next_read(self, *, wait: bool) -> tuple[Part, ...]:
        """The command that reads what follows the newest entry; with `wait`, once there is something."""
        options: tuple[Part, ...] = ("BLOCK", BLOCK_MS) if wait else ()
        return ("XREAD", "COUNT", ENTRIES, *options, "STREAMS", self._keys.log, f"{self._reader.entry}-0")

    def take(self, reply: Reply) -> int:
        """Take the entries of a reply; how many there were. Raises JournalUnusable, as LogReader.read."""
        if not reply:
            return 0
        reader, window = self._reader, self._window
        entries = reply[0][1]
        for identifier, fields in entries:
            generation = reader.generation
            size = reader.read(identifier, fields)
            if size is None:
                continue
            if reader.generation != generation:
                window.cleared()
            window.read(reader.entry, reader.at, size)
        return len(entries)

    def take_published(self, message: bytes) -> bool:
        """Whether the entry in the message could be taken; else the log has to be read. Call `count` after the
        last one that came at once. Raises as `take`."""
        reader = self._reader
        size = reader.published(message)
        if size is None:
            return False
        self._uncounted.append((reader.entry, reader.at, size))
        return True

    def count(self) -> None:
        """Count what was taken from the channel as a part of the log."""
        for position, at, size in self._uncounted:
            self._window.read(position, at, size)
        self._uncounted.clear()
