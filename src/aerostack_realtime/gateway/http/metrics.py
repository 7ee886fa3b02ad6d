"""`GET /metrics`: the counters of this process as Prometheus text or OpenMetrics.

`METRICS` lists all metrics, and docs/reference/metrics.md is generated from it. No label has a value that a client
chooses: channels appear as the rule that decides about them, calls as the route that they match.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from msgspec import Struct
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.counters import Counters, Histogram
from aerostack_realtime.database.base import Change, Database
from aerostack_realtime.gateway.http.metrics_list import METRICS, PREFIX, MetricType
from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import AerostackError

Sample = tuple[Sequence[str], float | Histogram]
"""The values of a metric's labels, and the value."""

_CLOSE_CODES: Final = frozenset(
    {1000, *(value for name, value in vars(close_codes).items() if name.isupper() and isinstance(value, int))}
)
"""The close codes that are a label; clients may send others, which are counted as `other`."""

DATABASE_SECONDS: Final = 2.0
"""How long a scrape waits for the database: less than Prometheus waits for a scrape."""

_FAMILIES: Final[dict[MetricType, Callable[..., Metric]]] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "info": InfoMetricFamily,
    "histogram": HistogramMetricFamily,
}


class Sources(Struct, frozen=True):
    """Where the figures come from. `build` are the labels of `aerostack_build_info`."""

    hub: Hub
    database: Database
    connections: Callable[[], int]
    refused_sockets: Callable[[], int]
    build: Mapping[str, str]


class MetricsCall:
    """Answers a scrape."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)

    async def answer(self, request: web.Request) -> web.Response:
        encoder, content_type = choose_encoder(request.headers.get("Accept", ""))
        registry = CollectorRegistry()
        found = samples(self._sources) | await self._database_samples()
        registry.register(_Collected([*_families(found), *self._process.collect()]))
        return web.Response(body=encoder(registry), headers={"Content-Type": content_type})

    async def _database_samples(self) -> dict[str, list[Sample]]:
        try:
            async with asyncio.timeout(DATABASE_SECONDS):
                status = await self._sources.database.status()
        except (AerostackError, TimeoutError):
            return {"database_up": [((), 0)]}
        figures: dict[str, list[Sample]] = {name: [((), value)] for name, value in status.figures.items()}
        return {"database_up": [((), int(status.problem is None))], **figures}


class _Collected(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


class DeliveryLatency:
    """A listener of the change feed, after the hub: observes the time from a change to its delivery. `now` is in
    seconds since the Unix epoch."""

    def __init__(self, counters: Counters, now: Callable[[], float]) -> None:
        self._histogram = counters.change_delivery
        self._now = now

    def changed(self, changes: Sequence[Change]) -> None:
        now, timestamp, count = self._now(), changes[0].timestamp, 0
        commit = changes[0].commit
        if commit is not None and commit == changes[-1].commit:  # and so are all in between
            self._histogram.observe(max(0.0, now - timestamp / 1000), len(changes))
            return
        for change in changes:  # those of one commit have one time
            if change.timestamp != timestamp:
                self._histogram.observe(max(0.0, now - timestamp / 1000), count)
                timestamp, count = change.timestamp, 0
            count += 1
        self._histogram.observe(max(0.0, now - timestamp / 1000), count)

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        """A gap has no latency."""


def samples(sources: Sources) -> dict[str, list[Sample]]:
    """Every metric's samples, by its name without the prefix."""
    hub = sources.hub
    counters, totals = hub.counters, hub.totals()
    counters.count()
    return {
        "build": [(tuple(sources.build.values()), 1)],
        "connections": [((), sources.connections())],
        "connections_opened": [((), counters.connects)],
        "connections_refused": _by(counters.refused_connects),
        "connections_closed": _closes(counters),
        "sockets_refused": [((), sources.refused_sockets())],
        "authentication_failures": _by(counters.authentication_failures),
        "secret_key_calls": _by(counters.secret_key_calls),
        "subscriptions": [((), totals.subscriptions)],
        "channels": [(("custom",), totals.custom_channels), (("table",), totals.table_channels)],
        "members": [((), totals.members)],
        "commands": _commands(counters),
        "errors": _by(counters.errors),
        "received_bytes": [((), counters.bytes_in)],
        "acks": [((), counters.acks)],
        "channel_log_bytes": [((), totals.log_bytes)],
        "channel_log_evictions": [((), totals.log_evictions)],
        "publish_ack_seconds": [(("false",), counters.publish_ack), (("true",), counters.persisted_ack)],
        "change_delivery_seconds": [((), counters.change_delivery)],
        "snapshot_seconds": [((), counters.snapshots)],
        "history_page_seconds": [((), counters.history_pages)],
        "compaction_seconds": [((), counters.compactions)],
        "compaction_bytes": [
            (("replaced",), counters.compacted_bytes),
            (("stored",), counters.compaction_bytes),
        ],
        "unreadable_documents": [((), counters.unreadable_documents)],
        "http_request_seconds": list(counters.http.items()),
        "event_loop_lag_seconds": [((), counters.loop_lag)],
        **{name: [((), value)] for name, value in totals.journal.items()},
        **_channel_samples(counters),
    }


