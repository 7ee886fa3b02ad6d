"""The replication connection: the WAL that a slot streams, as payloads of pgoutput, and our confirmations.

Source of the message formats: PostgreSQL documentation, "Streaming Replication Protocol" and "Logical Streaming
Replication Parameters". libpq does TLS, passwords and framing; psycopg's `pgconn` is libpq.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final, Self

import psycopg
from msgspec import Struct
from psycopg import pq, sql

from aerostack_realtime.database.base import LARGE_BYTES, DatabaseUnusable
from aerostack_realtime.database.postgres.connection.address import parameters
from aerostack_realtime.database.postgres.connection.errors import unusable
from aerostack_realtime.database.postgres.connection.pool import TimeoutConnection
from aerostack_realtime.database.postgres.settings import SILENCE_SECONDS

PG_EPOCH_US: Final = 946_684_800_000_000
"""2000-01-01 in µs since the Unix epoch: the zero of PostgreSQL's timestamps."""

_DATA: Final = struct.Struct("!cQQq")
_HEAD: Final = _DATA.size
_KEEPALIVE: Final = struct.Struct("!cQq?")
_STATUS: Final = struct.Struct("!cQQQq?")
_WAL_DATA: Final = ord("w")
_STARTED: Final = (
    "SELECT extract(epoch FROM pg_postmaster_start_time()), checkpoint_lsn FROM pg_control_checkpoint()"
)


class Keepalive(Struct, frozen=True, gc=False):
    """Everything committed before `wal_end` has been sent. `reply`: confirm at once."""

    wal_end: int
    reply: bool


Received = bytes | memoryview | Keepalive | None
"""A message of the output plugin (a large one is not copied), a keepalive, or nothing."""


CHECKPOINT_BYTES: Final = 256
"""More than the record of a checkpoint takes in the WAL, about 120 bytes and a page header."""


class SystemIdentity(Struct, frozen=True):
    """Identifies the server: `timeline` grows with every promotion, `wal_end` is where its WAL ends.

    `started` is when the server was started, as text. `checkpoint` is where its last checkpoint begins: right
    after a start, where the WAL ended that the server found. Both are None for a role that may not ask for them.
    """

    system: str
    timeline: int
    wal_end: int
    started: str | None = None
    checkpoint: int | None = None

    def lacks(self, position: int, before: SystemIdentity, switches: Mapping[int, int]) -> bool:
        """Whether this server lacks WAL up to `position`, which it had when it was `before`: it was restored from
        a backup. `switches` are where earlier timelines ended."""
        if self.system != before.system or min(switches.get(before.timeline, position), self.wal_end) < position:
            return True
        # Writers may have moved the WAL beyond the position since. Of another timeline, the switch says the same.
        restarted = self.timeline == before.timeline and self.started != before.started
        return restarted and self.checkpoint is not None and self.checkpoint + CHECKPOINT_BYTES < position


class ReplicationEnded(Exception):
    """The server ended the stream."""


