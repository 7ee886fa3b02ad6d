"""Streams on several nodes whose journal lost data, or that were slower than it."""

import pytest

from aerostack_realtime.protocol import messages
from tests.unit.channels.replicas import TOPIC, Replicas, events
from tests.unit.channels.stream_peers import StreamReader, Writer, commit


def test_after_a_lost_generation_all_nodes_agree_and_the_writer_continues(cluster: Replicas) -> None:
    _, b = cluster.nodes
    readers = [StreamReader(node) for node in cluster.nodes]
    writer = Writer(b, "s")
    cluster.settle()
    writer.write("both know ")
    cluster.settle()
    before = len(cluster.log.entries)
    writer.write("b ", "alone ")
    b.step()
    cluster.fail_over(len(cluster.log.entries) - before)
    cluster.settle()
    writer.write("continues")
    writer.finish()
    cluster.settle()
    writer.retry()
    cluster.settle()
    assert [reader.take().texts for reader in readers] == [{"s": "both know b alone continues"}] * 2
    assert [reader.states for reader in readers] == [{"s": "complete"}] * 2


def test_an_end_that_the_journal_lost_is_known_to_all(cluster: Replicas) -> None:
    _, b = cluster.nodes
    readers = [StreamReader(node) for node in cluster.nodes]
    writer = Writer(b, "s", persist=True)
    commit(cluster)
    writer.write("all ")
    cluster.settle()
    before = len(cluster.log.entries)
    writer.write("of it")
    writer.finish()
    b.step()
    b.store.commit()
    assert writer.ended == "complete"
    b.step()
    cluster.fail_over(len(cluster.log.entries) - before)
    commit(cluster)
    assert [reader.take().texts for reader in readers] == [{"s": "all of it"}] * 2
    assert [reader.states for reader in readers] == [{"s": "complete"}] * 2


@pytest.mark.parametrize("persist", [True, False])
def test_an_end_that_the_journal_lost_is_not_sent_to_those_that_have_it(cluster: Replicas, persist: bool) -> None:
    """They come from the node that delivered it, to one on which nobody heard the channel."""
    a, b = cluster.nodes
    plain, reader, writer = a.peer(), StreamReader(a), Writer(a, "s", persist=persist)
    commit(cluster)
    writer.write("text")
    commit(cluster)
    before = len(cluster.log.entries)
    writer.finish()
    for _ in range(3):
        a.step()
        a.store.commit()
    [(cursor, _)] = events(plain.take())
    assert reader.take().states == {"s": "complete"}
    cluster.fail_over(len(cluster.log.entries) - before)
    early = [b.peer(since=cursor)] if persist else []
    has_it_open = StreamReader(b, since=cursor)
    assert has_it_open.states == {"s": "open"}
    commit(cluster)
    assert has_it_open.take().states == {"s": "complete"}
    for peer in (*early, b.peer(since=cursor), a.peer(since=cursor)):
        assert events(peer.take()) == []
    assert StreamReader(b, since=cursor).texts == {}
    resumed = b.peer(None)
    command = messages.Subscribe(TOPIC, since=cursor, streams={"s": 1})
    b.hub.subscriptions.subscribe(resumed, command)
    assert [each.get("state") for each in resumed.take()] == [None, "complete"]


def test_an_opening_that_the_journal_lost_is_made_up_for(cluster: Replicas) -> None:
    a, b = cluster.nodes
    reader = StreamReader(a)
    writer = Writer(b, "s", persist=True)
    b.step()
    cluster.fail_over(1)
    b.store.commit()
    commit(cluster)
    writer.write("text")
    writer.finish()
    for _ in range(3):
        writer.retry()
        commit(cluster)
    assert reader.take().texts == {"s": "text"}
    assert reader.states == {"s": "complete"}


def test_events_of_a_channel_keep_their_order_while_nodes_agree(cluster: Replicas) -> None:
    _, b = cluster.nodes
    readers = [StreamReader(node) for node in cluster.nodes]
    writer = Writer(b, "s")
    cluster.settle()
    for reader in readers:
        reader.take().frames.clear()
    b.publish("before")
    b.step()
    cluster.fail_over(0)
    writer.write("piece")
    b.publish("after it")
    writer.finish()
    b.publish("at the end")
    cluster.settle()
    for reader in readers:
        events = [each for each in reader.take().frames if each["type"] == "event"]
        assert [each["data"] for each in events if "stream" not in each] == ["before", "after it", "at the end"]
        assert (reader.texts, reader.states) == ({"s": "piece"}, {"s": "complete"})
        cursors = [int(each["cursor"].rpartition(".")[2]) for each in reader.frames if "cursor" in each]
        assert cursors == sorted(cursors)


def test_a_node_that_was_slower_than_the_journal_learns_the_streams_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    reader = StreamReader(b)
    kept, ended, new = Writer(a, "kept"), Writer(a, "ended"), Writer(b, "own")
    cluster.settle()
    kept.write("one ")
    ended.finish()
    a.step()
    cluster.log.trim(cluster.log.last + 1)
    cluster.settle()
    kept.write("two")
    for writer in (kept, new):
        writer.finish()
    cluster.settle()
    assert reader.take().texts == {"kept": "one two", "ended": "", "own": ""}
    assert reader.states == {"kept": "complete", "ended": "complete", "own": "complete"}


def test_plain_subscribers_of_all_nodes_receive_one_event(cluster: Replicas) -> None:
    plain = [node.peer() for node in cluster.nodes]
    for peer in plain:
        peer.take()
    writer = Writer(cluster.nodes[0], "s")
    cluster.settle()
    writer.write("x")
    cluster.fail_over(0)
    cluster.settle()
    writer.finish()
    cluster.settle()
    for peer in plain:
        events = [each for each in peer.take() if each["type"] == "event"]
        assert [each["data"] for each in events] == ["x"]


def test_a_thousand_readers_receive_the_same_few_frames(cluster: Replicas) -> None:
    a, b = cluster.nodes
    readers = [StreamReader(node) for node in (a, b) for _ in range(500)]
    writer = Writer(a, "s")
    cluster.settle()
    for piece in range(10):
        writer.write(*(f"{piece}.{number} " for number in range(5)))
        cluster.settle()
    writer.finish()
    cluster.settle()
    for reader in readers:
        assert reader.take().texts == {"s": writer.text}
        assert len(reader.frames) <= 1 + 1 + 10 + 1, "pieces of one tick are joined"


def test_a_node_that_knows_all_streams_again_admits_newcomers(cluster: Replicas) -> None:
    a, b = cluster.nodes
    c = cluster.start("c")
    cluster.fail_over(0)
    for node in cluster.nodes:
        node.journal.flush()
    cluster.kill(a)
    cluster.kill(b)
    cluster.fail_over(1)
    cluster.fail_over(6)
    d = cluster.start("d")
    cluster.beat(12)
    assert c.hub.is_ready
    assert d.hub.is_ready
