"""The journal was trimmed beyond a persisted publish whose commit took longer than there was room for."""

from tests.unit.channels.replicas import Replicas, heard


def test_a_node_that_skipped_a_publish_reports_a_gap_at_its_commit(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer, other = b.peer(), b.peer("chat/b/p")
    a.publish("slow", persist=True)
    a.step()
    cluster.log.trim(cluster.log.last + 1)
    cluster.settle()
    a.publish("after it", "chat/b/p")
    cluster.settle()
    assert heard(peer.take()) == ["GAP"], "of what was trimmed unread"
    assert heard(other.take()) == ["GAP", "after it"]
    a.store.commit()
    cluster.settle()
    b.publish("later")
    cluster.settle()
    assert heard(peer.take()) == ["GAP", "later"]
    assert heard(other.take()) == []


def test_a_node_that_joined_after_a_trimmed_publish_reports_a_gap(cluster: Replicas) -> None:
    a, b = cluster.nodes
    a.publish("slow", persist=True)
    cluster.settle()
    cluster.log.trim(cluster.log.last + 1)
    c = cluster.start("c")
    cluster.settle()
    old, new = b.peer(), c.peer()
    b.publish("later")
    cluster.settle()
    assert heard(old.take()) == [], "it waits"
    assert heard(new.take()) == ["later"]
    a.store.commit()
    cluster.settle()
    assert heard(old.take()) == ["slow", "later"]
    assert heard(new.take()) == ["GAP"]


def test_a_node_that_joined_after_a_commit_reports_no_gap(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    a.publish("slow", persist=True)
    cluster.settle()
    cluster.log.trim(cluster.log.last + 1)
    a.store.commit()
    cluster.settle()
    c = cluster.start("c")
    peer = c.peer()
    cluster.settle()
    a.publish("later", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.settle()
    assert heard(peer.take()) == ["later"]
