"""Several nodes whose journal lost data, refused it, or was slower than they are."""

import msgspec
import pytest

from aerostack_realtime.backplane.items import Settle
from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable
from tests.unit.channels.replicas import TOPIC, Replicas, events, heard, is_ready, presence


def test_a_lost_generation_is_a_gap_for_ephemeral_events(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    kept = a.publish("kept")
    cluster.settle()
    held = a.publish("held", persist=True)
    cluster.settle()
    after = b.publish("after it")
    cluster.settle()
    kept_at = int(_cursor(kept[0]).rpartition(".")[2])
    a.store.commit()
    lost = sum(entry.position > kept_at for entry in cluster.log.entries)
    cluster.fail_over(lost)
    cluster.settle()
    b.publish("new")
    cluster.settle()
    received = peer.take()
    gap = next(
        each
        for each in received
        if each["type"] == "subscribed" and "id" not in each and each["recovered"] is False
    )
    assert gap["topic"] == TOPIC
    assert [data for _, data in events(received)] == ["kept", "held", "new"]
    assert isinstance(held[0], Outcome), "it was stored"
    old = b.peer(since=f"1.{int(_cursor(after[0]).rpartition('.')[2])}")
    assert old.take()[0]["recovered"] is False


def test_events_held_over_a_failover_come_before_the_gap(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    held = a.publish("held", persist=True)
    cluster.settle()
    b.publish("behind it")
    cluster.settle()
    a.store.commit()
    cluster.fail_over(0)
    cluster.settle()
    b.publish("new")
    cluster.settle()
    received = peer.take()
    assert [data for _, data in events(received)] == ["held", "behind it", "new"]
    kinds = [each["type"] for each in received[1:]]
    assert kinds == ["event", "event", "subscribed", "event"], "nothing was lost between the first two"
    assert received[-2]["cursor"] == received[-3]["cursor"], "a client that resumes there has them"
    assert received[1]["cursor"] == _cursor(held[0])


def _cursor(outcome: Outcome | AerostackError) -> str:
    assert isinstance(outcome, Outcome)
    return outcome.cursor


def test_a_lost_event_that_is_appended_again_is_new_on_all_nodes(cluster: Replicas) -> None:
    a, b = cluster.nodes
    first = b.publish("first", id="e0")
    cluster.settle()
    stayed = b.peer()
    a.publish("lost", id="e1")
    a.tick.end()
    a.journal.flush()
    b.step()  # b has read the event, and its own node has not
    assert heard(stayed.take()) == ["lost"]
    cluster.fail_over(1)
    cluster.pump()
    resumed = b.peer(since=_cursor(first[0]))
    begun = resumed.take()
    assert heard(begun) == ["GAP"]
    cluster.settle()
    b.publish("later")
    cluster.settle()
    assert heard(resumed.take()) == ["lost", "later"], "it was accepted after that gap"
    assert heard(stayed.take()) == ["GAP", "lost", "later"]
    moved = [node.peer(since=begun[0]["cursor"]) for node in cluster.nodes]
    assert [heard(peer.take()) for peer in moved] == [["lost", "later"]] * 2, "the nodes have the same log"
    assert [node.hub.mismatches for node in cluster.nodes] == [0, 0]


def test_a_lost_event_that_is_sent_again_is_new_on_all_nodes(cluster: Replicas) -> None:
    a, b = cluster.nodes
    a.publish("lost", id="e1")
    a.step()  # b has not read it
    cluster.fail_over(1)
    peers = [a.peer(), b.peer()]
    again = a.publish("lost", id="e1")
    repeated = b.publish("lost", id="e1")
    cluster.settle()
    assert [heard(peer.take()) for peer in peers] == [["lost"]] * 2
    outcomes = [*again, *repeated]
    assert [isinstance(each, Outcome) and each.duplicate for each in outcomes] == [False, True]
    assert _cursor(again[0]) == _cursor(repeated[0])


def test_a_stored_message_whose_settlement_was_lost_is_not_stored_again(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    first = a.publish("stored", persist=True, id="e1")
    a.step()
    a.store.commit()
    a.step()  # b has not read the settlement
    cluster.fail_over(1)
    cluster.settle()
    again = b.publish("stored", persist=True, id="e1")
    cluster.settle()
    b.store.commit()
    cluster.settle()
    assert isinstance(again[0], Outcome)
    assert (again[0].duplicate, again[0].cursor) == (True, _cursor(first[0]))
    assert [each for each in heard(peer.take()) if each != "GAP"] == ["stored"]


def test_a_failover_publishes_only_differences_of_members(
    cluster: Replicas,
) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.settle()
    a.hub.presence.track(a.peer(), TOPIC, "bob", {})
    a.step()
    assert a.journal.last > b.journal.last
    cluster.fail_over(1)
    cluster.settle()
    assert presence(peer.take()) == [("join", "ann"), ("join", "bob")]
    assert a.hub.presence.members(TOPIC) == b.hub.presence.members(TOPIC)


def test_a_node_that_was_slower_than_the_journal_asks_for_the_members(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    a.step()
    a.publish("missed")
    a.step()
    cluster.log.trim(cluster.log.last + 1)
    b.journal.read()
    cluster.settle()
    received = peer.take()
    assert [each["recovered"] for each in received if each["type"] == "subscribed"] == [None, False]
    assert presence(received) == [("join", "ann")]


def test_a_question_is_answered_by_all_nodes(cluster: Replicas) -> None:
    a, b = cluster.nodes
    a.peer()
    b.peer()
    b.hub.presence.track(b.peer("chat/b/p"), TOPIC, "ann", {})
    counts: list[object] = []
    a.hub.all_channels(lambda found: counts.append([msgspec.to_builtins(each) for each in found]))
    cluster.settle()
    assert counts == [
        [
            {"topic": TOPIC, "subscribers": 2, "members": 1},
            {"topic": "chat/b/p", "subscribers": 1, "members": 0},
        ]
    ]


def test_an_instruction_is_carried_out_on_all_nodes(cluster: Replicas) -> None:
    _, b = cluster.nodes
    for node in cluster.nodes:
        node.hub.handle("disconnect", lambda payload: len(payload))
    answers: list[list[bytes]] = []
    b.hub.ask("disconnect", {"userId": "ann"}, answers.append)
    cluster.settle()
    assert answers == [[b"16", b"16"]]


def test_a_dead_node_is_not_waited_for_and_neither_is_a_silent_one(cluster: Replicas) -> None:
    a, b = cluster.nodes
    cluster.nodes.remove(a)
    answers: list[list[bytes]] = []
    b.hub.ask("unknown", None, answers.append)
    b.step()
    b.step()
    assert answers == []
    b.later[0]()
    assert answers == [[b"null"]]
    b.hub.ask("unknown", None, answers.append)
    cluster.beat(7)
    assert len(answers) == 2


def test_a_question_that_the_journal_refuses_is_forgotten(cluster: Replicas) -> None:
    a, _ = cluster.nodes
    a.journal.refusal = Unavailable("The journal is out of reach.")
    with pytest.raises(Unavailable):
        a.hub.ask("channels", None, lambda _: None)
    with pytest.raises(Unavailable):
        a.publish(1)
    a.journal.refusal = None
    peer = a.peer()
    answer = a.publish(2)
    cluster.settle()
    assert [data for _, data in events(peer.take())] == [2]
    assert len(answer) == 1, "the answers of refused commands are not expected any more"


def test_a_node_that_the_journal_refuses_at_its_start_joins_later(cluster: Replicas) -> None:
    a = cluster.nodes[0]
    a.hub.presence.track(a.peer(), TOPIC, "ann", {})
    cluster.beat()
    c = cluster.start("c", refusal=Overloaded("Redis is out of memory."))
    cluster.beat(3)
    assert not is_ready(c)
    assert [each.name for each in a.hub.nodes()] == ["a", "b"]
    c.journal.refusal = None
    cluster.settle()
    assert is_ready(c)
    assert [each.name for each in a.hub.nodes()] == ["a", "b", "c"]
    assert c.hub.presence.members(TOPIC) == a.hub.presence.members(TOPIC)
    answer = c.publish("stored", persist=True)
    cluster.settle()
    c.store.commit()
    assert isinstance(answer[0], Outcome)


def test_presence_that_changed_while_cut_off_is_made_up_for(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer, gone = b.peer(), a.peer()
    a.hub.presence.track(gone, TOPIC, "ann", {})
    cluster.beat()
    a.journal.refusal = Unavailable("The journal is out of reach.")
    a.journal.listener.cut_off()
    assert not is_ready(a)
    other = a.peer()
    with pytest.raises(Unavailable):
        a.hub.presence.track(other, TOPIC, "bob", {})
    a.hub.leave(gone)
    a.hub.sweep()
    a.journal.refusal = None
    a.journal.listener.reconnected()
    assert is_ready(a)
    cluster.beat()
    assert presence(peer.take()) == [("join", "ann"), ("leave", "ann")]


def test_settlements_that_the_journal_refuses_follow_later(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("stored", persist=True)
    cluster.settle()
    a.journal.refusal = Unavailable("The journal is out of reach.")
    a.store.commit()
    a.tick.end()
    a.journal.refusal = None
    cluster.settle()
    assert not any(isinstance(each.item, Settle) and each.item.settlements for each in cluster.log.entries)
    cluster.beat()
    assert [data for _, data in events(peer.take())] == ["stored"]


def test_the_floor_forgets_receipts_on_all_nodes_at_once(cluster: Replicas) -> None:
    a, b = cluster.nodes
    peer = b.peer()
    a.publish("first", id="x")
    cluster.beat(119)
    a.publish("a repeat", id="x")
    cluster.beat(5)
    b.publish("long after", id="x")
    cluster.settle()
    assert [data for _, data in events(peer.take())] == ["first", "long after"]
    assert [node.hub.mismatches for node in cluster.nodes] == [0, 0]


def test_nodes_that_diverge_notice_it(cluster: Replicas, caplog: pytest.LogCaptureFixture) -> None:
    a, b = cluster.nodes
    cluster.beat(3)
    b.hub._cluster.members.digest ^= 1
    cluster.beat(15)
    assert a.hub.mismatches > 0
    assert b.hub.mismatches > 0
    assert "disagree about the custom channels" in caplog.text
