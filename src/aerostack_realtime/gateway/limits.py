"""What one client may use of the server."""

from msgspec import Struct


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """Sizes in bytes, times in seconds.

    A frame beyond `frame_bytes` is refused with `too_large`; one beyond `frame_bytes_hard` is not even read
    and ends the connection with 1009. `buffer_bytes` may wait for a subscriber before it is too slow.
    """

    frame_bytes: int = 64 * 1024
    frame_bytes_hard: int = 1024 * 1024
    buffer_bytes: int = 4 * 1024 * 1024
    bad_messages: int = 20
    heartbeat_seconds: int = 25
    handshake_seconds: float = 10.0
    auth_seconds: float = 10.0
    token_grace_seconds: float = 30.0
    close_seconds: float = 2.0
    body_bytes: int = 1024 * 1024
