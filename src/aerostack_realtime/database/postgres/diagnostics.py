"""What `aerostack check` reports about a PostgreSQL database: each problem with its fix."""

from __future__ import annotations

from textwrap import indent
from typing import Any, Final

import psycopg
from msgspec import Struct

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.address import parameters, shown
from aerostack_realtime.database.postgres.connection.errors import unusable
from aerostack_realtime.database.postgres.connection.pool import OLDEST_VERSION, Connection, TimeoutConnection
from aerostack_realtime.database.postgres.feed.catalogs import PUBLISHED
from aerostack_realtime.database.postgres.feed.publication import creation
from aerostack_realtime.database.postgres.migrations import SCHEMA, sql
from aerostack_realtime.database.postgres.settings import SILENCE_SECONDS
from aerostack_realtime.database.postgres.wal.slot import PLUGIN, default_name

Server = dict[str, Any]

CLUSTER_VERSION: Final = 14
"""The oldest major version for a cluster: the first whose output plugin sends messages."""
PER_NODE: Final = 3
"""Slots and WAL senders of a node: its own stream, and two for clients that resume from before its memory."""

_SERVER: Final = f"""
SELECT current_user::text AS role, current_database()::text AS database,
  current_setting('server_version_num')::int AS version,
  current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
  current_setting('max_replication_slots')::int AS slots,
  (SELECT count(*) FROM pg_replication_slots WHERE slot_name <> %(slot)s
   AND NOT (temporary AND starts_with(slot_name, left(%(slot)s, 40) || '_'))) AS slots_others,
  current_setting('max_wal_senders')::int AS senders,
  (SELECT count(*) FROM pg_stat_replication WHERE application_name IS DISTINCT FROM 'aerostack') AS senders_others,
  (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) AS replicates,
  COALESCE((SELECT pg_has_role(oid, 'member') FROM pg_roles WHERE rolname IN ('rds_replication', 'azure_pg_admin')
            LIMIT 1), false) AS replicates_as_member,
  has_database_privilege(current_database(), 'CREATE') AS creates,
  to_regnamespace(%(schema)s) IS NOT NULL AS schema,
  COALESCE(has_schema_privilege(to_regnamespace(%(schema)s), 'USAGE'), false) AND NOT EXISTS (
    SELECT FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) needed
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind = 'r'
    AND NOT has_table_privilege(c.oid, needed)) AS uses,
  EXISTS (SELECT FROM pg_publication WHERE pubname = %(publication)s) AS published,
  (SELECT pg_has_role(pubowner, 'member') OR puballtables
            OR EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = pub.pubname) AND NOT EXISTS (
              SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND pg_has_role(c.relowner, 'member')
              AND n.nspname NOT IN ('pg_catalog', 'information_schema', %(schema)s) AND NOT {PUBLISHED})
   FROM pg_publication pub WHERE pubname = %(publication)s) AS publishes,
  (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS keep_mib,
  to_jsonb(s) AS slot
FROM (VALUES (1)) one(row) LEFT JOIN pg_replication_slots s ON slot_name = %(slot)s
"""

_TABLES: Final = f"""
SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relreplident = 'f',
  pg_has_role(c.relowner, 'member'), has_table_privilege(c.oid, 'SELECT'),
  {PUBLISHED}
FROM {SCHEMA}.watches w JOIN pg_class c ON c.oid = w.relation JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_publication pub ON pub.pubname = %(publication)s
"""


class Problem(Struct, frozen=True):
    """What is wrong, and how a DBA fixes it: by SQL where that is enough."""

    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.message}\n{indent(self.fix, '    ')}"


async def diagnose(
    dsn: str, *, slot: str | None, publication: str, resume_bytes: int, nodes: int = 1
) -> list[Problem]:
    """Check everything that row changes need on `nodes` nodes, and change nothing. Raises DatabaseUnusable."""
    try:
        async with await TimeoutConnection.connect(**parameters(dsn), autocommit=True) as connection:
            connection.silence_timeout = SILENCE_SECONDS
            major = connection.info.server_version // 10_000
            if major < OLDEST_VERSION:
                raise DatabaseUnusable(
                    f"{shown(dsn)} is PostgreSQL {major}: upgrade it, {OLDEST_VERSION} or newer is needed."
                )
            slot = slot or default_name(connection.info.dbname)
            server = await _server(connection, slot, publication)
            found = [
                *_settings(server, nodes),
                *_rights(server, publication),
                *_slot(server, slot, resume_bytes),
            ]
            if server["uses"]:
                found += await _tables(connection, server["role"], publication)
            return found
    except psycopg.Error as error:
        raise unusable(error, dsn) from error


async def _server(connection: Connection, slot: str, publication: str) -> Server:
    names = {"slot": slot, "publication": publication, "schema": SCHEMA}
    rows = await connection.execute(_SERVER, names)
    row = await rows.fetchone()
    assert row is not None, "it gives one row"
    return dict(zip([column.name for column in rows.description or ()], row, strict=True))


