"""Streams on several nodes: newcomers, dead nodes, writers that move, and a journal that lost data."""

import pytest

from tests.unit.channels.replicas import TOPIC, Node, Replicas, is_ready
from tests.unit.channels.stream_peers import StreamReader, Writer, commit, whole


def trim(cluster: Replicas) -> None:
    """Everything so far is beyond the journal's window."""
    cluster.log.trim(cluster.log.last + 1)
    cluster.beat()


def test_readers_on_all_nodes_read_the_same_text(cluster: Replicas) -> None:
    a, b = cluster.nodes
    readers = [StreamReader(node) for node in cluster.nodes]
    plain = b.peer()
    plain.take()
    writer = Writer(a, "s")
    cluster.settle()
    writer.write("one ", "two ")
    cluster.settle()
    writer.write("three")
    writer.finish()
    cluster.settle()
    for reader in readers:
        assert reader.take().texts == {"s": "one two three"}
        assert reader.states == {"s": "complete"}
    assert list(whole(plain)) == [("s", "one two three")]
    assert writer.ended == "complete"


def test_a_newcomer_learns_a_stream_from_before_the_journal(cluster: Replicas) -> None:
    writer = Writer(cluster.nodes[1], "s")
    cluster.settle()
    writer.write("before ")
    cluster.settle()
    trim(cluster)
    c = cluster.start("c")
    writer.write("meanwhile ")
    cluster.settle()
    assert c.hub.is_ready
    reader = StreamReader(c)
    assert (reader.texts, reader.n) == ({"s": "before meanwhile "}, {"s": 2})
    writer.write("after")
    writer.finish()
    cluster.settle()
    assert reader.take().texts == {"s": "before meanwhile after"}
    assert reader.states == {"s": "complete"}


def test_a_stream_that_ends_while_a_newcomer_learns_it_has_ended_there(cluster: Replicas) -> None:
    _, b = cluster.nodes
    writer = Writer(b, "s")
    cluster.settle()
    writer.write("text")
    cluster.settle()
    trim(cluster)
    c = cluster.start("c")
    c.step()
    writer.finish()
    b.step()
    cluster.settle()
    assert writer.ended == "complete"
    late = Writer(c, "s")
    cluster.settle()
    assert late.ended == "complete"
    assert StreamReader(c).texts == {}


