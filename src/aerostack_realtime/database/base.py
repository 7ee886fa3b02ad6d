"""Two contracts of a database: `Database` (SQL) and `ChangeFeed` (row changes). `MessageStore` (history) is in
message_store.py.

Every backend fulfils them: tests/contract/ runs one suite against each.

Threads: every method is called on the event loop's thread, and every callback is called there. No callback
may raise or wait. Methods without `async` return at once.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol

from msgspec import Struct

from aerostack_realtime.backplane.base import Generations
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol.errors import AerostackError, Unavailable
from aerostack_realtime.protocol.messages import Operation

Value = None | bool | int | float | str | list[Any] | dict[str, Any]
"""A column's value as on the wire (docs/protocol.md §4, "Row changes")."""
Row = dict[str, Value]
ColumnType = Literal["decimal", "integer", "float", "instant", "uuid"]
"""What strings represent on the wire where they are not text: exact decimals, integers beyond ±(2^53−1), infinite
floats, times with an offset, UUIDs."""
NUMBERS: Final[tuple[ColumnType, ...]] = ("decimal", "integer", "float")


LARGE_BYTES: Final = 1 << 20


class DatabaseUnusable(Unavailable):
    """The database cannot be opened; the message names it and says what to do."""


class Change(Struct, frozen=True, gc=False):
    """One row change of one table.

    `data` is the new row (for DELETE the deleted one), `old` the previous row (None for INSERT, for DELETE
    equal to `data`). `timestamp` is the time of the change in ms since the Unix epoch, by the writer's clock.
    `cursor` is its position in its table's log, opaque to all but the feed that made it. `commit` identifies its
    transaction, alike in all tables, and `commit_end` marks the transaction's last change in watched tables; None
    where the database does not report it (SQLite: a trigger cannot know). `large`: its values take more than
    LARGE_BYTES, so checking their size before encoding pays off.
    """

    table: str
    operation: Operation
    data: Row
    old: Row | None
    timestamp: int
    cursor: str
    commit: str | None = None
    commit_end: bool = False
    large: bool = False


class Replay(Struct, frozen=True):
    """A part of a table's log.

    `changes` are in log order and end at `cursor`. `recovered` is False when changes between the given
    cursor and these are missing (too old, another epoch, a rebuilt table). `more`: call again from `cursor`;
    without it, the next change passed to `ChangeListener.changed` is exactly the one that follows. `recent` is
    False where it is expensive to read what does not continue the part before.
    """

    changes: Sequence[Change]
    cursor: str
    recovered: bool
    more: bool
    recent: bool = True


class ChangeListener(Protocol):
    """Receives changes, in log order, on the loop's thread."""

    def changed(self, changes: Sequence[Change]) -> None:
        """Committed changes of watched tables, in the order of the log, each once."""

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        """The table's change log was interrupted: changes may be missing before `cursor`.

        The table was rebuilt, restored, replaced, or dropped (`present` False: it does not exist now; another
        call with True follows when it exists and is watched again). Subscribers resynchronize.
        """


class ChangeFeed(Protocol):
    """Row changes of watched tables by any writer, also while no server runs.

    Order: per table the order of commits, and within a commit the order of writes. Nothing that is rolled
    back appears. A change survives a crash of this process as soon as its writer's commit does.
    """

    async def watch(self, table: str) -> None:
        """Record every change of `table` from now on, across restarts, until `unwatch`. Idempotent.

        Raises NotFound when the table does not exist, Unavailable when the database stays locked or cannot be
        written.
        """

    async def unwatch(self, table: str) -> None:
        """Remove every trace of the watch from the database. Raises NotFound when `table` is not watched."""

    def watches(self, table: str) -> bool:
        """Whether `table` is watched and exists, as this process knows it now."""

    def columns(self, table: str) -> Sequence[str]:
        """The column names of a watched table, in its order."""

    def column_types(self, table: str) -> Mapping[str, ColumnType]:
        """The columns of a watched table whose strings are not text; empty where a column may hold any type."""

    def cursor(self, table: str) -> str:
        """The end of a watched table's log: the position after the last change passed to the listener."""

    def replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int | None = None,
    ) -> None:
        """Read a watched table's log after the cursor `since`, at most `most` changes, and call `then` with it, or
        `failed`.

        The seam: when `then` gets a part without `more`, it runs between two calls of the listener such that the
        next change of the table passed to `changed` is the first one after the part.
        """

    def wake(self) -> None:
        """Check for changes at once: something was just committed."""

    def is_behind(self) -> bool:
        """Whether another thread is reading changes that will be passed to the listener, and needs the
        interpreter for it."""


class QueryResult(Struct, frozen=True):
    """`rows` of a statement that returns some; `count`: rows returned, else rows changed.

    `cursor` is the position of the change log at the statement's commit: a subscriber whose cursor has reached it
    has seen the statement's effects.
    """

    rows: list[Row]
    count: int
    cursor: str


