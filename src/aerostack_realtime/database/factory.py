"""Which database an address names, and opening it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from psycopg.pq import Conninfo

from aerostack_realtime.database.base import ChangeListener, Database, Retention
from aerostack_realtime.database.postgres.connection.pool import shown as shown_dsn
from aerostack_realtime.database.postgres.database import DEFAULTS, PostgresDatabase, PostgresSettings
from aerostack_realtime.database.sqlite.database import SqliteDatabase

_WORDS = "|".join(option.keyword.decode() for option in Conninfo.get_defaults())
_SERVER = re.compile(
    rf"""\s*['"]?(?:[a-z][a-z0-9+.:-]*://|postgres(?:ql)?:|(?://)?[^/\s:]*:.*@|(?:{_WORDS})\s*=|.*\bpassword\s*=)""",
    re.IGNORECASE | re.DOTALL,
)
"""A URL, libpq's `host=… dbname=…`, and what was meant as one of them: as a file's path it would be printed, with
its password."""


def is_url(address: str) -> bool:
    """Whether an address is a PostgreSQL server's, as a URL or in libpq's words, be it written wrong; else it is
    the path of a SQLite file."""
    return _SERVER.match(address) is not None


def shown(address: str) -> str:
    """The address as it may be printed: without a password."""
    return shown_dsn(address) if is_url(address) else address


async def open_database(
    address: str,
    listener: ChangeListener,
    *,
    retention: Sequence[Retention] = (),
    postgres: PostgresSettings = DEFAULTS,
    follow: bool = True,
) -> Database:
    """Open the database that an address names. Without `follow`, for a command that hears of no changes.

    Raises DatabaseUnusable with one sentence that says what to do.
    """
    if is_url(address):
        return await PostgresDatabase.open(
            address, listener, retention=retention, settings=postgres, follow=follow
        )
    return await SqliteDatabase.open(address, listener, retention=retention)
