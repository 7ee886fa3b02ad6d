"""Publishes that repeat the one before with other data and another id: everything is as with any other publish."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from aerostack_realtime.access.rules import ChannelRule, Rules
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.websocket.repeated import MISSES
from tests.unit.gateway.websocket.repeating import expecting, listening, read
from tests.unit.gateway.websocket.stage import Stage, stage

PREFIX = b'{"type":"publish","topic":"a/b","event":"e","data":'


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path) as made:
        yield made


async def test_repeated_events_are_those_of_any_publish(node: Stage) -> None:
    publisher, listener = await expecting(node, "ann"), await listening(node)
    read(publisher, {"n": 1})
    publisher.session.receive(b'{"type":"publish","topic":"a/b","event":"e","data":{"n":2}}')
    read(publisher, {"n": 3})
    first, second, third = listener.take()
    assert [each.pop("data") for each in (first, second, third)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    positions = [int(each["cursor"].partition(".")[2]) for each in (first, second, third)]
    assert positions == sorted(set(positions))
    assert [int(each["id"], 16) for each in (first, second, third)] == positions
    for each in (first, second, third):
        assert each.keys() == {"type", "topic", "event", "timestamp", "id", "cursor", "userId"}
        assert (each["type"], each["topic"], each["event"], each["userId"]) == ("event", "a/b/default", "e", "ann")
        assert each["cursor"].partition(".")[0] == node.hub.generation


async def test_they_are_in_the_log_and_counted(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    node.hub.sweep()
    counters, events = node.hub.counters, node.hub.counters.channel("a/b/default", "event").events
    publishes, size = counters.publishes, counters.bytes_in
    read(publisher, 1)
    [event] = listener.take()
    read(publisher, 2)
    node.hub.sweep()
    assert counters.publishes == publishes + 2
    assert counters.bytes_in == size + 2 * len(PREFIX + b"1}")
    assert counters.channel("a/b/default", "event").events == events + 2
    late = node.connect()
    _, missed = await late.ask(type="subscribe", topic="a/b", since=event["cursor"])
    assert missed["data"] == 2


async def test_without_subscribers_they_are_kept_for_those_who_resume(node: Stage) -> None:
    publisher = await expecting(node)
    [subscribed] = await node.connect().ask(type="subscribe", topic="other/room")
    read(publisher, "kept")
    late = node.connect()
    frames = await late.ask(type="subscribe", topic="a/b", since=subscribed["cursor"])
    assert "kept" in [each.get("data") for each in frames]


async def test_they_wait_behind_a_message_that_is_being_stored(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    publisher.send(type="publish", topic="a/b", event="e", data="stored", persist=True)
    read(publisher, "behind it")
    assert listener.take() == []
    await node.hub.drain()
    await listener.written()
    assert [each["data"] for each in listener.take()] == ["stored", "behind it"]


async def test_subscribers_with_streams_receive_them(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node, streams=True)
    read(publisher, "for all")
    assert [each["data"] for each in listener.take()] == ["for all"]


async def test_other_rules_end_it(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    node.guard.change(Rules((ChannelRule("**", "anyone", "server", "anyone", "anyone"),), ()), node.memberships)
    pending = publisher.session.apply_rules(moved=True)
    assert pending is not None
    await pending
    assert publisher.line.repeated is None
    read(publisher, "refused")
    assert [each["code"] for each in publisher.take()] == ["forbidden"]
    assert listener.take() == []


async def test_another_identity_ends_it(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    pending = publisher.send(type="auth", token=node.token("ann"))
    assert pending is not None
    await pending
    assert publisher.line.repeated is None
    for _ in range(3):
        read(publisher, "as ann")
    assert {each["userId"] for each in listener.take()} == {"ann"}


async def test_a_closed_session_publishes_nothing(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    publisher.session.close(4000, "test")
    read(publisher, "late")
    assert listener.take() == []


async def test_one_that_is_not_repeated_any_more_is_replaced(node: Stage) -> None:
    publisher, listener = await expecting(node), await listening(node)
    before = publisher.line.repeated
    for _ in range(MISSES - 1):
        read(publisher, 0, event="another")
        assert publisher.line.repeated is before
    read(publisher, 1, event="another")
    assert publisher.line.repeated is not before
    read(publisher, 2, event="another")
    assert [each["event"] for each in listener.take()] == ["another"] * (MISSES + 1)


async def test_rates_and_sizes_are_limited_as_always(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, messages_per_second=1, messages_burst=5, frame_bytes=100)
    async with stage(tmp_path, limits=limits) as node:
        publisher, listener = await expecting(node), await listening(node)
        for number in range(5):
            read(publisher, number)
        assert [each["data"] for each in listener.take()] == [0, 1, 2]
        assert [each["code"] for each in publisher.take()] == ["rate_limited"] * 2
        node.clock.seconds += 10
        read(publisher, "x" * 100)
        assert [each["code"] for each in publisher.take()] == ["too_large"]
        read(publisher, 7)
        assert [each["data"] for each in listener.take()] == [7]


async def test_bytes_are_limited_as_always(tmp_path: Path) -> None:
    limits = replace(UNLIMITED, publish_bytes_per_second=1, publish_bytes_burst=300)
    async with stage(tmp_path, limits=limits) as node:
        publisher, listener = await expecting(node), await listening(node)
        for number in range(5):
            read(publisher, number)
        taken = [each["data"] for each in listener.take()]
        assert taken == list(range(len(taken)))
        assert 0 < len(taken) < 5
        assert [each["code"] for each in publisher.take()] == ["rate_limited"] * (5 - len(taken))


async def test_events_without_echo_do_not_return_to_their_sender(node: Stage) -> None:
    publisher, listener = await expecting(node, "ann", echo=False), await listening(node)
    await publisher.ask(type="subscribe", topic="a/b")
    assert read(publisher, {"n": 1}, echo=False)
    assert publisher.take() == []
    assert [each["data"] for each in listener.take()] == [{"n": 1}]
    assert not read(publisher, {"n": 2})
    assert [each["data"] for each in publisher.take()] == [{"n": 2}]


async def test_events_without_echo_are_delivered_when_their_sender_has_left(node: Stage) -> None:
    publisher, listener = await expecting(node, "ann", echo=False), await listening(node)
    await publisher.ask(type="subscribe", topic="a/b")
    await publisher.ask(type="unsubscribe", topic="a/b")
    assert read(publisher, {"n": 1}, echo=False)
    [event] = listener.take()
    assert event["data"] == {"n": 1}
    late = node.connect()
    [subscribed, *missed] = await late.ask(type="subscribe", topic="a/b", since=event["cursor"])
    assert (subscribed["recovered"], missed) == (True, [])
