"""A client that reads more slowly than others write: it stays connected and gets everything from the log."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from tests.flow.calls import Http
from tests.flow.wire import Dial

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

ROWS = 100_000
SPEED = 20_000
"""Rows that the slow client reads in a second."""
SETTINGS = """
anonymous = true
[limits]
buffer_bytes = 500000
[[tables]]
name = "bulk"
subscribe = "anyone"
"""
MESSAGES = 400
"""Of 60 KB: more than the network and the buffer take, and far more than the log holds."""
PERSISTED = """
anonymous = true
[limits]
buffer_bytes = 200000
heartbeat_seconds = 600
publish_bytes_per_second = 0
[[logs]]
pattern = "**"
max_count = 20
"""
SQLITE = (
    "INSERT INTO bulk(note) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})"
    " SELECT 'a note of a row, as long as rows usually are, and a little longer' FROM n;"
)
POSTGRES = (
    "INSERT INTO bulk(note) SELECT 'a note of a row, as long as rows usually are, and a little longer'"
    " FROM generate_series(1, {});"
)


async def test_persisted_messages_beyond_the_log_reach_a_slow_reader(
    serve: Callable[[str], Awaitable["ServerProcess"]], dial: Dial
) -> None:
    server = await serve(PERSISTED)
    slow, speaker = await dial(server), await dial(server)
    await slow.subscribe("slow/persisted")
    for first in range(0, MESSAGES, MESSAGES // 4):  # the reader falls behind before the last of them
        for number in range(first, first + MESSAGES // 4):
            data = {"n": number, "text": "x" * 60_000}
            speaker.say("publish", topic="slow/persisted", event="m", data=data, persist=True, id=str(number))
        for number in range(first, first + MESSAGES // 4):
            await speaker.hear("ack", id=str(number))
    assert [each["data"]["n"] for each in await slow.events(MESSAGES)] == list(range(MESSAGES))
    await speaker.publish("slow/persisted", {"n": "live again"})
    assert (await slow.hear("event"))["data"]["n"] == "live again"


async def test_a_steady_reader_of_a_bulk_write_stays_connected(
    serve: Callable[[str], Awaitable["ServerProcess"]],
    dial: Dial,
    calls: Callable[["ServerProcess"], Http],
    shell: Callable[[str], Awaitable[str]],
) -> None:
    server = await serve(SETTINGS)
    http = calls(server)
    is_sqlite = server.database.kind == "sqlite"
    key = "INTEGER PRIMARY KEY" if is_sqlite else "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
    await http.sql(f"CREATE TABLE bulk(id {key}, note TEXT)")
    slow, quick = await dial(server), await dial(server)
    for wire in (slow, quick):
        await wire.subscribe("bulk")
    loop = asyncio.get_running_loop()

    async def read_all(wire: Any, speed: float | None) -> list[int]:
        began = loop.time()
        found: list[int] = []
        while len(found) < ROWS + 1:
            found.append((await wire.hear("db_change"))["data"]["id"])
            if speed is not None and len(found) % 500 == 0:
                due = asyncio.Event()
                loop.call_at(began + len(found) / speed, due.set)
                await due.wait()
        return found

    async with asyncio.TaskGroup() as group:
        both = [group.create_task(read_all(slow, SPEED)), group.create_task(read_all(quick, None))]
        await shell((SQLITE if is_sqlite else POSTGRES).format(ROWS))
        await http.sql("INSERT INTO bulk(note) VALUES ('the last one')")
    assert [task.result() for task in both] == [list(range(1, ROWS + 2))] * 2
    await http.sql("INSERT INTO bulk(note) VALUES ('and live again')")
    assert (await slow.hear("db_change"))["data"]["id"] == ROWS + 2
