"""Subscriptions in several steps: replays, history, snapshots, and how each of them ends early."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.database.message_store import NewMessage, Stored, StoredMessage
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.websocket import catchup
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError
from tests.unit.gateway.websocket.stage import Connection, Stage, stage

TABLE = "CREATE TABLE orders(id INTEGER PRIMARY KEY, note TEXT)"
INSERT = "INSERT INTO orders(note) VALUES ('x')"
TOPIC = "table/orders/default"
MANY = (
    "INSERT INTO orders(note) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
    " SELECT 'a note of a row' FROM n"
)
SNAPSHOT: dict[str, Any] = {"type": "subscribe", "topic": "orders", "snapshot": True, "id": "1"}
SMALL = replace(UNLIMITED, buffer_bytes=2_000)


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        await made.rows(TABLE)
        yield made


async def heard(connection: Connection, type: str) -> dict[str, Any]:
    """The next message of a type; those before it are dropped."""
    while True:
        for each in connection.take():
            if each["type"] == type:
                return each
        await connection.written()


async def test_a_table_is_watched_before_the_subscription_is_confirmed(node: Stage) -> None:
    ann = node.connect("ann")
    [subscribed] = await ann.ask(type="subscribe", topic="orders", id="1")
    assert (subscribed["topic"], subscribed["recovered"]) == (TOPIC, None)
    await node.rows(INSERT)
    assert (await heard(ann, "db_change"))["data"] == {"id": 1, "note": "x"}
    assert node.connect("bob").send(type="subscribe", topic="orders") is None, "now it takes one step"


async def test_a_replay_sends_what_was_missed_then_live_changes(node: Stage) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    [subscribed] = await ann.ask(type="subscribe", topic="orders", id="1")
    await node.rows(INSERT, INSERT)
    missed = 0
    while missed < 2:
        await ann.written()
        missed += ann.types().count("db_change")
    answers = await bob.ask(type="subscribe", topic="orders", since=subscribed["cursor"], id="2")
    assert (answers[0]["recovered"], answers[0]["cursor"]) == (True, subscribed["cursor"])
    assert [each["data"]["id"] for each in answers[1:]] == [1, 2]
    await node.rows(INSERT)
    assert (await heard(bob, "db_change"))["data"]["id"] == 3


async def test_an_unknown_cursor_is_not_recovered(node: Stage) -> None:
    ann = node.connect("ann")
    await ann.ask(type="subscribe", topic="orders")
    answers = await ann.ask(type="subscribe", topic="orders", since="nonsense.7", id="1")
    assert [(each["type"], each["recovered"]) for each in answers] == [("subscribed", False)]


async def test_a_snapshot_sends_rows_in_order_then_changes(node: Stage) -> None:
    await node.rows(*[INSERT] * 3)
    ann = node.connect("ann")
    options = {"limit": 2, "order": "-id"}
    answers = await ann.ask(**SNAPSHOT | {"snapshot": options})
    assert [each["type"] for each in answers] == ["subscribed", "snapshot"]
    assert ([row["id"] for row in answers[1]["rows"]], answers[1]["last"]) == ([3, 2], True)
    await node.rows(INSERT)
    assert (await heard(ann, "db_change"))["data"]["id"] == 4


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"limit": 0}, "bad_message"),
        ({"limit": 10_001}, "bad_message"),
        ({"order": "nope"}, "invalid_filter"),
        ({"page": 1}, "bad_message"),
    ],
)
async def test_wrong_options_of_a_snapshot_are_errors(node: Stage, options: dict[str, Any], code: str) -> None:
    ann = node.connect("ann")
    [error] = await ann.ask(**SNAPSHOT | {"snapshot": options})
    assert (error["code"], error["id"]) == (code, "1")
    assert node.hub.channels() == []


async def test_a_row_that_fits_into_no_frame_is_an_error(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=SMALL) as node:
        await node.rows(TABLE, f"INSERT INTO orders(note) VALUES ('{'x' * 3_000}')")
        answers = await node.connect("ann").ask(**SNAPSHOT)
        assert [each.get("code", each["type"]) for each in answers] == ["subscribed", "too_large"]


@pytest.fixture
async def long(tmp_path: Path) -> AsyncIterator[tuple[Stage, Connection, "asyncio.Future[None]"]]:
    """A snapshot under way to a client that does not read."""
    async with stage(tmp_path, limits=SMALL) as node:
        await node.rows(TABLE, MANY)
        ann = node.connect("ann")
        ann.line.stalled = 1_000  # more than a quarter of what may wait, so that `drain` waits
        pending = ann.send(**SNAPSHOT)
        assert pending is not None
        task = asyncio.ensure_future(pending)
        first = await heard(ann, "snapshot")
        assert not first["last"]
        yield node, ann, task


Long = tuple[Stage, Connection, "asyncio.Future[None]"]


async def test_a_snapshot_is_sent_in_parts_as_fast_as_it_is_read(long: Long) -> None:
    node, ann, task = long
    assert not task.done()
    ann.line.stalled = 0
    await task
    parts = [each for each in ann.take() if each["type"] == "snapshot"]
    assert [each["last"] for each in parts] == [False] * (len(parts) - 1) + [True]
    assert [each.subscribers for each in node.hub.channels()] == [1]


@pytest.mark.parametrize("type", ["unsubscribe", "subscribe"])
async def test_a_command_on_its_topic_ends_a_snapshot(long: Long, type: str) -> None:
    node, ann, task = long
    for frame in (b"subscribe?", b'{"type":"subscribe","topic":"other"}', b'{"type":"subscribe","topic":"a//b"}'):
        ann.session.ahead(frame)
    ann.session.ahead(msgspec.json.encode({"type": type, "topic": "orders"}))
    await task
    assert ann.types() == []
    assert [each["type"] for each in await ann.ask(type="unsubscribe", topic="orders")] == ["unsubscribed"]
    assert node.hub.channels() == []


async def test_a_ping_behind_a_snapshot_is_answered_at_the_next_tick(long: Long) -> None:
    node, ann, task = long
    ann.session.ahead(b'{"type":"ping"}')
    ann.session.tick(node.clock())
    assert ann.types() == ["pong"]
    ann.session.leaving()
    await task


async def test_closing_ends_a_snapshot(long: Long) -> None:
    node, ann, task = long
    ann.session.close(4403, "disconnected")
    await task
    assert ann.types() == []
    assert node.hub.channels() == []


async def test_losing_the_right_ends_a_snapshot_with_an_error(long: Long) -> None:
    node, ann, task = long
    ann.session.evict(TOPIC)
    await task
    assert [(each["type"], each.get("code")) for each in ann.take()] == [
        ("unsubscribed", None),
        ("error", "forbidden"),
    ]
    assert node.hub.channels() == []


async def test_an_aborted_connection_cancels_a_snapshot(long: Long) -> None:
    node, _, task = long
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert node.hub.channels() == []


async def test_a_snapshot_that_is_not_read_in_time_is_refused(tmp_path: Path) -> None:
    async with stage(tmp_path, limits=replace(SMALL, snapshot_seconds=0.05)) as node:
        await node.rows(TABLE, MANY)
        ann = node.connect("ann")
        ann.line.stalled = 1_000
        answers = await ann.ask(**SNAPSHOT)
        assert (answers[-1]["code"], answers[-1]["id"]) == ("too_large", "1")
        assert node.hub.channels() == []


async def test_a_right_that_ends_during_a_replay_leaves_no_subscription(
    node: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, bob = node.connect("ann"), node.connect("bob")
    [subscribed] = await bob.ask(type="subscribe", topic="orders", id="1")
    feed = type(node.database.changes)
    replay = feed.replay

    def evict_after(*arguments: Any) -> None:
        replay(*arguments)
        ann.session.evict(TOPIC)

    monkeypatch.setattr(feed, "replay", evict_after)
    answers = await ann.ask(type="subscribe", topic="orders", since=subscribed["cursor"], id="2")
    assert [each["type"] for each in answers] == ["unsubscribed", "error"]
    monkeypatch.undo()
    await bob.ask(type="subscribe", topic="orders", since=subscribed["cursor"], id="3")
    assert [each.subscribers for each in node.hub.channels()] == [1], "bob alone"
    await node.rows(INSERT)
    await heard(bob, "db_change")
    assert ann.take() == []


async def test_a_row_rule_that_fails_ends_the_subscription(tmp_path: Path) -> None:
    rules = (TableRule("orders", "anyone", rows="row.id / 0 == 1"),)
    async with stage(tmp_path, tables=rules) as node:
        await node.rows(TABLE, INSERT)
        ann = node.connect("ann")
        answers = await ann.ask(**SNAPSHOT)
        assert [(each["type"], each.get("code")) for each in answers[1:]] == [
            ("error", "forbidden"),
            ("unsubscribed", None),
        ]


async def persisted(node: Stage, count: int) -> list[str]:
    """The cursors of as many persisted messages."""
    ann = node.connect("ann")
    cursors = []
    for number in range(count):
        ann.send(type="publish", topic="a/b", event="e", data=number, persist=True, id=f"p{number}")
        cursors.append((await heard(ann, "ack"))["cursor"])
    return cursors


@pytest.mark.parametrize("page", [2, 100])
async def test_history_fills_what_the_log_no_longer_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(catchup, "PAGE", page)
    async with stage(tmp_path, log_count=2) as node:
        cursors = await persisted(node, 8)
        answers = await node.connect("bob").ask(type="subscribe", topic="a/b", since=cursors[0], id="1")
        assert (answers[0]["type"], answers[0]["recovered"]) == ("subscribed", False)
        assert [each["data"] for each in answers[1:]] == list(range(1, 8))


async def test_without_the_right_to_history_the_log_alone_is_sent(tmp_path: Path) -> None:
    async with stage(tmp_path, channels=(ChannelRule("**", "anyone", "anyone"),), log_count=2) as node:
        cursors = await persisted(node, 8)
        answers = await node.connect("bob").ask(type="subscribe", topic="a/b", since=cursors[0], id="1")
        assert answers[0]["recovered"] is False
        assert [each["data"] for each in answers[1:]] == [6, 7]


async def test_a_history_that_is_compacted_while_it_is_read_has_the_compaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catchup, "PAGE", 2)
    async with stage(tmp_path) as node:
        cursors = await persisted(node, 5)
        store, committed = node.database.messages, list[Answer[Stored]]()
        append, read, later = store.append, store.after, asyncio.get_running_loop().call_later

        def reported_late(message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
            def stored(outcome: Stored | AerostackError) -> None:
                committed[0].done(outcome)
                later(0.05, done, outcome)

            append(message, stored)

        async def after(topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
            page = await read(topic, position, until, limit)
            if not committed:  # what follows the first page is replaced before it is read
                committed.append(Answer[Stored]())
                node.hub.publish(topic, "e", Raw(b'"all"'), None, persist=True, compacts=cursors[-1])
                await committed[0]
            return page

        monkeypatch.setattr(store, "append", reported_late)
        monkeypatch.setattr(store, "after", after)
        answers = await node.connect("bob").ask(type="subscribe", topic="a/b", history="all", id="1")
        assert [each.get("data") for each in answers] == [None, 0, 1, "all"]
