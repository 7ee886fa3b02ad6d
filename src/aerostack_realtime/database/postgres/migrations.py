"""Our tables, in a schema of their own; a server creates or updates them when it starts."""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import errors

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.errors import unusable
from aerostack_realtime.database.postgres.connection.pool import Connection

SCHEMA: Final = "aerostack"

_LOCK: Final = 0x6165726F
"""Our advisory lock ("aero"): a migration holds it to the end of its transaction."""

MIGRATIONS: Final = (
    f"""\
CREATE TABLE IF NOT EXISTS {SCHEMA}.meta(key text PRIMARY KEY, value text);
CREATE TABLE IF NOT EXISTS {SCHEMA}.messages(
  topic text COLLATE "C" NOT NULL, created_at bigint NOT NULL, position bigint NOT NULL,
  id text COLLATE "C" NOT NULL, user_id text COLLATE "C" NOT NULL, event text NOT NULL, data bytea NOT NULL,
  PRIMARY KEY (topic, created_at));
CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON {SCHEMA}.messages(topic, user_id, id);
CREATE TABLE IF NOT EXISTS {SCHEMA}.watches(
  schema_name text, table_name text, relation oid NOT NULL, since pg_lsn NOT NULL,
  PRIMARY KEY (schema_name, table_name));
CREATE TABLE IF NOT EXISTS {SCHEMA}.kept(
  kind text, key text, value text NOT NULL, PRIMARY KEY (kind, key));
CREATE TABLE IF NOT EXISTS {SCHEMA}.runs(
  id text PRIMARY KEY, began timestamptz DEFAULT now(), lsn pg_lsn NOT NULL, timeline int NOT NULL,
  position bigint NOT NULL);""",
    f"""\
ALTER TABLE {SCHEMA}.watches ADD COLUMN IF NOT EXISTS files jsonb, ADD COLUMN IF NOT EXISTS definitions jsonb;
CREATE TABLE IF NOT EXISTS {SCHEMA}.types(
  oid oid, since pg_lsn, shape text NOT NULL, PRIMARY KEY (oid, since));""",
    f"ALTER TABLE {SCHEMA}.watches ADD COLUMN IF NOT EXISTS identities jsonb;",
    f"""\
DO $$ BEGIN
  IF to_regclass('{SCHEMA}.epochs') IS NULL THEN ALTER TABLE {SCHEMA}.runs RENAME TO epochs; END IF;
END $$;
DROP TABLE IF EXISTS {SCHEMA}.runs;
DROP TABLE IF EXISTS {SCHEMA}.types;
ALTER TABLE {SCHEMA}.watches ADD COLUMN IF NOT EXISTS types jsonb;
CREATE INDEX IF NOT EXISTS messages_by_position ON {SCHEMA}.messages(topic, position);
CREATE TABLE IF NOT EXISTS {SCHEMA}.generations(
  number bigint PRIMARY KEY, server text NOT NULL, start bigint NOT NULL,
  began timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS {SCHEMA}.journal(
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row), generation bigint NOT NULL, cluster text NOT NULL);
INSERT INTO {SCHEMA}.journal(generation, cluster) VALUES (0, gen_random_uuid()::text) ON CONFLICT DO NOTHING;
CREATE TABLE IF NOT EXISTS {SCHEMA}.nodes(
  node text PRIMARY KEY, generation bigint NOT NULL, granted timestamptz NOT NULL DEFAULT now());
CREATE UNLOGGED TABLE IF NOT EXISTS {SCHEMA}.peers(
  node text PRIMARY KEY, epoch text NOT NULL, cursor text NOT NULL, seen timestamptz NOT NULL DEFAULT now());""",
    f"""\
ALTER TABLE {SCHEMA}.messages ADD COLUMN IF NOT EXISTS n bigint, ADD COLUMN IF NOT EXISTS state text,
  ADD COLUMN IF NOT EXISTS ended bigint;
CREATE INDEX IF NOT EXISTS messages_by_end ON {SCHEMA}.messages(topic, ended) WHERE ended > 0;
CREATE INDEX IF NOT EXISTS messages_open ON {SCHEMA}.messages(topic, created_at) WHERE state = 'open';""",
    f"""\
ALTER TABLE {SCHEMA}.messages ADD COLUMN IF NOT EXISTS compacts bigint;
CREATE INDEX IF NOT EXISTS messages_compacting ON {SCHEMA}.messages(topic, event, position)
  WHERE compacts IS NOT NULL;""",
)
"""Migration n takes the schema from version n - 1 to n. Each is idempotent, because a DBA may have run `sql()`."""

