"""Many clients resume at the same time: each gets what it would get alone, most of them without waiting."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aerostack_realtime.access.rules import ChannelRule, TableRule
from aerostack_realtime.channels import table_subscriptions
from tests.contract.conftest import PATIENCE
from tests.unit.gateway.websocket.stage import Connection, Stage, stage

TABLE = "CREATE TABLE orders(id INTEGER PRIMARY KEY, owner TEXT, secret TEXT)"
RULES = (TableRule("orders", "authenticated", rows={"owner": "user.id"}, columns=("id", "owner")),)


def insert(*owners: str) -> tuple[str, ...]:
    return tuple(f"INSERT INTO orders(owner, secret) VALUES ('{owner}', 's')" for owner in owners)


async def cursors(node: Stage, *statements: str) -> list[str]:
    """The cursor before some changes, and the cursor of each."""
    watching = node.join(node.authenticator.identify("a-secret-key-of-tests", None))
    found: list[str] = []
    async with asyncio.timeout(PATIENCE):
        [subscribed] = await watching.ask(type="subscribe", topic="orders")
        await node.rows(*statements)
        while len(found) < len(statements):
            await watching.written()
            found += [each["cursor"] for each in watching.take()]
    watching.session.close(1000, "")
    return [subscribed["cursor"], *found]


async def resumed(connection: Connection, since: str, **options: Any) -> tuple[list[Any], bool]:
    """The ids that a client was sent after a cursor, and whether it did not have to wait."""
    pending = connection.send(type="subscribe", topic="orders", since=since, id="1", **options)
    if pending is not None:
        await pending
    subscribed, *changes = connection.take()
    assert (subscribed["type"], subscribed["cursor"], subscribed["id"]) == ("subscribed", since, "1")
    assert subscribed["recovered"] is True
    return [each["data"]["id"] for each in changes], pending is None


async def test_clients_of_different_cursors_and_filters_share_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, sql=(TABLE,)) as node:
        start, first, _, third = await cursors(node, *insert("ann", "bob", "ann"))
        reads = counted(node, monkeypatch)
        assert await resumed(node.connect("ann"), start) == ([1, 2, 3], False)
        for since, options, ids in (
            (start, {}, [1, 2, 3]),
            (first, {}, [2, 3]),
            (third, {}, []),
            (start, {"filter": {"owner": "ann"}}, [1, 3]),
            (first, {"filter": {"id": {"gt": 2}}}, [3]),
        ):
            assert await resumed(node.connect("ann"), since, **options) == (ids, True)
        assert reads() == 1


def counted(node: Stage, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often the log of a table is read from now on."""
    feed, count = type(node.database.changes), 0
    replay = feed.replay

    def counting(*arguments: Any) -> None:
        nonlocal count
        count += 1
        replay(*arguments)

    monkeypatch.setattr(feed, "replay", counting)
    return lambda: count


