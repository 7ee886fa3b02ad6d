"""A slow snapshot: it delays no other client, ends with its client, and not later than it may."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from bench.proctree import cpu_seconds
from tests.flow.calls import Http
from tests.flow.test_bad_input import resident
from tests.flow.test_snapshot import FILL, snapshot
from tests.flow.wire import PING, Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess
    from tests.flow.databases import Database

Serve = Callable[[str], Awaitable["ServerProcess"]]
Calls = Callable[["ServerProcess"], Http]

ROWS = 60_000
NOTE = "x" * 500
"""30 MB in all: more than the server and the kernel keep for a client that does not read."""
UNTHROTTLED = "anonymous = true\n[limits]\nmessages_per_second = 0"
TABLES = '[[tables]]\nname = "large"\nsubscribe = "anyone"'


async def fill(http: Http, database: "Database") -> None:
    await http.sql("CREATE TABLE large(id INTEGER PRIMARY KEY, n INTEGER, note TEXT)")
    await database.write(FILL.format(count=ROWS, table="large") + f"SELECT i, 0, '{NOTE}' FROM c")


async def being_read(database: "Database") -> bool:
    """Whether a transaction is open that began before the last write."""
    if database.kind == "sqlite":
        await database.write("UPDATE large SET n = n + 1 WHERE id = 1")
        busy, logged, moved = (await database.write("PRAGMA wal_checkpoint(PASSIVE)")).strip().split("|")
        return busy != "0" or logged != moved  # what an older reader needs is not moved
    printed = await database.write(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND query LIKE '%aerostack_rows%' AND xact_start IS NOT NULL"
    )
    return int(printed) > 0


async def until_let_go(database: "Database") -> None:
    while await being_read(database):
        pass


async def begin(wire: Wire) -> int:
    """The rows of the first frame of a snapshot; the next ones wait for a reader."""
    await wire.subscribe("large", snapshot=True, id="all")
    return len((await wire.hear("snapshot"))["rows"])


@pytest.mark.parametrize("politely", [True, False])
async def test_a_client_that_disconnects_ends_the_reading(
    serve: Serve, dial: Dial, calls: Calls, *, politely: bool
) -> None:
    server = await serve(f"{UNTHROTTLED}\n{TABLES}")
    await fill(calls(server), server.database)
    before = cpu_seconds(server.pid)
    rows, _ = await snapshot(await dial(server), "large", snapshot=True)
    whole = cpu_seconds(server.pid) - before
    assert len(rows) == ROWS
    wire = await dial(server)
    await begin(wire)
    assert await being_read(server.database)
    before = cpu_seconds(server.pid)
    if politely:
        await wire.close()
    else:
        wire.drop()
    await until_let_go(server.database)
    assert cpu_seconds(server.pid) - before < whole / 2


async def test_unsubscribing_during_a_snapshot_ends_it(server: "ServerProcess", dial: Dial, calls: Calls) -> None:
    await fill(calls(server), server.database)
    wire = await dial(server)
    came = await begin(wire)
    wire.say("unsubscribe", topic="large", id="enough")
    await until_let_go(server.database)
    while (message := await wire.next())["type"] == "snapshot":
        assert not message["last"]
        came += len(message["rows"])
    assert (message["type"], message["id"]) == ("unsubscribed", "enough")
    assert came < ROWS
    rows, _ = await snapshot(wire, "large", snapshot={"limit": 2, "order": "-id"})
    assert [row["id"] for row in rows] == [ROWS, ROWS - 1]


async def test_a_new_filter_during_a_snapshot_replaces_it(
    server: "ServerProcess", dial: Dial, calls: Calls
) -> None:
    await fill(calls(server), server.database)
    wire = await dial(server)
    await begin(wire)
    wire.say("subscribe", topic="large", snapshot=True, filter={"id": 7}, id="one")
    while (message := await wire.hear("snapshot"))["id"] == "all":
        assert not message["last"]
    assert ([row["id"] for row in message["rows"]], message["last"]) == ([7], True)
    await server.database.write("UPDATE large SET n = 9 WHERE id IN (7, 8)")
    assert (await wire.hear("db_change"))["data"]["n"] == 9
    assert await wire.settled() == []


async def test_unread_snapshots_cost_little_and_block_nobody(
    server: "ServerProcess", dial: Dial, calls: Calls
) -> None:
    http = calls(server)
    await fill(http, server.database)
    before = resident(server)
    for _ in range(4):
        await begin(await dial(server))
    assert await being_read(server.database)
    rows, _ = await snapshot(await dial(server), "large", snapshot={"limit": 3})
    assert [row["id"] for row in rows] == [1, 2, 3]
    wire = await dial(server)
    await wire.subscribe("large", filter={"id": 5})
    for number in range(50):
        await http.sql("UPDATE large SET n = ? WHERE id = 5", number)
        assert (await wire.hear("db_change"))["data"]["n"] == number
    assert resident(server) - before < 48 << 20, "of 120 MB that were asked for"


async def test_a_snapshot_that_times_out_names_the_next_step(serve: Serve, dial: Dial, calls: Calls) -> None:
    server = await serve(f"{UNTHROTTLED}\nsnapshot_seconds = 3\n{TABLES}")
    await fill(calls(server), server.database)
    wire = await dial(server)
    came = await begin(wire)
    await until_let_go(server.database)
    while (message := await wire.next())["type"] == "snapshot":
        assert not message["last"]
        came += len(message["rows"])
    assert (message["type"], message["code"], message["id"]) == ("error", "too_large", "all")
    assert "snapshot_seconds" in message["message"]
    assert came < ROWS
    rows, _ = await snapshot(wire, "large", snapshot={"limit": 2})
    assert len(rows) == 2


async def test_a_ping_is_answered_while_the_rows_wait_for_their_reader(
    serve: Serve, dial: Dial, calls: Calls
) -> None:
    server = await serve(f"{UNTHROTTLED}\nheartbeat_seconds = 4\n{TABLES}")
    await fill(calls(server), server.database)
    wire, other = await dial(server), await dial(server)
    await begin(wire)
    wire.say("ping")
    await other.control(PING)
    while (message := await wire.next())["type"] == "snapshot":
        assert not message["last"]
    assert message["type"] == "pong"


async def test_changes_made_while_a_slow_reader_takes_its_rows_follow_them(
    server: "ServerProcess", dial: Dial, calls: Calls
) -> None:
    await fill(calls(server), server.database)
    wire = await dial(server)
    subscribed = await wire.subscribe("large", snapshot=True)
    await server.database.write("UPDATE large SET n = 1 WHERE id % 10 = 0; DELETE FROM large WHERE id % 10 = 1")
    rows: dict[int, int] = {}
    last = False
    while not last:
        part = await wire.hear("snapshot")
        assert part["cursor"] == subscribed["cursor"]
        rows |= {row["id"]: row["n"] for row in part["rows"]}
        last = part["last"]
    assert rows == dict.fromkeys(range(1, ROWS + 1), 0)
    for _ in range(ROWS // 5):
        change = await wire.hear("db_change")
        assert rows.pop(change["data"]["id"]) == 0
        assert change["operation"] == ("UPDATE" if change["data"]["id"] % 10 == 0 else "DELETE")
    assert await wire.settled() == []
