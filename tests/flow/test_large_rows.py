"""Rows too large to deliver: reported as a gap, live, in a replay and in a snapshot (docs/protocol.md §4)."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.flow.databases import Database
from tests.flow.wire import Dial, Wire

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Serve = Callable[[str], Awaitable["ServerProcess"]]

LARGEST = 200_000
HUGE = 100_000_000
SETTINGS = f"""
anonymous = true
[limits]
buffer_bytes = {LARGEST}
[[tables]]
name = "notes"
subscribe = "anyone"
"""
TABLE = "CREATE TABLE notes(id INTEGER PRIMARY KEY, read INTEGER, body TEXT)"


def text(database: Database, size: int) -> str:
    """SQL for a text of this number of bytes."""
    return f"repeat('x', {size})" if database.kind == "postgres" else f"printf('%.*c', {size}, 'x')"


def insert(database: Database, id: int, size: int) -> str:
    return f"INSERT INTO notes VALUES ({id}, 0, {text(database, size)})"


def peak(server: "ServerProcess") -> int:
    """The most memory that the server ever had resident, in bytes."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


async def kinds(wire: Wire, count: int) -> list[object]:
    """Of the next messages: the ids of changed rows, and "gap"."""
    heard = []
    for _ in range(count):
        message = await wire.next()
        if message["type"] == "db_change":
            heard.append(message["data"]["id"])
        else:
            assert (message["type"], message["recovered"], "id" in message) == ("subscribed", False, False), (
                message
            )
            heard.append("gap")
    return heard


async def test_a_change_too_large_to_deliver_is_a_gap(serve: Serve, dial: Dial, database: Database) -> None:
    await database.write(TABLE)
    server = await serve(SETTINGS)
    wire = await dial(server)
    await wire.subscribe("notes")
    await database.write(insert(database, 1, LARGEST))
    await database.write("UPDATE notes SET read = 1")
    await database.write("DELETE FROM notes")
    await database.write(insert(database, 2, 10))
    assert await kinds(wire, 4) == ["gap", "gap", "gap", 2]


async def test_a_100_mb_value_is_a_gap_and_in_memory_at_most_four_times(
    serve: Serve, dial: Dial, database: Database
) -> None:
    await database.write(TABLE)
    server = await serve(SETTINGS.replace(f"buffer_bytes = {LARGEST}", "heartbeat_seconds = 600"))
    wire, narrow = await dial(server), await dial(server)
    await wire.subscribe("notes")
    await narrow.subscribe("notes", filter={"id": 2})
    before = peak(server)
    await database.write(insert(database, 1, HUGE))
    await database.write("UPDATE notes SET read = 1")
    await database.write("DELETE FROM notes")
    await database.write(insert(database, 2, 10))
    assert await kinds(wire, 4) == ["gap", "gap", "gap", 2]
    assert await kinds(narrow, 1) == [2]
    assert peak(server) - before < 4 * HUGE + (40 << 20)


async def test_a_row_with_a_large_hidden_column_is_delivered(serve: Serve, dial: Dial, database: Database) -> None:
    await database.write(TABLE)
    server = await serve(f"{SETTINGS}\ncolumns = ['id', 'read']")
    wire = await dial(server)
    await wire.subscribe("notes")
    await database.write(insert(database, 1, 6_000_000))
    await database.write("UPDATE notes SET read = 1")
    seen = [(await wire.hear("db_change"))["data"] for _ in range(2)]
    assert seen == [{"id": 1, "read": 0}, {"id": 1, "read": 1}]


async def test_only_subscribers_that_see_the_row_get_the_gap(serve: Serve, dial: Dial, database: Database) -> None:
    await database.write(TABLE)
    server = await serve(SETTINGS)
    wire = await dial(server)
    await wire.subscribe("notes", filter={"id": 2})
    await database.write(insert(database, 1, LARGEST))
    await database.write(insert(database, 2, 10))
    assert await kinds(wire, 1) == [2]


async def test_the_largest_rows_that_may_wait_are_delivered(serve: Serve, dial: Dial, database: Database) -> None:
    await database.write(TABLE)
    server = await serve(SETTINGS)
    wire = await dial(server)
    await wire.subscribe("notes")
    await database.write(insert(database, 1, LARGEST - 100))
    assert len((await wire.hear("db_change"))["data"]["body"]) == LARGEST - 100


async def test_a_reconnecting_client_gets_the_gap_once_and_continues(
    serve: Serve, dial: Dial, database: Database
) -> None:
    await database.write(TABLE)
    server = await serve(SETTINGS)
    gone = await dial(server)
    cursor = (await gone.subscribe("notes"))["cursor"]
    gone.drop()
    for id, size in ((1, 10), (2, LARGEST), (3, 10)):
        await database.write(insert(database, id, size))
    back = await dial(server)
    assert (await back.subscribe("notes", since=cursor))["recovered"] is True
    await back.hear("db_change")
    gap = await back.hear("subscribed", recovered=False)
    assert await kinds(back, 1) == [3]
    again = await dial(server)
    assert (await again.subscribe("notes", since=gap["cursor"]))["recovered"] is True
    assert await kinds(again, 1) == [3]


async def test_only_a_snapshot_with_a_row_too_large_is_refused(
    serve: Serve, dial: Dial, database: Database
) -> None:
    await database.write(TABLE)
    await database.write(insert(database, 1, LARGEST))
    await database.write(insert(database, 2, 10))
    server = await serve(SETTINGS)
    wire = await dial(server)
    await wire.subscribe("notes", snapshot=True)
    refusal = await wire.hear("error")
    assert (refusal["code"], refusal["topic"], refusal["retryable"]) == ("too_large", "table/notes/default", False)
    await wire.subscribe("notes", snapshot=True, filter={"id": 2})
    assert [row["id"] for row in (await wire.hear("snapshot", last=True))["rows"]] == [2]


async def test_a_snapshot_of_large_rows_comes_in_frames_that_may_wait(
    serve: Serve, dial: Dial, database: Database
) -> None:
    await database.write(TABLE)
    for id in range(12):
        await database.write(insert(database, id, LARGEST // 3))
    server = await serve(SETTINGS)
    wire = await dial(server)
    await wire.subscribe("notes", snapshot=True)
    parts: list[dict[str, Any]] = []
    while not parts or not parts[-1]["last"]:
        parts.append(await wire.hear("snapshot"))
    assert [row["id"] for part in parts for row in part["rows"]] == list(range(12))
    assert all(sum(len(row["body"]) for row in part["rows"]) <= LARGEST for part in parts)


async def test_a_transaction_of_large_rows_is_never_whole_in_memory(
    server: "ServerProcess", dial: Dial, database: Database
) -> None:
    await database.write(TABLE)
    if database.kind == "postgres":  # kept as it is, so that the log holds 200 MB as well
        await database.write("ALTER TABLE notes ALTER body SET STORAGE EXTERNAL")
    wire = await dial(server)
    await wire.subscribe("notes", filter={"id": 200})
    before = peak(server)
    lines = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)"
    await database.write(f"{lines} INSERT INTO notes SELECT i, 0, {text(database, 1_000_000)} FROM n")
    assert len((await wire.hear("db_change"))["data"]["body"]) == 1_000_000
    assert peak(server) - before < 100 << 20
