"""Streams in a rolling upgrade: old nodes announce nothing, and skip what new ones announce."""

from collections.abc import Iterator

import pytest

from tests.unit.channels.replicas import Replicas
from tests.unit.channels.stream_peers import StreamReader, Writer, whole


@pytest.fixture
def cluster() -> Iterator[Replicas]:
    found = Replicas()
    for name in ("a", "b"):
        found.start(name, previous=True)
    found.settle()
    yield found
    found.close()


def open_before_the_journal(cluster: Replicas, *, persist: bool = False) -> Writer:
    """A stream of an old node with one piece, which the journal does not hold any more."""
    writer = Writer(cluster.nodes[0], "s", persist=persist)
    commit(cluster)
    writer.write("before ")
    cluster.beat(2)
    commit(cluster)
    cluster.log.trim(cluster.log.last + 1)
    cluster.beat()
    return writer


def commit(cluster: Replicas) -> None:
    cluster.settle()
    for node in cluster.nodes:
        node.store.commit()
    cluster.settle()


def test_a_new_node_does_not_wait_for_what_old_nodes_never_send(cluster: Replicas) -> None:
    open_before_the_journal(cluster)
    c = cluster.start("c")
    cluster.settle()
    assert c.hub.is_ready


def test_a_new_node_reads_the_streams_that_the_journal_has(cluster: Replicas) -> None:
    writer = Writer(cluster.nodes[0], "s")
    cluster.settle()
    writer.write("before ")
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    readers = [StreamReader(node) for node in (*cluster.nodes, c)]
    writer.write("after")
    writer.finish()
    cluster.settle()
    for reader in readers:
        assert reader.take().texts == {"s": "before after"}
        assert reader.states == {"s": "complete"}


def test_a_new_node_reports_a_gap_for_a_stream_that_only_old_nodes_know(cluster: Replicas) -> None:
    writer = open_before_the_journal(cluster)
    c = cluster.start("c")
    cluster.settle()
    reader, plain = StreamReader(c), c.peer()
    plain.take()
    writer.write("more ")
    writer.finish()
    cluster.settle()
    assert writer.ended == "complete"
    assert reader.take().frames[-1]["recovered"] is False
    assert [each["recovered"] for each in plain.take()] == [False]


def test_a_stored_stream_continues_on_a_new_node_from_the_store(cluster: Replicas) -> None:
    writer = open_before_the_journal(cluster, persist=True)
    c = cluster.start("c")
    cluster.settle()
    readers = [StreamReader(node) for node in cluster.nodes]
    cluster.kill(cluster.nodes[0])
    writer.attach(c)
    commit(cluster)
    assert writer.n == 1
    writer.write("after")
    writer.finish()
    commit(cluster)
    assert writer.ended == "complete"
    for reader in readers[1:]:
        assert reader.take().texts == {"s": "before after"}
        assert reader.states == {"s": "complete"}


def test_a_stream_that_is_not_stored_is_written_again_through_a_new_node(cluster: Replicas) -> None:
    writer = open_before_the_journal(cluster)
    c = cluster.start("c")
    cluster.settle()
    old, new, plain = StreamReader(cluster.nodes[1]), StreamReader(c), cluster.nodes[1].peer()
    plain.take()
    writer.attach(c)
    cluster.settle()
    writer.write("after")
    writer.finish()
    cluster.settle()
    for reader in (old, new):
        assert reader.take().texts == {"s": "before after"}
        assert reader.states == {"s": "complete"}
    assert list(whole(plain)) == [("s", "before after")], "no piece is delivered twice"