def _channel_samples(counters: Counters) -> dict[str, list[Sample]]:
    events: list[Sample] = []
    deliveries: list[Sample] = []
    resumes: list[Sample] = []
    gaps: list[Sample] = []
    slow: list[Sample] = []
    sent: list[Sample] = [(("none", "reply"), counters.bytes_out)]
    for (rule, kind), found in counters.channels.items():
        events.append(((rule, kind), found.events))
        deliveries.append(((rule, kind), found.deliveries))
        if kind == "event":
            events.append(((rule, "presence"), found.presence_events))
            deliveries.append(((rule, "presence"), found.presence_deliveries))
        sent.append(((rule, kind), found.bytes))
        resumes += [((rule, kind, "log"), found.resumed_log), ((rule, kind, "database"), found.resumed_database)]
        resumes.append(((rule, kind, "gap"), found.not_recovered))
        gaps += [((rule, kind, "not_recovered"), found.not_recovered), ((rule, kind, "dropped"), found.dropped)]
        gaps.append(((rule, kind, "interrupted"), found.interrupted))
        slow += [((rule, kind, "resume"), found.slow_resume), ((rule, kind, "latest"), found.slow_latest)]
        slow.append(((rule, kind, "drop"), found.slow_drop))
    return {
        "events": events,
        "deliveries": deliveries,
        "sent_bytes": sent,
        "resumes": resumes,
        "gaps": gaps,
        "slow_consumers": slow,
    }


def _commands(counters: Counters) -> list[Sample]:
    others = {kind.__name__.lower(): count for kind, count in counters.commands.items()}
    return _by({"publish": counters.publishes, **others})


def _by(counts: Mapping[str, int]) -> list[Sample]:
    return [((name,), count) for name, count in counts.items()]


def _closes(counters: Counters) -> list[Sample]:
    found: dict[str, int] = {}
    for code, count in counters.closes.items():
        name = str(code) if code in _CLOSE_CODES else "other"
        found[name] = found.get(name, 0) + count
    return _by(found)


def _families(found: Mapping[str, Sequence[Sample]]) -> Iterator[Metric]:
    for name, each in METRICS.items():
        if name not in found:
            continue
        family: Any = _FAMILIES[each.kind](PREFIX + name, each.help, labels=each.labels)
        for labels, value in found[name]:
            if isinstance(value, Histogram):
                family.add_metric(labels, list(_buckets(value)), value.sum)
            elif each.kind == "info":
                family.add_metric((), dict(zip(each.labels, labels, strict=True)))
            else:
                family.add_metric(labels, value)
        yield family


def _buckets(histogram: Histogram) -> Iterator[tuple[str, float]]:
    total = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        total += count
        yield "+Inf" if bound == float("inf") else repr(bound), total
