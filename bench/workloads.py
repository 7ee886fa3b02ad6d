"""The work that all are measured on, the same for each."""

from dataclasses import dataclass, replace
from typing import Any

_IN_FLIGHT_BYTES = 65536
"""Per subscriber at most: more would measure how servers queue, not how they send."""


@dataclass(frozen=True)
class Workload:
    """`title` for the report and the fields of a Job. `shape` is its kind: capacity, latency or half. It is done
    while the cores are kept from sleeping if it is `awake`."""

    title: str
    shape: str
    fields: dict[str, Any]
    awake: bool = False


def capacity(
    title: str, channels: int, subscribers: int, window: int, payload: int = 100, measure_s: float = 5.0
) -> Workload:
    """A closed load that saturates the server's core."""
    fields = {
        "channels": channels,
        "subscribers": subscribers,
        "payload": payload,
        "window": max(2, min(window, _IN_FLIGHT_BYTES // payload)),
        "measure_s": measure_s,
    }
    return Workload(title, "capacity", fields)


FANOUT = capacity("1 → 1,000", 1, 1000, 32)
FANOUT_5000 = capacity("1 → 5,000", 1, 5000, 32)
ROOMS = capacity("100 × 10", 100, 10, 8)
SMALL_ROOMS = capacity("1,000 × 2", 1000, 2, 2)
KILOBYTE = capacity("1 → 1,000, 1 KiB", 1, 1000, 32, 1024)
LARGE = capacity("1 → 1,000, 16 KiB", 1, 1000, 32, 16384)
CAPACITY = (FANOUT, FANOUT_5000, ROOMS, SMALL_ROOMS, KILOBYTE, LARGE)

ONE_TO_ONE = Workload(
    "1 → 1, 200 messages/s", "latency", {"subscribers": 1, "rate": 200.0, "measure_s": 10.0, "warm_s": 1.0}
)
AWAKE = replace(ONE_TO_ONE, title="the same, cores awake", awake=True)

NATURAL = Workload(
    "1 → 1,000, 15 messages/s", "half", {"subscribers": 1000, "rate": 15.0, "measure_s": 10.0, "warm_s": 2.0}
)
"""About half of what the slowest contender can do: no message waits for another."""


def shortened(workload: Workload, measure_s: float) -> Workload:
    """The same work for a shorter time."""
    warm_s = min(0.5, workload.fields.get("warm_s", 1.0))
    fields = {**workload.fields, "measure_s": measure_s, "warm_s": warm_s}
    return replace(workload, fields=fields)


def deepened(workload: Workload, factor: int) -> Workload:
    """The same work with `factor` times as many messages in flight, if it is a closed load."""
    window = workload.fields.get("window", 0) * factor
    return replace(workload, fields={**workload.fields, "window": window})
