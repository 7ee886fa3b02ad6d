"""What one stream and one writer of streams may use."""

from typing import Final

from msgspec import Struct


class StreamLimits(Struct, frozen=True):
    """The bytes of one stream's content in JSON, the open streams of one connection, and the seconds after which
    the stream of a writer that is gone ends."""

    bytes: int = 1024 * 1024
    per_connection: int = 100
    seconds: int = 60


DEFAULT_LIMITS: Final = StreamLimits()
