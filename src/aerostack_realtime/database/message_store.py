"""The contract of the history: `MessageStore`. Threads are as in base.py."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw, Struct

from aerostack_realtime.protocol.errors import AerostackError, Conflict, Unavailable
from aerostack_realtime.protocol.messages import StreamState


class StreamProgress(Struct, frozen=True, gc=False):
    """How far a stored stream is: its data are `n` pieces. `ended` is the position of its end, 0 while open."""

    n: int
    state: StreamState
    ended: int = 0


class NewMessage(Struct, frozen=True, gc=False):
    """A message to store: `id` is unique per topic and user, `position` its position in the channel's order.

    `created_at`, in ms since the Unix epoch, is stored as it is if it is above that of every stored message of the
    topic; else, and for 0, the store chooses the time: not below the position's millisecond.

    With `compacts` the message replaces those of the same topic and event up to this position, which is below
    its own: they are deleted in the same transaction, but for those at the positions `keeps`. When the store
    holds such a message from after `compacts`, nothing is stored, and the outcome is `compacted_later()`.
    """

    topic: str
    id: str
    user_id: str
    event: str
    data: Raw
    position: int
    created_at: int = 0
    stream: StreamProgress | None = None
    compacts: int = 0
    keeps: tuple[int, ...] = ()


class StoredMessage(Struct, frozen=True, gc=False):
    """A stored message. `created_at` is in ms since the Unix epoch, strictly increasing within its topic.

    `stream` is set for a stream; `position` is that of its opening.
    """

    topic: str
    id: str
    user_id: str
    event: str
    data: Raw
    position: int
    created_at: int
    stream: StreamProgress | None = None


class OutcomeUnknown(Unavailable):
    """A commit has no answer: the message may be stored or not, now or in a moment."""


def compacted_later() -> Conflict:
    """The error for a compaction that lies behind another one."""
    return Conflict("The channel was compacted after this cursor. Read its present state, then compact that.")


class Stored(Struct, frozen=True, gc=False):
    """The outcome of an append: `created_at` of the message; `duplicate` when it was there before."""

    message: StoredMessage
    duplicate: bool


class Retention(Struct, frozen=True):
    """How long the messages of the topics that match `pattern` are kept; None: no bound.

    `pattern` is a topic without its project, where `*` matches any characters (`chat/*`); the first matching rule
    applies.
    """

    pattern: str
    max_age_seconds: float | None = None
    max_count: int | None = None


class LicenceLost(Unavailable):
    """The licence of this node to store messages has ended: it stores nothing until it has a new one."""

    def __init__(self) -> None:
        super().__init__("This node is leaving or rejoining the cluster. Try again in a moment.")


class MessageStore(Protocol):
    """Persisted messages by group commit.

    `append` returns at once; all messages that wait when the database is free are written in one durable
    transaction. Outcomes come in the order of the appends, after the commit. A failed commit fails its messages
    only; a full disk is Unavailable.
    """

    def append(self, message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
        """Store a message and call `done` with the outcome.

        A message with the topic, user and id of a stored one is not stored; the outcome is the stored message with
        `duplicate`. Raises Overloaded when too many messages are waiting.
        """

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        """Store how far a stream is, and call `done` after the commit.

        An update with fewer pieces than are stored changes nothing, unless it is the end: a journal that fails
        over may lose pieces. After the end nothing changes. A stream that is missing is inserted. Updates follow
        the appends before them. Raises Overloaded when too many writes are waiting.
        """

    async def open_streams(self) -> list[StoredMessage]:
        """The stored streams that have not ended."""

    async def history(self, topic: str, limit: int, before: int | None = None) -> list[StoredMessage]:
        """The newest `limit` messages of a topic (created before `before`, in ms), newest first."""

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        """The oldest `limit` messages of a topic after one position and up to another, oldest first.

        A stream stands at the position of its end, which is given as its `position`. Open streams are left out.
        """

    async def compacted(self, topic: str) -> int:
        """The position of the newest message of a topic that replaced others; 0 when there is none."""

    async def prune(self, now: int) -> int:
        """Delete what the retention no longer keeps, in small steps; `now` in ms. Returns how many messages.

        Open streams stay, and so do messages that compacted others: they hold the state of what they replaced."""

    async def high_water(self) -> int:
        """The mark that is above all positions ever handed out; 0 in a new database."""

    async def raise_high_water(self, position: int) -> None:
        """Make the mark at least `position`, durably."""
