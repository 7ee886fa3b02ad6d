"""The backends every contract test runs against, and a listener that remembers what it hears."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from time import time_ns
from typing import Any, Protocol

import psycopg
import pytest

from aerostack_realtime.database.base import Change, Database, Replay
from aerostack_realtime.database.message_store import MessageStore, Retention
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.messages.store import PostgresMessageStore
from aerostack_realtime.database.postgres.migrations import migrate
from aerostack_realtime.database.sqlite import SqliteDatabase
from aerostack_realtime.protocol.errors import AerostackError
from tests.postgres import PostgresServer

PATIENCE = 100.0
"""Seconds after which what a test waits for is not going to come."""


class Recorder:
    """A `ChangeListener` that remembers, and lets a test wait for what it hears."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.interruptions: list[tuple[str, str, bool]] = []
        self.log: list[Change | tuple[str, str, bool]] = []
        self._heard = asyncio.Event()

    def changed(self, changes: Sequence[Change]) -> None:
        self.changes += changes
        self.log += changes
        self._heard.set()

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        self.interruptions.append((table, cursor, present))
        self.log.append((table, cursor, present))
        self._heard.set()

    async def until(self, satisfied: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not satisfied():
                self._heard.clear()
                await self._heard.wait()

    async def until_changes(self, count: int) -> list[Change]:
        """Wait for `count` changes; they must not become more."""
        await self.until(lambda: len(self.changes) >= count)
        assert len(self.changes) == count, self.changes
        return self.changes

    async def until_interruptions(self, count: int) -> list[tuple[str, str, bool]]:
        await self.until(lambda: len(self.interruptions) >= count)
        return self.interruptions

    def seen(self) -> list[tuple[Any, ...]]:
        """What was heard and forget it: (operation, new row, old row), rows as tuples of their values."""
        seen = [brief(change) for change in self.changes]
        self.changes.clear()
        self.log.clear()
        return seen


def brief(change: Change) -> tuple[Any, ...]:
    data = tuple(change.data.values())
    return (change.operation, data, tuple(change.old.values()) if change.old is not None else None)


async def replay(database: Database, table: str, since: str) -> tuple[list[Change], list[Replay]]:
    """All parts of a replay, asked for one after the other."""
    changes: list[Change] = []
    parts: list[Replay] = []
    while True:
        answer: asyncio.Future[Replay] = asyncio.get_running_loop().create_future()

        def failed(error: AerostackError, answer: asyncio.Future[Replay] = answer) -> None:
            answer.set_exception(error)

        database.changes.replay(table, since, answer.set_result, failed)
        async with asyncio.timeout(PATIENCE):
            part = await answer
        changes += part.changes
        parts.append(part)
        if not part.more:
            return changes, parts
        since = part.cursor


Opening = Callable[..., AbstractAsyncContextManager[Database]]


class Backend(Protocol):
    """A place for one database: opened any number of times, and written by a client that is not ours."""

    name: str

    def open(self, listener: Recorder, **settings: Any) -> AbstractAsyncContextManager[Database]: ...

    def write(self, *statements: str, fails: bool = False) -> str:
        """Run statements in autocommit, up to the first that fails; what they print."""


class SqliteBackend:
    name = "sqlite"

    def __init__(self, path: Path) -> None:
        self.path = path

    @asynccontextmanager
    async def open(self, listener: Recorder, **settings: Any) -> AsyncIterator[SqliteDatabase]:
        database = await SqliteDatabase.open(self.path, listener, **settings)
        try:
            yield database
        finally:
            async with asyncio.timeout(PATIENCE):
                await database.close()

    def write(self, *statements: str, fails: bool = False) -> str:
        """Run statements by the `sqlite3` command in autocommit, up to the first that fails.

        Gives what they print. It is another process, as any other client is: two SQLite libraries in one
        process break each other's locks.
        """
        finished = subprocess.run(
            ["sqlite3", "-batch", "-bail", str(self.path)],
            input=".timeout 100000\nPRAGMA synchronous=OFF;\n" + ";\n".join([*statements, ""]),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (finished.returncode != 0) == fails, finished.stderr
        return finished.stdout


class PostgresBackend:
    name = "postgres"

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    @asynccontextmanager
    async def open(self, listener: Recorder, **settings: Any) -> AsyncIterator[PostgresDatabase]:
        database = await PostgresDatabase.open(self.dsn, listener, **settings)
        try:
            yield database
        finally:
            async with asyncio.timeout(PATIENCE):
                await database.close()

    def write(self, *statements: str, fails: bool = False) -> str:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            try:
                for statement in statements:
                    connection.execute(statement.encode())
            except psycopg.Error:
                assert fails
            else:
                assert not fails
        return ""


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest) -> Backend:
    made: Backend = request.getfixturevalue(f"{request.param}_backend")
    return made


@pytest.fixture
def sqlite_backend(tmp_path: Path) -> SqliteBackend:
    return SqliteBackend(tmp_path / "user.db")


@pytest.fixture
def postgres_backend(postgres_dsn: str) -> PostgresBackend:
    return PostgresBackend(postgres_dsn)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def database(backend: Backend, recorder: Recorder) -> AsyncIterator[Database]:
    async with backend.open(recorder) as database:
        yield database


_numbers = count(1)


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a fresh database."""
    name = f"test{next(_numbers)}"
    postgres_server.execute(f"CREATE DATABASE {name}")
    yield postgres_server.dsn(name)
    postgres_server.drop_database(name)


def wall_clock() -> int:
    return time_ns() // 1_000_000


class Stores(Protocol):
    """A place for one store of messages, opened any number of times."""

    def open(
        self, *, retention: Sequence[Retention] = (), now: Callable[[], int] = wall_clock
    ) -> AbstractAsyncContextManager[MessageStore]: ...


class SqliteStores:
    def __init__(self, path: Path) -> None:
        self._backend = SqliteBackend(path)

    @asynccontextmanager
    async def open(
        self, *, retention: Sequence[Retention] = (), now: Callable[[], int] = wall_clock
    ) -> AsyncIterator[MessageStore]:
        async with self._backend.open(Recorder(), retention=retention, now=now) as database:
            yield database.messages


class PostgresStores:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.deaths: list[BaseException] = []

    @asynccontextmanager
    async def open(
        self, *, retention: Sequence[Retention] = (), now: Callable[[], int] = wall_clock
    ) -> AsyncIterator[PostgresMessageStore]:
        connections = await Connections.open(self._dsn)
        try:
            async with connections.use() as connection:
                await migrate(connection)
            store = PostgresMessageStore(connections, retention, now, self.deaths.append)
            try:
                yield store
            finally:
                async with asyncio.timeout(PATIENCE):
                    await store.close()
        finally:
            await connections.close()
        assert not self.deaths


@pytest.fixture(params=["sqlite", "postgres"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    if request.param == "sqlite":
        return SqliteStores(tmp_path / "user.db")
    return PostgresStores(request.getfixturevalue("postgres_dsn"))


@pytest.fixture
async def store(stores: Stores) -> AsyncIterator[MessageStore]:
    async with stores.open() as store:
        yield store
