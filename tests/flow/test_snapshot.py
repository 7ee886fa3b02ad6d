"""Snapshot and stream: the rows of a view, then exactly the changes after them (docs/protocol.md §6)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.flow.calls import Http
from tests.flow.conftest import ServerProcess
from tests.flow.wire import Dial, Wire

FILL = "WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < {count}) INSERT INTO {table} "


async def snapshot(wire: Wire, topic: str, **fields: Any) -> tuple[list[dict[str, Any]], str]:
    """The rows and the cursor that every frame names."""
    subscribed = await wire.subscribe(topic, **fields)
    assert subscribed["recovered"] is None
    rows: list[dict[str, Any]] = []
    while True:
        part = await wire.hear("snapshot")
        assert part["cursor"] == subscribed["cursor"]
        assert part["id"] == subscribed["id"]
        rows += part["rows"]
        if part["last"]:
            return rows, part["cursor"]


async def test_the_rows_of_a_view_and_then_its_changes(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE seats(id INTEGER PRIMARY KEY, owner TEXT)")
    await http.sql("INSERT INTO seats VALUES (1, 'ann'), (2, 'bob'), (3, 'ann')")
    wire = await dial(node)
    rows, _ = await snapshot(wire, "seats", snapshot=True, filter={"owner": "ann"})
    assert rows == [{"id": 1, "owner": "ann"}, {"id": 3, "owner": "ann"}]
    await http.sql("UPDATE seats SET owner = 'ann' WHERE id = 2")
    change = await wire.hear("db_change")
    assert (change["operation"], change["data"]) == ("INSERT", {"id": 2, "owner": "ann"})


async def test_an_empty_view_is_one_last_frame(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE nobody(id INTEGER PRIMARY KEY)")
    wire = await dial(node)
    rows, cursor = await snapshot(wire, "nobody", snapshot=True)
    await http.sql("INSERT INTO nobody VALUES (1)")
    assert (rows, (await wire.hear("db_change"))["data"]) == ([], {"id": 1})
    assert (await wire.subscribe("nobody", since=cursor))["recovered"] is True
    assert (await wire.hear("db_change"))["data"] == {"id": 1}


async def test_the_newest_few(node: ServerProcess, dial: Dial, http: Http) -> None:
    await http.sql("CREATE TABLE scores(id INTEGER PRIMARY KEY, points INTEGER)")
    await http.sql("INSERT INTO scores VALUES (1, 10), (2, 30), (3, 20), (4, 5)")
    wire = await dial(node)
    rows, _ = await snapshot(wire, "scores", snapshot={"limit": 2, "order": "-points"})
    assert [row["id"] for row in rows] == [2, 3]
    rows, _ = await snapshot(
        wire, "scores", snapshot={"limit": 2, "order": "points"}, filter={"points": {"gt": 5}}
    )
    assert [row["id"] for row in rows] == [1, 3]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"snapshot": 1}, "bad_message"),
        ({"snapshot": {"limit": 0}}, "bad_message"),
        ({"snapshot": {"limit": "3"}}, "bad_message"),
        ({"snapshot": {"limti": 3}}, "bad_message"),
        ({"snapshot": {"limit": 3, "order": "nothing"}}, "invalid_filter"),
        ({"snapshot": True, "filter": {"nothing": 1}}, "invalid_filter"),
    ],
)
async def test_what_no_snapshot_can_be_made_of_is_refused(
    node: ServerProcess, dial: Dial, http: Http, asked: dict[str, Any], code: str
) -> None:
    await http.sql("CREATE TABLE IF NOT EXISTS refused(id INTEGER PRIMARY KEY)")
    answer = await (await dial(node)).ask("subscribe", topic="refused", **asked)
    assert (answer["type"], answer["code"]) == ("error", code)


async def test_a_snapshot_of_a_custom_channel_or_of_no_table_is_refused(node: ServerProcess, dial: Dial) -> None:
    wire = await dial(node)
    assert (await wire.ask("subscribe", topic="chat/x", snapshot=True))["code"] == "bad_message"
    assert (await wire.ask("subscribe", topic="nowhere", snapshot=True))["code"] == "not_found"


async def test_a_large_table_under_writers_is_exact_and_holds_up_nobody(
    server: ServerProcess,
    dial: Dial,
    calls: Callable[[ServerProcess], Http],
    shell: Callable[[str], Awaitable[str]],
) -> None:
    http = calls(server)
    await http.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, n INTEGER)")
    await shell(FILL.format(count=30_000, table="t") + "SELECT i, 0 FROM c")
    reader, other = await dial(server), await dial(server)
    await other.subscribe("chat/other")
    writing = asyncio.create_task(_write(shell))
    subscribed = await reader.subscribe("t", snapshot=True)
    rows: dict[int, int] = {}
    while True:
        part = await reader.hear("snapshot")
        for row in part["rows"]:
            assert row["id"] not in rows, "each row once"
            rows[row["id"]] = row["n"]
        if part["last"]:
            break
        await other.publish("chat/other", len(rows))
    assert part["cursor"] == subscribed["cursor"]
    await writing
    await shell("INSERT INTO t VALUES (-1, -1)")
    while True:
        change = await reader.hear("db_change")
        identity = change["data"]["id"]
        if change["operation"] == "DELETE":
            del rows[identity]
        else:
            assert (identity in rows) == (change["operation"] == "UPDATE")
            rows[identity] = change["data"]["n"]
        if identity == -1:
            break
    expected = await http.sql("SELECT count(*) AS count, sum(id * 7 + n) AS mark FROM t")
    assert (len(rows), sum(identity * 7 + n for identity, n in rows.items())) == tuple(expected[0].values())


async def _write(shell: Callable[[str], Awaitable[str]]) -> None:
    for step in range(10):
        await shell(
            f"UPDATE t SET n = n + {step} WHERE id % 50 = {step}; DELETE FROM t WHERE id % 501 = {step}; "
            f"INSERT INTO t VALUES ({100_000 + step}, {step})"
        )
