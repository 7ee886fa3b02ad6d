"""Counting connections."""

import pytest

from aerostack_realtime.gateway.limits.connections import ConnectionCounter
from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.protocol.errors import RateLimited


def refused(
    connections: ConnectionCounter, address: str, user: str | None = None, unauthenticated: bool = False
) -> bool:
    try:
        connections.enter(address, user, unauthenticated=unauthenticated).leave()
    except RateLimited:
        return True
    return False


def test_each_limit_is_counted_for_itself_and_given_back() -> None:
    connections = ConnectionCounter(
        Limits(connections=4, connections_per_address=3, connections_per_user=2, connections_unauthenticated=1)
    )
    unauthenticated = connections.enter("a", None, unauthenticated=True)
    assert refused(connections, "b", unauthenticated=True)
    assert not refused(connections, "b", "ann")
    connections.enter("a", "ann", unauthenticated=False)
    elsewhere = connections.enter("b", "ann", unauthenticated=False)
    assert refused(connections, "c", "ann")
    assert not refused(connections, "c", "bob")
    connections.enter("a", "bob", unauthenticated=False)
    assert refused(connections, "c", "carl")
    elsewhere.leave()
    assert refused(connections, "a", "carl")
    assert not refused(connections, "c", "ann")
    unauthenticated.leave()
    assert not refused(connections, "b", unauthenticated=True)
    assert (connections.total, connections.unauthenticated) == (2, 0)


def test_a_client_counts_as_its_user_once_authenticated() -> None:
    connections = ConnectionCounter(Limits(connections_per_user=1, connections_unauthenticated=1))
    first = connections.enter("a", None, unauthenticated=True)
    first.become("ann")
    first.become("ann")
    second = connections.enter("a", None, unauthenticated=True)
    with pytest.raises(RateLimited):
        second.become("ann")
    first.leave()
    second.become("ann")
    second.leave()
    assert (
        connections.total,
        connections.unauthenticated,
        dict(connections.users),
        dict(connections.addresses),
    ) == (0, 0, {}, {})


def test_a_limit_of_0_is_none() -> None:
    connections = ConnectionCounter(Limits(connections=0, connections_per_address=0, connections_per_user=0))
    for _ in range(50):
        connections.enter("a", "ann", unauthenticated=False)
    assert not refused(connections, "a", "ann")
