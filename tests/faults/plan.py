"""What goes wrong in a run, and in which order: made from a seed alone, so a run can be repeated."""

import random
from collections.abc import Iterator
from typing import Literal, get_args

from msgspec import Struct

DatabaseKind = Literal["sqlite", "postgres"]
DATABASES: tuple[DatabaseKind, ...] = get_args(DatabaseKind)

FaultKind = Literal[
    "kill server",
    "terminate server",
    "pause server",
    "kill subscriber",
    "pause subscriber",
    "kill publisher",
    "kill writer",
    "cut network",
    "stall network",
    "silence network",
    "slow network",
    "pull cable",
    "loose cable",
    "full disk",
    "clock forward",
    "clock back",
    "restore a copy",
    "restore while running",
    # a cluster's own
    "kill node",
    "terminate node",
    "pause node",
    "suspend node",
    "all at once",
    # where each node has a host of its own
    "unplug-redis node",
    "unplug-postgres node",
    "unplug-both node",
    "deafen-redis node",
    "mute-redis node",
    "deafen-postgres node",
    "mute-postgres node",
    # a cluster's own again
    "cut way",
    "silence way",
    "lag way",
    "kill redis",
    "empty redis",
    "freeze redis",
    "flush redis",
    "fill redis",
    # with Sentinels
    "kill master",
    "lose writes",
    "freeze master",
    "command failover",
    # SQLite's own
    "file size limit",
    "restore in place",
    # PostgreSQL's own
    "crash postgres",
    "restart postgres",
    "kill walsender",
    "kill backend",
    "terminate connections",
    "pause walsender",
    "cut link",
    "stall link",
    "silence link",
    "slow link",
    "restore without slots",
    "drop slot",
    "add column",
    "drop column",
    "replace table",
]
FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)

_WEIGHTS: dict[FaultKind, int] = {
    "kill server": 18,
    "terminate server": 8,
    "pause server": 9,
    "kill subscriber": 14,
    "pause subscriber": 8,
    "kill publisher": 7,
    "kill writer": 6,
    "cut network": 14,
    "stall network": 6,
    "silence network": 5,
    "slow network": 5,
    "pull cable": 6,
    "loose cable": 4,
    "full disk": 3,
    "clock forward": 3,
    "clock back": 3,
    "restore a copy": 2,
    "restore while running": 2,
    "kill node": 18,
    "terminate node": 10,
    "pause node": 8,
    "suspend node": 3,
    "all at once": 3,
    "unplug-redis node": 4,
    "unplug-postgres node": 4,
    "unplug-both node": 4,
    "deafen-redis node": 2,
    "mute-redis node": 2,
    "deafen-postgres node": 2,
    "mute-postgres node": 2,
    "cut way": 8,
    "silence way": 6,
    "lag way": 4,
    "kill redis": 4,
    "empty redis": 4,
    "freeze redis": 3,
    "flush redis": 3,
    "fill redis": 3,
    "kill master": 6,
    "lose writes": 8,
    "freeze master": 4,
    "command failover": 4,
    "file size limit": 3,
    "restore in place": 2,
    "crash postgres": 10,
    "restart postgres": 6,
    "kill walsender": 8,
    "kill backend": 5,
    "terminate connections": 8,
    "pause walsender": 5,
    "cut link": 10,
    "stall link": 5,
    "silence link": 5,
    "slow link": 4,
    "restore without slots": 2,
    "drop slot": 3,
    "add column": 3,
    "drop column": 3,
    "replace table": 3,
}
_SQLITE: frozenset[FaultKind] = frozenset(("file size limit", "restore in place"))
_CLUSTER: frozenset[FaultKind] = frozenset(FAULTS[FAULTS.index("kill node") : FAULTS.index("kill master")])
_HOSTS: frozenset[FaultKind] = frozenset(FAULTS[FAULTS.index("unplug-redis node") : FAULTS.index("cut way")])
_ONE_REDIS: frozenset[FaultKind] = frozenset(FAULTS[FAULTS.index("cut way") : FAULTS.index("kill master")])
_SENTINEL: frozenset[FaultKind] = frozenset(FAULTS[FAULTS.index("kill master") : FAULTS.index("file size limit")])
_ONE_NODE: frozenset[FaultKind] = frozenset(
    (
        *("kill server", "terminate server", "pause server", "pull cable", "loose cable"),
        *("restore a copy", "restore while running", "restore without slots", "drop slot", "replace table"),
    )
)
"""What is tried on a single node only."""
_POSTGRES: frozenset[FaultKind] = frozenset(FAULTS[FAULTS.index("crash postgres") :])

SUBSCRIBERS = ("sub-all", "sub-some", "sub-node", "live")
PUBLISHERS = ("pub-python", "pub-node")
WRITERS = ("writer-driver", "writer-shell", "writer-sdk")
AFAR = ("sub-some", "pub-node")
"""The clients at the other end of the cable, where there is one; the others connect by the proxy."""

LONGEST_PAUSE = 1.2
"""Seconds that a process or the network is held: some reach the limits of buffers, none the heartbeat."""


class Fault(Struct, frozen=True):
    """One fault: whom it hits (the name of a process, or ""), how long it lasts in seconds, and how many events
    have to be handled before the next one."""

    kind: FaultKind
    target: str
    seconds: float
    pause: int


def of_database(
    database: DatabaseKind, nodes: int = 1, *, sentinel: bool = False, hosts: bool = False
) -> frozenset[FaultKind]:
    """What can go wrong with this database and number of nodes, on one Redis or on one that Sentinels watch, with
    `hosts` of their own for nodes."""
    others = _POSTGRES if database == "sqlite" else _SQLITE
    redis = _ONE_REDIS if sentinel else _SENTINEL
    without = frozenset() if hosts else _HOSTS
    return frozenset(FAULTS) - others - redis - without - (_CLUSTER if nodes == 1 else _ONE_NODE)


def plan(seed: int, kinds: frozenset[FaultKind], pause: float = 1500.0, nodes: int = 1) -> Iterator[Fault]:
    """Faults without end, of these kinds; each kind comes once before the first comes again at random.

    `pause` is the mean of the events between two.
    """
    chance = random.Random(seed)
    first = sorted(kinds)
    weights = [_WEIGHTS[kind] for kind in first]
    any_of = list(first)
    chance.shuffle(first)
    while True:
        kind = first.pop() if first else chance.choices(any_of, weights)[0]
        targets = {"subscriber": SUBSCRIBERS, "publisher": PUBLISHERS, "writer": WRITERS}
        numbers = tuple(str(number) for number in range(nodes))
        targets |= {"node": numbers, "way": numbers, "at": SUBSCRIBERS[:3]}
        target = chance.choice(targets.get(kind.split(" ")[1], ("",)))
        yield Fault(kind, target, chance.uniform(0.05, LONGEST_PAUSE), int(chance.expovariate(1 / pause)))
