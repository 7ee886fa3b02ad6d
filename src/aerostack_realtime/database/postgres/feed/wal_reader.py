"""Reads parts of the log that are no longer in memory: PostgreSQL retains them for our slot, and a copy of the
slot streams them again.

Between two parts a stream is parked, so that the next part continues it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final

import psycopg
from msgspec import Struct

from aerostack_realtime.database.postgres.connection.errors import translate
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.continuity import Continuity, LogDiverged
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Position
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.publication import Columns
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, OpaqueChange, Transactions
from aerostack_realtime.database.postgres.wal.stream import (
    Keepalive,
    ReplicationEnded,
    ReplicationStream,
    silence_limit,
)
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

READERS: Final = 2
"""Streams at the same time; further requests wait. Each takes a slot, a WAL sender and up to a core of
PostgreSQL."""
PARKED_SECONDS: Final = 20.0
"""How long a stream is parked for its next part: less than the wal_sender_timeout of 60 s."""
PART_BYTES: Final = 1 << 20
"""Bytes of a part, except for its last change: a part is in memory at once, several times over."""
CONTENDED_SECONDS: Final = 0.5
"""How long a stream stays parked while another reader waits: clients that read steadily ask again sooner."""
STEPS: Final = 250
"""Changes that are read before other tasks run: about half a millisecond."""

Tables = frozenset[int]
"""A table and its partitions, by their OIDs."""
Describe = Callable[[LoggedTable], Awaitable[None]]


class Part(Struct, frozen=True):
    """Changes of tables, and the position up to which the log was read. `lost`: before the first change, a table
    changed in a way that cannot be reported row by row."""

    entries: list[Entry]
    position: Position
    lost: bool


class WalReader:
    """`slot` is copied for each stream; `options` are those of the output plugin."""

    def __init__(
        self,
        connections: Connections,
        slot: str,
        options: Mapping[str, str],
    ) -> None:
        self._connections = connections
        self._slot = slot
        self._options = options
        self._turns = asyncio.Semaphore(READERS)
        self._parked: dict[tuple[Tables, Position], tuple[_Reader, asyncio.TimerHandle]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def part(
        self, tables: Tables, since: Cursor, limit: int, until: Callable[[], Position], describe: Describe
    ) -> Part | None:
        """The first changes of tables after a cursor, at most `limit` and about PART_BYTES, up to the position
        `until`; None when PostgreSQL has removed them, or has another change at the cursor. `describe` makes a
        table's rows convertible. Raises Unavailable.
        """
        reader = await self._reader(tables, since, describe)
        if reader is None:
            return None
        try:
            part = await reader.read(tables, limit, until)
        except LogDiverged:
            await self._end(reader)
            return None
        except (psycopg.Error, ReplicationEnded, OSError) as error:
            await self._end(reader)
            raise _broken(error) from error
        except BaseException:
            await self._end(reader)
            raise
        if part.position < until() or reader.lost:
            self._park((tables, part.position), reader)
        else:
            await self._end(reader)
        return part

    def leave(self, tables: Tables, after: Position) -> None:
        """No further part after this one is needed."""
        if (tables, after) in self._parked:
            self._expire((tables, after))

    async def close(self) -> None:
        """Idempotent."""
        for key in list(self._parked):
            self._expire(key)
        await asyncio.gather(*self._closing)

    async def _reader(self, tables: Tables, since: Cursor, describe: Describe) -> _Reader | None:
        parked = self._parked.pop((tables, since.position), None)
        if parked is not None:
            parked[1].cancel()
            return parked[0]
        await self._take_turn()
        try:
            reader = await _Reader.open(self._connections, self._slot, since, self._options, describe)
        except (psycopg.Error, ReplicationEnded, OSError) as error:
            self._turns.release()
            raise _broken(error) from error
        except BaseException:
            self._turns.release()
            raise
        if reader is None:
            self._turns.release()
        return reader

    async def _take_turn(self) -> None:
        """Wait until another stream may be opened. Raises Unavailable."""
        for _ in range(round(PARKED_SECONDS / CONTENDED_SECONDS)):
            try:
                async with asyncio.timeout(CONTENDED_SECONDS):
                    await self._turns.acquire()
                    return
            except TimeoutError:
                self._end_unused()
        raise Unavailable("Too many clients resume from far back. Try again in a moment.")

    def _end_unused(self) -> None:
        """End the stream that has been parked for longest, if that is long."""
        key = next(iter(self._parked), None)
        if key is not None:
            left = self._parked[key][1].when() - asyncio.get_running_loop().time()
            if left < PARKED_SECONDS - CONTENDED_SECONDS:
                self._expire(key)

    def _park(self, key: tuple[Tables, Position], reader: _Reader) -> None:
        timer = asyncio.get_running_loop().call_later(PARKED_SECONDS, self._expire, key)
        if key in self._parked:
            self._expire(key)
        self._parked[key] = reader, timer

    def _expire(self, key: tuple[Tables, Position]) -> None:
        reader, timer = self._parked.pop(key)
        timer.cancel()
        task = asyncio.get_running_loop().create_task(self._end(reader))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _end(self, reader: _Reader) -> None:
        self._turns.release()
        await reader.close()


class _Reader:
    """One stream through a copy of the slot."""

    def __init__(
        self, stream: ReplicationStream, since: Cursor, describe: Describe, silence_seconds: float
    ) -> None:
        self.lost = False
        self._silence_seconds = silence_seconds
        self._stream = stream
        self._continuity = Continuity.at(since) if since.position.index > 0 else None
        self._after = since.position
        self._position = since.position
        self._describe = describe
        self._transactions = Transactions()
        self._items: Iterator[Item] = iter(())
        self._columns: dict[int, Columns] = {}
        self._steps = 0

    @classmethod
    async def open(
        cls,
        connections: Connections,
        slot: str,
        since: Cursor,
        options: Mapping[str, str],
        describe: Describe,
    ) -> _Reader | None:
        """None when the slot does not reach back to the cursor."""
        silence_seconds = connections.silence_seconds
        stream = await ReplicationStream.connect(connections.dsn, silence_seconds)
        try:
            copy = f"{slot[:40]}_{secrets.token_hex(6)}"
            if await stream.copy_slot(slot, copy) <= since.position.lsn:
                await stream.start(copy, since.position.lsn, options)
                return cls(stream, since, describe, silence_seconds)
        except BaseException:
            await stream.close()
            raise
        await stream.close()
        return None

    async def read(self, tables: Tables, limit: int, until: Callable[[], Position]) -> Part:
        """Raises LogDiverged."""
        lost, self.lost = self.lost, False
        entries: list[Entry] = []
        room = PART_BYTES
        while len(entries) < limit and room > 0 and not self.lost and self._position < until():
            item = await self._next()
            if item is not None and self._continuity is not None and self._continuity.see(item):
                self._continuity = None
            if isinstance(item, Entry):
                if item.position > self._after and item.table.oid in tables:
                    entries.append(item)
                    room -= item.size
            elif isinstance(item, Committed):
                self._position = max(item.position, self._position)
            elif await self._loses(item, tables):
                self.lost, lost = bool(entries), lost or not entries
        if entries:
            self._after = entries[-1].position
        if len(entries) < limit and room > 0 and not self.lost:
            self._after = self._position
        return Part(entries, self._after, lost)

    async def _loses(self, item: Item | None, tables: Tables) -> bool:
        """Whether the tables changed in a way that their entries do not show."""
        if isinstance(item, OpaqueChange):
            return not tables.isdisjoint(item.relations) and item.position > self._after
        if isinstance(item, LoggedTable):
            await self._describe(item)
            if item.oid in tables:
                before = self._columns.get(item.oid)
                self._columns[item.oid] = item.columns
                return before not in (None, item.columns)
        return False

    async def close(self) -> None:
        self._transactions.close()
        with suppress(psycopg.Error):
            await self._stream.close()

    async def _next(self) -> Item | None:
        """The next item of the log; None when a message contained none."""
        self._steps += 1
        if self._steps % STEPS == 0:
            await asyncio.sleep(0)
        for item in self._items:
            return item
        message = self._stream.receive()
        if message is None:
            await self._more()
        elif isinstance(message, Keepalive):
            if self._transactions.between:
                self._position = max(self._position, Position(message.wal_end, 0))
            if message.reply:
                self._answer()
        else:
            self._items = iter(self._transactions.feed(message))
        return None

    async def _more(self) -> None:
        """Wait for the next message; a silent server is asked for a keepalive, because it may have nothing to
        send.

        Raises ReplicationEnded.
        """
        try:
            async with silence_limit(self._silence_seconds / 3):
                return await self._stream.more()
        except ReplicationEnded:
            self._answer(ask=True)
        async with silence_limit(self._silence_seconds * 2 / 3):
            await self._stream.more()

    def _answer(self, *, ask: bool = False) -> None:
        self._stream.confirm(self._position.lsn, self._position.lsn, time.time_ns() // 1000, ask=ask)


def _broken(error: Exception) -> AerostackError:
    """Map an error; reading has no side effects, so a stream that ended can be opened again."""
    if isinstance(error, ReplicationEnded):
        return Unavailable(f"The changes could not be read again ({error}). Try again in a moment.")
    return translate(error)
