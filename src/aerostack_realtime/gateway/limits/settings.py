"""What one client may use of the server."""

from typing import Final

from msgspec import Struct
from msgspec.structs import force_setattr

from aerostack_realtime.protocol.nesting import DEFAULT_LEVELS, MAX_LEVELS

LARGEST: Final = 1 << 50
MIN_LEVELS: Final = 8
"""A command with a filter or a state has four levels of its own."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one client, user or address may use.

    A rate may be exceeded for a moment by its burst; a message above that is answered with `rate_limited`. Rate
    limits do not apply to a secret key. A publish by HTTP counts as one call.
    """

    frame_bytes: int = 64 * 1024
    """Largest frame in bytes; a larger one is refused with `too_large`."""
    frame_bytes_hard: int = 1024 * 1024
    """A frame above this size is not read; the connection closes with 1009."""
    nesting: int = DEFAULT_LEVELS
    """Levels of arrays and objects inside each other in a frame or a body; at most 500."""
    buffer_bytes: int = 4 * 1024 * 1024
    """Bytes that may wait for one subscriber; above that it is a slow consumer."""
    fragments: int = 128
    """A message in more fragments closes the connection with 4400."""
    bad_messages: int = 20
    """After this many unreadable messages the connection is closed."""
    heartbeat_seconds: int = 25
    """Seconds of silence after which the server sends a ping."""
    handshake_seconds: float = 10.0
    """Seconds a client has to complete the WebSocket handshake."""
    auth_seconds: float = 10.0
    """Seconds a client has to authenticate after connecting without credentials."""
    token_grace_seconds: float = 30.0
    """Seconds a client has to send a new token after `token_expired`."""
    close_seconds: float = 2.0
    """Seconds a client has to answer a close frame."""
    header_bytes: int = 8 * 1024
    """Largest request line or header in bytes."""
    headers: int = 64
    """Largest number of headers of a request."""
    body_bytes: int = 1024 * 1024
    """Largest body of an HTTP call in bytes."""
    connections: int = 100_000
    """Connections in total; 0 is no limit."""
    connections_per_address: int = 1_000
    """Connections from one IP address; 0 is no limit."""
    connections_per_user: int = 100
    """Connections of one user; 0 is no limit."""
    connections_unauthenticated: int = 1_000
    """Connections that have not authenticated yet; 0 is no limit."""
    messages_per_second: float = 100.0
    """Messages per second and connection; 0 is no limit."""
    messages_burst: float = 2_000.0
    """Messages a client may send at once above the rate."""
    publish_bytes_per_second: float = 1024 * 1024
    """Published bytes per second and connection; 0 is no limit."""
    publish_bytes_burst: float = 4 * 1024 * 1024
    """Bytes a client may publish at once above the rate."""
    connects_per_second: float = 50.0
    """New connections per second and IP address; 0 is no limit."""
    connects_burst: float = 1_000.0
    """Connections an address may open at once above the rate."""
    calls_per_second: float = 50.0
    """HTTP calls per second of a user, or of an address without one; 0 is no limit."""
    calls_burst: float = 500.0
    """HTTP calls that may come at once above the rate."""
    control_frames_per_second: float = 20.0
    """Ping and pong frames per second and connection; 0 is no limit."""
    control_frames_burst: float = 200.0
    """Control frames a client may send at once above the rate."""
    refused_messages: int = 1_000
    """Refusals, at more than twice the rate, after which a client is closed with 4429."""
    subscriptions: int = 1_000
    """Subscriptions of one connection."""
    state_bytes: int = 16 * 1024
    """Largest presence state in bytes."""
    presence_members: int = 1_000
    """Members of one channel."""
    filter_bytes: int = 4 * 1024
    """Largest filter of a subscription in bytes."""
    snapshot_seconds: float = 600.0
    """Seconds a client has to read a snapshot, which keeps a transaction open; 0 is no limit."""
    stream_bytes: int = 1024 * 1024
    """Largest content of a stream in bytes of JSON."""
    streams_per_connection: int = 100
    """Open streams of one connection."""
    stream_seconds: int = 60
    """Seconds after which the stream of a writer that is gone ends as failed."""
    history_page: int = 1_000
    """Largest number of messages in one answer of the history."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} is a number from 0 to {LARGEST:_}")
        if not MIN_LEVELS <= self.nesting <= MAX_LEVELS:
            raise ValueError(f"nesting is a number from {MIN_LEVELS} to {MAX_LEVELS}")


UNLIMITED: Final = Limits(
    connections_per_address=0,
    connections_per_user=0,
    messages_per_second=0,
    publish_bytes_per_second=0,
    calls_per_second=0,
    connects_per_second=0,
    control_frames_per_second=0,
)
"""For development and benchmarks on one machine: one address, one user, as fast as it can."""

FIXED: Final = frozenset(
    {
        "body_bytes",
        "buffer_bytes",
        "nesting",
        "presence_members",
        "stream_bytes",
        "stream_seconds",
        "streams_per_connection",
    }
)
"""Limits that need a restart: parts of the server are built with them."""


def adopt_limits(limits: Limits, other: Limits) -> None:
    """Let the limits that the parts of a running server share be those of `other`, except FIXED."""
    for name in Limits.__struct_fields__:
        if name not in FIXED:
            force_setattr(limits, name, getattr(other, name))
