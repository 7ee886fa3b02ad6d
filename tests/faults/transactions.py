"""A writer's transactions in the words of each database, and the ways to run them."""

import asyncio

import apsw
import psycopg

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from tests.faults.plan import DatabaseKind

SQLITE_SCHEMA = """
CREATE TABLE items(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, w TEXT NOT NULL, grp INTEGER NOT NULL, body TEXT);
CREATE INDEX items_by_writer ON items(w, id);
CREATE TABLE truth(seq INTEGER PRIMARY KEY AUTOINCREMENT, id, old_n, old_grp, new_n, new_grp);
CREATE TRIGGER truth_of_insert AFTER INSERT ON items BEGIN
  INSERT INTO truth(id, new_n, new_grp) VALUES(new.id, new.n, new.grp); END;
CREATE TRIGGER truth_of_update AFTER UPDATE ON items BEGIN
  INSERT INTO truth(id, old_n, old_grp, new_n, new_grp) VALUES(new.id, old.n, old.grp, new.n, new.grp); END;
CREATE TRIGGER truth_of_delete AFTER DELETE ON items BEGIN
  INSERT INTO truth(id, old_n, old_grp) VALUES(old.id, old.n, old.grp); END;
"""
"""Triggers of our own keep the truth beside the table: every change in the order of the commits."""

POSTGRES_SCHEMA = """
CREATE SEQUENCE item_ids AS integer;
CREATE TABLE items(id integer PRIMARY KEY DEFAULT nextval('item_ids'), n bigint NOT NULL, w text NOT NULL,
  grp integer NOT NULL, body text);
CREATE INDEX items_by_writer ON items(w, id);
"""
"""The truth is PostgreSQL's own: see decoded.py."""

BUSY_MS = 5_000


def schema(database: DatabaseKind) -> list[str]:
    """The statements that make the table."""
    text = SQLITE_SCHEMA if database == "sqlite" else POSTGRES_SCHEMA
    statements = [statement for statement in text.split(";\n") if statement.strip()]
    return [statement + ";" if "BEGIN" in statement else statement for statement in statements]


def database_of(address: str) -> DatabaseKind:
    return "postgres" if address.startswith("postgresql://") else "sqlite"


def transaction(database: DatabaseKind, writer: str, stamp: int, size: int) -> list[str]:
    """The statements of a transaction: inserts `size` rows, updates and deletes about as many.

    Its inserts carry `stamp`, its updates the one after.
    """
    newest = f"SELECT id FROM items WHERE w = '{writer}' ORDER BY id DESC"
    if database == "sqlite":
        made = (
            f"WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < {size}) "
            f"INSERT INTO items(n, w, grp, body) SELECT {stamp}, '{writer}', (i + {stamp}) % 10, "
            "hex(randomblob(12)) FROM c"
        )
        beyond = f"LIMIT -1 OFFSET {size * 2}"
    else:
        made = (
            f"INSERT INTO items(n, w, grp, body) SELECT {stamp}, '{writer}', (i + {stamp}) % 10, "
            f"md5(i || clock_timestamp()::text) FROM generate_series(1, {size}) i"
        )
        beyond = f"OFFSET {size * 2}"
    return [
        made,
        f"UPDATE items SET n = {stamp + 1}, grp = (grp + id) % 10 "
        f"WHERE id IN ({newest} LIMIT {size} OFFSET {size // 2})",
        f"DELETE FROM items WHERE id IN ({newest} {beyond})",
    ]


async def commit(way: str, address: str, sdk: Aerostack, statements: list[str]) -> bool:
    """Run them in one transaction by a writer's way; whether the commit was acknowledged."""
    postgres = database_of(address) == "postgres"
    match way:
        case "writer-driver":
            return await _by_psycopg(address, statements) if postgres else _by_apsw(address, statements)
        case "writer-shell":
            return await (_by_psql if postgres else _by_sqlite3)(address, statements)
        case _:
            return await _by_sdk(sdk, statements)


def _by_apsw(path: str, statements: list[str]) -> bool:
    try:
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)
        try:
            connection.set_busy_timeout(BUSY_MS)
            connection.execute("BEGIN IMMEDIATE; " + "; ".join(statements) + "; COMMIT")
        finally:
            connection.close(force=True)
    except apsw.Error:
        return False
    return True


async def _by_psycopg(dsn: str, statements: list[str]) -> bool:
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=5) as connection:
            for statement in statements:
                await connection.execute(statement.encode())
            await connection.commit()
    except psycopg.Error:
        return False
    return True


async def _by_sqlite3(path: str, statements: list[str]) -> bool:
    return await _shell(
        *("sqlite3", "-bail", "-cmd", f".timeout {BUSY_MS}", path),
        f"BEGIN IMMEDIATE; {'; '.join(statements)}; COMMIT",
    )


async def _by_psql(dsn: str, statements: list[str]) -> bool:
    orders = [part for statement in statements for part in ("-c", statement)]
    return await _shell("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "--single-transaction", *orders, dsn)


async def _shell(*command: str) -> bool:
    """Whether the shell, which stops at the first error, came to the end."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    return await process.wait() == 0


async def _by_sdk(sdk: Aerostack, statements: list[str]) -> bool:
    """Whether the server answered that it is done."""
    try:
        await sdk.db.batch(statements)
    except AerostackError:
        return False
    return True
