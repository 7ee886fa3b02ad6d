"""Slow subscribers that are served from the log, without sockets, threads and time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from msgspec import Raw

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import Change, ColumnType, Replay
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, NotFound, Unavailable
from tests.unit.channels.peers import Peer
from tests.unit.channels.replicas import TOPIC, Node, Replicas

ORDERS = "table/orders/p"
LIMIT = 1 << 20
"""The buffer limit of `Node`."""
PART = 3


class Feed:
    """A table's log, read in parts of PART changes when the test asks for it."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.start = 0
        self.asked: list[Callable[[], None]] = []
        self.failure: AerostackError | None = None

    def watches(self, table: str) -> bool:
        return table == "orders"

    def columns(self, table: str) -> Sequence[str]:
        return ("id",)

    def column_types(self, table: str) -> Mapping[str, ColumnType]:
        return {}

    def cursor(self, table: str) -> str:
        return f"f.{len(self.changes)}"

    def is_behind(self) -> bool:
        return False

    def replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int | None = None,
    ) -> None:
        def read() -> None:
            if self.failure is not None:
                failed(self.failure)
                return
            after = int(since.removeprefix("f."))
            part = self.changes[after : after + PART]
            end = after + len(part)
            then(Replay(part, f"f.{end}", after >= self.start, end < len(self.changes)))

        self.asked.append(read)


@pytest.fixture
def feed() -> Feed:
    return Feed()


@pytest.fixture
def node(feed: Feed) -> Iterator[Node]:
    cluster = Replicas()
    found = cluster.start("a", feed=feed)
    cluster.settle()
    yield found
    cluster.close()


def write(node: Node, feed: Feed, count: int = 1) -> None:
    """Changes that are recorded and delivered, each in a tick of its own."""
    for _ in range(count):
        number = len(feed.changes) + 1
        change = Change("orders", "INSERT", {"id": number}, None, 5, f"f.{number}")
        feed.changes.append(change)
        node.hub.changed([change])
        node.tick.end()


def publish(node: Node, count: int = 1, **options: Any) -> None:
    for _ in range(count):
        node.publish("x", **options)
        node.step()


def look(node: Node) -> None:
    """Let the timers of the node run once."""
    calls, node.later[:] = list(node.later), []
    for call in calls:
        call()
    node.tick.end()


def serve(node: Node, feed: Feed) -> None:
    """Let every part be read that can be."""
    for _ in range(20):
        look(node)
        asked, feed.asked[:] = list(feed.asked), []
        for read in asked:
            read()


def rows(peer: Peer) -> list[int]:
    return [each["data"]["id"] for each in peer.take() if each["type"] == "db_change"]


def cursors(peer: Peer) -> list[str]:
    return [each["cursor"] for each in peer.take() if each["type"] == "event"]


def test_a_slow_subscriber_of_a_table_gets_every_row_once_in_order(node: Node, feed: Feed) -> None:
    slow, quick = node.peer(ORDERS), node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 10)
    serve(node, feed)
    assert rows(quick) == list(range(1, 11))
    assert rows(slow) == [1], "nothing more is written until its client reads"
    slow.stalled = 0
    serve(node, feed)
    assert rows(slow) == list(range(2, 11))
    write(node, feed, 2)
    assert (rows(slow), slow.overflowed) == ([11, 12], 0)


def test_changes_between_two_parts_are_neither_lost_nor_repeated(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 5)
    slow.stalled = 0
    look(node)
    feed.asked.pop()()  # rows 2 to 4
    write(node, feed, 2)
    serve(node, feed)
    write(node, feed)
    assert rows(slow) == list(range(1, 9))


def test_a_slow_subscriber_waits_for_its_client_between_parts(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 10)
    slow.stalled = 0
    look(node)
    slow.stalled = LIMIT // 2
    feed.asked.pop()()
    serve(node, feed)
    assert rows(slow) == [1, 2, 3, 4]


def test_rows_that_the_log_no_longer_holds_close_the_connection(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 5)
    feed.start, slow.stalled = 4, 0
    serve(node, feed)
    write(node, feed)
    assert (rows(slow), slow.overflowed) == ([1], 1)


def test_a_dropped_table_is_an_error_and_its_return_is_heard(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 5)
    feed.failure, slow.stalled = NotFound("It is gone."), 0
    serve(node, feed)
    node.hub.interrupted("orders", "f.5", True)
    node.tick.end()
    types = [each["type"] for each in slow.take()]
    assert types == ["subscribed", "db_change", "error", "subscribed"]


def test_a_log_that_cannot_be_read_is_read_again(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 3)
    feed.failure, slow.stalled = Unavailable("Not now."), 0
    serve(node, feed)
    feed.failure = None
    serve(node, feed)
    assert rows(slow) == [1, 2, 3]


