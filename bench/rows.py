"""What a row change costs when every subscriber has a row rule of its own: `python -m bench.rows`.

The rule, the view index, the encoding and the hand-over to the transports are the server's own; there is no
socket, so that the figure is theirs alone. Each change concerns one subscriber.
"""

import sys
import time
from collections.abc import Callable

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.access.rules import Rules, TableRule
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import Change
from aerostack_realtime.protocol.errors import AerostackError

CHANGES = 5_000
COLUMNS = ("id", "user_id", "status", "total", "margin")
EQUALITY = TableRule("orders", rows={"user_id": "user.id"}, columns=("id", "user_id", "status", "total"))
EXPRESSION = TableRule("orders", rows="row.team == user.claims.team")


class Watcher:
    """A subscriber that counts what it is given."""

    def __init__(self, number: int, scope: Scope) -> None:
        self.connection_id = str(number)
        self.received = 0
        self._scope = scope

    @property
    def write(self) -> Callable[[bytes], None]:
        return self._take

    @property
    def write_shared(self) -> None: ...

    @property
    def buffered(self) -> Callable[[], int]:
        return _nothing

    def overflow(self) -> None: ...

    def scope(self, table: str) -> Scope:  # noqa: ARG002 - there is one table
        return self._scope

    def deny(self, topic: str, reason: AerostackError) -> None: ...

    def _take(self, data: bytes) -> None:
        if data:
            self.received += 1


def _nothing() -> int:
    return 0


def measure(rule: TableRule, subscribers: int, groups: int) -> tuple[float, float]:
    """µs per change, and how many subscribers a change touched; users fall into `groups` by their claims."""
    dirty: list[Audience] = []
    rules = Rules(tables=[rule])
    channel = TableChannel(
        "table/orders/default", "orders", lambda: Audience(dirty.append, 1 << 30, lambda _: None), 1 << 30
    )
    watchers = []
    for number in range(subscribers):
        identity = Identity("user", f"u{number}", claims={"sub": f"u{number}", "team": f"t{number % groups}"})
        watcher = Watcher(number, rules.scope(identity, "orders"))
        view = channel.views.view(None, (*COLUMNS, "team"), watcher.scope("orders"))
        channel.add(watcher, view, None, presence=False)
        watchers.append(watcher)
    changes = [
        Change(
            "orders",
            "INSERT",
            {
                "id": n,
                "user_id": f"u{n % subscribers}",
                "status": "new",
                "total": 1,
                "margin": 2,
                "team": f"t{n % groups}",
            },
            None,
            0,
            f"e.{n}",
        )
        for n in range(CHANGES)
    ]
    begun = time.perf_counter()
    for change in changes:
        channel.deliver([change])
        while dirty:
            dirty.pop().flush()
    took = time.perf_counter() - begun
    return took / CHANGES * 1e6, sum(each.received for each in watchers) / CHANGES


def main() -> None:
    for title, rule, sizes in (
        ('rows = { user_id = "user.id" }, each subscriber its own', EQUALITY, (10, 100, 1_000, 10_000)),
        ("rows = an expression, ten teams", EXPRESSION, (10, 100, 1_000, 10_000)),
    ):
        sys.stdout.write(f"{title}\n")
        for size in sizes:
            took, touched = measure(rule, size, min(size, 10))
            sys.stdout.write(f"  {size:>6} subscribers: {took:8.1f} µs a change, touching {touched:g}\n")


if __name__ == "__main__":
    main()
