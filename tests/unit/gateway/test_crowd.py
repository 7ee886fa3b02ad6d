"""Counting connections."""

from aerostack_realtime.gateway.crowd import Crowd
from aerostack_realtime.gateway.limits import Limits


def refused(crowd: Crowd, address: str = "a", user: str | None = None, stranger: bool = False) -> bool:
    return crowd.refusal(address, user, stranger=stranger) is not None


def test_each_limit_is_counted_for_itself_and_given_back() -> None:
    limits = Limits(
        connections=4, connections_per_address=3, connections_per_user=2, connections_unauthenticated=1
    )
    crowd = Crowd(limits)
    crowd.enter("a", None, stranger=True)
    assert refused(crowd, stranger=True)
    assert not refused(crowd, user="ann")
    crowd.enter("a", "ann", stranger=False)
    crowd.enter("b", "ann", stranger=False)
    assert refused(crowd, "c", "ann")
    crowd.enter("a", "bob", stranger=False)
    assert refused(crowd, "c", "carl")
    crowd.leave("b", "ann", stranger=False)
    assert refused(crowd, "a", "carl")
    assert not refused(crowd, "c", "ann")
    crowd.leave("a", None, stranger=True)
    assert not refused(crowd, stranger=True)
    assert crowd.total == 2


def test_a_limit_of_0_is_none() -> None:
    crowd = Crowd(Limits(connections=0, connections_per_address=0, connections_per_user=0))
    for _ in range(50):
        crowd.enter("a", "ann", stranger=False)
    assert not refused(crowd, "a", "ann")
