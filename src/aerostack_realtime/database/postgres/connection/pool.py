"""Connections to a PostgreSQL server.

Values travel as text, so one conversion (types/values.py) serves queries, snapshots and the replication stream.
TLS, passwords and service files are left to libpq: whatever psql connects to, this does.
"""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.address import parameters, shown
from aerostack_realtime.database.postgres.connection.cancellation import (
    cancellable,
    cancellations,
    raise_if_cancelled,
)
from aerostack_realtime.database.postgres.connection.errors import translate, unusable
from aerostack_realtime.database.postgres.settings import SILENCE_SECONDS
from aerostack_realtime.protocol.errors import Overloaded, ServerClosing, Unavailable

OLDEST_VERSION: Final = 13
"""The oldest supported major version: the oldest that PostgreSQL's developers supported when this was written."""

WAIT_SECONDS: Final = 5.0
"""How long a command waits for a free connection before it fails with Unavailable."""
WAITING_LIMIT: Final = 1_000
"""Commands that may wait for a connection: any more would wait longer than their clients do."""
CLOSE_SECONDS: Final = 5.0
"""How long closing waits for cancelled statements."""

Connection = AsyncConnection[TupleRow]
Result = TypeVar("Result")


class TimeoutConnection(Connection):
    """A connection that is closed when the server is silent for longer than its `silence_timeout`: whatever waits
    for a reply raises OperationalError."""

    silence_timeout: float | None = None
    """Seconds of silence before a wait for the server fails; None: it never does."""
    _interrupted = False

    async def wait(self, gen: PQGen[Result], *how: Any, **more: Any) -> Result:
        try:
            return await cancellable(super().wait(self._heard(gen), *how, **more))
        except _Silence:
            await self.close()
            raise

    def interrupt(self) -> None:
        """Make the current or the next wait fail."""
        self._interrupted = True

    def _heard(self, gen: PQGen[Result]) -> PQGen[Result]:
        """The same generator, which psycopg resumes every 0.1 s while nothing arrives. Raises _Silence."""
        heard = time.monotonic()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if ready:
                    heard = time.monotonic()
                silent = time.monotonic() - heard
                if self._interrupted or (self.silence_timeout is not None and silent > self.silence_timeout):
                    raise _Silence(f"the server has been silent for {silent:.0f} s")
                wanted = gen.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result


class _Silence(psycopg.OperationalError):
    """The server is probably unreachable."""


class Connections:
    """A pool of connections in autocommit: `use` lends one of them, `connect` opens one beside the pool.

    PostgreSQL cancels a statement after `statement_seconds` (0: never). If it does not reply within
    `silence_seconds` after that, the statement was lost on the way, and its connection is closed.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int = 8,
        statement_seconds: float = 30.0,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self._dsn = dsn
        self.silence_seconds = silence_seconds
        self._silence_timeout = statement_seconds + silence_seconds if statement_seconds else None
        self._lent: set[TimeoutConnection] = set()
        self._turns = asyncio.Semaphore(size)
        self._waiting = 0
        self._closed = False
        session = {
            "statement_timeout": str(int(statement_seconds * 1000)),
            "standard_conforming_strings": "on",  # which placeholders.py relies on
        }
        self._pool: AsyncConnectionPool[TimeoutConnection] = AsyncConnectionPool(
            kwargs=parameters(dsn, session=session) | {"autocommit": True},
            min_size=1,
            max_size=size,
            # No max_waiting: the pool counts timed-out callers as waiting until it has a connection, and rejects
            # new ones before it tries to open one. After an outage with that many callers it would never recover.
            timeout=WAIT_SECONDS,
            # After that the next command tries again: the pool's own pauses would grow to minutes.
            reconnect_timeout=WAIT_SECONDS,
            open=False,
            name="aerostack",
            check=_check,
            connection_class=TimeoutConnection,
            configure=self._configure,
        )

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        size: int = 8,
        statement_seconds: float = 30.0,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> Self:
        """Connect. `size`: how many statements run at once. `statement_seconds`: the value of PostgreSQL's
        `statement_timeout`.

        Raises DatabaseUnusable with one sentence that says what to do.
        """
        try:
            async with await AsyncConnection.connect(**parameters(dsn)) as first:
                major = first.info.server_version // 10_000
        except psycopg.Error as error:
            raise unusable(error, dsn) from error
        if major < OLDEST_VERSION:
            raise DatabaseUnusable(
                f"{shown(dsn)} is PostgreSQL {major}: upgrade it, {OLDEST_VERSION} or newer is needed."
            )
        made = cls(dsn, size=size, statement_seconds=statement_seconds, silence_seconds=silence_seconds)
        await made._pool.open()
        return made

    @property
    def dsn(self) -> str:
        """The address as it was given, with its password: for connecting, never for printing."""
        return self._dsn

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Borrow a connection.

        Raises Unavailable when none is free in time, Overloaded when too many callers wait for one, and errors
        inside as `translate` maps them.
        """
        self._check_open()
        before = cancellations()
        try:
            async with (
                self._yield_if_due() as until,
                self._pool.connection(until - time.monotonic()) as connection,
            ):
                raise_if_cancelled(before)
                self._lent.add(connection)
                try:
                    yield connection
                finally:
                    self._lent.discard(connection)
        except PoolTimeout as error:
            if self._lent:
                raise translate(error) from error
            raise Unavailable("The database is unreachable. Try again in a moment.") from error
        except psycopg.Error as error:
            self._check_open()
            raise translate(error) from error

    @asynccontextmanager
    async def _yield_if_due(self) -> AsyncIterator[float]:
        """Wait until fewer than `size` callers use the pool; gives the time until which this one may wait for its
        connection, as `time.monotonic`."""
        if self._waiting >= WAITING_LIMIT:
            raise Overloaded("Too many queries are waiting for the database. Try again in a moment.")
        until = time.monotonic() + WAIT_SECONDS
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise PoolTimeout("no turn came in time") from error
        finally:
            self._waiting -= 1
        try:
            yield until
        finally:
            self._turns.release()

    async def connect(self, *, session: Mapping[str, str] = {}) -> Connection:
        """A new connection beside the pool, in autocommit, without a time limit for statements.

        Raises Unavailable.
        """
        self._check_open()
        try:
            before = cancellations()
            made = await AsyncConnection.connect(**parameters(self._dsn, session=session), autocommit=True)
            try:
                raise_if_cancelled(before)
            except asyncio.CancelledError:
                await made.close()
                raise
            return made
        except psycopg.Error as error:
            raise Unavailable(str(unusable(error, self._dsn))) from error

    def interrupt(self) -> None:
        """Make statements without a time limit fail, because the server is silent on another connection, too."""
        if self._silence_timeout is None:
            for connection in list(self._lent):
                connection.interrupt()

    async def close(self) -> None:
        """Cancel the running statements and close the pool's connections. Idempotent."""
        self._closed = True
        for connection in list(self._lent):
            with suppress(psycopg.Error):
                await connection.cancel_safe(timeout=CLOSE_SECONDS)
        await self._pool.close(CLOSE_SECONDS)

    async def _configure(self, connection: TimeoutConnection) -> None:
        connection.silence_timeout = self._silence_timeout

    def _check_open(self) -> None:
        if self._closed:
            raise ServerClosing


def looks_disconnected(connection: Connection) -> bool:
    """Whether an idle connection is probably broken: there is something to read from it."""
    if connection.closed:
        return True
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    return bool(poll.poll(0))


async def _check(connection: Connection) -> None:
    if looks_disconnected(connection):
        await AsyncConnectionPool.check_connection(connection)
