"""What a server has done since it started, as plain integers: `/metrics` reads them (gateway/http/metrics.py).

A part that counts adds to an integer and knows nothing about metrics. Nothing is counted per subscriber. The
interpreter adds to a slot three times as fast as to the field of a Struct, and six times as fast as to a number in
a dict; appending to a list takes half of an addition. So what happens for every publish is only noted, as the size
of its frame and the seconds to its acknowledgement, and `Counters.count` adds it up: once a second, and before the
counters are read (`python -m bench.counting` measures all of it).
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

NO_RULE: Final = "none"
"""The rule of a topic that no rule matches: only the server may use it."""

DeliveryKind = Literal["event", "change"]
Key = tuple[str, DeliveryKind]

SHORT: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of a histogram's buckets in seconds, for what is expected to take milliseconds."""
LONG: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
"""The same for what may take minutes."""


class Histogram:
    """How often something took how long. `counts` has one number per bound and one for everything above."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float] = SHORT) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.sum += seconds * times

    def observe_all(self, seconds: list[float]) -> None:
        """Observe each of these, which are sorted by it."""
        seconds.sort()
        self.sum += sum(seconds)
        counted = 0
        for index, bound in enumerate(self.bounds):
            until = bisect_right(seconds, bound)
            self.counts[index] += until - counted
            counted = until
        self.counts[-1] += len(seconds) - counted

    @property
    def total(self) -> int:
        return sum(self.counts)


class Noting(Protocol):
    """A part that has noted what is to be counted."""

    def count(self) -> None:
        """Add it to the counters."""


@dataclass(slots=True)
class ChannelCounters:
    """All channels of one rule together. A delivery is one event that is written to, or kept for, one subscriber.
    Those of `presence` are counted apart from the others."""

    events: int = 0
    presence_events: int = 0
    deliveries: int = 0
    presence_deliveries: int = 0
    bytes: int = 0
    """Bytes written to subscribers, WebSocket headers included."""
    slow_resume: int = 0
    """How often a subscriber with the policy `resume` became slow: it is served from the log, or closed."""
    slow_latest: int = 0
    """How often a subscriber with the policy `latest` became slow."""
    slow_drop: int = 0
    """How often a subscriber with the policy `drop` became slow."""
    resumed_log: int = 0
    """Subscriptions that continued from the channel's log in memory without a gap."""
    resumed_database: int = 0
    """Subscriptions that were sent stored messages, or row changes from the database's log."""
    not_recovered: int = 0
    """Gaps that a resumed subscription was answered with."""
    interrupted: int = 0
    """Gaps that live subscriptions were sent."""
    dropped: int = 0
    """Gaps that subscribers with the policy `drop` were sent."""
    noting: list[Noting] = field(default_factory=list)
    """The parts that have noted something since the last `count`."""

    def count(self) -> None:
        noting, self.noting = self.noting, []
        for each in noting:
            each.count()


def _numbers() -> defaultdict[str, int]:
    return defaultdict(int)


def _codes() -> defaultdict[int, int]:
    return defaultdict(int)


def _types() -> defaultdict[type, int]:
    return defaultdict(int)


def _long() -> Histogram:
    return Histogram(LONG)


def _no_rule(_topic: str) -> str:
    return NO_RULE


@dataclass(slots=True)
class Counters:
    """One for each process. `rule_of` names the rule of a canonical topic."""

    rule_of: Callable[[str], str] = _no_rule
    channels: dict[Key, ChannelCounters] = field(default_factory=dict)
    noted: list[int] = field(default_factory=list)
    """The sizes of frames with a command that publishes, which are not in `publishes` and `bytes_in` yet."""
    acknowledged: list[float] = field(default_factory=list)
    """The seconds from publishes that are not persisted to their acknowledgements, which are not in `acks` and
    `publish_ack` yet."""
    publishes: int = 0
    """Commands that publish."""
    commands: defaultdict[type, int] = field(default_factory=_types)
    """All other commands by the class of their message."""
    bytes_in: int = 0
    """Bytes of text frames, without their headers."""
    bytes_out: int = 0
    """Bytes of replies to single connections; what fan-out writes is in `channels`."""
    acks: int = 0
    connects: int = 0
    refused_connects: defaultdict[str, int] = field(default_factory=_numbers)
    """WebSockets that were refused, by error code."""
    closes: defaultdict[int, int] = field(default_factory=_codes)
    errors: defaultdict[str, int] = field(default_factory=_numbers)
    """Errors that clients were answered with, by code, over WebSocket and HTTP."""
    authentication_failures: defaultdict[str, int] = field(default_factory=_numbers)
    """Credentials that were refused, by where: connect, auth (the command) or http."""
    secret_key_calls: defaultdict[str, int] = field(default_factory=_numbers)
    """HTTP calls with a secret key, by the fingerprint of the key."""
    publish_ack: Histogram = field(default_factory=Histogram)
    persisted_ack: Histogram = field(default_factory=Histogram)
    change_delivery: Histogram = field(default_factory=Histogram)
    snapshots: Histogram = field(default_factory=_long)
    history_pages: Histogram = field(default_factory=Histogram)
    compactions: Histogram = field(default_factory=_long)
    """Documents that this node has compacted."""
    compacted_bytes: int = 0
    """Bytes of the messages that compactions replaced."""
    compaction_bytes: int = 0
    """Bytes of the messages that they stored."""
    unreadable_documents: int = 0
    """Documents that are not compacted any more because they cannot be read."""
    http: dict[tuple[str, str, str], Histogram] = field(default_factory=dict)
    """HTTP calls by method, route and status."""
    loop_lag: Histogram = field(default_factory=Histogram)

    def count(self) -> None:
        """Add up what was noted."""
        noted, self.noted = self.noted, []
        self.publishes += len(noted)
        self.bytes_in += sum(noted)
        acknowledged, self.acknowledged = self.acknowledged, []
        self.acks += len(acknowledged)
        self.publish_ack.observe_all(acknowledged)
        for each in self.channels.values():
            each.count()

    def channel(self, topic: str, kind: DeliveryKind) -> ChannelCounters:
        """The counters of a canonical topic's rule."""
        key = self.rule_of(topic), kind
        found = self.channels.get(key)
        if found is None:
            found = self.channels[key] = ChannelCounters()
        return found
