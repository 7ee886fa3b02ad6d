"""Databases for the servers under test, each with a writer beside the server that knows nothing of it."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tests.postgres import PostgresServer, psql


class Database(Protocol):
    """`address`: as `--db` takes it. `kind`: `sqlite` or `postgres`."""

    kind: str
    address: str

    async def write(self, sql: str) -> str:
        """Run statements in autocommit, in a process of the database's own shell.

        Gives what it prints: a line for each row, `|` between its values.
        """


class Databases(Protocol):
    """Makes new databases of one kind. `place` is a directory for what is a file."""

    def new(self, place: Path) -> Database: ...

    def close(self) -> None:
        """Remove all that were made."""


class SqliteFile:
    kind = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.address = str(path)

    async def write(self, sql: str) -> str:
        settings = ("-cmd", ".timeout 100000", "-cmd", "PRAGMA synchronous=OFF")  # no test ends the machine
        return await _run(("sqlite3", "-bail", *settings, self.address), sql)

    def restore(self, backup: Path) -> None:
        """Replace the file, with no server on it."""
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        shutil.copyfile(backup, self.path)


class SqliteFiles:
    def new(self, place: Path) -> SqliteFile:
        return SqliteFile(place / "aerostack.db")

    def close(self) -> None: ...


class PostgresDatabase:
    kind = "postgres"

    def __init__(self, address: str) -> None:
        self.address = address

    async def write(self, sql: str) -> str:
        return await _run((str(psql()), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.address), sql)


class PostgresDatabases:
    """`prefix` tells them from those that others make on the same server."""

    def __init__(self, server: PostgresServer, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._names: list[str] = []

    def new(self, place: Path) -> PostgresDatabase:
        name = f"{self._prefix}_{len(self._names) + 1}"
        self._server.execute(f"CREATE DATABASE {name}")
        self._names.append(name)
        return PostgresDatabase(self._server.dsn(name))

    def close(self) -> None:
        for name in self._names:
            self._server.drop_database(name)


async def _run(command: Sequence[str], sql: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, errors = await process.communicate(f"{sql};\n".encode())
    assert process.returncode == 0, errors.decode()
    return printed.decode()
