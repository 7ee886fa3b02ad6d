"""Live tables of the Python client on a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from aerostack_realtime import Aerostack, RowChange
from aerostack_realtime.protocol.errors import InvalidFilter, NotFound

if TYPE_CHECKING:
    from tests.flow.conftest import ServerProcess

Connect = Callable[..., Awaitable[Aerostack]]
MAKE = "CREATE TABLE orders(id INTEGER PRIMARY KEY, status TEXT, total INTEGER)"


class RecordedChanges:
    """Keeps the changes that a table reports, and waits for more."""

    def __init__(self) -> None:
        self.changes: list[RowChange] = []
        self._more = asyncio.Event()

    def __call__(self, change: RowChange) -> None:
        self.changes.append(change)
        self._more.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._more.clear()
            await self._more.wait()


@pytest.fixture
async def sdk(connect: Connect) -> Aerostack:
    sdk = await connect()
    await sdk.db.query(MAKE)
    await sdk.db.query("INSERT INTO orders VALUES (1, 'open', 10), (2, 'paid', 20), (3, 'open', 30)")
    return sdk


async def test_the_rows_are_there_and_follow_every_change(sdk: Aerostack) -> None:
    recorded = RecordedChanges()
    async with sdk.realtime.table("orders", filter={"status": "open"}) as rows:
        rows.on_change(recorded)
        assert dict(rows) == {
            1: {"id": 1, "status": "open", "total": 10},
            3: {"id": 3, "status": "open", "total": 30},
        }
        await sdk.db.query("UPDATE orders SET status = 'open' WHERE id = 2")
        await sdk.db.query("UPDATE orders SET status = 'paid' WHERE id = 1")
        await sdk.db.query("UPDATE orders SET total = 31 WHERE id = 3")
        await sdk.db.query("UPDATE orders SET id = 4 WHERE id = 3")
        await recorded.until(lambda: 4 in rows)
        assert {key: row["total"] for key, row in rows.items()} == {2: 20, 4: 31}
        assert [(each.operation, each.key) for each in recorded.changes[:3]] == [
            ("INSERT", 2),
            ("DELETE", 1),
            ("UPDATE", 3),
        ]
        assert {(each.operation, each.key) for each in recorded.changes[3:]} == {("DELETE", 3), ("INSERT", 4)}


async def test_a_limit_keeps_the_first_and_replaces_one_that_leaves(sdk: Aerostack) -> None:
    await sdk.db.query(
        "WITH RECURSIVE c(i) AS (VALUES(10) UNION ALL SELECT i + 1 FROM c WHERE i < 100) "
        "INSERT INTO orders SELECT i, 'open', i * 10 FROM c"
    )
    recorded = RecordedChanges()
    async with sdk.realtime.table("orders", order="-total", limit=3) as rows:
        rows.on_change(recorded)
        assert list(rows) == [100, 99, 98]
        await sdk.db.query("DELETE FROM orders WHERE id = 99")
        await recorded.until(lambda: list(rows) == [100, 98, 97])
        await sdk.db.query("UPDATE orders SET total = 5000 WHERE id = 1")
        await recorded.until(lambda: list(rows) == [1, 100, 98])
        await sdk.db.query("DELETE FROM orders WHERE id > 50")
        await recorded.until(lambda: list(rows) == [1, 50, 49])
        assert len(rows) == 3


@pytest.mark.parametrize("order", ["status", "-status", None])
async def test_equal_rows_are_ordered_by_key_at_any_limit(sdk: Aerostack, order: str | None) -> None:
    """The rows lie in the table in another order, and there are more than a client keeps."""
    await sdk.db.query("DELETE FROM orders")
    for id in range(60, 0, -1):
        await sdk.db.query("INSERT INTO orders VALUES (?, 'open', 0)", [id])
    async with sdk.realtime.table("orders", order=order, limit=3) as rows:
        recorded = RecordedChanges()
        rows.on_change(recorded)
        assert list(rows) == [1, 2, 3]
        await sdk.db.query("UPDATE orders SET total = 1 WHERE id = 2")
        await sdk.db.query("DELETE FROM orders WHERE id = 1")
        await recorded.until(lambda: list(rows) == [2, 3, 4])
        await sdk.db.query("DELETE FROM orders WHERE id > 2 AND id < 40")
        await recorded.until(lambda: list(rows) == [2, 40, 41])


async def test_it_continues_after_a_kill_of_the_server(sdk: Aerostack, server: "ServerProcess") -> None:
    async with sdk.realtime.table("orders") as rows:
        changes = aiter(rows)
        await server.kill()
        await server.start()
        await sdk.db.query("DELETE FROM orders WHERE id = 2")
        change = await anext(changes)
        assert (change.operation, change.key) == ("DELETE", 2)
        assert list(rows) == [1, 3]


async def test_a_gap_loads_the_rows_again_and_reports_the_changes(
    sdk: Aerostack, shell: Callable[[str], Awaitable[str]]
) -> None:
    recorded = RecordedChanges()
    async with sdk.realtime.table("orders") as rows:
        rows.on_change(recorded)
        await sdk.db.query("INSERT INTO orders VALUES (4, 'open', 40)")
        await recorded.until(lambda: len(recorded.changes) == 1)
        await shell(
            f"{MAKE.replace('orders', 'replacement')}; INSERT INTO replacement SELECT * FROM orders WHERE id < 4; "
            "UPDATE replacement SET total = 0 WHERE id = 1; BEGIN; DROP TABLE orders; "
            "ALTER TABLE replacement RENAME TO orders; COMMIT"
        )
        await recorded.until(lambda: len(recorded.changes) == 3)
        assert {(each.operation, each.key) for each in recorded.changes[1:]} == {("DELETE", 4), ("UPDATE", 1)}
        assert {key: row["total"] for key, row in rows.items()} == {1: 0, 2: 20, 3: 30}


@pytest.mark.database("sqlite")
async def test_a_restored_file_is_loaded_again_and_reported_as_changes(
    sdk: Aerostack, shell: Callable[[str], Awaitable[str]], tmp_path: Any
) -> None:
    recorded = RecordedChanges()
    async with sdk.realtime.table("orders") as rows:
        rows.on_change(recorded)
        await shell(f".backup {tmp_path / 'backup.db'}")
        await sdk.db.query("INSERT INTO orders VALUES (4, 'open', 40)")
        await sdk.db.query("UPDATE orders SET total = 0 WHERE id = 1")
        await recorded.until(lambda: len(recorded.changes) == 2)
        await shell(f".restore {tmp_path / 'backup.db'}")
        await recorded.until(lambda: len(recorded.changes) == 4)
        assert {(each.operation, each.key) for each in recorded.changes[2:]} == {("DELETE", 4), ("UPDATE", 1)}
        assert {key: row["total"] for key, row in rows.items()} == {1: 10, 2: 20, 3: 30}


async def test_rows_with_duplicate_keys_are_refused(sdk: Aerostack) -> None:
    await sdk.db.query("CREATE TABLE visits(page TEXT, at INTEGER)")
    await sdk.db.query("INSERT INTO visits VALUES ('home', 1), ('home', 1)")
    with pytest.raises(InvalidFilter, match="no column 'id'"):
        async with sdk.realtime.table("visits"):
            pass
    with pytest.raises(InvalidFilter, match="same 'page'"):
        async with sdk.realtime.table("visits", key="page"):
            pass
    with pytest.raises(InvalidFilter, match="primary key"):
        async with sdk.realtime.table("visits", key="page", order="at", limit=2):
            pass


async def test_a_duplicate_key_ends_the_table_but_a_reused_key_does_not(
    sdk: Aerostack,
) -> None:
    await sdk.db.query("CREATE TABLE visits(page TEXT, at INTEGER)")
    await sdk.db.query("INSERT INTO visits VALUES ('home', 1), ('shop', 2)")
    async with sdk.realtime.table("visits", key="page") as rows:
        changes = aiter(rows)
        await sdk.db.batch(
            [
                ("UPDATE visits SET page = 'shop' WHERE page = 'home'", []),
                ("UPDATE visits SET page = 'home' WHERE at = 2", []),
            ]
        )
        recorded = [await anext(changes), await anext(changes)]
        assert {(each.operation, each.key) for each in recorded} == {("UPDATE", "home"), ("UPDATE", "shop")}
        assert {key: row["at"] for key, row in rows.items()} == {"shop": 1, "home": 2}
        await sdk.db.query("INSERT INTO visits VALUES ('home', 3)")
        with pytest.raises(InvalidFilter, match="same 'page'"):
            await anext(changes)


async def test_a_limit_alone_keeps_the_first_rows_by_any_key(sdk: Aerostack) -> None:
    await sdk.db.query("CREATE TABLE pages(id INTEGER PRIMARY KEY, slug TEXT NOT NULL)")
    for number in range(60):
        await sdk.db.query("INSERT INTO pages VALUES (?, ?)", [number, f"p{59 - number:02}"])
    recorded = RecordedChanges()
    async with sdk.realtime.table("pages", key="slug", limit=3) as rows:
        rows.on_change(recorded)
        assert list(rows) == ["p00", "p01", "p02"]
        await sdk.db.query("DELETE FROM pages WHERE slug = 'p01'")
        await recorded.until(lambda: list(rows) == ["p00", "p02", "p03"])


async def test_what_cannot_be_loaded_is_raised_at_the_door(sdk: Aerostack) -> None:
    with pytest.raises(NotFound):
        async with sdk.realtime.table("nothing"):
            pass
    with pytest.raises(InvalidFilter):
        async with sdk.realtime.table("orders", filter={"nothing": 1}):
            pass


async def test_the_iteration_ends_with_the_block(sdk: Aerostack) -> None:
    async with sdk.realtime.table("orders") as rows:
        changes = aiter(rows)
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_a_table_has_its_topic_for_itself(sdk: Aerostack) -> None:
    async with sdk.realtime.table("orders"):
        with pytest.raises(ValueError, match="live table"):
            sdk.realtime.channel("orders", filter={"id": 1})
        with pytest.raises(ValueError, match="subscribed already"):
            sdk.realtime.table("orders")
    async with sdk.realtime.table("orders") as again:
        assert len(again) == 3
