"""The values that the SDK returns: events, acknowledgements, members, stored messages and rows."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from aerostack_realtime.protocol.messages import Operation, StreamState
from aerostack_realtime.sdk.read_stream import ReadStream


class Payload(Struct, frozen=True, kw_only=True):
    """One event of a channel.

    `type` is `event`, `db_change`, `chat_message` (the legacy chat command), or `snapshot` (inside a live table
    only). An event named `gap` means that events may be missing before this point; reload what you show. Its
    `data` is `{"reason": …, "since": …}`: `since` is the last cursor before the gap, and `reason` is
    `not_recovered` (the server no longer has the missed events), `interrupted` (the log was interrupted) or
    `dropped` (with `slow="drop"`; then `"dropped": n` is the number of dropped events).

    `topic` is as you wrote it. `operation` is set for row changes, `event` for everything else. `data` is the
    published value, the new row (for DELETE the deleted one) or a member's state; `old` the previous row of an
    UPDATE or DELETE. `timestamp` is in milliseconds since the Unix epoch. `cursor`, opaque, is where the event
    stands in its channel: `channel(topic, since=cursor)` continues after it. It is None for payloads that have no
    place in the log, such as the members already present at a subscription. `commit` names the transaction that a
    row change is part of, in all tables alike, and `commit_end` is set on its last change: on PostgreSQL, where
    that is known.

    `connection_id` is set in presence events about a member that is a connection (`track` with
    `per="connection"`).

    `traceparent` (W3C Trace Context) is that of the publish, if it had one, or of the server's span for it.

    Of a stream, on a channel with `streams=True`, `data` is what there is so far, `delta` what this event adds to
    it, and `state` is `open`, `complete`, `cancelled` or `failed`. `stream` is the same object in all of its
    events: iterate over it for the pieces.
    """

    type: Literal["event", "db_change", "chat_message", "snapshot"]
    topic: str
    data: Any = None
    event: str | None = None
    operation: Operation | None = None
    old: Any = None
    user_id: str | None = None
    connection_id: str | None = None
    timestamp: int | None = None
    id: str | None = None
    cursor: str | None = None
    commit: str | None = None
    commit_end: bool = False
    delta: Any = None
    state: StreamState | None = None
    stream: ReadStream | None = None
    traceparent: str | None = None

    @property
    def name(self) -> str:
        """The name listeners register for: the operation, or the event."""
        return self.operation or self.event or ""


class Part(Struct, frozen=True):
    """Some rows of a snapshot: `first` marks its first part and `last` its last. `numbers` are the columns whose
    strings represent numbers."""

    rows: list[dict[str, Any]]
    first: bool
    last: bool
    numbers: list[str]


class RowChange(Struct, frozen=True):
    """A change in a live table: `row` is the new row, for DELETE the deleted one."""

    operation: Operation
    key: Any
    row: dict[str, Any]


class Ack(Struct, frozen=True):
    """Confirms that the server accepted a publish; for a persisted one, that it is stored durably.

    `cursor` and `timestamp` (ms since the Unix epoch) are its place and time in the channel. `duplicate`
    means that an earlier attempt had arrived already; the message was delivered once.
    """

    id: str
    cursor: str | None = None
    timestamp: int | None = None
    duplicate: bool = False


class PresentMember(Struct, frozen=True):
    """A user who has been present in a channel since `since` (ms since the Unix epoch), with the tracked state.

    `connection_id` is set for a member that is a connection."""

    user_id: str
    state: Any
    since: int
    connection_id: str | None = None


class HistoryMessage(Struct, frozen=True):
    """A stored message. `room_id` is the canonical topic; `created_at` is in ms since the Unix epoch and
    strictly increases within a topic."""

    id: str
    room_id: str
    user_id: str
    event: str
    data: Any
    created_at: int


class QueryResult(Struct, frozen=True):
    """The outcome of a statement: iterate over it for its rows.

    `rows` (also named `results`, as on the wire) of a statement that returns some; `count` is how many were
    returned, else how many were changed. `cursor`: a subscriber that has handled this cursor has received the
    statement's changes; None where the server does not report it.
    """

    rows: list[dict[str, Any]]
    count: int
    cursor: str | None = None

    @property
    def results(self) -> list[dict[str, Any]]:
        return self.rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]
