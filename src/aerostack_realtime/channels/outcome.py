"""What the journal did with a command of this node."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from aerostack_realtime.database.message_store import Stored
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import StreamState


class Outcome(Struct, frozen=True, gc=False):
    """Where and when (ms) a command took effect, and whether it was a repeat of one accepted before.

    `n` and `state` are those of its stream."""

    cursor: str
    timestamp: int
    duplicate: bool = False
    n: int | None = None
    state: StreamState | None = None


Done = Callable[[Outcome | AerostackError], None]
Committed = Callable[[Stored | AerostackError], None]


class PublishTracing(Protocol):
    """Records spans of persisted publishes; a server without tracing has none."""

    def publish(self, topic: str, id: str | None, traceparent: str | None, done: Done) -> tuple[str, Done]:
        """A publish begins as part of the trace of `traceparent`. Returns the traceparent of its event, and what
        to call instead of `done`."""

    def commit(self, topic: str, traceparent: str | None, stored: Committed) -> Committed:
        """A message begins to wait for its commit. Returns what to call instead of `stored`."""
