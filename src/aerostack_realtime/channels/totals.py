"""How much a node holds of everything, for metrics."""

from collections.abc import Mapping

from msgspec import Struct

from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.custom.members import Members
from aerostack_realtime.channels.registry import Registry


class Totals(Struct, frozen=True):
    """What a node holds: subscriptions, channels with subscribers, members of all channels of the cluster, and the
    logs of custom channels. `journal` are the figures of `Journal.figures`."""

    subscriptions: int
    custom_channels: int
    table_channels: int
    members: int
    log_bytes: int
    log_evictions: int
    journal: Mapping[str, float]


def totals(
    subscriptions: int, registry: Registry, members: Members, logs: Logs, journal: Mapping[str, float]
) -> Totals:
    """How much there is of everything now."""
    return Totals(
        subscriptions=subscriptions,
        custom_channels=len(registry.heard),
        table_channels=registry.tables,
        members=sum(members.count(topic) for topic in members.topics()),
        log_bytes=logs.spent,
        log_evictions=logs.evicted,
        journal=journal,
    )
