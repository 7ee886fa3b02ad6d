"""PostgreSQL's disk is full, or ours during a large transaction: it is reported, and nothing is lost."""

import asyncio
import resource
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.faults.disk import Disk
from tests.flow.calls import Http
from tests.flow.conftest import ServerProcess
from tests.flow.databases import PostgresDatabase
from tests.flow.wire import PATIENCE_SECONDS, Dial, Wire
from tests.postgres import PostgresServer

MEGABYTES = 160
SETTINGS = {"max_wal_size": "32MB", "min_wal_size": "32MB", "logical_decoding_work_mem": "64kB"}
REFUSALS = 3
ROWS = 5_000


@pytest.fixture
def disk() -> Iterator[Disk]:
    """A small one: a file system in memory."""
    with tempfile.TemporaryDirectory(prefix="full-") as place:
        Path(place).chmod(0o755)  # for PostgreSQL, which does not run as root
        made = Disk(Path(place) / "disk", MEGABYTES)
        yield made
        made.close()


@pytest.fixture
def postgres(disk: Disk) -> Iterator[PostgresServer]:
    made = PostgresServer.started(settings=SETTINGS, data=disk.directory / "data")
    made.execute("CREATE DATABASE shop")
    yield made
    made.remove()


@pytest.fixture
async def server(postgres: PostgresServer, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(PostgresDatabase(postgres.dsn("shop")), tmp_path / "server.log")
    await process.start()
    yield process
    await process.close()


@pytest.fixture
async def rows(server: ServerProcess, dial: Dial, calls: Callable[[ServerProcess], Http]) -> Wire:
    """A subscriber of the table `orders`."""
    await calls(server).sql("CREATE TABLE orders(id INTEGER PRIMARY KEY, body TEXT)")
    wire = await dial(server)
    await wire.subscribe("orders")
    return wire


async def test_a_full_postgresql_disk_fails_the_publish_and_loses_nothing(
    disk: Disk,
    postgres: PostgresServer,
    server: ServerProcess,
    rows: Wire,
    dial: Dial,
    calls: Callable[[ServerProcess], Http],
) -> None:
    if not disk.small:
        pytest.skip("mounting a small disk needs root, or user namespaces (sysctl user.max_user_namespaces)")
    http = calls(server)
    room = await dial(server)
    await room.subscribe("full/other")
    messages = {secrets.token_hex(8): secrets.token_hex(10_000) for _ in range(200)}
    accepted: list[str] = []
    refused: list[str] = []
    disk.fill()
    for id, data in messages.items():
        answer = await room.ask("publish", topic="full/topic", event="e", data=data, persist=True, id=id)
        if answer["type"] == "ack":
            accepted.append(id)
        else:
            refused.append(id)
            assert (answer["code"], answer["retryable"]) == ("unavailable", True)
            assert "disk of the database is full" in answer["message"]
        if len(refused) == REFUSALS:
            break
    assert len(refused) == REFUSALS, "the disk was never full"
    with pytest.raises(psycopg.errors.DiskFull):
        postgres.execute("INSERT INTO orders SELECT i, 'x' FROM generate_series(1, 1000) i", database="shop")
    await room.publish("full/other", "meanwhile")
    assert (await room.hear("event"))["data"] == "meanwhile"
    disk.free()
    for id in refused:
        await room.publish("full/topic", messages[id], persist=True, id=id)
    stored = await http.history("full/topic", limit=1000)
    assert [message["data"] for message in reversed(stored)] == [messages[id] for id in (*accepted, *refused)]
    await server.database.write("INSERT INTO orders VALUES (1, 'after')")
    change = await rows.next()
    assert (change["type"], change["data"]) == ("db_change", {"id": 1, "body": "after"})
    assert "Traceback" not in server.log.read_text()


async def test_a_large_transaction_arrives_once_the_disk_has_room(
    postgres: PostgresServer, server: ServerProcess, rows: Wire, dial: Dial
) -> None:
    other = await dial(server)
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (2_000_000, hard))
    with psycopg.connect(postgres.dsn("shop")) as writer:
        writer.execute(
            f"INSERT INTO orders SELECT i, repeat('x', 1000) FROM generate_series(1, {ROWS}) i".encode()
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while f"free space in {tempfile.gettempdir()}" not in server.log.read_text():
                await other.publish("full/meanwhile", 1, persist=True)
    await server.database.write("INSERT INTO orders VALUES (0, 'small')")
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    heard = [await rows.next() for _ in range(ROWS + 1)]
    assert {message["type"] for message in heard} == {"db_change"}
    assert [message["data"]["id"] for message in heard] == [*range(1, ROWS + 1), 0]
    assert "Traceback" not in server.log.read_text()
