"""A database that cannot be written for a while: publishers get errors, nothing is lost, and service resumes."""

import asyncio
import resource
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flow.calls import Http
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

pytestmark = pytest.mark.database("sqlite")


async def test_a_locked_database_becomes_unavailable_after_a_wait(
    server: "ServerProcess", dial: Dial, calls: Callable[["ServerProcess"], Http]
) -> None:
    http = calls(server)
    await http.sql("CREATE TABLE locked(a)")
    publisher, subscriber, other = [await dial(server) for _ in range(3)]
    await other.subscribe("lock/other")
    lock = sqlite3.connect(server.database.address, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    waiting = [
        asyncio.create_task(publisher.ask("publish", topic="lock/stored", event="e", data=1, persist=True)),
        asyncio.create_task(subscriber.ask("subscribe", topic="locked")),
    ]
    query = asyncio.create_task(http.post("/v1/db/query", {"sql": "INSERT INTO locked VALUES (1)"}))
    await other.publish("lock/other", "meanwhile")
    assert (await other.hear("event"))["data"] == "meanwhile"
    for refused in await asyncio.gather(*waiting):
        assert (refused["type"], refused["code"], refused["retryable"]) == ("error", "unavailable", True)
    status, body = await query
    assert (status, body["error"]["code"]) == (503, "unavailable")
    lock.execute("ROLLBACK")
    lock.close()
    await publisher.publish("lock/stored", 2, persist=True)
    await subscriber.subscribe("locked")
    await http.sql("INSERT INTO locked VALUES (2)")
    assert (await subscriber.hear("db_change"))["data"] == {"a": 2}
    assert [message["data"] for message in await http.history("lock/stored")] == [2]


async def test_a_lock_that_ends_in_time_is_only_a_delay(
    server: "ServerProcess", dial: Dial, calls: Callable[["ServerProcess"], Http]
) -> None:
    wire, other = await dial(server), await dial(server)
    await wire.subscribe("lock/order")
    lock = sqlite3.connect(server.database.address, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    wire.say("publish", topic="lock/order", event="e", data=1, persist=True)
    wire.say("publish", topic="lock/order", event="e", data=2)
    await other.publish("lock/elsewhere", 1)
    assert await wire.settled() == []
    lock.execute("ROLLBACK")
    lock.close()
    assert [event["data"] for event in await wire.events(2)] == [1, 2]


async def test_a_full_disk_fails_the_publish_and_loses_nothing(
    server: "ServerProcess", dial: Dial, calls: Callable[["ServerProcess"], Http]
) -> None:
    http = calls(server)
    publisher, hearer = await dial(server), await dial(server)
    await hearer.subscribe("full/topic")
    await publisher.publish("full/topic", -1, persist=True)
    files = [Path(server.database.address + suffix) for suffix in ("", "-wal")]
    room = max(file.stat().st_size for file in files) + 200_000
    _, hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (room, hard))
    accepted: list[int] = []
    refused: list[int] = []
    for number in range(30):
        answer = await publisher.ask(
            "publish", topic="full/topic", event="e", data=[number, "x" * 20_000], persist=True
        )
        (accepted if answer["type"] == "ack" else refused).append(number)
        if answer["type"] == "error":
            assert (answer["code"], answer["retryable"]) == ("unavailable", True)
    assert refused, "the disk was never full"
    await publisher.publish("full/other", 1)
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (hard, hard))
    await publisher.publish("full/topic", [99], persist=True)
    wanted = [*accepted, 99]
    assert [event["data"] for event in await hearer.events(1)] == [-1]
    assert [event["data"][0] for event in await hearer.events(len(wanted))] == wanted
    stored = await http.history("full/topic", limit=1000)
    assert [message["data"][0] for message in stored[:-1]] == wanted[::-1]
    assert "Traceback" not in server.log.read_text()
