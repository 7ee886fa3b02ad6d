"""A watch in PostgreSQL: a table in our publication whose WAL entries hold the whole old row.

A watch is by name, like a topic: `orders` is the table that the search path finds, `sales.orders` the one in that
schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import psycopg
from msgspec import Struct, json
from psycopg import sql

from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.feed.catalogs import FIND, NOTE, WATCHED
from aerostack_realtime.database.postgres.wal.stream import lsn_of
from aerostack_realtime.protocol.errors import Forbidden, NotFound, Unavailable

LOCK_SECONDS: Final = 3
"""How long a watch waits for transactions that write to the table; other writers wait behind it."""

_LOCK: Final = 0x77617463
"""Our advisory lock ("watc"): one node at a time puts a table under watch."""

_WATCHES_ANY: Final = "SELECT pg_current_wal_insert_lsn(), EXISTS (SELECT FROM aerostack.watches)"

Columns = tuple[tuple[str, int], ...]
"""The published columns of a table in its order: names and type OIDs."""

_KINDS: Final = {
    "v": "a view: watch the tables it reads",
    "m": "a materialized view: watch the tables it reads",
    "f": "a foreign table: watch it in its own database",
    "S": "a sequence",
    "i": "an index",
    "c": "a composite type",
}

_CATALOGS: Final = {
    "pg_catalog": "PostgreSQL",
    "information_schema": "PostgreSQL",
    "aerostack": "this program",
}

Identities = dict[str, str]
"""Earlier replica identities by the tables' OIDs: `d`, `n`, `f`, or `i` and the OID of an index."""


class InsufficientPrivilege(Forbidden):
    """The server's role lacks a right; `statements` are what other roles have to run."""

    def __init__(self, why: str, statements: Sequence[str]) -> None:
        super().__init__(
            f"{why}. Let a superuser, or the owner of all that is named, run: {'; '.join(statements)};"
        )
        self.statements = statements


def creation(name: str, version: int) -> sql.Composed:
    """The statement that creates our publication on a server of this version; it publishes the columns that
    `refresh` lists."""
    options = " WITH (publish_generated_columns = stored)" if version >= 180000 else ""
    return sql.SQL("CREATE PUBLICATION {}" + options).format(sql.Identifier(name))


class Watched(Struct, frozen=True):
    """A watched name as the catalogs have it now.

    `before` is the OID of the table that was watched, `relation` of the one that has the name now (None: no table
    has it), `parts` the OIDs of that and its partitions. `complete`: it is published with its old rows. `since` is
    the position after which its changes are complete.
    """

    name: str
    before: int
    since: int
    relation: int | None
    complete: bool
    parts: frozenset[int]
    columns: Columns


