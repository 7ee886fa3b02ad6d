"""A subscriber: one connection as the channels see it."""

from collections.abc import Callable
from typing import Final, Protocol

from aerostack_realtime.access.rows import Scope
from aerostack_realtime.protocol.errors import AerostackError

REPLY_SHARE: Final = 2
"""Replies may wait for a subscriber up to twice the limit of live delivery: what it is sent from the log
must not cost it the connection when it asks for something."""


class Subscriber(Protocol):
    """A connection as the channels see it.

    `write` hands bytes to its transport and returns at once, or raises RuntimeError: uvloop's does so as soon
    as the peer has reset the connection, which is before it says that it is lost. `write_shared` is None unless
    the peer negotiated compression: `write` then compresses, and `write_shared` writes what
    `protocol.deflate.compressed` has returned. `buffered` is how many bytes
    the peer has not taken yet; it never raises. `overflow` is called once when the peer is too slow: the
    connection ends, and its client resumes from its cursor. `scope` is the part of a table that it may see
    (Forbidden: nothing); `deny` ends a subscription whose rule failed.
    """

    @property
    def connection_id(self) -> str: ...

    @property
    def write(self) -> Callable[[bytes], None]: ...

    @property
    def write_shared(self) -> Callable[[bytes], None] | None: ...

    @property
    def buffered(self) -> Callable[[], int]: ...

    def overflow(self) -> None: ...

    def scope(self, table: str) -> Scope: ...

    def deny(self, topic: str, reason: AerostackError) -> None: ...


def try_write(subscriber: Subscriber, data: bytes) -> None:
    """Write to one subscriber, if it is still there."""
    try:  # noqa: SIM105 - suppress() costs more than the rest of this
        subscriber.write(data)
    except RuntimeError:
        pass