@asynccontextmanager
async def silence_limit(seconds: float) -> AsyncIterator[None]:
    """Limit how long the block inside waits. Raises ReplicationEnded."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ReplicationEnded(f"PostgreSQL has been silent for {seconds:g} s") from None


def lsn_of(text: str) -> int:
    """`16/B374D848` as a number: bytes of WAL since its beginning."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_text(lsn: int) -> str:
    """A position in the WAL as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class ReplicationStream:
    """One connection that streams a slot. Raises psycopg.Error and ReplicationEnded.

    A request that is not answered within `silence_seconds` means that the server is unreachable; the caller
    decides how long to wait for `more`.
    """

    def __init__(self, connection: TimeoutConnection, silence_seconds: float) -> None:
        connection.silence_timeout = silence_seconds
        self._connection = connection
        self._silence_seconds = silence_seconds
        self._pgconn = connection.pgconn
        self._copy_data = self._pgconn.get_copy_data
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._duplicate = -1
        """Of the socket's descriptor: libpq may close its own in any call, and no event loop may watch it then."""
        self._is_watched = False
        self._aborted: Exception | None = None

    @classmethod
    async def connect(cls, dsn: str, silence_seconds: float = SILENCE_SECONDS) -> Self:
        """Raises DatabaseUnusable with what to do about it."""
        made = parameters(dsn, replication="database")
        try:
            return cls(await TimeoutConnection.connect(autocommit=True, **made), silence_seconds)
        except psycopg.OperationalError as error:
            needs = "Reading the WAL also needs ALTER ROLE … REPLICATION (RDS: GRANT rds_replication)."
            raise DatabaseUnusable(f"{unusable(error, dsn)} {needs}") from error

    async def identify(self) -> SystemIdentity:
        (system, timeline, wal_end, _) = (await self._rows("IDENTIFY_SYSTEM"))[0]
        try:
            ((started, checkpoint),) = await self._rows(_STARTED)
        except psycopg.errors.InsufficientPrivilege:
            return SystemIdentity(system, int(timeline), lsn_of(wal_end))
        return SystemIdentity(system, int(timeline), lsn_of(wal_end), started, lsn_of(checkpoint))

    async def switch_points(self, timeline: int) -> dict[int, int]:
        """For every ancestor of `timeline`, the position where it ended."""
        if timeline == 1:
            return {}
        (_, content) = (await self._rows(f"TIMELINE_HISTORY {timeline}"))[0]
        lines = [line.split("\t") for line in content.splitlines() if line.strip() and not line.startswith("#")]
        return {int(parent): lsn_of(switch) for parent, switch, *_ in lines}

    async def copy_slot(self, slot: str, copy: str) -> int:
        """Copy a slot for the life of this connection; returns the position from which on the copy has
        everything."""
        await self._rows(f"SELECT pg_copy_logical_replication_slot('{slot}', '{copy}', true)")
        ((lsn,),) = await self._rows(
            f"SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{copy}'"
        )
        return lsn_of(lsn)

    async def start(self, slot: str, since: int, options: Mapping[str, str]) -> None:
        """Stream what was committed after `since`, or after the position that the slot has confirmed if that is
        later."""
        listed = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.Literal(value)) for name, value in options.items()
        )
        command = sql.SQL("START_REPLICATION SLOT {} LOGICAL {} ({})").format(
            sql.Identifier(slot), sql.SQL(lsn_text(since)), listed
        )
        self._pgconn.send_query(command.as_string(self._connection).encode())
        self._pgconn.flush()
        while (result := self._pgconn.get_result() if not self._pgconn.is_busy() else None) is None:
            async with silence_limit(self._silence_seconds):
                await self._readable()
            self._pgconn.consume_input()
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise psycopg.errors.lookup((result.error_field(pq.DiagnosticField.SQLSTATE) or b"08000").decode())(
                result.get_error_message()
            )

    def receive(self) -> Received:
        """The next message; None when none has arrived: wait for `more`."""
        size, data = self._copy_data(1)
        if size == 0:
            self._pgconn.consume_input()  # libpq reads 16 KiB of the socket at a time
            size, data = self._copy_data(1)
            if size == 0:
                return None
        if size < 0:
            result = self._pgconn.get_result()
            raise ReplicationEnded(result.get_error_message() if result is not None else "the server closed it")
        if size > LARGE_BYTES and data[0] == _WAL_DATA:
            return data[_HEAD:]
        message = data.tobytes()
        if message[0] == _WAL_DATA:
            return message[_HEAD:]
        _, wal_end, _, reply = _KEEPALIVE.unpack_from(message)
        return Keepalive(wal_end, reply)

    async def more(self) -> None:
        """Wait until another message may have arrived."""
        await self._readable()

    def confirm(self, received: int, kept: int, now_us: int, *, ask: bool = False) -> None:
        """Confirm that everything before `received` has arrived, and that WAL before `kept` may be removed; `ask`:
        request a keepalive at once."""
        self._pgconn.put_copy_data(_STATUS.pack(b"r", received, kept, kept, now_us - PG_EPOCH_US, ask))
        self._pgconn.flush()

    async def close(self) -> None:
        if self._duplicate >= 0:
            self._unwatch()
            os.close(self._duplicate)
            self._duplicate = -1
        await self._connection.close()

    async def _rows(self, command: str) -> list[tuple[str, ...]]:
        cursor = await self._connection.execute(command)
        return [tuple(_text(value) for value in row) for row in await cursor.fetchall()]

    def abort(self, error: Exception) -> None:
        """Make the current or next wait for `more` fail with `error`."""
        self._aborted = error
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    async def _readable(self) -> None:
        if self._aborted is not None:
            raise self._aborted
        self._watch()
        self._waiting = self._loop.create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _watch(self) -> None:
        """Watch the socket until something arrives for which nobody waits. To begin and end that for each message
        takes seven system calls."""
        if not self._is_watched:
            if self._duplicate < 0:
                self._duplicate = os.dup(self._pgconn.socket)
            self._loop.add_reader(self._duplicate, self._arrived)
            self._is_watched = True

    def _unwatch(self) -> None:
        if self._is_watched:
            self._loop.remove_reader(self._duplicate)
            self._is_watched = False

    def _arrived(self) -> None:
        if self._waiting is None:
            self._unwatch()
        elif not self._waiting.done():
            self._waiting.set_result(None)


def _text(value: object) -> str:
    """PostgreSQL 13 returns a timeline's history as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)