def test_a_newcomer_knows_how_streams_ended_that_it_never_saw(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    writer = Writer(a, "s")
    cluster.settle()
    trim(cluster)
    writer.finish("failed")
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    assert (end := c.hub._streaming.streams.known(TOPIC, "s")) is not None
    assert end.state == "failed"
    again = Writer(c, "s")
    cluster.settle()
    assert again.ended == "failed"


def test_a_newcomer_is_not_misled_by_a_stream_that_was_opened_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    writer = Writer(a, "s")
    cluster.settle()
    writer.write("one ", "two ")
    cluster.settle()
    trim(cluster)
    writer.attach(b)
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    writer.write("three")
    writer.finish()
    cluster.settle()
    assert c.hub._streaming.streams.known(TOPIC, "s") == b.hub._streaming.streams.known(TOPIC, "s")
    assert writer.ended == "complete"


def test_a_newcomer_reports_a_gap_before_an_end_that_it_lacks(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    writer = Writer(a, "s")
    cluster.settle()
    trim(cluster)
    cursor = a.publish("seen")
    cluster.settle()
    writer.finish()
    cluster.settle()
    after = a.publish("after the end")
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    assert [is_recovered(c, answer[0].cursor) for answer in (cursor, after)] == [False, True]  # type: ignore[union-attr]


def is_recovered(node: Node, since: str) -> bool:
    return bool(node.peer(since=since).take()[0]["recovered"])


def test_another_node_gives_the_streams_when_the_first_one_dies(cluster: Replicas) -> None:
    a, b = cluster.nodes
    writer = Writer(b, "s")
    cluster.settle()
    writer.write("text")
    cluster.settle()
    trim(cluster)
    c = cluster.start("c")
    c.step()
    cluster.kill(a)
    cluster.beat(1)
    assert not is_ready(c)
    cluster.beat(7)
    assert is_ready(c)
    assert StreamReader(c).texts == {"s": "text"}


def test_large_streams_travel_in_parts(cluster: Replicas) -> None:
    a, b = cluster.nodes
    writers = [Writer(a, f"s{number}") for number in range(5)]
    cluster.settle()
    for writer in writers:
        writer.write(writer.id * 60_000)
    cluster.settle()
    trim(cluster)
    c = cluster.start("c")
    for _ in range(8):
        c.step()
        a.step()
        writers[4].write(".")
    b.step()
    for writer in writers:
        writer.finish()
    cluster.settle()
    assert c.hub.is_ready
    assert [c.hub._streaming.streams.known(TOPIC, each.id) for each in writers] == [
        b.hub._streaming.streams.known(TOPIC, each.id) for each in writers
    ]


def test_a_writer_continues_on_another_node_after_its_node_died(cluster: Replicas) -> None:
    a, b = cluster.nodes
    reader = StreamReader(b)
    writer = Writer(a, "s")
    cluster.settle()
    writer.write("one ", "two ")
    a.step()
    writer.write("never left ")
    cluster.kill(a)
    cluster.settle()
    writer.attach(b)
    cluster.settle()
    writer.write("three")
    writer.finish()
    cluster.settle()
    assert reader.take().texts == {"s": "one two never left three"}
    assert writer.ended == "complete"
    cluster.beat(70)
    assert reader.take().states == {"s": "complete"}


@pytest.mark.parametrize("persist", [False, True])
def test_a_stream_whose_writer_died_with_its_node_ends_as_failed(cluster: Replicas, persist: bool) -> None:
    a, b = cluster.nodes
    reader = StreamReader(b)
    writer = Writer(a, "s", persist=persist)
    commit(cluster)
    writer.write("half")
    cluster.settle()
    cluster.kill(a)
    cluster.beat(60)
    assert reader.take().states == {"s": "open"}
    for _ in range(10):
        cluster.beat()
        commit(cluster)
    assert reader.take().states == {"s": "failed"}
    assert reader.texts == {"s": "half"}
    stored = [(bytes(each.data), each.stream and each.stream.state) for each in cluster.messages.stored.values()]
    assert stored == ([(b'"half"', "failed")] if persist else [])


def test_a_stream_is_cancelled_from_another_node(cluster: Replicas) -> None:
    a, b = cluster.nodes
    reader = StreamReader(a)
    writer = Writer(a, "s")
    cluster.settle()
    writer.write("half")
    cluster.settle()
    writer.peer.take()
    b.hub.streams.cancel(TOPIC, "s", "enough", lambda _: None, user_id="ann")
    cluster.settle()
    assert writer.peer.take() == [
        {"type": "cancel", "topic": TOPIC, "id": "s", "userId": "ann", "reason": "enough"}
    ]
    assert reader.take().states == {"s": "cancelled"}


def test_the_writers_of_a_paused_node_stay_when_it_returns(cluster: Replicas) -> None:
    a, b = cluster.nodes
    reader = StreamReader(b)
    writer = Writer(a, "s")
    cluster.beat()
    cluster.nodes.remove(a)  # it stands still
    cluster.beat(7)
    assert b.hub._streaming.streams.find(TOPIC, "s").node == "b"  # type: ignore[union-attr]
    cluster.nodes.insert(0, a)
    cluster.settle()
    cluster.beat(65)
    assert reader.take().states == {"s": "open"}, "its writer is connected, however long it thinks"
    writer.write("thought")
    writer.finish()
    cluster.settle()
    assert reader.take().texts == {"s": "thought"}


def test_a_cluster_that_starts_again_reads_the_stored_streams(cluster: Replicas) -> None:
    a, b = cluster.nodes
    writer = Writer(a, "s", persist=True)
    commit(cluster)
    writer.write("one ")
    cluster.beat(2)
    commit(cluster)
    for node in (a, b):
        cluster.kill(node)
    cluster.log.trim(cluster.log.last + 1)
    c = Node(cluster, "c")
    c.store.away = 1
    cluster.nodes.append(c)
    cluster.loop.run_until_complete(c.hub.start())
    cluster.tasks["c"] = cluster.loop.create_task(c.hub.run())
    cluster.settle()
    assert c.hub.is_ready
    d = cluster.start("d")
    cluster.settle()
    readers = [StreamReader(node) for node in (c, d)]
    assert [reader.texts for reader in readers] == [{"s": "one "}] * 2
    writer.attach(d)
    cluster.settle()
    assert writer.n == 1
    writer.write("two")
    writer.finish()
    commit(cluster)
    assert [reader.take().texts for reader in readers] == [{"s": "one two"}] * 2
    assert writer.ended == "complete"


def test_stored_streams_end_as_failed_when_nobody_returns(cluster: Replicas) -> None:
    a, b = cluster.nodes
    Writer(a, "s", persist=True)
    commit(cluster)
    for node in (a, b):
        cluster.kill(node)
    cluster.log.trim(cluster.log.last + 1)
    cluster.start("c")
    for _ in range(70):
        cluster.beat()
        commit(cluster)
    [stored] = cluster.messages.stored.values()
    assert stored.stream is not None
    assert stored.stream.state == "failed"