def _settings(server: Server, nodes: int) -> list[Problem]:
    found = []
    if server["standby"]:
        found.append(Problem("This is a standby, which accepts no writes.", "Name the primary in the address."))
    if server["wal_level"] != "logical":
        found.append(
            Problem(
                f"wal_level is {server['wal_level']}: row changes are not in the WAL.",
                "ALTER SYSTEM SET wal_level = 'logical';  -- then restart PostgreSQL",
            )
        )
    if nodes > 1 and server["version"] < CLUSTER_VERSION * 10_000:
        found.append(
            Problem(f"A cluster needs PostgreSQL {CLUSTER_VERSION} or newer.", "Upgrade it, or run a single node.")
        )
    for what, name in (("slots", "max_replication_slots"), ("senders", "max_wal_senders")):
        limit, others, needed = server[what], server[f"{what}_others"], nodes * PER_NODE
        if server["slot"] is None and others >= limit:
            found.append(
                Problem(
                    f"{name} is {limit}, and all are in use.",
                    f"ALTER SYSTEM SET {name} = {limit + 10};  -- then restart PostgreSQL",
                )
            )
        elif nodes > 1 and others + needed > limit:
            found.append(
                Problem(
                    f"{name} is {limit}: {nodes} nodes need up to {needed}, beside {others} that others use.",
                    f"ALTER SYSTEM SET {name} = {others + needed + 5};  -- then restart PostgreSQL",
                )
            )
    return found


def _rights(server: Server, publication: str) -> list[Problem]:
    role = _quoted(server["role"])
    found = []
    if not (server["replicates"] or server["replicates_as_member"]):
        found.append(
            Problem(
                f"The role {server['role']} may not read the WAL.",
                f"ALTER ROLE {role} REPLICATION;  -- on RDS: GRANT rds_replication TO {role};",
            )
        )
    if not server["schema"] and not server["creates"]:
        found.append(
            Problem(f"The role {server['role']} may not create the schema {SCHEMA}.", sql(server["role"]).strip())
        )
    if server["schema"] and not server["uses"]:
        found.append(
            Problem(
                f"The role {server['role']} may not use the schema {SCHEMA}.",
                f"GRANT USAGE ON SCHEMA {SCHEMA} TO {role}; "
                f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {role};",
            )
        )
    if not server["published"] and not server["creates"]:
        found.append(
            Problem(
                f"There is no publication {publication}, and the role {server['role']} may not create it.",
                f"{creation(publication, server['version']).as_string()}; "
                f"ALTER PUBLICATION {_quoted(publication)} OWNER TO {role};  -- as a superuser",
            )
        )
    if server["published"] and not server["publishes"]:
        found.append(
            Problem(
                f"The publication {publication} belongs to another role, not to {server['role']}.",
                f"ALTER PUBLICATION {_quoted(publication)} OWNER TO {role};  -- as a superuser",
            )
        )
    return found


def _slot(server: Server, slot: str, resume_bytes: int) -> list[Problem]:
    found = []
    state = server["slot"]
    if state is not None and (state["plugin"] != PLUGIN or state["database"] != server["database"]):
        found.append(
            Problem(
                f"The replication slot {slot} belongs to another program or database.",
                'Name another one: slot = "…" under [postgres] in aerostack.toml.',
            )
        )
    elif state is not None and state["wal_status"] == "lost":
        found.append(
            Problem(
                f"PostgreSQL has removed WAL that the slot {slot} needs: clients that resume will get a gap.",
                f"SELECT pg_drop_replication_slot('{slot}');  -- or let the server do it when it starts",
            )
        )
    keep, needed = server["keep_mib"], 2 * resume_bytes >> 20
    if keep is not None and 0 <= keep << 20 < resume_bytes:
        found.append(
            Problem(
                f"max_slot_wal_keep_size is {keep} MB, less than resume_bytes ({resume_bytes >> 20} MB).",
                f"ALTER SYSTEM SET max_slot_wal_keep_size = '{needed}MB'; SELECT pg_reload_conf();",
            )
        )
    return found


async def _tables(connection: Connection, role: str, publication: str) -> list[Problem]:
    rows = await connection.execute(_TABLES, {"publication": publication})
    found = []
    for table, full, owned, readable, published in await rows.fetchall():
        if not full and not owned:
            found.append(
                Problem(
                    f"The old rows of {table} are not in the WAL, and {role} does not own it.",
                    f"ALTER TABLE {table} REPLICA IDENTITY FULL;",
                )
            )
        if not published and not owned:
            found.append(
                Problem(
                    f"{table} is not published, and {role} does not own it.",
                    f"ALTER PUBLICATION {_quoted(publication)} ADD TABLE {table};"
                    "  -- as a superuser, or a role that owns both",
                )
            )
        if not readable:
            found.append(
                Problem(
                    f"{role} may not read {table}, so there are no snapshots of it.",
                    f"GRANT SELECT ON {table} TO {_quoted(role)};",
                )
            )
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