class Publication:
    """Our publication in one database. `version` is the server's, as a number like 170004."""

    def __init__(self, connections: Connections, name: str, version: int) -> None:
        self.read_at = 0
        """Where the WAL stood when the catalogs were last read."""
        self._connections = connections
        self._name = name
        self._version = version

    @property
    def quoted(self) -> str:
        """Its name as the output plugin's option takes it: a list of identifiers."""
        return '"' + self._name.replace('"', '""') + '"'

    async def is_missing(self) -> bool:
        async with self._connections.use() as connection:
            rows = await connection.execute("SELECT FROM pg_publication WHERE pubname = %s", (self._name,))
            return rows.rowcount == 0

    async def prepare(self) -> None:
        """Create the publication if it is missing. Raises Forbidden with the statement for a DBA."""
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT pubviaroot FROM pg_publication WHERE pubname = %s", (self._name,)
            )
            found = await rows.fetchone()
            if found is None:
                await _as_owner(connection, [creation(self._name, self._version)])
            elif found[0]:  # the rows of a partition could not be delivered to its own subscribers
                apart = sql.SQL("ALTER PUBLICATION {} SET (publish_via_partition_root = false)")
                await _as_owner(connection, [apart.format(sql.Identifier(self._name))])

    async def drop(self) -> None:
        """Remove the publication, if it is there."""
        statement = sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(self._name))
        async with self._connections.use() as connection:
            await _as_owner(connection, [statement])

    async def refresh(self) -> list[Watched]:
        """Read every watched name from the catalogs; the changes of a rewritten table are complete from here
        on."""
        generated = ["", "s"] if self._version >= 180000 else [""]
        async with self._connections.use() as connection:
            # Without a transaction: each statement must see what was committed before it, whatever the default
            # isolation, and this runs once a second.
            found = await (await connection.execute(_WATCHES_ANY)).fetchone()
            assert found is not None, "it selects one row"
            if not found[1]:
                return []
            read_at = lsn_of(found[0])
            await connection.execute(NOTE)
            rows = await connection.execute(WATCHED, {"generated": generated, "publication": self._name})
            self.read_at = read_at
            return [
                Watched(
                    f"{schema}.{table}" if schema else table,
                    before,
                    lsn_of(since),
                    relation,
                    bool(complete),
                    frozenset(parts) if relation is None else frozenset((relation, *parts)),
                    tuple(zip(names, types, strict=True)),
                )
                for schema, table, before, since, relation, complete, parts, names, types in await rows.fetchall()
            ]

    async def watch(self, name: str) -> None:
        """Publish the table that has the name now: every change that is committed after this is in our stream.
        Idempotent.

        Raises NotFound, Forbidden with the statements for a DBA, Unavailable when writers hold the table's lock.
        """
        schema, table = _split(name)
        async with self._connections.use() as connection:
            try:
                async with connection.transaction():
                    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                    await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                    known = await self._identities(connection)
                    relation, found, changed = await self._publish(connection, name)
                    if not changed and await self._is_noted(connection, schema, table, relation):
                        return  # by another node, meanwhile
                    before, identities = await self._forget(connection, schema, table) or (None, {})
                    before_us = {oid: known.get(oid, now) for oid, now in found.items()}
                    # We hold its lock, so every writer has ended: its changes lie before this position.
                    await connection.execute(
                        "INSERT INTO aerostack.watches(schema_name, table_name, relation, since, identities) "
                        "VALUES(%s, %s, %s, pg_current_wal_insert_lsn(), %s::jsonb)",
                        (schema, table, relation, json.encode(before_us).decode()),
                    )
                    await connection.execute(NOTE)
                    if before not in (None, relation):
                        await self._withdraw(connection, before, identities)
            except psycopg.errors.LockNotAvailable:
                raise Unavailable(
                    f"Open transactions write to {name!r}: try again when they have ended."
                ) from None

    async def unwatch(self, name: str) -> None:
        """Take the table out of the publication. Raises NotFound when the name is not watched."""
        schema, table = _split(name)
        async with self._connections.use() as connection, connection.transaction():
            forgotten = await self._forget(connection, schema, table)
            if forgotten is None:
                raise NotFound(f"{name!r} is not watched.")
            await self._withdraw(connection, *forgotten)

    async def clear(self) -> list[str]:
        """End every watch, each statement on its own; returns those that other roles have to run."""
        async with self._connections.use() as connection:
            identities = await self._identities(connection)
            rows = await connection.execute("SELECT DISTINCT relation::int8 FROM aerostack.watches")
            statements = [
                statement.as_string(connection)
                for (relation,) in await rows.fetchall()
                for statement in await self._withdrawal(connection, relation, identities, frozenset())
            ]
            left = []
            for text in dict.fromkeys(statements):  # a partition may be watched on its own, too
                try:
                    await connection.execute(text)
                except psycopg.errors.InsufficientPrivilege:
                    left.append(text)
            await connection.execute("DELETE FROM aerostack.watches")
            return left

    async def _identities(self, connection: Connection) -> Identities:
        """The replica identities of all watched tables before they were watched. Watches of schema version 2 and
        earlier do not have them: there, the default is assumed."""
        rows = await connection.execute(
            "SELECT COALESCE(identities, jsonb_build_object(relation::text, 'd') || COALESCE((SELECT "
            "jsonb_object_agg(relid::oid::text, 'd') FROM pg_partition_tree(relation)), '{}')) "
            "FROM aerostack.watches"
        )
        return {table: each for (of_watch,) in await rows.fetchall() for table, each in of_watch.items()}

    async def _forget(self, connection: Connection, schema: str, table: str) -> tuple[int, Identities] | None:
        rows = await connection.execute(
            "DELETE FROM aerostack.watches WHERE schema_name = %s AND table_name = %s "
            "RETURNING relation, identities",
            (schema, table),
        )
        found = await rows.fetchone()
        return None if found is None else (int(found[0]), found[1] or {})

    async def _is_noted(self, connection: Connection, schema: str, table: str, relation: int) -> bool:
        rows = await connection.execute(
            "SELECT FROM aerostack.watches WHERE schema_name = %s AND table_name = %s AND relation = %s",
            (schema, table, relation),
        )
        return rows.rowcount > 0

    async def _publish(self, connection: Connection, name: str) -> tuple[int, Identities, bool]:
        """The table's OID, the replica identities as they were until now, and whether anything had to be
        changed."""
        rows = await connection.execute(FIND, {"name": _quoted(name), "publication": self._name})
        found = await rows.fetchone()
        if found is None:
            raise NotFound(f"There is no table {name!r}. Create it first.")
        relation, kind, persistence, schema, table, published = found
        if kind not in ("r", "p"):
            raise NotFound(f"{name!r} is {_KINDS.get(kind, 'no table')}.")
        if schema in _CATALOGS:
            raise NotFound(f"{name!r} is a table of {_CATALOGS[schema]}, which cannot be watched.")
        if persistence != "p":
            raise NotFound(f"{name!r} is an unlogged or temporary table: its changes are not in the WAL.")
        target = sql.Identifier(schema, table)
        statements = [sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(target)]
        tables = await _with_leaves(connection, relation)
        statements += [
            sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL").format(each) for _, each, now in tables if now != "f"
        ]
        if not published:
            statements.append(
                sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(sql.Identifier(self._name), target)
            )
        if len(statements) > 1:
            await _as_owner(connection, statements)
        return int(relation), {str(oid): now for oid, _, now in tables}, len(statements) > 1

    async def _withdraw(self, connection: Connection, relation: int, identities: Identities) -> None:
        """Remove a table from the publication, and restore the replica identities of it and its partitions, except
        for those that another name watches."""
        rows = await connection.execute(
            "SELECT t.relid::int8, false FROM aerostack.watches w, pg_partition_tree(w.relation) t "
            "UNION SELECT relation::int8, relation = %s FROM aerostack.watches",
            (relation,),
        )
        watched = await rows.fetchall()
        if not any(same for _, same in watched):
            others = frozenset(oid for oid, _ in watched)
            await _as_owner(connection, await self._withdrawal(connection, relation, identities, others))

    async def _withdrawal(
        self, connection: Connection, relation: int, identities: Identities, watched: frozenset[int]
    ) -> list[sql.Composed]:
        """The statements that undo a watch; none where the table no longer exists."""
        rows = await connection.execute(
            "SELECT n.nspname, c.relname, EXISTS (SELECT FROM pg_publication_rel r "
            "JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %s AND r.prrelid = c.oid) "
            "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s",
            (self._name, relation),
        )
        found = await rows.fetchone()
        if found is None:
            return []
        schema, name, published = found
        statements = []
        if published:
            statements.append(
                sql.SQL("ALTER PUBLICATION {} DROP TABLE {}").format(
                    sql.Identifier(self._name), sql.Identifier(schema, name)
                )
            )
        for oid, table, _ in await _with_leaves(connection, relation):
            before = identities.get(str(oid), "d")
            if oid not in watched and before != "f":
                as_before = await _as_before(connection, before)
                statements.append(sql.SQL("ALTER TABLE {} REPLICA IDENTITY {}").format(table, as_before))
        return statements


