"""docs/guides/backup.md, rehearsed: a backup while clients write, and a restore that every client notices."""

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from aerostack_realtime import Aerostack, Payload
from tests.flow.databases import Database
from tests.flow.wire import PATIENCE_SECONDS
from tests.postgres import PostgresServer, psql

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess


async def run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()


async def back_up(database: Database, place: Path) -> None:
    if database.kind == "sqlite":
        await run("sqlite3", database.address, f".backup {place}")
    else:
        await run(str(psql().with_name("pg_dump")), "--format=custom", f"--file={place}", database.address)


def replace_file(path: Path, backup: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(backup, path)


async def restore(database: Database, place: Path, postgres: Callable[[], PostgresServer]) -> None:
    """The server is stopped. The mark file of SQLite stays in place."""
    if database.kind == "sqlite":
        replace_file(Path(database.address), place)
        return
    name = urlsplit(database.address).path.removeprefix("/")
    postgres().execute(
        f"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '{name}'"
    )
    postgres().execute(f"DROP DATABASE {name} WITH (FORCE)")
    postgres().execute(f"CREATE DATABASE {name}")
    await run(str(psql().with_name("pg_restore")), f"--dbname={database.address}", str(place))


async def test_a_restored_backup_is_complete_and_every_client_notices_it(
    server: "ServerProcess", database: Database, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = tmp_path / "backup"
    async with (
        Aerostack(server.url, api_key=server.secret_key, user_id="ann") as sdk,
        asyncio.timeout(4 * PATIENCE_SECONDS),
    ):
        await sdk.db.query("CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT)")
        await sdk.db.query("INSERT INTO orders VALUES (1, 'tea')")
        gap = asyncio.Event()

        def noticed(event: Payload) -> None:
            gap.set()

        chat = sdk.realtime.channel("chat/backup")
        chat.on("gap", noticed)
        await chat.subscribe()
        async with sdk.realtime.table("orders", order="id") as orders:
            for number in range(20):
                await chat.publish("message", number, persist=True)
            writing = asyncio.create_task(publish_on(sdk, 20))
            await back_up(database, place)
            written = await writing
            await sdk.db.query("INSERT INTO orders VALUES (2, 'lost by the restore')")
            lost = await chat.publish("message", "also lost")
            while 2 not in orders:
                await anext(aiter(orders))
            await server.terminate()
            await restore(database, place, lambda: request.getfixturevalue("postgres_server"))
            await server.start()
            await gap.wait()
            found = await sdk.explain("chat/backup", user_id="ann", event=lost.id)
            assert found.code == "gap"
            assert "restored backup" in found.verdict
            while 2 in orders:
                await anext(aiter(orders))
            assert {key: row["item"] for key, row in orders.items()} == {1: "tea"}
        stored = [message.data for message in reversed(await chat.get_history(1000))]
        assert stored == list(range(len(stored)))
        assert 20 <= len(stored) <= written


async def publish_on(sdk: Aerostack, first: int) -> int:
    """Messages while the backup runs; returns how many there are."""
    chat = sdk.realtime.channel("chat/backup")
    for number in range(first, first + 30):
        await chat.publish("message", number, persist=True)
    return first + 30
