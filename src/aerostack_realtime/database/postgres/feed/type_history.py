"""What the types of watched tables are and were: ALTER TYPE changes how every row prints that has a value of one.

PostgreSQL prints the values in its log by the types as they were at that place, and keeps no earlier ones: so each
edition is noted in our schema when it is first seen. No row changes then that the log would tell of, so whoever
has rows of such a table is to fetch them again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.types.types import BUILTINS, Edition, Enumeration, Made, Types
from aerostack_realtime.database.postgres.wal.stream import lsn_of, lsn_text

_INTERRUPT: Final = """
WITH RECURSIVE altered(oid) AS (
    SELECT unnest(%s::oid[])
  UNION
    SELECT t.oid FROM altered a, pg_catalog.pg_type t
    WHERE t.typbasetype = a.oid OR t.typelem = a.oid OR t.typtype = 'c' AND EXISTS (
        SELECT FROM pg_catalog.pg_attribute p
        WHERE p.attrelid = t.typrelid AND p.atttypid = a.oid AND NOT p.attisdropped)
)
UPDATE aerostack.watches SET since = greatest(since, %s::pg_lsn) WHERE relation IN (
    SELECT p.attrelid FROM pg_catalog.pg_attribute p JOIN altered ON p.atttypid = altered.oid
    WHERE NOT p.attisdropped)
"""
"""Whoever stands before this place in a table with a column of such a type has a gap."""


class Editions:
    """Reads types into `types`. The log is read by what they are now up to the place `read_at`."""

    def __init__(self, connections: Connections, types: Types) -> None:
        self.read_at = 0
        self._connections = connections
        self._types = types
        self._seen: dict[int, Made] = {}
        self._asked: set[int] = set()
        self._reading = asyncio.Lock()

    async def read(self, oids: Iterable[int], since: int | None = None) -> bool:
        """Look at types, and at all they are made of, as they are now; whether one prints otherwise than before:
        a composite with other attributes, an enum of which a label was renamed.

        Such a one has a new edition, from the place `since` in the log or from now on, and before it the tables
        concerned are not continued: their `since` is raised. Raises Unavailable.
        """
        asked = {oid for oid in oids if oid not in BUILTINS}
        if not asked:
            return False
        async with self._reading, self._connections.use() as connection, connection.transaction():
            # One after the other whoever asks, since what is seen and what is noted have to be the same.
            before = await _position(connection)
            found = await self._types.load(connection, asked)
            if asked <= self._asked and all(self._seen.get(oid) == shape for oid, shape in found.items()):
                self.read_at = before
                return False
            known = await _noted(connection)
            after = await _position(connection) if since is None else since
            altered = await self._note(connection, known, found, after)
        self.read_at = before
        self._asked |= asked
        self._seen |= found
        self._types.learn(known)
        return altered

    async def _note(
        self, connection: Connection, known: dict[int, list[Edition]], found: Mapping[int, Made], since: int
    ) -> bool:
        new: list[tuple[int, str, str]] = []
        altered = []
        for oid, shape in found.items():
            editions = known.setdefault(oid, [])
            if editions and editions[-1].shape == shape:
                continue
            if editions and not _extends(shape, editions[-1].shape):
                altered.append(oid)
            edition = Edition(max(since, editions[-1].since + 1) if editions else 0, shape)
            editions.append(edition)
            new.append((oid, lsn_text(edition.since), msgspec.json.encode(shape).decode()))
        async with connection.cursor() as cursor:
            await cursor.executemany("INSERT INTO aerostack.types(oid, since, shape) VALUES(%s, %s, %s)", new)
            if altered:
                await cursor.execute(_INTERRUPT, (altered, lsn_text(since)))
        return bool(altered)


async def _position(connection: Connection) -> int:
    """Where the log stands: what is committed by now lies before it, what is committed later behind it."""
    rows = await connection.execute("SELECT pg_current_wal_insert_lsn()")
    (position,) = await rows.fetchone() or ("0/0",)
    return lsn_of(position)


async def _noted(connection: Connection) -> dict[int, list[Edition]]:
    rows = await connection.execute("SELECT oid::int8, since, shape FROM aerostack.types ORDER BY oid, since")
    known: dict[int, list[Edition]] = {}
    for oid, since, shape in await rows.fetchall():
        known.setdefault(oid, []).append(Edition(lsn_of(since), msgspec.json.decode(shape, type=Made)))
    return known


def _extends(shape: object, before: object) -> bool:
    """Whether every value prints as before: an enum that has got more labels."""
    return (
        isinstance(shape, Enumeration)
        and isinstance(before, Enumeration)
        and set(before.labels) <= set(shape.labels)
    )
