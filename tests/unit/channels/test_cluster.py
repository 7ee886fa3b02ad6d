"""Several nodes on one journal: the same decisions everywhere, while nodes join, leave and die."""

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from tests.unit.channels.replica_journal import SECOND
from tests.unit.channels.replicas import TOPIC, Replicas, events, is_ready, presence


def test_a_node_is_ready_when_all_others_have_announced_their_members(cluster: Replicas) -> None:
    a, b = cluster.nodes
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.settle()
    c = cluster.start("c")
    assert not is_ready(c)
    c.step()
    a.step()
    c.step()
    assert not is_ready(c), "b has not answered yet"
    cluster.settle()
    assert is_ready(c)
    assert [each.user_id for each in c.hub.presence.members(TOPIC)] == ["ann"]
    assert [each.name for each in b.hub.nodes()] == ["a", "b", "c"]


def test_an_event_reaches_the_subscribers_of_all_nodes_in_one_order(cluster: Replicas) -> None:
    a, b = cluster.nodes
    at_a, at_b = a.peer(), b.peer()
    answers = a.publish("from a") + b.publish("from b")
    cluster.settle()
    received = events(at_a.take())
    assert sorted(data for _, data in received) == ["from a", "from b"]
    assert received == events(at_b.take())
    assert not answers, "answers come once the own item has entered"


