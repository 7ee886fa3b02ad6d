"""Openings and ends of streams whose commit has no answer: settled by what is stored, on a cluster and alone."""

from collections.abc import Iterator

import pytest
from msgspec import Raw

from aerostack_realtime.channels.hub import Outcome
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from tests.unit.channels.replicas import TOPIC, Node, Replicas
from tests.unit.channels.stream_peers import StreamReader, Writer


@pytest.fixture(params=["cluster", "alone"])
def nodes(request: pytest.FixtureRequest) -> Iterator[Replicas]:
    """Two nodes, or one without a cluster. The writer is on the first, the reader on the last."""
    found = Replicas("a", "b") if request.param == "cluster" else Replicas()
    if request.param == "alone":
        found.start("a", alone=True)
    found.settle()
    yield found
    found.close()


def commit(nodes: Replicas) -> None:
    """Store everything that waits, and let it be known."""
    nodes.settle()
    for node in nodes.nodes:
        node.store.commit()
    nodes.settle()


def settle_unknown(nodes: Replicas) -> None:
    """Give the nodes the time to find out what was stored."""
    for _ in range(3):
        commit(nodes)


def stored_state(nodes: Replicas) -> str | None:
    found = nodes.messages.stored.get((TOPIC, "bot", "s"))
    return None if found is None or found.stream is None else found.stream.state


def knows_stream(node: Node) -> bool:
    return node.hub._streaming.streams.find(TOPIC, "s") is not None


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_opening_without_an_answer_is_settled_by_what_is_stored(nodes: Replicas, is_stored: bool) -> None:
    a, b = nodes.nodes[0], nodes.nodes[-1]
    reader = StreamReader(b)
    writer = Writer(a, "s", persist=True)
    nodes.settle()
    a.store.lose_answers(is_stored=is_stored)
    nodes.tick_all()
    assert reader.take().texts == {}, "whether the stream is there is not known yet"
    settle_unknown(nodes)
    if is_stored:
        assert reader.take().states == {"s": "open"}
        assert stored_state(nodes) == "open"
    writer.write("text")
    writer.finish()
    for _ in range(4):
        writer.retry()
        commit(nodes)
    assert writer.ended == "complete"
    assert (reader.take().texts, reader.states) == ({"s": "text"}, {"s": "complete"})
    assert stored_state(nodes) == "complete"


def test_a_stored_opening_without_an_answer_fails_when_its_writer_is_gone(nodes: Replicas) -> None:
    a = nodes.nodes[0]
    reader = StreamReader(nodes.nodes[-1])
    writer = Writer(a, "s", persist=True)
    nodes.settle()
    a.store.lose_answers(is_stored=True)
    a.hub.leave(writer.peer)
    for _ in range(68):
        nodes.beat()
        commit(nodes)
    assert reader.take().states == {"s": "failed"}
    assert stored_state(nodes) == "failed"
    assert not any(knows_stream(node) for node in nodes.nodes)


@pytest.mark.parametrize("is_stored", [True, False])
def test_an_end_without_an_answer_is_settled_by_what_is_stored(nodes: Replicas, is_stored: bool) -> None:
    a, b = nodes.nodes[0], nodes.nodes[-1]
    reader, plain = StreamReader(b), b.peer()
    writer = Writer(a, "s", persist=True)
    commit(nodes)
    writer.write("text")
    writer.finish()
    nodes.settle()
    plain.take()
    a.store.lose_answers(is_stored=is_stored)
    nodes.tick_all()
    assert not writer.has_ended, "whether the stream has ended is not known yet"
    assert reader.take().states == {"s": "open"}
    assert not any(knows_stream(node) for node in nodes.nodes), "it takes no pieces meanwhile"
    for _ in range(4):
        writer.retry()
        commit(nodes)
    assert writer.ended == "complete"
    assert (reader.take().texts, reader.states) == ({"s": "text"}, {"s": "complete"})
    assert [each["data"] for each in plain.take() if each["type"] == "event"] == ["text"]
    assert stored_state(nodes) == "complete"


def test_events_behind_an_end_without_an_answer_wait_for_it(nodes: Replicas) -> None:
    a, b = nodes.nodes[0], nodes.nodes[-1]
    reader = StreamReader(b)
    writer = Writer(a, "s", persist=True)
    commit(nodes)
    writer.finish()
    nodes.settle()
    a.publish("after the end")
    a.store.lose_answers(is_stored=True)
    nodes.tick_all()
    assert [each["data"] for each in reader.take().frames if each["type"] == "event"] == [""]
    settle_unknown(nodes)
    kinds = [each.get("state", each.get("data")) for each in reader.take().frames[1:] if "cursor" in each]
    assert kinds[-2:] == ["complete", "after the end"]


class Opening:
    """One opening of the stream "s", and its answers."""

    def __init__(self, node: Node) -> None:
        self.answers: list[Outcome | AerostackError] = []
        node.hub.streams.open(
            TOPIC,
            "answer",
            Raw(b'""'),
            self.answers.append,
            user_id="bot",
            id="s",
            persist=True,
            connection=node.peer(None).connection_id,
            by_key=False,
        )


def test_openings_of_one_stream_wait_for_the_same_commit(nodes: Replicas) -> None:
    openings = [Opening(node) for node in (nodes.nodes[0], nodes.nodes[0], nodes.nodes[-1])]
    nodes.settle()
    assert [each.answers for each in openings] == [[], [], []]
    commit(nodes)
    found = [answer for each in openings for answer in each.answers]
    assert [(each.n, each.state) for each in found if isinstance(each, Outcome)] == [(0, "open")] * 3
    assert len({each.timestamp for each in found if isinstance(each, Outcome)}) == 1
    assert stored_state(nodes) == "open"


def test_openings_of_one_stream_fail_together(nodes: Replicas) -> None:
    openings = [Opening(node) for node in (nodes.nodes[0], nodes.nodes[0], nodes.nodes[-1])]
    nodes.settle()
    nodes.nodes[0].store.commit(Unavailable("The database does not reply."))
    nodes.settle()
    found = [answer for each in openings for answer in each.answers]
    assert [type(each) for each in found] == [Unavailable] * 3
    assert not any(knows_stream(node) for node in nodes.nodes)


@pytest.mark.parametrize("is_stored", [True, False])
def test_openings_whose_commit_has_no_answer_are_each_answered_once(nodes: Replicas, is_stored: bool) -> None:
    openings = [Opening(node) for node in (nodes.nodes[0], nodes.nodes[0], nodes.nodes[-1])]
    nodes.settle()
    nodes.nodes[0].store.lose_answers(is_stored=is_stored)
    nodes.tick_all()
    assert [each.answers for each in openings[1:]] == [[], []], "whether the stream is there is not known yet"
    settle_unknown(nodes)
    assert [len(each.answers) for each in openings] == [1, 1, 1]
    for each in openings[1:]:
        answer = each.answers[0]
        assert isinstance(answer, Outcome) == knows_stream(nodes.nodes[0]), answer
