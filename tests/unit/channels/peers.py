"""What a channel test needs: a subscriber that keeps what it is sent, and a tick that ends on request."""

from collections.abc import Callable
from typing import Any

import msgspec

from aerostack_realtime.access.rows import EVERYTHING, Scope
from aerostack_realtime.protocol.errors import AerostackError


def unframed(data: bytes) -> list[dict[str, Any]]:
    """The JSON messages in a run of unmasked text frames."""
    found = []
    while data:
        assert data[0] == 0x81, "a text frame"
        size, start = data[1], 2
        if size == 126:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, start = int.from_bytes(data[2:10], "big"), 10
        found.append(msgspec.json.decode(data[start : start + size]))
        data = data[start + size :]
    return found


class Peer:
    """A subscriber whose transport takes everything at once, until `stalled`. With `compression` it negotiated
    that, and what was written compressed is in `shared`."""

    def __init__(self, connection_id: str, *, compression: bool = False) -> None:
        self.connection_id = connection_id
        self.shared: list[bytes] = []
        self._compression = compression
        self.written: list[bytes] = []
        self.stalled = 0
        self.overflowed = 0
        self.denied: list[str] = []

    @property
    def write(self) -> Callable[[bytes], None]:
        return self.written.append

    @property
    def write_shared(self) -> Callable[[bytes], None] | None:
        return self.shared.append if self._compression else None

    @property
    def buffered(self) -> Callable[[], int]:
        return lambda: self.stalled

    def overflow(self) -> None:
        self.overflowed += 1

    def scope(self, table: str) -> Scope:
        return EVERYTHING

    def deny(self, topic: str, reason: AerostackError) -> None:
        self.denied.append(topic)

    def take(self) -> list[dict[str, Any]]:
        """The messages since the last time."""
        data = b"".join(self.written)
        self.written.clear()
        return unframed(data)


class Tick:
    """The end of a loop tick, by hand."""

    def __init__(self) -> None:
        self.deferred: list[Callable[[], object]] = []

    def defer(self, callback: Callable[[], object]) -> None:
        self.deferred.append(callback)

    def end(self) -> None:
        while self.deferred:
            self.deferred.pop(0)()