def test_a_publisher_is_answered_with_the_place_of_its_own_event(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    first, second = a.publish(1), a.publish(2)
    assert (first, second) == ([], [])
    cluster.settle()
    cursors = [cursor for cursor, _ in events(peer.take())]
    assert [each.cursor for each in first + second if isinstance(each, Outcome)] == cursors


def test_the_same_id_on_two_nodes_is_delivered_once(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = a.peer()
    answers = [a.publish(1, id="x", user_id="ann"), b.publish(1, id="x", user_id="ann")]
    cluster.settle()
    assert len(events(peer.take())) == 1
    outcomes = [each for answer in answers for each in answer if isinstance(each, Outcome)]
    assert sorted(each.duplicate for each in outcomes) == [False, True]
    assert len({each.cursor for each in outcomes}) == 1


def test_a_persisted_event_waits_on_every_node_for_its_commit(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    answer = a.publish("stored", persist=True)
    cluster.settle()
    b.publish("after it")
    cluster.settle()
    assert events(peer.take()) == []
    assert answer == []
    a.store.commit()
    assert len(answer) == 1, "the acknowledgement follows the commit, not the delivery"
    cluster.settle()
    assert [data for _, data in events(peer.take())] == ["stored", "after it"]


def test_what_cannot_be_stored_is_refused_and_lets_later_events_go_on(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    answer = a.publish("stored", persist=True)
    cluster.settle()
    b.publish("after it")
    cluster.settle()
    a.store.commit(Unavailable("The database is away."))
    cluster.settle()
    assert isinstance(answer[0], Unavailable)
    assert [data for _, data in events(peer.take())] == ["after it"]


def test_a_full_store_refuses_at_once(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    a.store.full = True
    answer = a.publish("stored", persist=True)
    cluster.settle()
    assert isinstance(answer[0], AerostackError)
    peer = a.peer()
    a.publish("after it")
    cluster.settle()
    assert [data for _, data in events(peer.take())] == ["after it"]


def test_a_repeat_of_a_stored_message_is_answered_with_the_first(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    first = a.publish(1, id="x", persist=True)
    cluster.settle()
    second = b.publish(1, id="x", persist=True)
    cluster.settle()
    a.store.commit()
    b.store.commit()
    cluster.settle()
    third = b.publish(1, id="x")
    cluster.settle()
    assert len(events(peer.take())) == 1
    assert all(isinstance(each, Outcome) for each in first + second + third)
    assert [each.duplicate for each in first + second + third if isinstance(each, Outcome)] == [False, True, True]


def test_a_message_whose_node_died_is_delivered_although_it_was_repeated(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("stored", id="x", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.kill(a)  # before it could report the commit
    repeat = b.publish("stored", id="x", persist=True)
    cluster.settle()
    b.store.commit()
    cluster.settle()
    assert [each.duplicate for each in repeat if isinstance(each, Outcome)] == [True]
    cluster.beat(7)
    assert [data for _, data in events(peer.take())] == ["stored"]


def test_a_killed_node_is_dead_after_five_seconds_and_its_members_leave(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.beat()
    cluster.kill(a)
    cluster.beat(5)
    assert [each.name for each in b.hub.nodes()] == ["a", "b"]
    cluster.beat(1)
    assert [each.name for each in b.hub.nodes()] == ["b"]
    assert presence(peer.take()) == [("join", "ann"), ("leave", "ann")]
    assert b.keeper


def test_a_member_that_reconnects_elsewhere_does_not_flicker(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.beat()
    cluster.kill(a)
    cluster.beat(2)
    b.hub.presence.track(b.peer(), TOPIC, "ann", {})
    cluster.beat(8)
    assert presence(peer.take()) == [("join", "ann")]


def test_connections_that_are_members_are_so_on_nodes_that_start_later(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    tabs = [a.peer(), a.peer()]
    for tab in tabs:
        a.hub.presence.track(tab, TOPIC, "ann", {}, own_member=True)
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    found = [(each.user_id, each.connection_id) for each in c.hub.presence.members(TOPIC)]
    assert found == [("ann", tab.connection_id) for tab in tabs]
    peer = c.peer()
    a.hub.leave(tabs[0])
    cluster.settle()
    assert [each["connectionId"] for each in peer.take() if each.get("event") == "presence:leave"] == [
        tabs[0].connection_id
    ]


def test_a_node_that_says_goodbye_does_not_take_its_members_with_it(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer, moving = b.peer(), a.peer()
    a.hub.presence.track(moving, TOPIC, "ann", {})
    cluster.beat()
    a.hub.goodbye()
    a.hub.leave(moving)
    a.hub.sweep()
    a.step()
    cluster.kill(a)
    cluster.settle()
    assert [each.name for each in b.hub.nodes()] == ["b"]
    b.hub.presence.track(b.peer(), TOPIC, "ann", {})
    cluster.beat(8)
    assert presence(peer.take()) == [("join", "ann")]


def test_an_outage_of_the_journal_ends_no_node(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.beat()
    cluster.log.now += 60 * SECOND
    cluster.beat(3)
    assert len(b.hub.nodes()) == 2
    assert presence(peer.take()) == [("join", "ann")]


def test_what_a_dead_node_had_stored_is_delivered_and_the_rest_is_dropped(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("stored", persist=True)
    cluster.settle()
    message, _ = a.store.waiting.pop()
    cluster.messages.insert(message)
    a.publish("lost", persist=True)
    cluster.settle()
    b.publish("after it")
    cluster.kill(a)
    cluster.commits.away = 1
    cluster.beat(7)
    cluster.settle()
    received = events(peer.take())
    assert [data for _, data in received] == ["stored", "after it"]
    assert "a" not in cluster.messages.licences


def test_a_node_that_reads_its_own_death_joins_again_with_its_members(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    stuck = a.publish("before the pause", persist=True)
    cluster.beat()
    cluster.nodes.remove(a)  # it stands still
    cluster.beat(7)
    late = a.publish("after the pause", persist=True)
    a.step()
    cluster.pump()
    assert not is_ready(a)
    assert isinstance(late[0], Unavailable)
    assert stuck == []
    a.store.commit()
    assert isinstance(stuck[0], Unavailable), "its licence is gone"
    cluster.nodes.insert(0, a)
    cluster.settle()
    assert is_ready(a)
    assert presence(peer.take()) == [("join", "ann"), ("leave", "ann"), ("join", "ann")]
    again = a.publish("again", persist=True)
    cluster.settle()
    a.store.commit()
    cluster.settle()
    assert isinstance(again[0], Outcome)
    assert [data for _, data in events(peer.take())] == ["again"]


def test_a_newcomer_learns_of_repeats_whose_original_it_never_read(cluster: Replicas) -> None:
    a, b = cluster.nodes
    a.publish("first", id="x")
    cluster.settle()
    cluster.log.trim(cluster.log.last + 1)
    since = a.publish("a cursor")
    cluster.settle()
    b.publish("a repeat", id="x")
    cluster.settle()
    c = cluster.start("c")
    cluster.settle()
    assert is_ready(c)
    assert isinstance(since[0], Outcome)
    peer = c.peer(since=since[0].cursor)
    assert [each["recovered"] for each in peer.take() if each["type"] == "subscribed"] == [True]
    c.publish("another repeat", id="x")
    cluster.settle()
    assert events(peer.take()) == []
