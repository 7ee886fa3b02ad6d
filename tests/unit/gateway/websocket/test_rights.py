"""Rights: the topics that a session is on, and what ends them."""

from pathlib import Path

import pytest

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rules import ChannelRule, Rules, TableRule
from aerostack_realtime.gateway.websocket.rights import Guard, Rights
from aerostack_realtime.protocol.errors import Forbidden, InvalidTopic, RateLimited, Unauthorized
from tests.unit.gateway.websocket.stage import Stage, stage

ROOM = ChannelRule("room/{room}", members={"table": "members", "room": "{room}", "user": "{user.id}"})
RULES = (ROOM, ChannelRule("**", "authenticated", "authenticated", "authenticated"))
SQL = ("CREATE TABLE members(room TEXT, user TEXT)", "INSERT INTO members VALUES ('1', 'ann')")
ANN = Identity("user", "ann", claims={"sub": "ann"})


class Holder:
    """Records the topics that it is evicted from."""

    def __init__(self) -> None:
        self.evicted: list[str] = []

    def evict(self, topic: str) -> None:
        self.evicted.append(topic)


def rights(node: Stage, holder: Holder, limit: int = 10) -> Rights:
    made = Rights(node.guard, holder, limit)
    made.become(ANN)
    return made


def test_without_an_identity_nothing_is_allowed() -> None:
    made = Rights(Guard(Rules(), None, lambda: 0.0), Holder(), 1)  # type: ignore[arg-type]
    with pytest.raises(Unauthorized):
        made.require("a/b/default", "subscribe")


async def test_a_place_lasts_while_it_is_used(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        ann = rights(node, Holder(), limit=1)
        ann.take("a/b/default", "subscribe")
        ann.take("a/b/default", "presence")
        with pytest.raises(RateLimited):
            ann.take("a/c/default", "subscribe")
        ann.release("a/b/default", "subscribe")
        assert ann.on("a/b/default")
        ann.release("a/b/default", "presence")
        ann.release("a/b/default", "presence")
        assert not ann.on("a/b/default")
        assert not ann.leave("a/b/default")


async def test_places_are_bounded_and_left_one_by_one(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        ann = rights(node, Holder(), limit=3)
        topics = [f"a/{name}/default" for name in "bcd"]
        for topic in topics:
            ann.take(topic, "subscribe")
        with pytest.raises(RateLimited):
            ann.take("a/e/default", "subscribe")
        assert ann.leave(topics[0])
        assert [ann.on(topic) for topic in topics] == [False, True, True]
        ann.take("a/e/default", "subscribe")
        ann.leave_all()
        assert not any(ann.on(topic) for topic in [*topics, "a/e/default"])


async def test_a_topic_is_published_to_as_long_as_its_rule_allows(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        ann = rights(node, Holder())
        for _ in range(2):
            assert ann.publishing("a/b", "default") == "a/b/default"
            assert ann.publishing("a/c/default", "default") == "a/c/default"
            with pytest.raises(Forbidden):
                ann.publishing("room/2", "default")
            with pytest.raises(InvalidTopic):
                ann.publishing("", "default")
        ann.publishing("a/b", "default")
        ann.become(Identity("anonymous"))
        with pytest.raises(Forbidden):
            ann.publishing("a/b", "default")


async def test_a_membership_that_ends_evicts(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        holder = Holder()
        ann = rights(node, holder)
        with pytest.raises(Forbidden):
            ann.take("room/2/default", "subscribe")
        ann.take("room/1/default", "subscribe")
        assert ann.publishing("room/1", "default") == "room/1/default"
        connection = node.connect("ann")
        await connection.ask(type="subscribe", topic="room/1")
        await node.rows("DELETE FROM members")
        await connection.written()
        assert connection.types() == ["unsubscribed"]
        assert holder.evicted == ["room/1/default"]
        with pytest.raises(Forbidden):
            ann.publishing("room/1", "default")
        ann.leave_all()


async def test_a_place_that_was_left_is_not_evicted(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        holder, connection = Holder(), node.connect("ann")
        ann = rights(node, holder)
        ann.take("room/1/default", "subscribe")
        ann.leave_all()
        await connection.ask(type="subscribe", topic="room/1")
        await node.rows("DELETE FROM members")
        await connection.written()
        assert holder.evicted == []


async def test_a_new_identity_loses_what_its_rules_do_not_allow(tmp_path: Path) -> None:
    tables = (TableRule("orders", rows={"owner": "user.id"}),)
    async with stage(tmp_path, sql=SQL, channels=RULES, tables=tables) as node:
        ann = rights(node, Holder())
        for topic in ("a/b/default", "table/orders/default"):
            ann.take(topic, "subscribe")
        before = ann.permissions
        ann.become(Identity("user", "bob", claims={"sub": "bob"}))
        assert await ann.lost(before) == ["table/orders/default"], "its rows are others now"
        ann.become(Identity("anonymous"))
        assert sorted(await ann.lost(before)) == ["a/b/default", "table/orders/default"]


async def test_anonymous_clients_share_their_permissions(tmp_path: Path) -> None:
    async with stage(tmp_path, sql=SQL, channels=RULES) as node:
        assert node.guard.permissions(Identity("anonymous")) is node.guard.permissions(Identity("anonymous"))
        assert node.guard.permissions(ANN) is not node.guard.permissions(ANN)