VERSION: Final = len(MIGRATIONS)

_MARK = f"""\
INSERT INTO {SCHEMA}.meta VALUES ('version', '{VERSION}')
  ON CONFLICT (key) DO UPDATE SET value = excluded.value;"""

_MAY_USE = f"""\
SELECT bool_and(has_table_privilege(c.oid, p)) FROM pg_class c,
  unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p
WHERE c.relnamespace = to_regnamespace('{SCHEMA}') AND c.relkind IN ('r', 'p')"""


def sql(role: str | None = None) -> str:
    """What a role with the right to do so runs with psql to create everything, and to let `role` use it."""
    parts = ["BEGIN;", f"CREATE SCHEMA IF NOT EXISTS {SCHEMA};", *MIGRATIONS, _MARK]
    if role is not None:
        quoted = '"' + role.replace('"', '""') + '"'
        parts += [
            f"GRANT USAGE ON SCHEMA {SCHEMA} TO {quoted};",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {SCHEMA} TO {quoted};",
        ]
    return "\n".join([*parts, "COMMIT;", ""])


async def migrate(connection: Connection) -> None:
    """Create or update our tables; servers that start at once do it one after the other.

    Raises DatabaseUnusable: with the SQL to run when the role lacks the right, or when a newer version created the
    tables.
    """
    try:
        if await _version(connection) < VERSION:
            async with connection.transaction():
                # Whatever the role's default: a server that waited for the lock must see what its holder did.
                await connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE")
                await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                await _apply(connection, await _version(connection))
        if not await _value(connection, _MAY_USE):
            raise errors.InsufficientPrivilege
    except errors.InsufficientPrivilege as error:
        raise DatabaseUnusable(_instruction(connection)) from error
    except (errors.ReadOnlySqlTransaction, errors.FeatureNotSupported) as error:
        raise DatabaseUnusable(
            f"The database {connection.info.dbname} is a read-only standby without the schema {SCHEMA}: name the "
            "primary."
        ) from error
    except errors.QueryCanceled as error:
        raise DatabaseUnusable(
            f"The schema {SCHEMA} of the database {connection.info.dbname} is locked by another server that is "
            "starting: start again when it is done."
        ) from error
    except psycopg.Error as error:
        raise unusable(error, connection.info.dsn) from error


async def _apply(connection: Connection, version: int) -> None:
    if version >= VERSION:
        return
    if not await _value(connection, f"SELECT to_regnamespace('{SCHEMA}') IS NOT NULL"):
        # Not IF NOT EXISTS: that needs the right to create one even when a DBA has created it for us.
        await connection.execute(f"CREATE SCHEMA {SCHEMA}")
    for migration in MIGRATIONS[version:]:
        await connection.execute(migration)
    await connection.execute(_MARK)


async def _version(connection: Connection) -> int:
    """0 where our schema does not exist. Raises DatabaseUnusable when it is newer than this program."""
    if not await _value(connection, f"SELECT to_regclass('{SCHEMA}.meta') IS NOT NULL"):
        return 0
    found = await _value(connection, f"SELECT value FROM {SCHEMA}.meta WHERE key = 'version'")
    version = int(found or 0)
    if version > VERSION:
        raise DatabaseUnusable(
            f"The schema {SCHEMA} of the database {connection.info.dbname} has version {version}, made by a newer "
            f"aerostack; this one supports up to {VERSION}: upgrade it."
        )
    return version


async def _value(connection: Connection, query: str) -> Any:
    row = await (await connection.execute(query)).fetchone()
    return None if row is None else row[0]


def _instruction(connection: Connection) -> str:
    info = connection.info
    return (
        f'The role "{info.user}" may not create or use the schema {SCHEMA} in the database {info.dbname}. Let its '
        f"owner run this, then start again:\n\n{sql(info.user)}"
    )