class TableStatus(Struct, frozen=True):
    """A user's table: whether it is watched and, if so, how many changes the database keeps for replay; None where
    the database keeps one log for all tables."""

    name: str
    watched: bool
    changes: int | None


class DatabaseStatus(Struct, frozen=True):
    """The state of a database. `problem` is a sentence on why row changes are not received now; None if they are.
    `figures` are values of metrics, by their names."""

    problem: str | None
    figures: dict[str, float]


UNIDENTIFIED_ROWS: Final = (
    "A limit needs rows that can be identified: give the table a primary key, or columns that are unique and NOT "
    "NULL, or request all of its rows."
)


class Selection(Struct, frozen=True):
    """Which rows of a table a snapshot holds.

    A row belongs to it when `shows` returns true; `equal` holds column values that every such row has (as on the
    wire), for the database's indexes. `order` is a column and whether it descends; without it the order is the
    table's own. `limit`: its most rows. Rows that are equal in `order`, and with a limit alone all rows,
    come in the order of the primary key, or else of the first columns that are unique and NOT NULL: clients rely
    on it to know which rows are beyond the limit.
    """

    shows: Callable[[Row], bool]
    equal: Mapping[str, Value] = {}
    order: tuple[str, bool] | None = None
    limit: int | None = None


class TableSnapshot(Protocol):
    """A table as it was at one moment: iterate over it for its rows, in chunks, some of them empty where many rows
    had to be examined. Cancelling a wait for a chunk ends the reading at once.

    `cursor` is that moment in the table's log: the changes after it are exactly what the rows lack. Slow reading
    blocks no one, writers included.
    """

    @property
    def cursor(self) -> str: ...

    def __aiter__(self) -> AsyncIterator[list[Row]]: ...


class Cluster(Protocol):
    """What a database does for the nodes that share it, for the one that opened it."""

    @property
    def generations(self) -> Generations: ...

    def set_keeper(self, keeper: bool) -> None:
        """Whether this node keeps the window of row changes for all of them. Exactly one node should; while
        none or two do, nothing is lost, and the database holds more log. At the start a node does not."""

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Which of these topics and positions hold a stored message, each with its `created_at`: what a node that
        died had stored. Revoke its licence first. Raises Unavailable."""

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        """Which of these topics have stored messages after one position and up to another, ends of streams
        included. Raises Unavailable."""


class Database(Protocol):
    """A user's database with the two logs kept in it."""

    @property
    def cluster(self) -> Cluster | None:
        """None where the database was opened for a single node."""

    @property
    def epoch(self) -> str:
        """The random id of the current position sequence of custom channels. A restored or new database has
        another one; with some databases, each start of the server has."""

    def understands(self, epoch: str, position: int) -> bool:
        """Whether a position of a custom channel, given out in an epoch, belongs to this database's past."""

    @property
    def changes(self) -> ChangeFeed: ...

    @property
    def messages(self) -> MessageStore: ...

    async def query(self, sql: str, params: Sequence[Value] = ()) -> QueryResult:
        """Run one statement with `?` placeholders, in a transaction of its own.

        Raises BadMessage with the database's own message for an SQL error or a broken constraint,
        Unavailable when the database stays locked, is full or is unreachable.
        """

    async def batch(self, queries: Sequence[tuple[str, Sequence[Value]]]) -> list[QueryResult]:
        """Run statements in one transaction: all, or on the first error none. Raises as `query`."""

    def snapshot(self, table: str, selection: Selection) -> AbstractAsyncContextManager[TableSnapshot]:
        """Open a watched table's rows at one moment.

        Raises InvalidFilter for a limit on a table whose rows cannot be identified, NotFound, Overloaded and
        Unavailable.
        """

    async def keep(self, kind: str, key: str, value: str) -> None:
        """Store one of our values durably, in place of one of the same kind and key, and announce it in the same
        transaction as `kept.<kind>`, with the JSON array [key, value]."""

    async def announce(self, kind: str, payload: bytes) -> None:
        """Tell every node of the cluster something that is not kept. `kind` is a word of a-z and full stops.

        Raises Unavailable.
        """

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        """Call `heard(kind, payload)` from now on for every announcement, this node's own included, in the order
        of commits, each once. One that was made while this node was cut off follows when it catches up. One from
        before its start may come, too, and a promotion of a standby may repeat the last one."""

    async def kept(self, kind: str) -> dict[str, str]:
        """The values of a kind by their keys."""

    async def tables(self) -> list[TableStatus]:
        """The user's tables by name, without ours."""

    async def status(self) -> DatabaseStatus:
        """The present state. Raises Unavailable when the database does not answer."""

    async def is_recording(self) -> bool:
        """Whether the changes of watched tables are recorded now, so that a server that starts later has them."""

    async def clean_up(self) -> str:
        """End every watch and remove what watching needs from the database; the messages stay. For a command,
        while no server follows the database. Returns a sentence that says what remains."""

    async def failed(self) -> BaseException:
        """Wait until a part of the database has died; none ends without an error."""

    async def close(self) -> None:
        """Store what was accepted, then close files and connections. Idempotent."""
