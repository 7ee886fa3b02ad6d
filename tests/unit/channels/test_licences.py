"""The right to commit: a node that was declared dead stores nothing that the others have decided about."""

import pytest

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.database.message_store import OutcomeUnknown
from aerostack_realtime.protocol.errors import Unavailable
from aerostack_realtime.protocol.messages import Subscribe
from tests.unit.channels.replicas import TOPIC, Node, Replicas, events


def test_a_licence_renewed_before_a_node_reads_its_death_stores_nothing(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.beat()
    answer = a.publish("decided by the others", persist=True)
    a.journal.flush()
    cluster.nodes.remove(a)  # it stands still, and has not read its own publish
    cluster.beat(7)
    a.hub._writes.suspend()
    a.hub._resolver.wake()
    cluster.pump()
    assert "a" in cluster.messages.licences, "it renews its licence before it reads on"
    a.journal.read(1)
    a.store.commit()
    assert isinstance(answer[0], Unavailable)
    cluster.nodes.insert(0, a)
    cluster.settle()
    assert not cluster.messages.stored
    assert events(peer.take()) == []


def test_a_licence_that_was_revoked_too_late_is_taken_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.messages.licences.discard("a")  # a slow node deals with a death that is over
    answer = a.publish("first", persist=True)
    cluster.settle()
    a.store.commit()
    assert isinstance(answer[0], Unavailable)
    cluster.settle()
    answer = a.publish("second", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.settle()
    assert isinstance(answer[0], Outcome)
    assert [data for _, data in events(peer.take())] == ["second"]


def test_a_new_generation_is_stored_only_under_its_own_licence(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    first = a.publish("accepted before it", persist=True)
    cluster.fail_over(0)
    a.journal.flush()
    a.journal.read()
    assert isinstance(first[0], Unavailable)
    cluster.settle()
    second = a.publish("accepted after it", persist=True)
    cluster.settle()
    a.store.commit()
    assert isinstance(second[0], Outcome)


def test_a_node_that_skipped_its_own_death_gets_a_licence(cluster: Replicas) -> None:
    a, b = cluster.nodes
    cluster.beat()
    cluster.nodes.remove(a)
    cluster.beat(7)
    cluster.messages.licences.discard("a")
    cluster.log.trim(cluster.log.last + 1)
    cluster.nodes.insert(0, a)
    cluster.settle()
    answer = a.publish("stored", persist=True)
    cluster.settle()
    a.store.commit()
    assert isinstance(answer[0], Outcome)
    peer = b.peer()
    assert [each.name for each in b.hub.nodes()] == ["a", "b"]
    assert peer.take()


def test_a_node_whose_death_was_lost_is_alive_for_everyone(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    cluster.beat()
    cluster.nodes.remove(a)
    cluster.beat(7)
    assert [each.name for each in b.hub.nodes()] == ["b"]
    cluster.nodes.insert(0, a)
    unread = sum(each.position > a.journal.last for each in cluster.log.entries)
    cluster.fail_over(unread)  # only the others know that it was dead
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    assert [each.name for each in b.hub.nodes()] == ["a", "b", "c"]
    assert c.hub.is_ready
    answer = a.publish("stored", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.settle()
    assert isinstance(answer[0], Outcome)
    assert [data for _, data in events(peer.take())] == ["stored"]


def test_a_node_knows_whether_a_client_is_ahead_of_it(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = a.peer()
    a.publish("stored", persist=True)
    cluster.settle()
    a.store.commit()
    a.step()
    [(cursor, _)] = events(peer.take())
    command = Subscribe(TOPIC, since=cursor)
    assert b.hub.subscriptions.is_ahead(command), "it has not read that the message is stored"
    b.step()
    assert not b.hub.subscriptions.is_ahead(command)
    answer = a.publish("after it")
    a.step()
    assert isinstance(answer[0], Outcome)
    assert b.hub.subscriptions.is_ahead(Subscribe(TOPIC, since=answer[0].cursor))


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_commit_without_an_answer_is_settled_by_what_is_stored(cluster: Replicas, is_stored: bool) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    answer = a.publish("unknown", id="x", persist=True)
    cluster.settle()
    b.publish("after it")
    cluster.commits.away = 3
    if is_stored:
        cluster.messages.insert(a.store.waiting[0][0])
    a.store.commit(OutcomeUnknown("The database does not reply."))
    a.step()
    b.step()
    assert isinstance(answer[0], Unavailable)
    assert events(peer.take()) == [], "whether it comes first is not known yet"
    cluster.settle()
    expected = ["unknown", "after it"] if is_stored else ["after it"]
    assert [data for _, data in events(peer.take())] == expected
    repeat = a.publish("unknown", id="x", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.settle()
    assert [each.duplicate for each in repeat if isinstance(each, Outcome)] == [is_stored]
    assert [data for _, data in events(peer.take())] == ([] if is_stored else ["unknown"])


def test_a_newcomer_delivers_a_publish_whose_commit_takes_minutes(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    a.publish("late", persist=True)
    cluster.beat(150)
    cluster.log.trim(cluster.log.floor)
    newcomer = cluster.start("c")
    cluster.settle()
    peer = newcomer.peer()
    a.store.commit()
    cluster.settle()
    assert [data for _, data in events(peer.take())] == ["late"]
    cluster.beat(150)
    cluster.log.trim(cluster.log.floor)
    assert cluster.log.start > a.journal.log.openings[0].position + 100_000_000, "then the log is trimmed again"


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_node_alone_delivers_a_commit_without_an_answer_once(is_stored: bool) -> None:
    nodes = Replicas()
    node = nodes.start("a", alone=True)
    nodes.settle()
    peer = node.peer()
    first = node.publish("first", id="x", persist=True)
    node.step()
    node.store.lose_answers(is_stored=is_stored)
    node.step()
    assert isinstance(first[0], OutcomeUnknown)
    node.publish("behind", persist=True)
    for _ in range(3):
        node.store.commit()
        nodes.settle()
    assert [data for _, data in events(peer.take())] == ["first", "behind"]
    again = node.publish("first", id="x", persist=True)
    nodes.settle()
    assert [each.duplicate for each in again if isinstance(each, Outcome)] == [True]
    assert events(peer.take()) == []
    nodes.close()


def a_late_publish(cluster: Replicas, newcomer: str) -> tuple[Node, Node]:
    """The first node publishes after the other one has declared it dead, and a newcomer has read only of the
    publish. Returns the first node and the newcomer."""
    a = cluster.nodes[0]
    cluster.beat()
    cluster.nodes.remove(a)
    cluster.beat(7)
    a.journal.read()  # it knows, and has not joined again yet
    cluster.log.trim(cluster.log.last + 1)
    a.publish("late", persist=True)
    a.journal.flush()
    found = cluster.start(newcomer)
    cluster.settle()
    return a, found


def test_a_newcomer_does_not_wait_for_a_publish_that_the_others_refused(cluster: Replicas) -> None:
    a, newcomer = a_late_publish(cluster, "c")
    peer = newcomer.peer()
    cluster.nodes.insert(0, a)
    cluster.settle()
    b = cluster.nodes[1]
    b.publish("after it")
    cluster.settle()
    assert [data for _, data in events(peer.take())] == ["after it"]


@pytest.mark.parametrize("name", ["c", "0"])
def test_a_newcomer_settles_what_a_dead_node_left_before_it_joined(cluster: Replicas, name: str) -> None:
    """Whether it is the first node of the cluster or not."""
    _, newcomer = a_late_publish(cluster, name)
    peer = newcomer.peer()
    cluster.nodes[0].publish("after it")
    cluster.settle()
    assert events(peer.take()) == [], "the dead node may have stored what comes before it"
    cluster.beat(7)
    assert [data for _, data in events(peer.take())] == ["after it"]
