"""Counting connections."""

import pytest

from aerostack_realtime.gateway.crowd import Crowd
from aerostack_realtime.gateway.limits import Limits
from aerostack_realtime.protocol.errors import RateLimited


def refused(crowd: Crowd, address: str, user: str | None = None, stranger: bool = False) -> bool:
    try:
        crowd.enter(address, user, stranger=stranger).leave()
    except RateLimited:
        return True
    return False


def test_each_limit_is_counted_for_itself_and_given_back() -> None:
    crowd = Crowd(
        Limits(connections=4, connections_per_address=3, connections_per_user=2, connections_unauthenticated=1)
    )
    stranger = crowd.enter("a", None, stranger=True)
    assert refused(crowd, "b", stranger=True)
    assert not refused(crowd, "b", "ann")
    crowd.enter("a", "ann", stranger=False)
    elsewhere = crowd.enter("b", "ann", stranger=False)
    assert refused(crowd, "c", "ann")
    assert not refused(crowd, "c", "bob")
    crowd.enter("a", "bob", stranger=False)
    assert refused(crowd, "c", "carl")
    elsewhere.leave()
    assert refused(crowd, "a", "carl")
    assert not refused(crowd, "c", "ann")
    stranger.leave()
    assert not refused(crowd, "b", stranger=True)
    assert (crowd.total, crowd.strangers) == (2, 0)


def test_who_authenticates_counts_as_that_user_from_then_on() -> None:
    crowd = Crowd(Limits(connections_per_user=1, connections_unauthenticated=1))
    first = crowd.enter("a", None, stranger=True)
    first.become("ann")
    first.become("ann")
    second = crowd.enter("a", None, stranger=True)
    with pytest.raises(RateLimited):
        second.become("ann")
    first.leave()
    second.become("ann")
    second.leave()
    assert (crowd.total, crowd.strangers, dict(crowd.users), dict(crowd.addresses)) == (0, 0, {}, {})


def test_a_limit_of_0_is_none() -> None:
    crowd = Crowd(Limits(connections=0, connections_per_address=0, connections_per_user=0))
    for _ in range(50):
        crowd.enter("a", "ann", stranger=False)
    assert not refused(crowd, "a", "ann")
