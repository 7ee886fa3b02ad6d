"""A client of several servers: real processes, of which one is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.protocol.errors import Unavailable
from aerostack_realtime.sdk.aerostack import Aerostack
from tests.flow.conftest import ServerProcess
from tests.flow.databases import Databases
from tests.flow.sdk.conftest import quick

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import EventRecorder

pytestmark = pytest.mark.database("sqlite")


@pytest.fixture
async def pair(databases: Databases, tmp_path: Path) -> AsyncIterator[list[ServerProcess]]:
    """Two servers. Each has a database of its own, since a SQLite file has one server."""
    servers = []
    for name in ("one", "two"):
        place = tmp_path / name
        place.mkdir()
        servers.append(ServerProcess(databases.new(place), place / "server.log"))
        await servers[-1].start()
    yield servers
    for server in servers:
        await server.close()


def client(servers: list[ServerProcess]) -> Aerostack:
    return Aerostack([each.url for each in servers], api_key=servers[0].secret_key, backoff=quick())


async def connections(server: ServerProcess) -> int:
    """The number of subscribers that this server has on the topic of the test."""
    async with Aerostack(server.url, api_key=server.secret_key) as admin:
        return len(await admin.presence("room/1"))


async def test_a_client_fails_over_when_its_server_is_killed(
    pair: list[ServerProcess], recorder: "type[EventRecorder]"
) -> None:
    listener = recorder()
    async with client(pair) as sdk:
        room = await sdk.realtime.channel("room/1").on("*", listener).subscribe()
        await room.track({"userId": "ann"})
        used, other = pair if await connections(pair[0]) else reversed(pair)
        reconnected = asyncio.Event()
        sdk.realtime.on_status_change(lambda status: reconnected.set() if status == "connected" else None)
        await used.kill()
        await reconnected.wait()
        await room.publish("message", "after")
        assert (await listener.named("message")).data == "after"
        assert (await listener.named("gap")).data["reason"] == "not_recovered"  # the servers share no log
        assert await connections(other) == 1


async def test_http_calls_fail_over(pair: list[ServerProcess]) -> None:
    async with client(pair) as sdk:
        await pair[0].kill()
        assert (await sdk.db.query("SELECT 1 AS one")).rows == [{"one": 1}]
        await sdk.socket.emit("message", 1, "room/1", persist=True)
        assert [message.data for message in await sdk.history("room/1")] == [1]
        await pair[1].kill()
        with pytest.raises(Unavailable, match="No connection"):
            await sdk.db.query("SELECT 1")
