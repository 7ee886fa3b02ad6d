"""What a load generator is asked to do, and what it answers: lines of JSON on stdin and stdout."""

from typing import TypeVar

import msgspec
from msgspec import Struct


class Job(Struct, kw_only=True, forbid_unknown_fields=True):
    """A workload. With several shards each holds its share of the subscribers; shard 0 publishes.

    `window` > 0 offers a closed load: that many messages in flight per channel, which saturates the server.
    Otherwise `rate` messages per second over all channels are sent at times fixed in advance, and latency is
    counted from those times, not from when a late sender got round to it.
    """

    dialect: str
    host: str
    port: int
    server: int
    """Process id of the server; its whole tree is measured."""
    nodes: list[tuple[int, int]] = []
    """Port and process id of further nodes of the same server, measured together; connections take turns."""
    engine: int = 0
    """Process id of what the nodes share, such as Redis, measured separately; 0 where there is none."""
    channels: int = 1
    subscribers: int = 1
    """Per channel."""
    payload: int = 100
    """Bytes of one message's data."""
    window: int = 0
    rate: float = 0.0
    warm_s: float = 1.0
    measure_s: float = 5.0
    settle_s: float = 0.5
    """Between the last subscription and the reading of memory."""
    drain_s: float = 120.0
    """How long the deliveries of the last messages may take; on a busy machine they need it."""
    concurrency: int = 100
    """Connections being set up at a time."""
    leave_s: float = 0.0
    """How long the server's CPU is measured once all connections of a shard have ended at once; 0: not at all."""
    core: int | None = None
    shard: int = 0
    shards: int = 1


class Go(Struct):
    """From the harness, when every shard is ready. `start` is a reading of CLOCK_MONOTONIC, in seconds."""

    start: float


class Ready(Struct):
    """All connections of this shard are subscribed."""

    connections: int
    connect_s: float
    """From the first connect to the last subscription."""
    connect_cpu_s: float
    """CPU of the server in that time."""
    memory: int
    """Growth of the server's resident memory, bytes; see proctree.resident."""


class Sent(Struct):
    """From shard 0, when it has published its last; to the others, so that they know what they must hold."""

    published: list[int]


class Report(Struct, kw_only=True):
    """What one shard saw."""

    deliveries: int
    """Within the measured time."""
    measured_s: float
    published: int
    expected: int
    received: int
    """`expected` and `received` count the whole run, warm-up included."""
    faults: int
    details: list[str]
    server_cpu_s: float
    """User and system time of the server's process tree within the measured time."""
    engine_cpu_s: float
    own_cpu_s: float
    leave_cpu_s: float = 0.0
    """CPU of the server while and after all connections ended."""
    latency: dict[str, int]
    """Count by latency in µs, rounded to three digits (see latency.py); empty for a closed load."""


S = TypeVar("S", bound=Struct)


def write(message: Struct) -> str:
    """The line for `message`."""
    return msgspec.json.encode(message).decode() + "\n"


def read(line: str, kind: type[S]) -> S:
    """The `kind` that a line holds; an empty line means that the other side has ended."""
    if not line.strip():
        raise EOFError(f"the other side ended where {kind.__name__} was due")
    return msgspec.json.decode(line, type=kind)
