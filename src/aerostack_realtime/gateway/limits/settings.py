"""What one client may use of the server."""

from typing import Final

from msgspec import Struct

LARGEST: Final = 1 << 50


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in bytes, times in seconds, rates per second; 0 connections or a rate of 0 is no limit.

    A frame beyond `frame_bytes` is refused with `too_large`; one beyond `frame_bytes_hard` is not even read
    and ends the connection with 1009. `buffer_bytes` may wait for a subscriber before it is too slow.

    A rate may be exceeded for a moment by its burst; what goes beyond is answered by `rate_limited`, and a client
    that goes on regardless, so that `refused_messages` (of bytes: twice their burst) come at more than twice the
    rate, is closed with 4429.
    Rates are for clients: a secret key has none. `calls` are HTTP calls, of a user or, without one, of an
    address; an event that is published by one counts as one. `connects` are sockets opened by an address.

    A request has at most `headers`, each of which, as its first line, has at most `header_bytes`. A message of
    more than `fragments` ends the connection with 4400.

    A snapshot has to be read and taken within `snapshot_seconds` (0: no limit): so long it holds a transaction
    open, and what changes meanwhile has to follow from the log, whose window is longer by default.
    """

    frame_bytes: int = 64 * 1024
    frame_bytes_hard: int = 1024 * 1024
    buffer_bytes: int = 4 * 1024 * 1024
    fragments: int = 128
    bad_messages: int = 20
    heartbeat_seconds: int = 25
    handshake_seconds: float = 10.0
    auth_seconds: float = 10.0
    token_grace_seconds: float = 30.0
    close_seconds: float = 2.0
    header_bytes: int = 8 * 1024
    headers: int = 64
    body_bytes: int = 1024 * 1024
    connections: int = 100_000
    connections_per_address: int = 1_000
    connections_per_user: int = 100
    connections_unauthenticated: int = 1_000
    messages_per_second: float = 100.0
    messages_burst: float = 2_000.0
    publish_bytes_per_second: float = 1024 * 1024
    publish_bytes_burst: float = 4 * 1024 * 1024
    connects_per_second: float = 50.0
    connects_burst: float = 1_000.0
    calls_per_second: float = 50.0
    calls_burst: float = 500.0
    control_frames_per_second: float = 20.0
    control_frames_burst: float = 200.0
    refused_messages: int = 1_000
    subscriptions: int = 1_000
    state_bytes: int = 16 * 1024
    presence_members: int = 1_000
    filter_bytes: int = 4 * 1024
    snapshot_seconds: float = 600.0
    history_page: int = 1_000

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0 <= getattr(self, name) <= LARGEST:
                raise ValueError(f"{name} is a number from 0 to {LARGEST:_}")


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
