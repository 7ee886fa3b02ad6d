"""What the SDK hands to its user: events, acknowledgements, members, stored messages and rows."""

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from aerostack_realtime.protocol.messages import Operation


class Payload(Struct, frozen=True, kw_only=True):
    """One event of a channel.

    `type` is `event`, `db_change`, `snapshot` (inside a live table only), or `gap`: events may be missing
    before this point, because the server no longer has what was missed; reload what you show. A gap's `data`
    is `{"since": cursor}`, the last cursor before it, and of a channel with `slow="drop"` that dropped events
    `{"since": cursor, "dropped": n}`, how many.

    `topic` is as you wrote it. `operation` is set for row changes, `event` for everything else. `data` is
    the published value, the new row (for DELETE the deleted one) or a member's state; `old` the previous row
    of an UPDATE or DELETE. `timestamp` is in milliseconds since the Unix epoch. `cursor`, opaque, is where
    the event stands in its channel: `channel(topic, since=cursor)` continues after it. It is None for what
    has no place of its own, such as the members already present at a subscription. `commit` names the
    transaction that a row change is part of, in all tables alike, and `commit_end` is set on its last change: on
    PostgreSQL, where that is known.
    """

    type: Literal["event", "db_change", "snapshot", "gap"]
    topic: str
    data: Any = None
    event: str | None = None
    operation: Operation | None = None
    old: Any = None
    user_id: str | None = None
    timestamp: int | None = None
    id: str | None = None
    cursor: str | None = None
    commit: str | None = None
    commit_end: bool = False

    @property
    def name(self) -> str:
        """The name listeners register for: the operation, or the event."""
        return self.operation or self.event or ""


class Part(Struct, frozen=True):
    """Some rows of a snapshot; the `first` ones begin it, with the `last` ones it is whole. `numbers`: the columns
    whose strings stand for numbers."""

    rows: list[dict[str, Any]]
    first: bool
    last: bool
    numbers: list[str]


class RowChange(Struct, frozen=True):
    """What changed in a live table: `row` is the new row, for DELETE the one that is gone."""

    operation: Operation
    key: Any
    row: dict[str, Any]


class Ack(Struct, frozen=True):
    """The server's word that it accepted a publish; of a persisted one, that it is stored durably.

    `cursor` and `timestamp` (ms since the Unix epoch) are its place and time in the channel. `duplicate`: an
    earlier attempt had arrived already, and nothing was delivered twice.
    """

    id: str
    cursor: str | None = None
    timestamp: int | None = None
    duplicate: bool = False


class PresentMember(Struct, frozen=True):
    """A user who is present in a channel since `since` (ms since the Unix epoch), with its tracked state."""

    user_id: str
    state: Any
    since: int


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
    returned, else how many were changed. `cursor`: a subscriber that has handled this cursor has seen what
    the statement did; None from a server that does not tell.
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
