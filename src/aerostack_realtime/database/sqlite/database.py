"""A user's SQLite database: queries on one thread, messages on another, the feed of changes on a third."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self, TypeVar

import apsw
import msgspec
from msgspec import Struct

from aerostack_realtime.database.base import (
    ChangeFeed,
    ChangeListener,
    Cluster,
    DatabaseStatus,
    DatabaseUnusable,
    QueryResult,
    Selection,
    TableSnapshot,
    TableStatus,
    Value,
)
from aerostack_realtime.database.message_store import MessageStore, Retention
from aerostack_realtime.database.sqlite import changelog, message_table, statements
from aerostack_realtime.database.sqlite.changes import SqliteChangeFeed
from aerostack_realtime.database.sqlite.connection import (
    first_connection,
    transaction,
    translate,
    unusable,
)
from aerostack_realtime.database.sqlite.files import DatabaseFile, read_mark
from aerostack_realtime.database.sqlite.messages import SqliteMessageStore
from aerostack_realtime.database.sqlite.reader import Limits
from aerostack_realtime.database.sqlite.schema import PREFIX
from aerostack_realtime.database.sqlite.snapshots import Snapshots
from aerostack_realtime.database.sqlite.worker import Inbox, Worker
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, ServerClosing

WAITING_QUERIES = 1_000
"""Queries that may wait for the thread; beyond that, each would wait longer than its client does."""

STEPS_BETWEEN_LOOKS = 200_000
"""Virtual machine steps (a few ms) after which a running statement checks whether the database is closing."""

KEPT = f"{PREFIX}kept"

_KEPT_LAYOUT = f"""CREATE TABLE IF NOT EXISTS {KEPT}(
  kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(kind, key)) WITHOUT ROWID"""

Result = TypeVar("Result")


class _Job(Struct, frozen=True):
    run: Callable[[apsw.Connection], None]
    failed: Callable[[AerostackError], None]


def _clock() -> int:
    return time.time_ns() // 1_000_000


class SqliteDatabase:
    """Implements `Database` on one SQLite file."""

    def __init__(
        self,
        path: Path,
        listener: ChangeListener,
        retention: Sequence[Retention],
        limits: Limits,
        now: Callable[[], int],
    ) -> None:
        """Start the threads on a file that `open` has prepared."""
        busy_ms = int(limits.busy_seconds * 1000)
        self._path = path
        self._waiting = 0
        self._closed = False
        self._heard: list[Callable[[str, bytes], None]] = []
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._inbox: Inbox[_Job] = Inbox()
        file = DatabaseFile(path, _lay_out)
        self._thread = file.thread(busy_ms, self._inbox.rouse)
        self._feed = SqliteChangeFeed(file, listener, limits, now, self._died)
        self._snapshots = Snapshots(file, busy_ms)
        self._messages = SqliteMessageStore(file, retention, busy_ms, now, self._died)
        self._worker = Worker("aerostack-queries", self._run, self._died)

    @classmethod
    async def open(
        cls,
        path: str | Path,
        listener: ChangeListener,
        *,
        retention: Sequence[Retention] = (),
        log_max_age_seconds: float = 24 * 3600,
        log_max_changes: int = 1_000_000,
        busy_seconds: float = 5.0,
        prune_seconds: float = 30.0,
        now: Callable[[], int] = _clock,
    ) -> Self:
        """Open the database file; create it (in WAL mode) if it does not exist.

        `retention`: what `messages.prune` deletes. `log_max_age_seconds`, `log_max_changes`: how long row changes
        can be replayed. `busy_seconds`: how long to wait for a locked database. `prune_seconds`: the interval
        between two prunings of the change log. `now`: ms since the Unix epoch.

        Raises DatabaseUnusable with one sentence that names the path and what to do.
        """
        path = Path(path)
        await asyncio.to_thread(_prepare, path, int(busy_seconds * 1000))
        limits = Limits(log_max_age_seconds, log_max_changes, busy_seconds, prune_seconds)
        database = cls(path, listener, retention, limits, now)
        await database._started()
        return database

    @property
    def epoch(self) -> str:
        return self._feed.epoch

    def understands(self, epoch: str, position: int) -> bool:  # noqa: ARG002 - an epoch is understood as a whole
        return epoch == self.epoch

    @property
    def changes(self) -> ChangeFeed:
        return self._feed

    @property
    def messages(self) -> MessageStore:
        return self._messages

    async def query(self, sql: str, params: Sequence[Value] = ()) -> QueryResult:
        return await self._ask(lambda connection: statements.run(connection, sql, params))

    async def batch(self, queries: Sequence[tuple[str, Sequence[Value]]]) -> list[QueryResult]:
        return await self._ask(lambda connection: statements.run_all(connection, queries))

    def snapshot(self, table: str, selection: Selection) -> AbstractAsyncContextManager[TableSnapshot]:
        return self._snapshots.open(table, selection)

    @property
    def cluster(self) -> Cluster | None:
        return None

    async def keep(self, kind: str, key: str, value: str) -> None:
        await self._ask(lambda connection: _keep(connection, kind, key, value))
        await self.announce(f"kept.{kind}", msgspec.json.encode([key, value]))

    async def announce(self, kind: str, payload: bytes) -> None:
        for heard in self._heard:
            heard(kind, payload)

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        self._heard.append(heard)

    async def kept(self, kind: str) -> dict[str, str]:
        return await self._ask(lambda connection: _kept(connection, kind))

    async def tables(self) -> list[TableStatus]:
        return await self._ask(_tables)

    async def status(self) -> DatabaseStatus:
        kept, newest = await self._ask(changelog.extent)
        lag = max(0, newest - self._feed.position)
        return DatabaseStatus(None, {"change_log_changes": float(kept), "change_feed_lag_changes": float(lag)})

    async def is_recording(self) -> bool:
        return True

    async def clean_up(self) -> str:
        for table in await self.tables():
            if table.watched:
                await self._feed.unwatch(table.name)
        return "Stored messages are left."

    async def failed(self) -> BaseException:
        """Wait until a thread has died unexpectedly; the server then ends the process."""
        return await asyncio.shield(self._failure)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._inbox.close()
        self._snapshots.close()
        await self._worker.ended()
        await self._messages.close()
        await self._feed.close()

    async def _started(self) -> None:
        started = asyncio.create_task(self._feed.started())
        await asyncio.wait((started, self._failure), return_when=asyncio.FIRST_COMPLETED)
        if self._failure.done():
            started.cancel()
            await self.close()
            raise DatabaseUnusable(f"{self._path} cannot be used: {self._failure.result()}.")

    def _died(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)

    async def _ask(self, run: Callable[[apsw.Connection], Result]) -> Result:
        if self._closed:
            raise ServerClosing
        if self._waiting >= WAITING_QUERIES:
            raise Overloaded("Too many queries are waiting for the database. Try again in a moment.")
        answer = Answer[Result]()

        def done(outcome: Result | AerostackError) -> None:
            self._waiting -= 1
            answer.done(outcome)

        self._waiting += 1
        self._inbox.put(_Job(lambda connection: self._worker.post(done, run(connection)), done))
        return await answer

    def _run(self) -> None:
        try:
            while not self._inbox.closed:
                jobs = self._inbox.take()
                for job in jobs:
                    self._do(job)
                if not jobs:
                    self._release_replaced_file()
        finally:
            self._thread.leave()

    def _do(self, job: _Job) -> None:
        try:
            if self._inbox.closed:
                raise ServerClosing
            connection = self._thread.connection()
            connection.set_progress_handler(self._ending, STEPS_BETWEEN_LOOKS)
            job.run(connection)
            if connection.total_changes():
                self._feed.wake()
        except Exception as error:
            self._worker.post(job.failed, translate(error, self._path))

    def _ending(self) -> bool:
        """SQLite calls this during a statement: whether to abort it."""
        return self._inbox.closed

    def _release_replaced_file(self) -> None:
        try:
            self._thread.connection()
        except (apsw.Error, AerostackError):
            self._thread.leave()


def _prepare(path: Path, busy_ms: int) -> None:
    """Create our tables and repair the triggers before any other thread starts. Raises DatabaseUnusable."""
    connection = first_connection(path, busy_ms=busy_ms)
    try:
        with transaction(connection):
            changelog.lay_out(connection)
            message_table.lay_out(connection)
            connection.execute(_KEPT_LAYOUT)
            mark = read_mark(path)
            restored = changelog.high_water(connection) < mark
            if restored or changelog.meta(connection, "inode") != str(path.stat().st_ino):
                changelog.renew_epoch(connection, path)
                changelog.raise_high_water(connection, mark)
                for table in changelog.watched(connection):
                    changelog.install(connection, table)  # its log begins here: older entries were delivered
            changelog.put_in_order(connection)
            changelog.set_meta(connection, "opened", _clock())
    except apsw.Error as error:
        raise unusable(error, path) from error
    finally:
        connection.close()


def _lay_out(connection: apsw.Connection) -> None:
    with transaction(connection):
        changelog.lay_out(connection)
        message_table.lay_out(connection)
        connection.execute(_KEPT_LAYOUT)


def _keep(connection: apsw.Connection, kind: str, key: str, value: str) -> None:
    with transaction(connection):
        connection.execute(f"INSERT OR REPLACE INTO {KEPT} VALUES(?, ?, ?)", (kind, key, value))


def _kept(connection: apsw.Connection, kind: str) -> dict[str, str]:
    rows = connection.execute(f"SELECT key, value FROM {KEPT} WHERE kind = ?", (kind,))
    return {str(key): str(value) for key, value in rows}


def _tables(connection: apsw.Connection) -> list[TableStatus]:
    with transaction(connection, "DEFERRED"):
        names = connection.execute(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual') "
            "AND substr(name, 1, 7) <> 'sqlite_' AND substr(name, 1, ?) <> ? ORDER BY name",
            (len(PREFIX), PREFIX),
        ).fetchall()
        watches = changelog.watched(connection)
        counts = changelog.counts(connection)
    return [TableStatus(str(name), name in watches, counts.get(str(name), 0)) for (name,) in names]
