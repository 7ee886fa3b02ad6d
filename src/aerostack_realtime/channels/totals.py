"""How much a node holds of everything, for metrics."""

from collections.abc import Mapping

from msgspec import Struct


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
