"""Which node of a cluster compacts a document, without sockets, databases and time."""

import asyncio
from collections.abc import Iterator
from typing import cast

import msgspec
import pytest
from msgspec import Raw

from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.documents.compactor import FEWEST, TAKEOVER_SECONDS, Compactor, DocumentRule
from aerostack_realtime.documents.process import DocumentWorker
from aerostack_realtime.protocol import documents
from tests.unit.channels.replica_journal import SECOND
from tests.unit.channels.replicas import Node, Replicas
from tests.unit.documents.test_merge import Editor, read, typed

TOPIC = "docs/a/p"
IDLE = 10.0
TEXT = "a" * (FEWEST + 5)


class Member:
    """A node that compacts; the time is that of the cluster's journal."""

    def __init__(self, node: Node, worker: DocumentWorker) -> None:
        log = node.cluster.log
        self.node = node
        self.compactor = Compactor(
            [DocumentRule(Pattern("docs/{id}"), bytes=1 << 20, idle=IDLE)],
            node.hub,
            cast(MessageStore, node.store),
            worker,
            lambda: log.now / SECOND,
            lambda: log.now // 1000,
        )
        node.hub.follow(self.compactor)

    def compact(self) -> None:
        """Compact what is due, with all nodes at work."""
        cluster = self.node.cluster
        task = cluster.loop.create_task(self.compactor.compact())
        while not task.done():
            work(cluster)
            cluster.loop.run_until_complete(asyncio.wait({task}, timeout=0.01))  # the worker is a process
        task.result()


def work(cluster: Replicas) -> None:
    """Let every node deliver and store what waits."""
    cluster.settle()
    for node in cluster.nodes:
        node.store.commit()
    cluster.settle()


class Group:
    """The nodes `a` and `b`, of which `a` is the keeper."""

    def __init__(self, cluster: Replicas, worker: DocumentWorker) -> None:
        self.cluster = cluster
        self._worker = worker
        self.start()

    def start(self) -> None:
        """Both compactors start, and know no document."""
        self.a, self.b = (Member(node, self._worker) for node in self.cluster.nodes)

    def edit(self, text: str = TEXT) -> None:
        """An editor on `b` types."""
        for update in typed(text).updates:
            self.send(documents.written(update))

    def send(self, data: str | documents.Piece) -> None:
        """An editor on `b` sends an update, or a piece of one."""
        raw = Raw(msgspec.json.encode(data))
        self.b.node.hub.publish(TOPIC, documents.EVENT, raw, lambda _: None, persist=True)
        work(self.cluster)

    def rest(self, seconds: float) -> None:
        """Nobody edits, and no node fails."""
        self.cluster.log.now += int(seconds * SECOND)

    def stored(self) -> list[bytes]:
        """The whole updates in the store."""
        return [each for each in self._read() if isinstance(each, bytes)]

    def pieces(self) -> list[int]:
        """The numbers of the pieces in the store."""
        return [each.part for each in self._read() if isinstance(each, documents.Piece)]

    def _read(self) -> list[bytes | documents.Piece]:
        return [documents.read(each.data) for each in self.cluster.messages.stored.values()]


@pytest.fixture
def group() -> Iterator[Group]:
    cluster, worker = Replicas("a", "b"), DocumentWorker()
    cluster.settle()
    yield Group(cluster, worker)
    cluster.loop.run_until_complete(worker.close())
    cluster.close()


def test_the_keeper_compacts_for_all(group: Group) -> None:
    group.edit()
    group.rest(IDLE)
    group.b.compact()
    assert len(group.stored()) == len(TEXT)
    group.a.compact()
    (update,) = group.stored()
    assert read(update) == TEXT


def test_a_new_keeper_compacts_what_rested_when_the_last_one_died(group: Group) -> None:
    group.edit()
    group.rest(IDLE)
    group.b.compact()
    group.cluster.kill(group.a.node)
    group.cluster.beat(20)
    assert group.b.node.hub.is_keeper
    group.b.compact()
    (update,) = group.stored()
    assert read(update) == TEXT


def test_another_node_compacts_what_the_keeper_does_not_know(group: Group) -> None:
    group.edit()
    group.start()
    group.b.compactor.opened(TOPIC, len(TEXT))
    group.rest(IDLE)
    group.a.compact()
    group.b.compact()
    assert len(group.stored()) == len(TEXT), "the keeper has time to be first"
    group.rest(TAKEOVER_SECONDS)
    group.b.compact()
    (update,) = group.stored()
    assert read(update) == TEXT


def test_a_node_leaves_alone_what_the_keeper_compacted(group: Group) -> None:
    group.edit()
    group.rest(IDLE)
    group.a.compact()
    stored = group.stored()
    group.rest(TAKEOVER_SECONDS)
    group.b.compact()
    assert group.stored() == stored


def test_an_update_that_lacks_pieces_delays_no_compaction(group: Group) -> None:
    bob = Editor(2)
    bob.text.insert(0, "!" * 100)
    first, second = documents.pieces(bob.updates[0], "paste", 100)
    group.edit("a")
    group.send(first)
    for text in (TEXT, TEXT + TEXT):
        group.edit(text)
        group.rest(IDLE)
        group.a.compact()
        (update,) = group.stored()
        assert read(update) == text
        assert group.pieces() == [0]
    group.send(second)
    group.edit()
    group.rest(IDLE)
    group.a.compact()
    (update,) = group.stored()
    assert read(update).count("!") == 100
    assert group.pieces() == []


def test_a_compaction_that_a_dead_node_stored_is_not_the_last(group: Group) -> None:
    group.edit()
    (data, *_), a, b = [*group.cluster.messages.stored.values()], group.a, group.b
    cursor = b.node.hub.subscriptions.cursor_at(data.position)
    b.node.hub.publish(TOPIC, documents.EVENT, data.data, lambda _: None, persist=True, compacts=cursor)
    b.node.step()
    b.node.store.commit()
    group.cluster.kill(b.node)
    group.rest(IDLE)
    a.compact()
    assert len(group.stored()) == len(TEXT), "it is stored, and was not delivered yet"
    group.cluster.beat(20)
    a.compact()
    (update,) = group.stored()
    assert read(update) == TEXT
