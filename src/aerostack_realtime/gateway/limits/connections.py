"""Counting connections (in total, per address, per user, unauthenticated) and sockets before their upgrade."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.limits.token_bucket import KeyedTokenBuckets
from aerostack_realtime.gateway.proxies import Proxies
from aerostack_realtime.protocol.errors import RateLimited

PENALTY: Final = 20
"""Connects charged to a client that was disconnected for abuse: reconnecting must not refill its bursts."""


class ConnectionCounter:
    """Counts connections against the limits. A limit of 0 is none."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.total = 0
        self.unauthenticated = 0
        self.addresses: Counter[str] = Counter()
        self.users: Counter[str] = Counter()

    def enter(self, address: str, user: str | None, *, unauthenticated: bool) -> "ConnectionSlot":
        """Count one connection more. Raises RateLimited when a limit leaves no room for it."""
        limits = self._limits
        if 0 < limits.connections <= self.total:
            raise RateLimited("The server has reached its connection limit; try again later.")
        if 0 < limits.connections_per_address <= self.addresses.get(address, 0):
            raise RateLimited(f"This address has {limits.connections_per_address} connections; close some first.")
        if unauthenticated and 0 < limits.connections_unauthenticated <= self.unauthenticated:
            raise RateLimited("Too many connections wait to authenticate; connect with a token.")
        self.check(user)
        return ConnectionSlot(self, address, user, unauthenticated=unauthenticated)

    def check(self, user: str | None) -> None:
        """Raises RateLimited when a user has as many connections as one may."""
        limit = self._limits.connections_per_user
        if user is not None and 0 < limit <= self.users.get(user, 0):
            raise RateLimited(f"This user has {limit} connections, which is the limit; close some first.")


class ConnectionSlot:
    """The place that one connection takes in the counters."""

    __slots__ = ("_connections", "_unauthenticated", "_user", "address")

    def __init__(
        self, connections: ConnectionCounter, address: str, user: str | None, *, unauthenticated: bool
    ) -> None:
        self.address = address
        self._connections = connections
        self._user = user
        self._unauthenticated = unauthenticated
        self._add(1)

    def become(self, user: str | None) -> None:
        """It has authenticated, as a user if one is named. Raises RateLimited."""
        if user != self._user:
            self._connections.check(user)
        self._add(-1)
        self._user, self._unauthenticated = user, False
        self._add(1)

    def leave(self) -> None:
        self._add(-1)

    def _add(self, by: int) -> None:
        connections = self._connections
        connections.total += by
        connections.unauthenticated += by * self._unauthenticated
        _count(connections.addresses, self.address, by)
        if self._user is not None:
            _count(connections.users, self._user, by)


class PendingSockets:
    """Counts the sockets that are not (yet) WebSockets, against limits of the same size as for connections, and
    how fast they are opened: in total, and per address unless it is a trusted proxy's, behind which there are
    many. `now` is in seconds."""

    def __init__(self, limits: Limits, proxies: Proxies, now: Callable[[], float]) -> None:
        self._limits = limits
        self._proxies = proxies
        self._now = now
        self._opened = KeyedTokenBuckets(limits.connects_per_second, limits.connects_burst, now)
        self._turned_away: Counter[str] = Counter()
        self.refused = 0
        """How many sockets were not let in since the start."""
        self.total = 0
        self.addresses: Counter[str] = Counter()

    def limits_changed(self) -> None:
        """Count how fast sockets are opened by the limits of now."""
        limits = self._limits
        self._opened = KeyedTokenBuckets(limits.connects_per_second, limits.connects_burst, self._now)

    def enter(self, peer: str | None) -> str:
        """Count one socket more, under the address that has to be given to `leave`. Raises RateLimited."""
        address = self._proxies.client(peer, ())
        try:
            self._check(peer, address)
        except RateLimited:
            self._turned_away[address] += 1
            self.refused += 1
            raise
        self.total += 1
        _count(self.addresses, address, 1)
        return address

    def _check(self, peer: str | None, address: str) -> None:
        if 0 < self._limits.connections <= self.total:
            raise RateLimited("The server has as many sockets as it takes.")
        if not self._proxies.trusts(peer):
            self._opened.take(address, 1, "connections")
            limit = self._limits.connections_per_address
            if 0 < limit <= self.addresses.get(address, 0):
                raise RateLimited(f"This address has {limit} sockets that are not WebSockets.")

    def forwarded(self, peer: str | None, address: str) -> None:
        """A client connects through a peer: if that is a proxy, what holds for sockets holds for it. Raises
        RateLimited."""
        if self._proxies.trusts(peer):
            self._opened.take(address, 1, "connections")

    def penalize(self, address: str) -> None:
        """A client was disconnected for abuse: its next connect costs `PENALTY` more."""
        self._opened.charge(address, PENALTY)

    def turned_away(self) -> Counter[str]:
        """How many sockets of each address were refused since the last call."""
        found, self._turned_away = self._turned_away, Counter()
        return found

    def leave(self, address: str) -> None:
        self.total -= 1
        _count(self.addresses, address, -1)


def _count(counter: Counter[str], key: str, by: int) -> None:
    count = counter.get(key, 0) + by
    if count > 0:
        counter[key] = count
    else:
        counter.pop(key, None)