def test_a_row_rule_that_fails_in_the_log_denies_the_topic(
    node: Node, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 3)

    def fail(*_: object) -> bytes:
        raise RuleFailed("The rule of the table failed.")

    monkeypatch.setattr(TableChannel, "replayed", fail)
    slow.stalled = 0
    look(node)
    feed.asked.pop()()
    assert slow.denied == [ORDERS]


def test_one_that_unsubscribes_while_it_is_behind_gets_nothing_more(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 5)
    slow.stalled = 0
    look(node)
    node.hub.subscriptions.unsubscribe(slow, ORDERS)
    feed.asked.pop()()
    serve(node, feed)
    write(node, feed)
    assert rows(slow) == [1]


def test_one_that_subscribes_again_while_it_is_behind_is_live(node: Node, feed: Feed) -> None:
    slow = node.peer(ORDERS)
    slow.stalled = LIMIT + 1
    write(node, feed, 5)
    slow.stalled = 0
    node.hub.subscriptions.subscribe(slow, messages.Subscribe(ORDERS))
    serve(node, feed)
    write(node, feed)
    assert rows(slow) == [1, 6]


def test_a_slow_subscriber_of_a_channel_gets_every_event_once(node: Node, feed: Feed) -> None:
    slow, quick = node.peer(), node.peer()
    slow.stalled = LIMIT + 1
    publish(node, 10)
    look(node)
    expected = cursors(quick)
    assert len(expected) == 10
    slow.stalled = 0
    look(node)
    publish(node, 2)
    assert cursors(slow) == expected + cursors(quick)
    assert slow.overflowed == 0


def test_events_that_the_log_no_longer_holds_close_the_connection(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    publish(node, 1_005)
    look(node)
    assert (len(cursors(slow)), slow.overflowed) == (1, 1)


def test_an_event_that_is_withheld_from_a_slow_subscriber_stays_withheld(node: Node) -> None:
    slow, quick = node.peer(), node.peer()
    slow.stalled = LIMIT + 1
    publish(node)
    publish(node, 2, without=slow.connection_id)
    publish(node)
    slow.stalled = 0
    look(node)
    assert len(cursors(quick)) == 4
    assert len(cursors(slow)) == 2


def test_a_slow_subscriber_without_presence_is_sent_none_from_the_log(node: Node) -> None:
    slow, member = node.peer(presence=False), node.peer(None)
    slow.stalled = LIMIT + 1
    publish(node)
    node.hub.presence.track(member, TOPIC, "ann", {})
    publish(node)
    slow.stalled = 0
    look(node)
    assert [each["event"] for each in slow.take() if each["type"] == "event"] == ["m", "m"]


def test_one_that_starts_to_use_chat_while_behind_gets_chat_messages(node: Node) -> None:
    slow = node.peer()
    slow.stalled = LIMIT + 1
    publish(node, 2)
    node.hub.subscriptions.use_chat(slow)
    slow.stalled = 0
    look(node)
    node.hub.publish(TOPIC, "chat_message", Raw(b"{}"), lambda _: None)
    node.step()
    assert [each["type"] for each in slow.take()] == ["subscribed", "event", "event", "chat_message"]


def test_a_slow_user_of_chat_is_sent_chat_messages_from_the_log(node: Node) -> None:
    slow = node.peer()
    node.hub.subscriptions.use_chat(slow)
    slow.stalled = LIMIT + 1
    for event in ("m", "chat_message", "m"):
        node.hub.publish(TOPIC, event, Raw(b"{}"), lambda _: None)
        node.step()
    slow.stalled = 0
    look(node)
    assert [each["type"] for each in slow.take()] == ["subscribed", "event", "chat_message", "event"]


def test_a_slow_subscriber_with_streams_gets_each_piece_once(node: Node) -> None:
    slow = node.peer(None)
    node.hub.subscriptions.subscribe(slow, messages.Subscribe(TOPIC, streams=True))
    hub, owner = node.hub.streams, node.peer(None)

    def append(n: int, piece: bytes, state: Any = None) -> None:
        hub.append(
            TOPIC, "s", n, piece, state, lambda _: None, user_id=None, connection=owner.connection_id, by_key=False
        )
        node.step()

    hub.open(
        TOPIC, "answer", Raw(b'"a"'), lambda _: None,
        user_id=None, id="s", persist=False, connection=owner.connection_id, by_key=False,
    )  # fmt: skip
    node.step()
    slow.stalled = LIMIT + 1
    append(0, b'"b"')
    append(1, b'"c"')
    slow.stalled = 0
    look(node)
    append(2, b'"d"', "complete")
    text = "".join(
        str(each["data"]) for each in slow.take() if each["type"] in ("event", "append") and "data" in each
    )
    assert text == "abcd"
