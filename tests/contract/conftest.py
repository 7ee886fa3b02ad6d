"""The backends every contract test runs against, and a listener that remembers what it hears."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from aerostack_realtime.database.base import Change, Database, Replay
from aerostack_realtime.database.sqlite import SqliteDatabase
from aerostack_realtime.protocol.errors import AerostackError

PATIENCE = 15.0
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
        """Wait for so many changes; they must not become more."""
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


class Backend:
    """A place for one database: opened any number of times, and written by a client that is not ours."""

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
        """Run statements by the `sqlite3` command, each committed by itself, up to the first that fails.

        Gives what they print. It is another process, as any other client is: two SQLite libraries in one
        process break each other's locks.
        """
        finished = subprocess.run(
            ["sqlite3", "-batch", "-bail", str(self.path)],
            input=".timeout 10000\n" + ";\n".join([*statements, ""]),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert (finished.returncode != 0) == fails, finished.stderr
        return finished.stdout


@pytest.fixture(params=["sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    assert request.param == "sqlite"
    return Backend(tmp_path / "user.db")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def database(backend: Backend, recorder: Recorder) -> AsyncIterator[SqliteDatabase]:
    async with backend.open(recorder) as database:
        yield database
