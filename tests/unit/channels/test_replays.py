"""After the journal began again: what was acknowledged reaches the subscribers that stayed connected."""

from typing import Any

import pytest
from msgspec import Raw

from aerostack_realtime.channels import replays
from aerostack_realtime.channels.hub import Outcome
from tests.unit.channels.replicas import TOPIC, Node, Replicas, events, heard, presence


def store(cluster: Replicas, node: Node, *payloads: Any, topic: str = TOPIC) -> int:
    """Publish persisted messages that are stored while nothing of them but their publish is in the journal; the
    number of its items."""
    before = len(cluster.log.entries)
    for payload in payloads:
        node.publish(payload, topic, persist=True)
    node.step()
    node.store.commit()
    return len(cluster.log.entries) - before


def test_a_stored_message_that_the_journal_lost_reaches_all_nodes(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peers = [a.peer(), b.peer()]
    b.publish("before")
    cluster.settle()
    cluster.fail_over(store(cluster, a, "lost by the journal"))
    b.publish("after")
    cluster.settle()
    for peer in peers:
        assert heard(peer.take()) == ["before", "GAP", "lost by the journal", "after"]


def test_what_was_delivered_before_is_not_delivered_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    lost = store(cluster, a, "delivered")
    cluster.settle()
    cluster.fail_over(lost + 1)
    cluster.settle()
    assert heard(peer.take()) == ["delivered", "GAP"]


def test_a_node_that_lagged_delivers_a_message_with_the_same_cursor(cluster: Replicas) -> None:
    a, b = cluster.nodes
    ahead, behind = a.peer(), b.peer()
    lost = store(cluster, a, "read by one node")
    a.step()
    assert heard(ahead.take()) == ["read by one node"], "its settlement is lost with it"
    cluster.fail_over(lost + 1)
    cluster.settle()
    [(cursor, _)] = events(behind.take())
    assert cursor.startswith("1."), "clients recognise a repeat by it"
    again = b.peer(since=cursor)
    assert (again.take()[0]["recovered"], heard(ahead.take())) == (False, ["GAP"])


def test_a_survivor_whose_settlement_is_lost_does_not_block_its_channel(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("stored", persist=True)
    a.publish("refused", persist=True)
    b.publish("behind them")
    cluster.settle()
    a.store.waiting, refused = a.store.waiting[:1], a.store.waiting[1:]
    a.store.commit()
    a.store.waiting = refused
    a.step()  # the settlement reaches this node alone
    cluster.messages.licences.clear()
    a.store.commit()
    cluster.fail_over(1)
    cluster.settle()
    b.publish("after")
    cluster.settle()
    assert heard(peer.take()) == ["stored", "behind them", "GAP", "after"]
    assert [node.hub.mismatches for node in cluster.nodes] == [0, 0]


def renew_licence(cluster: Replicas, node: Node) -> None:
    """Let a node get its licence of the present generation."""
    cluster.pump()
    node.step()
    assert node.name in cluster.messages.licences


def test_events_that_come_during_a_replay_follow_it(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    lost = store(cluster, a, "lost by the journal")
    cluster.commits.away = 2
    cluster.fail_over(lost)
    b.publish("after")
    b.step()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    a.step()
    b.step()
    assert heard(peer.take()) == ["GAP"], "the database is away"
    cluster.settle()
    received = peer.take()
    assert heard(received) == ["lost by the journal", "after"]
    assert presence(received) == [("join", "ann")]


def test_a_long_replay_is_read_in_pages(cluster: Replicas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "PAGE", 3)
    a, b = cluster.nodes
    peer, reader = b.peer(), b.peer()
    reader.stalled = 1 << 19
    cluster.fail_over(store(cluster, a, *range(10)))
    cluster.settle()
    assert heard(peer.take()) == ["GAP"], "a subscriber has yet to take what was sent before"
    reader.stalled = 0
    cluster.loop.run_until_complete(replayed(b))
    b.tick.end()
    assert heard(peer.take()) == list(range(10))
    assert heard(reader.take()) == ["GAP", *range(10)]


async def replayed(node: Node) -> None:
    """Wait until a node's subscribers have what they lacked."""
    while (replay := node.hub.subscriptions.replay(TOPIC)) is not None:
        await replay.done.wait()


def test_more_events_than_the_log_holds_may_come_during_a_replay(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.commits.away = 100
    cluster.fail_over(store(cluster, a, "lost by the journal"))
    renew_licence(cluster, a)
    for number in range(1_500):
        a.publish(number, persist=number % 2 == 0)
    a.step()
    a.store.commit()
    a.step()
    b.step()
    cluster.commits.away = 0
    cluster.settle()
    received = heard(peer.take())
    assert received[:2] == ["GAP", "lost by the journal"]
    assert received[2:] == [number for number in range(1_500) if number % 2 == 0 or number >= 500]


def test_a_generation_that_begins_during_a_replay_continues_it(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.commits.away = 100
    cluster.fail_over(store(cluster, a, "first"))
    renew_licence(cluster, a)
    cluster.fail_over(store(cluster, a, "second"))
    cluster.commits.away = 0
    cluster.settle()
    b.publish("after")
    cluster.settle()
    assert heard(peer.take()) == ["GAP", "first", "second", "after"]


def test_skipped_settlements_do_not_block_a_channel(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("stored", persist=True)
    a.publish("behind it")
    cluster.settle()
    cluster.nodes.remove(b)  # it stands still for longer than the journal reaches back
    a.store.commit()
    a.step()
    store(cluster, a, "skipped")
    a.step()
    cluster.log.trim(cluster.log.last + 1)
    cluster.nodes.append(b)
    cluster.settle()
    a.publish("after")
    cluster.settle()
    assert heard(peer.take()) == ["stored", "behind it", "GAP", "skipped", "after"]


def test_an_event_that_was_held_and_lost_is_delivered_when_sent_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = a.peer()
    a.publish("not stored", persist=True)
    a.step()
    b.publish("held", id="x")
    b.journal.flush()
    a.journal.read()  # it holds the event, which its own node has not read back
    cluster.fail_over(2)
    a.store.commit()
    cluster.settle()
    other = b.peer()
    b.publish("after")
    cluster.settle()
    assert heard(peer.take()) == ["GAP", "held", "after"]
    assert heard(other.take()) == ["after"]
    assert [node.hub.mismatches for node in cluster.nodes] == [0, 0]


def test_chat_and_echo_are_kept_in_a_replay(cluster: Replicas) -> None:
    _, b = cluster.nodes
    chatting, publisher = b.peer(), b.peer()
    b.hub.subscriptions.use_chat(chatting)
    cluster.commits.away = 2
    cluster.fail_over(0)
    b.hub.publish(TOPIC, "chat_message", Raw(b'"hello"'), lambda _: None)
    b.publish("not for the publisher", without=publisher.connection_id)
    cluster.settle()
    cluster.settle()
    assert [each["type"] for each in chatting.take() if each["type"] != "subscribed"] == ["chat_message", "event"]
    assert heard(publisher.take()) == ["GAP", "hello"]


def test_many_channels_are_asked_for_at_once(cluster: Replicas) -> None:
    a, b = cluster.nodes
    asked: list[int] = []
    find = cluster.commits.with_messages

    async def with_messages(topics: list[str], after: int, until: int) -> set[str]:
        asked.append(len(topics))
        return await find(topics, after, until)

    cluster.commits.with_messages = with_messages  # type: ignore[method-assign, assignment]
    peers = {f"chat/{number}/p": b.peer(f"chat/{number}/p") for number in range(1_200)}
    cluster.fail_over(store(cluster, a, "lost by the journal", topic="chat/700/p"))
    cluster.settle()
    assert sum(asked) == 1_200
    assert len(asked) == 3
    assert {topic for topic, peer in peers.items() if len(heard(peer.take())) > 1} == {"chat/700/p"}


def test_a_channel_whose_subscribers_leave_is_not_replayed(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.commits.away = 2
    cluster.fail_over(store(cluster, a, "lost by the journal"))
    b.hub.subscriptions.unsubscribe(peer, TOPIC)
    other = b.peer()
    cluster.settle()
    answer = a.publish("after")
    cluster.settle()
    assert heard(other.take()) == ["after"]
    assert isinstance(answer[0], Outcome)
    assert len(b.hub._replays) == 0
