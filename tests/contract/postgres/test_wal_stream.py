"""How the event loop watches the connection that streams the WAL of a real server."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from aerostack_realtime.database.postgres.wal.stream import ReplicationStream
from tests.contract.conftest import PATIENCE

_COMMIT = ord("C")


class Watches:
    """Which descriptors the event loop watches, and how often that began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self.begun = 0
        self.open: set[int] = set()
        self.newest = -1
        self._add, self._remove = loop.add_reader, loop.remove_reader
        monkeypatch.setattr(loop, "add_reader", self._added)
        monkeypatch.setattr(loop, "remove_reader", self._removed)

    def _added(self, fd: int, *callback: Any) -> None:
        self.begun += 1
        self.open.add(fd)
        self.newest = fd
        self._add(fd, *callback)

    def _removed(self, fd: int) -> bool:
        self.open.discard(fd)
        return self._remove(fd)


class Writer:
    """Writes rows, each in a transaction, without the event loop."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._connection.execute("CREATE TABLE rows(id int PRIMARY KEY GENERATED ALWAYS AS IDENTITY)")
        self._connection.execute("CREATE PUBLICATION rows FOR TABLE rows")
        self._connection.execute("SELECT pg_create_logical_replication_slot('rows', 'pgoutput')")

    def write(self) -> None:
        self._connection.execute("INSERT INTO rows DEFAULT VALUES")

    def close(self) -> None:
        self._connection.execute("SELECT pg_drop_replication_slot('rows')")
        self._connection.close()


@pytest.fixture
async def writer(postgres_dsn: str) -> AsyncIterator[Writer]:
    writer = Writer(postgres_dsn)
    yield writer
    writer.close()


@pytest.fixture
async def watches(monkeypatch: pytest.MonkeyPatch) -> Watches:
    return Watches(monkeypatch)


@pytest.fixture
async def stream(postgres_dsn: str, writer: Writer, watches: Watches) -> AsyncIterator[ReplicationStream]:
    """A stream, whose descriptor is the newest that is watched."""
    stream = await ReplicationStream.connect(postgres_dsn)
    await stream.copy_slot("rows", "copy")  # the copy ends with the stream
    await stream.start("copy", 0, {"proto_version": "1", "publication_names": "rows"})
    yield stream
    await stream.close()


async def committed(stream: ReplicationStream) -> None:
    """Return after the next commit."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message = stream.receive()
            if message is None:
                await stream.more()
            elif isinstance(message, bytes) and message[0] == _COMMIT:
                return


async def test_messages_that_come_one_by_one_share_a_watch(
    stream: ReplicationStream, writer: Writer, watches: Watches
) -> None:
    commits: asyncio.Queue[None] = asyncio.Queue()

    async def follow() -> None:
        while True:
            await committed(stream)
            commits.put_nowait(None)

    following = asyncio.create_task(follow())
    writer.write()
    await commits.get()
    before = watches.begun
    for _ in range(5):
        writer.write()
        await commits.get()
    following.cancel()
    assert watches.begun == before


async def test_what_nobody_reads_does_not_keep_the_event_loop_awake(
    stream: ReplicationStream, writer: Writer, watches: Watches
) -> None:
    waiting = asyncio.create_task(stream.more())
    await asyncio.sleep(0)
    writer.write()
    await waiting
    assert select.select([watches.newest], [], [], PATIENCE)[0]
    for _ in range(3):
        await asyncio.sleep(0)
    assert not watches.open
    await committed(stream)


async def test_a_stream_that_was_closed_is_not_watched(stream: ReplicationStream, watches: Watches) -> None:
    waiting = asyncio.create_task(stream.more())
    await asyncio.sleep(0)
    assert watches.open == {watches.newest}
    await stream.close()
    assert not watches.open
    waiting.cancel()