async def test_each_user_sees_the_rows_and_columns_of_their_rule(tmp_path: Path) -> None:
    async with stage(tmp_path, tables=RULES, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann", "bob", "ann"))
        await resumed(node.connect("ann"), start)
        for user, ids in (("ann", [1, 3]), ("bob", [2]), ("eve", [])):
            client = node.connect(user)
            assert client.send(type="subscribe", topic="orders", since=start) is None
            _, *changes = client.take()
            assert [each["data"] for each in changes] == [{"id": id, "owner": user} for id in ids]


async def test_after_a_shared_resume_live_changes_follow_without_a_seam(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann"))
        clients = [node.connect("ann") for _ in range(3)]
        received: list[list[Any]] = [(await resumed(each, start))[0] for each in clients]
        async with asyncio.timeout(PATIENCE):
            for number in range(2, 6):  # with a client more after each change, which none of the others has read
                await node.rows(*insert("ann"))
                for client, ids in zip(clients, received, strict=True):
                    while ids[-1] != number:
                        await client.written()
                        ids += [each["data"]["id"] for each in client.take()]
                clients.append(node.connect("ann"))
                received.append((await resumed(clients[-1], start))[0])
        assert received == [[1, 2, 3, 4, 5]] * 7


async def test_a_table_that_was_rebuilt_is_read_again(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann"))
        ann = node.connect("ann")
        await resumed(ann, start)
        await node.rows("DROP TABLE orders", TABLE)
        async with asyncio.timeout(PATIENCE):
            while not any(each.get("recovered") is False for each in ann.take()):
                await ann.written()
        answers = await node.connect("ann").ask(type="subscribe", topic="orders", since=start)
        assert answers[0]["recovered"] is False


async def test_more_than_fits_at_once_is_sent_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_subscriptions, "AT_ONCE_BYTES", 100)
    async with stage(tmp_path, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann", "bob"))
        assert [await resumed(node.connect("ann"), start) for _ in range(2)] == [([1, 2], False)] * 2


async def test_a_right_that_ended_refuses_also_what_was_read_for_others(tmp_path: Path) -> None:
    rules = (TableRule("orders", "authenticated"),)
    async with stage(tmp_path, tables=rules, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann"))
        await resumed(node.connect("ann"), start)
        [error] = await node.connect().ask(type="subscribe", topic="orders", since=start, id="1")
        assert error["code"] == "forbidden"


async def published(node: Stage, *topics: str) -> list[str]:
    """The cursors of persisted messages on these topics, in their order."""
    ann, found = node.connect("ann"), []
    node.clock.seconds += 1  # for ids of their own
    async with asyncio.timeout(PATIENCE):
        for number, topic in enumerate(topics):
            ann.send(
                type="publish",
                topic=topic,
                event="e",
                data=number,
                persist=True,
                id=f"{topic} {number} {node.clock.seconds}",
            )
            while not (acks := [each for each in ann.take() if each["type"] == "ack"]):
                await ann.written()
            found.append(acks[0]["cursor"])
    ann.session.close(1000, "")
    return found


async def rejoined(node: Stage, topic: str, since: str, **options: Any) -> tuple[list[Any], bool]:
    """What a client of a channel was sent after a cursor, and whether it did not have to wait."""
    client = node.connect("bob")
    pending = client.send(type="subscribe", topic=topic, since=since, id="1", **options)
    if pending is not None:
        await pending
    subscribed, *events = client.take()
    assert (subscribed["type"], subscribed["recovered"], subscribed["cursor"]) == ("subscribed", False, since)
    assert client.send(type="ping") is None
    assert [each["type"] for each in client.take()] == ["pong"]
    return [each["data"] for each in events], pending is None


async def test_clients_of_a_channel_share_what_the_store_has(tmp_path: Path) -> None:
    async with stage(tmp_path, log_count=2) as node:
        places = await published(node, *["a/b"] * 6)
        assert await rejoined(node, "a/b", places[0]) == ([1, 2, 3, 4, 5], False)
        assert await rejoined(node, "a/b", places[0]) == ([1, 2, 3, 4, 5], True)
        assert await rejoined(node, "a/b", places[1]) == ([2, 3, 4, 5], True)
        assert await rejoined(node, "a/b", places[1], streams={}) == ([2, 3, 4, 5], True)
        await published(node, "a/b")
        assert (await rejoined(node, "a/b", places[1]))[0] == [2, 3, 4, 5, 0], "the log has moved on"


async def test_without_the_right_to_history_nothing_of_the_store_is_shared(tmp_path: Path) -> None:
    async with stage(tmp_path, channels=(ChannelRule("**", "anyone", "anyone"),), log_count=2) as node:
        places = await published(node, *["a/b"] * 6)
        for _ in range(2):
            answers = await node.connect("bob").ask(type="subscribe", topic="a/b", since=places[0])
            assert [each.get("data") for each in answers[1:]] == [4, 5]


async def test_a_resume_of_a_subscription_that_is_there_starts_over(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=(TABLE,)) as node:
        start, *_ = await cursors(node, *insert("ann"))
        ann = node.connect("ann")
        for _ in range(2):
            assert await resumed(ann, start) == ([1], False)
        assert node.hub.subscriptions.total == 1
