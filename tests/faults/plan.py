"""What goes wrong in a run, and in which order: made from a seed alone, so a run can be repeated."""

import random
from collections.abc import Iterator
from typing import Literal, get_args

from msgspec import Struct

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
    "full disk",
    "file size limit",
    "clock forward",
    "clock back",
    "restore a copy",
    "restore in place",
    "restore while running",
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
    "full disk": 3,
    "file size limit": 3,
    "clock forward": 3,
    "clock back": 3,
    "restore a copy": 2,
    "restore in place": 2,
    "restore while running": 2,
}
SUBSCRIBERS = ("sub-all", "sub-some", "sub-node", "live")
PUBLISHERS = ("pub-1", "pub-2")
WRITERS = ("writer-file", "writer-shell", "writer-sdk")

LONGEST_PAUSE = 1.2
"""Seconds that a process or the network is held: some reach the limits of buffers, none the heartbeat."""


class Fault(Struct, frozen=True):
    """One fault: whom it hits (the name of a process, or ""), how long it lasts in seconds, and how many events
    have to be handled before the next one."""

    kind: FaultKind
    target: str
    seconds: float
    pause: int


def plan(seed: int, kinds: frozenset[FaultKind] = frozenset(FAULTS)) -> Iterator[Fault]:
    """Faults without end, of these kinds; each kind comes once before the first comes again at random."""
    chance = random.Random(seed)
    first = sorted(kinds)
    chance.shuffle(first)
    while True:
        kind = first.pop() if first else chance.choices(FAULTS, [_WEIGHTS[each] for each in FAULTS])[0]
        if kind not in kinds:
            continue
        targets = {"subscriber": SUBSCRIBERS, "publisher": PUBLISHERS, "writer": WRITERS}
        target = chance.choice(targets.get(kind.split(" ")[1], ("",)))
        yield Fault(kind, target, chance.uniform(0.05, LONGEST_PAUSE), int(chance.expovariate(1 / 1500)))
