"""What a node says of itself on the console's overview."""

import time
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.counters import Counters, Histogram
from aerostack_realtime.protocol import topics

_KEYS: Final = ("persisted_ack", "publish_ack", "change_delivery", "loop_lag")


class Latency(Struct, frozen=True):
    """The buckets of a histogram, cumulative since the start: the page subtracts two of them for a rate."""

    counts: list[int]
    bounds: list[float]


class NodeFigures(Struct, rename="camel"):
    """Figures of one node. Counts are since its start; `at` is in seconds by its clock, and `cpu_seconds` what its
    process has used."""

    node: str
    at: float
    up_seconds: float
    cpu_seconds: float
    connections: int
    subscriptions: int
    channels: int
    tables: int
    members: int
    log_bytes: int
    events: int
    deliveries: int
    bytes_out: int
    connects: int
    errors: int
    slow: int
    gaps: int
    publish_ack: Latency
    persisted_ack: Latency
    change_delivery: Latency
    loop_lag: Latency


class Figures:
    """Reads the figures of this node. `connections` is how many clients are connected."""

    def __init__(self, hub: Hub, connections: Callable[[], int]) -> None:
        self._hub = hub
        self._connections = connections
        self._started = time.monotonic()

    def read(self) -> NodeFigures:
        hub = self._hub
        counters, totals = hub.counters, hub.totals()
        counters.count()
        channels = [each for (rule, _), each in counters.channels.items() if rule != topics.CONSOLE]
        own = sum(topics.is_console(each) for each in hub.inspection.topics())
        return NodeFigures(
            node=hub.node,
            at=time.monotonic(),
            up_seconds=time.monotonic() - self._started,
            cpu_seconds=time.process_time(),
            connections=self._connections(),
            subscriptions=totals.subscriptions - own,
            channels=totals.custom_channels - own,
            tables=totals.table_channels,
            members=totals.members,
            log_bytes=totals.log_bytes,
            events=sum(each.events + each.presence_events for each in channels),
            deliveries=sum(each.deliveries + each.presence_deliveries for each in channels),
            bytes_out=counters.bytes_out + sum(each.bytes for each in channels),
            connects=counters.connects,
            errors=sum(counters.errors.values()),
            slow=sum(each.slow_resume + each.slow_latest + each.slow_drop for each in channels),
            gaps=sum(each.not_recovered + each.interrupted + each.dropped for each in channels),
            **latencies(counters),
        )


def latencies(counters: Counters) -> dict[str, Latency]:
    return {name: _latency(getattr(counters, name)) for name in _KEYS}


def _latency(histogram: Histogram) -> Latency:
    return Latency(list(histogram.counts), list(histogram.bounds))
