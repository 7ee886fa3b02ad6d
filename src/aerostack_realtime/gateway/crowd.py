"""How many connections there are: in total, per address, per user, and not yet authenticated."""

from collections import Counter

from aerostack_realtime.gateway.limits import Limits


class Crowd:
    """Counts connections against the limits. A limit of 0 is none."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._total = 0
        self._strangers = 0
        self._addresses: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

    @property
    def total(self) -> int:
        return self._total

    def refusal(self, address: str, user: str | None, *, stranger: bool) -> str | None:
        """Which limit one more connection would break; None when there is room for it."""
        limits = self._limits
        if 0 < limits.connections <= self._total:
            return "The server has as many connections as it takes; try again later."
        if 0 < limits.connections_per_address <= self._addresses[address]:
            return f"There are {limits.connections_per_address} connections from this address; close some first."
        if stranger and 0 < limits.connections_unauthenticated <= self._strangers:
            return "Too many connections wait to authenticate; connect with a token, or try again later."
        return self.user_refusal(user)

    def user_refusal(self, user: str | None) -> str | None:
        limit = self._limits.connections_per_user
        if user is not None and 0 < limit <= self._users[user]:
            return f"This user has {limit} connections, as many as one may; close some first."
        return None

    def enter(self, address: str, user: str | None, *, stranger: bool) -> None:
        self._total += 1
        self._addresses[address] += 1
        self._strangers += stranger
        if user is not None:
            self._users[user] += 1

    def leave(self, address: str, user: str | None, *, stranger: bool) -> None:
        self._total -= 1
        self._strangers -= stranger
        _less(self._addresses, address)
        if user is not None:
            _less(self._users, user)


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
