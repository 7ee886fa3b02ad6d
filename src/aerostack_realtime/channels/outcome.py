"""What the journal did with a command of this node."""

from collections.abc import Callable

from msgspec import Struct

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
