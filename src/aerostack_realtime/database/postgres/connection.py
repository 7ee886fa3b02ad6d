"""Connections to a PostgreSQL server, and its errors as ours.

Values travel as text: one conversion (values.py) then serves queries, snapshots and the replication stream.
`SESSION` makes every session print them alike, whatever the server's or the role's own settings are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Self

import psycopg
from psycopg import AsyncConnection, conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Unavailable

OLDEST: Final = 13
"""The oldest major version that is served: the oldest that its makers supported when this was written."""

SESSION: Final = {
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "client_encoding": "UTF8",
}

CONNECT_SECONDS: Final = 10
WAIT_SECONDS: Final = 5.0
"""How long a command waits for a free connection before it is told to try again."""

Connection = AsyncConnection[TupleRow]


def parameters(dsn: str, **more: Any) -> dict[str, Any]:
    """libpq's parameters of a URL or conninfo string, our session settings with them. Raises DatabaseUnusable."""
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise DatabaseUnusable(f"The database's address cannot be read: {_first_line(error)}.") from None
    options = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    given["options"] = f"{given.get('options', '')} {options}".strip()
    return {"connect_timeout": CONNECT_SECONDS, "application_name": "aerostack"} | given | more


def shown(dsn: str) -> str:
    """The address without its password, for people."""
    given = conninfo.conninfo_to_dict(dsn)
    where = given.get("host") or "localhost"
    return f"postgresql://{where}:{given.get('port') or 5432}/{given.get('dbname') or given.get('user') or ''}"


class Connections:
    """A pool of connections in autocommit. `use` lends one; `translate` tells what its errors mean."""

    def __init__(self, dsn: str, *, size: int = 8, statement_seconds: float = 30.0) -> None:
        self._dsn = dsn
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            conninfo.make_conninfo(**parameters(dsn)),
            kwargs={
                "autocommit": True,
                "options": parameters(dsn)["options"] + f" -c statement_timeout={int(statement_seconds * 1000)}",
            },
            min_size=1,
            max_size=size,
            timeout=WAIT_SECONDS,
            open=False,
            name="aerostack",
            check=AsyncConnectionPool.check_connection,
        )

    @classmethod
    async def open(cls, dsn: str, *, size: int = 8, statement_seconds: float = 30.0) -> Self:
        """Connect. Raises DatabaseUnusable with one sentence that says what to do."""
        try:
            async with await AsyncConnection.connect(**parameters(dsn)) as first:
                major = first.info.server_version // 10_000
        except psycopg.Error as error:
            raise unusable(error, dsn) from error
        if major < OLDEST:
            raise DatabaseUnusable(f"{shown(dsn)} is PostgreSQL {major}; {OLDEST} or newer is needed.")
        made = cls(dsn, size=size, statement_seconds=statement_seconds)
        await made._pool.open()
        return made

    @asynccontextmanager
    async def use(self) -> AsyncIterator[Connection]:
        """Borrow a connection. Raises Unavailable when none is free in time, and what `translate` makes of an
        error inside."""
        try:
            async with self._pool.connection() as connection:
                yield connection
        except (psycopg.Error, PoolTimeout) as error:
            raise translate(error) from error

    async def close(self) -> None:
        await self._pool.close()


def unusable(error: psycopg.Error, dsn: str) -> DatabaseUnusable:
    """What keeps the server from being reached, in one sentence."""
    return DatabaseUnusable(f"{shown(dsn)} cannot be used: {_first_line(error)}.")


def translate(error: Exception) -> AerostackError:
    """An error of psycopg as ours."""
    if isinstance(error, AerostackError):
        return error
    if isinstance(error, (psycopg.OperationalError, PoolTimeout, psycopg.InterfaceError)):
        return Unavailable(f"The database cannot be reached ({_first_line(error)}). Try again in a moment.")
    return BadMessage(f"The database says: {_first_line(error)}.")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".")
