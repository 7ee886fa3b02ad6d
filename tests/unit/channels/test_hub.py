"""The hub on one node: commands, row changes of tables, and what it refuses."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import pytest
from msgspec import Raw

from aerostack_realtime.channels.custom.log import Bounds
from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.channels.tables.changes import ChangeFanOut
from aerostack_realtime.database.base import Change, ColumnType, Replay
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden, NotFound, Unavailable
from tests.unit.channels.replicas import TOPIC, Node, Replicas, events

ORDERS = "table/orders/p"
AGE = 2 * Bounds().age


class Feed:
    """A change feed with one watched table."""

    def watches(self, table: str) -> bool:
        return table == "orders"

    def columns(self, table: str) -> Sequence[str]:
        return ("id", "note")

    def column_types(self, table: str) -> Mapping[str, ColumnType]:
        return {}

    def cursor(self, table: str) -> str:
        return "f.1"

    def replay(
        self, table: str, since: str, then: Callable[[Replay], None], failed: Callable[[AerostackError], None]
    ) -> None:
        failed(Unavailable("The log cannot be read."))


@pytest.fixture
def node() -> Iterator[Node]:
    cluster = Replicas()
    found = cluster.start("a", feed=Feed())
    cluster.settle()
    yield found
    cluster.close()


def change(row: dict[str, object], *, cursor: str = "f.2", large: bool = False) -> Change:
    return Change("orders", "INSERT", row, None, 5, cursor, large=large)  # type: ignore[arg-type]


def test_a_row_change_reaches_the_subscribers_of_its_table(node: Node) -> None:
    peer, filtered = node.peer(ORDERS), node.peer(None)
    node.hub.subscriptions.subscribe(filtered, messages.Subscribe(ORDERS, filter={"id": 2}))
    fan_out = ChangeFanOut()
    fan_out.listeners = (node.hub,)
    fan_out.changed([change({"id": 1, "note": "x"})])
    node.tick.end()
    assert [each["type"] for each in peer.take()] == ["subscribed", "db_change"]
    assert [each["type"] for each in filtered.take()] == ["subscribed"]


def test_an_interrupted_table_is_a_gap_and_a_dropped_one_an_error(node: Node) -> None:
    peer = node.peer(ORDERS)
    peer.take()
    fan_out = ChangeFanOut()
    fan_out.listeners = (node.hub,)
    fan_out.interrupted("orders", "f.9", True)
    fan_out.interrupted("orders", "f.9", False)
    fan_out.interrupted("unknown", "f.9", True)
    node.tick.end()
    gap, error = peer.take()
    assert (gap["cursor"], gap["recovered"]) == ("f.9", False)
    assert error["code"] == "not_found"


@pytest.mark.parametrize("large", [False, True])
def test_a_change_that_is_too_large_is_a_gap_in_its_place(node: Node, large: bool) -> None:
    peer = node.peer(ORDERS)
    peer.take()
    node.hub.changed([change({"id": 1, "note": "x" * (2 << 20)}, large=large)])
    node.tick.end()
    [gap] = peer.take()
    assert (gap["type"], gap["cursor"], gap["recovered"]) == ("subscribed", "f.2", False)


def test_a_subscription_of_a_table_ends_and_its_channel_with_it(node: Node) -> None:
    peer = node.peer(ORDERS)
    assert [each.topic for each in node.hub.channels()] == [ORDERS]
    node.hub.subscriptions.subscribe(peer, messages.Subscribe(ORDERS, filter={"id": 1}))
    node.hub.subscriptions.unsubscribe(peer, ORDERS)
    assert node.hub.channels() == []


def test_subscriptions_that_make_no_sense_are_refused(node: Node) -> None:
    peer = node.peer(None)
    subscribe = node.hub.subscriptions.subscribe
    with pytest.raises(BadMessage, match="filter"):
        subscribe(peer, messages.Subscribe(TOPIC, filter={"id": 1}))
    with pytest.raises(NotFound):
        subscribe(peer, messages.Subscribe("table/unknown/p"))
    with pytest.raises(BadMessage, match="key"):
        subscribe(peer, messages.Subscribe(ORDERS, slow="latest", key="unknown"))


@pytest.mark.parametrize(
    ("topic", "event", "id", "error"),
    [
        (TOPIC, "", None, BadMessage),
        (TOPIC, "x" * 257, None, BadMessage),
        (TOPIC, "presence:join", None, BadMessage),
        (TOPIC, "m", "", BadMessage),
        (TOPIC, "m", "x" * 257, BadMessage),
        (ORDERS, "m", None, Forbidden),
    ],
)
def test_publishes_that_are_refused(
    node: Node, topic: str, event: str, id: str | None, error: type[AerostackError]
) -> None:
    with pytest.raises(error):
        node.hub.publish(topic, event, Raw(b"1"), lambda _: None, id=id)


def test_a_publisher_without_echo_does_not_receive_its_event(node: Node) -> None:
    own, other = node.peer(), node.peer()
    node.publish("quiet", without=own.connection_id)
    node.cluster.settle()
    assert events(own.take()) == []
    assert [data for _, data in events(other.take())] == ["quiet"]


def test_events_that_nobody_heard_are_sent_to_those_who_resume(node: Node) -> None:
    first = node.publish("first")
    node.publish("second")
    node.cluster.settle()
    assert isinstance(first[0], Outcome)
    peer = node.peer(since=first[0].cursor)
    subscribed, event = peer.take()
    assert subscribed["recovered"] is True
    assert event["data"] == "second"


def test_events_are_counted_whether_anybody_hears_them_or_not(node: Node) -> None:
    node.publish("unheard")
    node.hub.publish(TOPIC, "m", Raw(b'"no answer"'), None)
    node.cluster.settle()
    node.peer()
    node.publish("heard")
    node.cluster.settle()
    node.hub.counters.count()
    [(_, counters)] = node.hub.counters.channels.items()
    assert (counters.events, counters.deliveries) == (3, 1)


def test_channels_that_nobody_uses_are_forgotten_with_their_last_event(node: Node) -> None:
    node.peer()
    for topic in (TOPIC, "chat/idle/p"):
        node.publish("old", topic)
    node.cluster.settle()
    assert node.hub.inspection.topics() == {TOPIC, "chat/idle/p"}
    node.cluster.log.now += AGE
    node.publish("new")
    node.cluster.settle()
    node.hub.sweep()
    assert node.hub.inspection.topics() == {TOPIC}
    assert node.hub.totals().log_bytes > 0


def test_an_ephemeral_repeat_of_a_pending_message_waits_for_its_outcome(node: Node) -> None:
    peer = node.peer()
    node.publish("stored", id="x", persist=True)
    node.cluster.settle()
    repeat = node.publish("stored", id="x")
    node.cluster.settle()
    assert repeat == []
    node.store.commit()
    node.cluster.settle()
    assert len(events(peer.take())) == 1
    assert [each.duplicate for each in repeat if isinstance(each, Outcome)] == [True]


def test_an_ephemeral_event_takes_the_place_of_a_message_that_was_refused(node: Node) -> None:
    peer = node.peer()
    node.publish("refused", id="x", persist=True)
    node.cluster.settle()
    second = node.publish("delivered", id="x")
    node.cluster.settle()
    node.store.commit(Unavailable("The database is away."))
    node.cluster.settle()
    assert [data for _, data in events(peer.take())] == ["delivered"]
    assert [each.duplicate for each in second if isinstance(each, Outcome)] == [False]


def test_a_message_stored_after_its_ephemeral_twin_is_not_delivered_again(node: Node) -> None:
    peer = node.peer()
    node.publish("refused", id="x", persist=True)
    node.cluster.settle()
    node.publish("delivered", id="x")
    node.publish("stored", id="x", persist=True)
    node.cluster.settle()
    refused, stored = node.store.waiting
    node.store.waiting = [refused]
    node.store.commit(Unavailable("The database is away."))
    node.cluster.settle()
    node.store.waiting = [stored]
    node.store.commit()
    node.cluster.settle()
    assert [data for _, data in events(peer.take())] == ["delivered"]


def test_untracking_what_is_not_tracked_is_answered_at_once(node: Node) -> None:
    answers: list[Outcome | AerostackError] = []
    node.hub.presence.untrack(node.peer(), TOPIC, answers.append)
    assert isinstance(answers[0], Outcome)
