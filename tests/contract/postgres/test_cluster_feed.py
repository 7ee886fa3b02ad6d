"""Row changes on every node of a cluster: two or three nodes on one database, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from aerostack_realtime.channels.shared_log import SharedLog
from aerostack_realtime.database.postgres.database import PostgresDatabase
from aerostack_realtime.database.postgres.settings import PostgresSettings
from tests.contract.conftest import PATIENCE, Recorder, replay
from tests.contract.postgres.shop import ORDERS, Shop, ids
from tests.contract.test_shared_log import shared_after

ROWS = 20_000
"""Of one transaction: more than the buffers between PostgreSQL and a node hold."""


class Node:
    """A node with what it delivered."""

    def __init__(self, database: PostgresDatabase, recorder: Recorder) -> None:
        self.database = database
        self.recorder = recorder

    async def resumes(self, cursor: str) -> tuple[list[object], bool]:
        """The ids after a cursor, and whether nothing is missing."""
        changes, parts = await replay(self.database, "orders", cursor)
        return [change.data["id"] for change in changes], parts[0].recovered


async def join(shop: Shop, name: str) -> Node:
    recorder = Recorder()
    database = await PostgresDatabase.open(shop.dsn(), recorder, node=name)
    return Node(database, recorder)


@asynccontextmanager
async def nodes(shop: Shop, *names: str) -> AsyncIterator[list[Node]]:
    """Nodes that watch orders; the first one is the keeper."""
    joined: list[Node] = []
    try:
        for name in names:
            joined.append(await join(shop, name))
            if len(joined) == 1:
                shop.execute(ORDERS)
                await joined[0].database.changes.watch("orders")
                joined[0].database.set_keeper(True)
                await slot_is_active(shop)
            await registered(shop, name)
            await joined[-1].database.changes.watch("orders")
        yield joined
    finally:
        async with asyncio.timeout(PATIENCE):
            for node in joined:
                await node.database.close()


async def eventually(shop: Shop, query: str) -> None:
    """Wait until a query gives a row."""
    async with (
        asyncio.timeout(PATIENCE),
        await psycopg.AsyncConnection.connect(shop.dsn(), autocommit=True) as connection,
    ):
        while (await connection.execute(query.encode())).rowcount == 0:
            pass


async def slot_is_active(shop: Shop) -> None:
    await eventually(shop, "SELECT FROM pg_replication_slots WHERE NOT temporary AND active")


async def registered(shop: Shop, name: str) -> None:
    await eventually(shop, f"SELECT FROM aerostack.peers WHERE node = '{name}' AND cursor <> ''")


async def test_every_node_delivers_every_change(shop: Shop) -> None:
    async with nodes(shop, "a", "b", "c") as (a, b, c):
        shop.insert(1, 2, 3)
        for node in (a, b, c):
            await node.recorder.until_changes(3)
            assert ids(node.recorder) == [1, 2, 3]
        cursors = {tuple(change.cursor for change in node.recorder.changes) for node in (a, b, c)}
        assert len(cursors) == 1, "the cursor of a change is the same on every node"


async def test_a_cursor_of_one_node_resumes_on_another(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(1, 2)
        await a.recorder.until_changes(2)
        await b.recorder.until_changes(2)
        assert await b.resumes(a.recorder.changes[0].cursor) == ([2], True)
        assert await a.resumes(b.recorder.changes[0].cursor) == ([2], True)


async def test_cursors_of_other_nodes_share_what_is_read(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(1, 2, 3)
        first, second, third = await a.recorder.until_changes(3)
        await b.recorder.until_changes(3)
        shared = SharedLog(b.database.changes)
        for change, ids_after in ((first, [2, 3]), (second, [3]), (third, [])):
            changes, recovered = await shared_after(shared, change.cursor)
            assert ([each.data["id"] for each in changes], recovered) == (ids_after, True)
            assert shared.to_the_end("orders", second.cursor) is not None, "one read was enough"


async def test_a_newcomer_adopts_the_epoch_of_its_peers(shop: Shop) -> None:
    async with nodes(shop, "a") as (a,):
        shop.insert(1)
        (first,) = await a.recorder.until_changes(1)
        await eventually(shop, f"SELECT FROM aerostack.peers WHERE cursor = '{first.cursor}'")
        b = await join(shop, "b")
        try:
            assert b.database.epoch == a.database.epoch
            shop.insert(2)
            (second,) = await b.recorder.until_changes(1)
            await a.recorder.until_changes(2)
            assert await a.resumes(second.cursor) == ([], True)
            assert await b.resumes(first.cursor) == ([2], True)
        finally:
            await b.database.close()


async def test_a_node_that_starts_alone_starts_an_epoch(shop: Shop) -> None:
    async with nodes(shop, "a") as (a,):
        epoch = a.database.epoch
        shop.insert(1)
        (first,) = await a.recorder.until_changes(1)
    b = await join(shop, "b")
    try:
        assert b.database.epoch != epoch
        shop.insert(2)
        await b.recorder.until_changes(1)
        assert await b.resumes(first.cursor) == ([2], True)
    finally:
        await b.database.close()


async def test_the_next_keeper_takes_the_slot_over_without_loss(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(1)
        (first,) = await b.recorder.until_changes(1)
        await a.database.close()
        shop.insert(2)
        b.database.set_keeper(True)
        await slot_is_active(shop)
        shop.insert(3)
        await b.recorder.until_changes(3)
        assert ids(b.recorder) == [1, 2, 3]
        assert b.recorder.interruptions == []
        assert await b.resumes(first.cursor) == ([2, 3], True)


async def test_a_keeper_that_still_holds_the_slot_is_replaced(shop: Shop) -> None:
    """A node that died without closing its connection holds the slot until PostgreSQL notices."""
    async with nodes(shop, "a", "b") as (a, b):
        before = shop.active_pid()
        b.database.set_keeper(True)
        await eventually(
            shop, f"SELECT FROM pg_replication_slots WHERE NOT temporary AND active AND active_pid <> {before}"
        )
        a.database.set_keeper(False)
        shop.insert(1, 2)
        for node in (a, b):
            await node.recorder.until_changes(2)
            assert ids(node.recorder) == [1, 2]
            assert node.recorder.interruptions == []


async def test_a_killed_connection_of_a_node_that_is_not_keeper_loses_nothing(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(1)
        await b.recorder.until_changes(1)
        shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE temporary")
        shop.insert(2)
        for node in (a, b):
            await node.recorder.until_changes(2)
            assert ids(node.recorder) == [1, 2]
            assert node.recorder.interruptions == []


async def test_a_restart_of_postgresql_causes_no_gap_on_any_node(own: Shop) -> None:
    async with nodes(own, "a", "b") as (a, b):
        own.insert(1)
        for node in (a, b):
            await node.recorder.until_changes(1)
        epoch = a.database.epoch
        own.server.crash()
        own.server.start()
        own.insert(2)
        for node in (a, b):
            await node.recorder.until_changes(2)
            assert node.recorder.interruptions == []
            assert node.database.epoch == epoch


async def test_a_lost_slot_is_a_gap_in_one_epoch_for_all(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(1)
        for node in (a, b):
            await node.recorder.until_changes(1)
        await asyncio.to_thread(shop.drop_slot)
        await a.recorder.until_interruptions(1)
        shop.insert(2)
        for node in (a, b):
            await node.recorder.until_changes(2)
        assert a.database.epoch == b.database.epoch
        assert await b.resumes(a.recorder.changes[-1].cursor) == ([], True)
        assert await a.resumes(b.recorder.changes[-1].cursor) == ([], True)


async def test_a_cursor_older_than_memory_is_replayed_by_every_node(shop: Shop) -> None:
    settings = PostgresSettings(log_bytes=1_000)
    async with nodes(shop, "a", "b") as (a, b):
        shop.insert(*range(100))
        await a.recorder.until_changes(100)
        recorder = Recorder()
        small = await PostgresDatabase.open(shop.dsn(), recorder, node="c", settings=settings)
        try:
            changes, parts = await replay(small, "orders", a.recorder.changes[0].cursor)
            assert [change.data["id"] for change in changes] == list(range(1, 100))
            assert parts[0].recovered
        finally:
            await small.close()
        await b.recorder.until_changes(100)


async def test_announcements_reach_every_node_with_their_transaction(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        heard: dict[str, asyncio.Queue[tuple[str, bytes]]] = {name: asyncio.Queue() for name in "ab"}
        a.database.listen(lambda kind, payload: heard["a"].put_nowait((kind, payload)))
        b.database.listen(lambda kind, payload: heard["b"].put_nowait((kind, payload)))
        await a.database.keep("revocation", "user:ann", "{}")
        await b.database.announce("disconnect", b"ann")
        shop.execute("SELECT pg_logical_emit_message(true, 'audit', 'of somebody else')")
        await a.database.announce("last", b"")
        async with asyncio.timeout(PATIENCE):
            for queue in heard.values():
                assert await queue.get() == ("kept.revocation", b'["user:ann","{}"]')
                assert await queue.get() == ("disconnect", b"ann")
                assert await queue.get() == ("last", b"")
        assert await b.database.kept("revocation") == {"user:ann": "{}"}


async def test_an_announcement_made_while_a_node_is_cut_off_follows(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        b.database.listen(lambda _, payload: heard.put_nowait(payload))
        for number in range(3):
            shop.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE temporary")
            await a.database.announce("disconnect", b"%d" % number)
            async with asyncio.timeout(PATIENCE):
                assert await heard.get() == b"%d" % number
        assert heard.empty()


async def test_an_announcement_that_is_sent_again_is_delivered_once(shop: Shop) -> None:
    async with nodes(shop, "a") as (a,):
        heard: asyncio.Queue[bytes] = asyncio.Queue()

        def hear(_: str, payload: bytes) -> None:
            heard.put_nowait(payload)
            if payload == b"first":
                shop.cut()

        a.database.listen(hear)
        with psycopg.connect(shop.dsn()) as connection:
            connection.execute("SELECT pg_logical_emit_message(true, 'aerostack.disconnect', 'first')")
            connection.execute("SELECT pg_logical_emit_message(true, 'aerostack.disconnect', 'second')")
            connection.execute(f"INSERT INTO orders SELECT n, repeat('-', 1000) FROM generate_series(1, {ROWS}) n")
        await a.recorder.until_changes(ROWS)
        await a.database.announce("disconnect", b"last")
        async with asyncio.timeout(PATIENCE):
            for payload in (b"first", b"second", b"last"):
                assert await heard.get() == payload


@pytest.mark.parametrize("restored", [False, True])
async def test_a_newcomer_that_finds_another_log_starts_an_epoch(shop: Shop, restored: bool) -> None:
    """The change that a live node delivered last is the proof that the newcomer reads the same log."""
    async with nodes(shop, "a") as (a,):
        shop.insert(1)
        (first,) = await a.recorder.until_changes(1)
        await eventually(shop, f"SELECT FROM aerostack.peers WHERE cursor = '{first.cursor}'")
        epoch, lsn, index, last = first.cursor.split(".")
        claimed = f"{epoch}.{lsn}.{index}.{int(last, 16) ^ restored:x}"
        shop.execute(
            f"INSERT INTO aerostack.peers VALUES ('ghost', '{epoch}', '{claimed}', now() + interval '60 seconds')"
        )
        b = await join(shop, "b")
        try:
            assert (b.database.epoch != epoch) == restored
        finally:
            await b.database.close()


async def test_nodes_that_watch_a_table_at_once_see_no_gap(shop: Shop) -> None:
    async with nodes(shop, "a", "b") as (a, b):
        shop.execute("CREATE TABLE bills(id INTEGER)")
        await asyncio.gather(*(node.database.changes.watch("bills") for node in (a, b)))
        since = a.database.changes.cursor("bills")
        shop.execute("INSERT INTO bills VALUES (1)")
        for node in (a, b):
            await node.recorder.until_changes(1)
            await node.database.changes.watch("bills")
            assert node.recorder.interruptions == []
        changes, parts = await replay(a.database, "bills", since)
        assert ([change.data["id"] for change in changes], parts[0].recovered) == ([1], True)


async def test_keepers_and_connections_change_under_load_without_loss(shop: Shop) -> None:
    """Three nodes, a writer, and after every burst another keeper or killed streams."""
    async with nodes(shop, "a", "b", "c") as cluster:
        kill_all = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active"
        kill_copies = f"{kill_all} AND temporary"
        for burst in range(12):
            keeper = cluster[burst % 3]
            for node in cluster:
                node.database.set_keeper(node is keeper)
            if burst % 4 == 1:
                shop.execute(kill_all)
            elif burst % 4 == 3:
                shop.execute(kill_copies)
            shop.insert(*range(burst * 10, burst * 10 + 10))
        for node in cluster:
            await node.recorder.until_changes(120)
            assert ids(node.recorder) == list(range(120))
            assert node.recorder.interruptions == []
        orders = {tuple(change.cursor for change in node.recorder.changes) for node in cluster}
        assert len(orders) == 1, "each change has one cursor, in one order"
        middle = cluster[0].recorder.changes[59].cursor
        for node in cluster:
            assert await node.resumes(middle) == (list(range(60, 120)), True)
