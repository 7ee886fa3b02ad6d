"""Joined topics: each connection's, with one of them or several."""

from typing import cast

import pytest

from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.joined_topics import JoinedTopics

ANN, BOB = cast(Subscriber, object()), cast(Subscriber, object())


@pytest.fixture
def joined() -> JoinedTopics:
    made = JoinedTopics()
    made.join(ANN)
    made.join(BOB)
    return made


@pytest.mark.parametrize("topics", [[], ["a"], ["a", "b"], ["a", "b", "c"]])
def test_topics_are_those_that_were_added_once(joined: JoinedTopics, topics: list[str]) -> None:
    for topic in [*topics, *topics]:
        joined.add(ANN, topic)
    assert sorted(joined.of(ANN)) == topics
    assert (joined.total, list(joined.of(BOB))) == (len(topics), [])


@pytest.mark.parametrize("topics", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_a_discarded_topic_can_be_added_again(joined: JoinedTopics, topics: list[str]) -> None:
    for topic in topics:
        joined.add(ANN, topic)
    joined.discard(ANN, "never added")
    for left in range(len(topics), 0, -1):
        joined.discard(ANN, topics[left - 1])
        joined.discard(ANN, topics[left - 1])
        assert (sorted(joined.of(ANN)), joined.total) == (topics[: left - 1], left - 1)
    joined.add(ANN, "a")
    assert list(joined.of(ANN)) == ["a"]


def test_a_connection_that_leaves_takes_its_topics_with_it(joined: JoinedTopics) -> None:
    for topic in ("a", "b"):
        joined.add(ANN, topic)
    joined.add(BOB, "a")
    assert sorted(joined.leave(ANN)) == ["a", "b"]
    assert list(joined.leave(ANN)) == []
    assert (ANN in joined, BOB in joined, joined.total) == (False, True, 1)
    assert list(joined.of(ANN)) == []
