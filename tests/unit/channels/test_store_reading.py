"""Slow subscribers of channels whose log no longer holds what follows, without sockets, databases and time."""

import random
from collections.abc import Iterator
from typing import Any

import pytest

from aerostack_realtime.channels import store_reading
from aerostack_realtime.protocol.errors import Unavailable
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas

LIMIT = 1 << 20
"""The buffer limit of `Node`."""
LOG = 1_000
"""Events that the log of a channel holds."""


@pytest.fixture
def cluster() -> Iterator[Replicas]:
    found = Replicas("a")
    found.settle()
    yield found
    found.close()


@pytest.fixture
def node(cluster: Replicas) -> Node:
    return cluster.nodes[0]


def persist(node: Node, first: int, last: int, **options: Any) -> None:
    """Publish and deliver the numbers from `first` to `last`, persisted, in ticks of 100."""
    for start in range(first, last + 1, 100):
        for number in range(start, min(start + 100, last + 1)):
            node.publish(number, persist=True, **options)
        node.step()
        node.store.commit()
        node.step()


def serve(node: Node) -> None:
    """Let the timers of the node run, and everything be read that can be."""
    for _ in range(60):
        calls, node.later[:] = list(node.later), []
        for call in calls:
            call()
        node.tick.end()
        node.cluster.pump()


def heard(peer: Peer) -> list[Any]:
    return [each["data"] for each in peer.take() if each["type"] == "event"]


def test_a_slow_subscriber_gets_every_message_that_the_log_forgot(node: Node) -> None:
    slow, quick = node.peer(), node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, 2 * LOG)
    serve(node)
    assert heard(quick) == list(range(1, 2 * LOG + 1))
    before = heard(slow)
    assert before == list(range(1, len(before) + 1)), "what it was sent before it fell behind"
    slow.stalled = 0
    serve(node)
    persist(node, 2 * LOG + 1, 2 * LOG + 2)
    assert before + heard(slow) == list(range(1, 2 * LOG + 3))
    assert (slow.overflowed, node.hub.inspection.behind(slow.connection_id)) == (0, {})


def test_messages_that_come_between_two_pages_follow_them(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_reading, "PAGE", 7)
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 200)
    slow.stalled = 0
    for n in range(20):
        serve_once(node)
        persist(node, LOG + 201 + n, LOG + 201 + n)
    for _ in range(10):
        serve(node)
    assert heard(slow) == list(range(1, LOG + 221))
    assert slow.overflowed == 0


def serve_once(node: Node) -> None:
    calls, node.later[:] = list(node.later), []
    for call in calls:
        call()
    node.cluster.pump()


def test_a_slow_subscriber_waits_for_its_client_between_pages(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_reading, "PAGE", 10)
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 500)
    heard(slow)
    slow.stalled = 0
    serve_once(node)
    slow.stalled = LIMIT
    serve(node)
    assert len(heard(slow)) == 10


def test_large_messages_are_not_read_again_for_each_part(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node.hub._slow_readers._store, "_share", 1)  # each message is a part
    read, counts = node.store.after, list[int]()

    async def after(topic: str, position: int, until: int, limit: int) -> Any:
        counts.append(limit)
        return await read(topic, position, until, limit)

    monkeypatch.setattr(node.store, "after", after)
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 30)
    slow.stalled = 0
    serve(node)
    assert heard(slow) == list(range(1, LOG + 31))
    assert sum(counts[1:]) <= 3 * len(counts)


def test_an_event_that_was_not_persisted_closes_the_connection(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, 10)
    node.publish("nowhere recorded")
    persist(node, 11, LOG + 300)
    slow.stalled = 0
    serve(node)
    assert slow.overflowed == 1


def test_an_event_from_before_the_cursor_need_not_be_recorded(node: Node) -> None:
    slow = node.peer()
    node.publish("heard")
    node.step()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 300)
    slow.stalled = 0
    serve(node)
    assert heard(slow) == ["heard", *range(1, LOG + 301)]
    assert slow.overflowed == 0


def test_messages_that_retention_deleted_close_the_connection(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 500)
    stored = node.cluster.messages.stored
    for key in list(stored)[:300]:
        del stored[key]
    slow.stalled = 0
    serve(node)
    assert (slow.overflowed, len(heard(slow))) == (1, 100), "nothing after a gap is sent"


def test_a_compaction_after_the_cursor_closes_the_connection(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, 200)
    persist(node, 201, 201, compacts=f"{node.journal.epoch}.{node.journal.last}")
    persist(node, 202, LOG + 500)
    slow.stalled = 0
    serve(node)
    assert slow.overflowed == 1


def test_a_store_that_is_away_is_asked_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 300)
    read, failures = node.store.after, [Unavailable("The database is away."), Unavailable("And again.")]

    async def after(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await read(*arguments)

    monkeypatch.setattr(node.store, "after", after)
    slow.stalled = 0
    serve(node)
    assert heard(slow) == list(range(1, LOG + 301))
    assert not failures


def test_a_message_withheld_from_its_slow_publisher_stays_withheld(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, 10)
    persist(node, 11, 11, without=slow.connection_id)
    persist(node, 12, LOG + 300)
    slow.stalled = 0
    serve(node)
    assert heard(slow) == [*range(1, 11), *range(12, LOG + 301)]


def test_one_that_leaves_while_it_is_read_for_gets_nothing_more(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    persist(node, 1, LOG + 300)
    heard(slow)
    slow.stalled = 0
    calls, node.later[:] = list(node.later), []
    for call in calls:
        call()
    node.hub.subscriptions.unsubscribe(slow, TOPIC)
    serve(node)
    assert (heard(slow), slow.overflowed) == ([], 0)


@pytest.mark.parametrize("seed", range(6))
def test_every_message_is_sent_once_in_order_or_the_connection_closes(
    node: Node, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = random.Random(seed)
    monkeypatch.setattr(store_reading, "PAGE", choose.randrange(2, 60))
    slow, number, ephemeral = node.peer(), 0, seed % 3 == 0
    received: list[Any] = []
    for _ in range(40):
        slow.stalled = choose.choice((0, 0, LIMIT // 2, LIMIT + 1))
        for _ in range(choose.choice((1, 30, 200))):
            number += 1
            node.publish(number, persist=not ephemeral or choose.random() < 0.999)
        node.step()
        node.store.commit()
        node.step()
        serve_once(node)
        received += heard(slow)
        assert received == list(range(1, len(received) + 1))
        if slow.overflowed:
            assert ephemeral
            return
    slow.stalled = 0
    for _ in range(20):
        serve(node)
    received += heard(slow)
    if not slow.overflowed:
        assert received == list(range(1, number + 1))
    else:
        assert ephemeral
