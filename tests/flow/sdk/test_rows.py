"""Row changes by any writer, and SQL over HTTP, with the real server."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest

from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Unauthorized
from aerostack_realtime.sdk.aerostack import Aerostack

if TYPE_CHECKING:
    from tests.flow.sdk.conftest import EventRecorder

Connect = Callable[..., Awaitable[Aerostack]]
Shell = Callable[[str], Awaitable[str]]

ORDERS = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT, total DOUBLE PRECISION)"


async def test_what_the_sdk_writes_is_heard(connect: Connect, recorder: "type[EventRecorder]") -> None:
    sdk = await connect()
    await sdk.db.query(ORDERS)
    listener = recorder()
    channel = await sdk.realtime.channel("orders").on("*", listener).subscribe()
    await sdk.db.query("INSERT INTO orders VALUES (?, ?, ?)", [1, "pending", 99.99])
    await sdk.db.query("UPDATE orders SET status = ? WHERE id = ?", ["shipped", 1])
    outcome = await sdk.db.query("DELETE FROM orders")
    inserted, updated, deleted = await listener.first(3)
    first, second = (
        {"id": 1, "status": "pending", "total": 99.99},
        {"id": 1, "status": "shipped", "total": 99.99},
    )
    assert (inserted.operation, inserted.data, inserted.old) == ("INSERT", first, None)
    assert (updated.operation, updated.data, updated.old) == ("UPDATE", second, first)
    assert (deleted.operation, deleted.data, deleted.old) == ("DELETE", second, second)
    assert {each.type for each in (inserted, updated, deleted)} == {"db_change"}
    assert channel.topic == deleted.topic == "orders"
    assert outcome.count == 1


async def test_a_channel_can_continue_after_the_cursor_of_a_result(
    connect: Connect, recorder: "type[EventRecorder]"
) -> None:
    sdk = await connect()
    await sdk.db.query(ORDERS)
    channel = await sdk.realtime.channel("orders").subscribe()
    await channel.unsubscribe()
    outcome = await sdk.db.query("INSERT INTO orders (id) VALUES (1)")
    await sdk.db.query("INSERT INTO orders (id) VALUES (2)")
    listener = recorder()
    other = await connect()
    await other.realtime.channel("orders", since=outcome.cursor).on("*", listener).subscribe()
    assert [each.data["id"] for each in await listener.first(1)] == [2]


async def test_writes_of_another_program_are_delivered(
    connect: Connect, shell: Shell, recorder: "type[EventRecorder]"
) -> None:
    sdk = await connect()
    await sdk.db.query(ORDERS)
    listener = recorder()
    await sdk.realtime.channel("orders").on("INSERT", listener).subscribe()
    await shell("INSERT INTO orders VALUES (1, 'pending', 1.5), (2, 'pending', 2.5)")
    assert [each.data["id"] for each in await listener.first(2)] == [1, 2]


async def test_a_filter_limits_the_rows(connect: Connect, recorder: "type[EventRecorder]") -> None:
    sdk = await connect()
    await sdk.db.query(ORDERS)
    listener = recorder()
    channel = sdk.realtime.channel("orders", filter={"status": "open"}).on("*", listener)
    await channel.subscribe()
    with pytest.raises(ValueError, match="another filter"):
        sdk.realtime.channel("orders", filter={"status": "paid"})
    await sdk.db.batch(
        [
            "INSERT INTO orders VALUES (1, 'open', 1)",
            ("INSERT INTO orders VALUES (?, ?, ?)", [2, "paid", 2]),
            {"sql": "UPDATE orders SET status = ? WHERE id = 1", "params": ["paid"]},
        ]
    )
    received = [(each.operation, each.data["id"]) for each in await listener.first(2)]
    assert received == [("INSERT", 1), ("DELETE", 1)]


async def test_another_process_continues_after_a_cursor(connect: Connect, recorder: "type[EventRecorder]") -> None:
    first = await connect()
    await first.db.query(ORDERS)
    before, after = recorder(), recorder()
    channel = await first.realtime.channel("orders").on("INSERT", before).subscribe()
    await first.db.query("INSERT INTO orders (id) VALUES (1)")
    await before.first(1)
    checkpoint = channel.cursor
    await first.realtime.disconnect()
    await first.db.query("INSERT INTO orders (id) VALUES (2)")
    second = await connect()
    await second.realtime.channel("orders", since=checkpoint).on("*", after).subscribe()
    await second.db.query("INSERT INTO orders (id) VALUES (3)")
    assert [each.data["id"] for each in await after.first(2)] == [2, 3]


async def test_results_are_rows_with_a_count(connect: Connect) -> None:
    sdk = await connect()
    _, inserted, selected = await sdk.db.batch(
        [
            ORDERS,
            ("INSERT INTO orders (id, status) VALUES (?, ?), (?, ?)", [1, "a", 2, None]),
            "SELECT id, status FROM orders ORDER BY id",
        ]
    )
    assert inserted.count == 2
    assert selected.rows == selected.results == list(selected)
    assert (len(selected), selected[1]) == (2, {"id": 2, "status": None})


async def test_a_batch_is_all_or_nothing(connect: Connect) -> None:
    sdk = await connect()
    await sdk.db.query(ORDERS)
    with pytest.raises(BadMessage, match=r"(?i)unique"):
        await sdk.db.batch(["INSERT INTO orders (id) VALUES (1)"] * 2)
    assert len(await sdk.db.query("SELECT * FROM orders")) == 0


async def test_sql_needs_the_secret_key(connect: Connect) -> None:
    sdk = await connect(api_key=None)
    with pytest.raises(AerostackError) as refused:
        await sdk.db.query("SELECT 1")
    assert isinstance(refused.value, Unauthorized)