async def wal_position(connection: Connection) -> int:
    """Where the WAL stands: everything committed by now lies before this position."""
    rows = await connection.execute("SELECT pg_current_wal_insert_lsn()")
    (lsn,) = await rows.fetchone() or ("0/0",)
    return lsn_of(lsn)


async def _with_leaves(connection: Connection, relation: int) -> list[tuple[int, sql.Identifier, str]]:
    """A table and its partitions that hold rows: OID, name, and replica identity as in Identities."""
    rows = await connection.execute(
        "SELECT c.oid::int8, n.nspname, c.relname, c.relreplident::text || COALESCE((SELECT indexrelid::text "
        "FROM pg_index WHERE indrelid = c.oid AND indisreplident AND c.relreplident = 'i'), '') "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(relation)s "
        "OR c.oid IN (SELECT relid FROM pg_partition_tree(%(relation)s) WHERE isleaf)",
        {"relation": relation},
    )
    return [(oid, sql.Identifier(schema, table), now) for oid, schema, table, now in await rows.fetchall()]


async def _as_before(connection: Connection, identity: str) -> sql.Composable:
    """The clause that restores a replica identity; the default where its index no longer exists."""
    if identity == "n":
        return sql.SQL("NOTHING")
    if identity.startswith("i"):
        rows = await connection.execute("SELECT relname FROM pg_class WHERE oid = %s::oid", (identity[1:],))
        if (found := await rows.fetchone()) is not None:
            return sql.SQL("USING INDEX {}").format(sql.Identifier(found[0]))
    return sql.SQL("DEFAULT")


async def _as_owner(connection: Connection, statements: Iterable[sql.Composed]) -> None:
    texts = [statement.as_string(connection) for statement in statements]
    try:
        for text in texts:
            await connection.execute(text)
    except psycopg.errors.InsufficientPrivilege as error:
        needed = [text for text in texts if not text.startswith("LOCK")]
        raise InsufficientPrivilege(
            f"The server's role may not do this ({error.diag.message_primary})", needed
        ) from None


def _split(name: str) -> tuple[str, str]:
    schema, _, table = name.rpartition(".")
    return schema, table


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in _split(name) if part)
