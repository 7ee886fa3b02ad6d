"""The feed's thread: notices commits, reads the log in order, installs triggers.

It posts everything that the loop gets (changes, interruptions, parts of a replay) in the order of the log; this
order makes the seam between a replay and the live changes exact.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import apsw
from msgspec import Struct

from aerostack_realtime.database.base import Change, Replay
from aerostack_realtime.database.sqlite import changelog, pruning
from aerostack_realtime.database.sqlite.changelog import Watch
from aerostack_realtime.database.sqlite.connection import transaction, translate
from aerostack_realtime.database.sqlite.file_events import Pace, WatchfulInbox
from aerostack_realtime.database.sqlite.files import DatabaseFile
from aerostack_realtime.database.sqlite.log_entries import EntryLayout
from aerostack_realtime.database.sqlite.paced_calls import Batch, PacedCalls
from aerostack_realtime.database.sqlite.schema import read_table
from aerostack_realtime.protocol.errors import AerostackError, NotFound, ServerClosing

RETRY_SECONDS = 0.008
"""Between two attempts at what found the database locked."""
FILE_SECONDS = 0.05
"""Between two checks whether another file has replaced the database."""
IDLE_SECONDS = 1.0
"""Between two polls while nothing is watched: only another process could change that."""
BATCH_ROWS = 250
BATCH_BYTES = 1 << 20
"""One batch for the loop. The next one is read when the loop has delivered it: reading and delivering take the
interpreter, and often the processor core, from each other, and a reply would wait for both."""
REPLAY_WINDOW = 20_000
"""Positions that one part of a replay scans for entries of its table: about 10 ms."""
PRUNE_GAP_SECONDS = 0.02
"""Between two steps of pruning, so that writers get the lock."""


class Limits(Struct, frozen=True):
    """How long the log is kept, how long to wait for a locked database, and how often to prune."""

    max_age_seconds: float
    max_changes: int
    busy_seconds: float
    prune_seconds: float


class ChangeSink(Protocol):
    """The receiver on the loop; called there, in the order of the log."""

    def began(self, epoch: str, position: int, watches: Sequence[Watch]) -> None: ...
    def watching(self, watch: Watch) -> None: ...
    def unwatched(self, table: str) -> None: ...
    def delivered(self, changes: Sequence[Change], position: int) -> None: ...
    def interrupted(self, watch: Watch, position: int) -> None: ...


class Job(Struct):
    """A task for the thread. `deadline`: until when it may wait for a lock (monotonic seconds)."""

    run: Callable[[], None]
    failed: Callable[[AerostackError], None]
    deadline: float


class NotYet(Exception):
    """The job has to wait until the feed has read further."""


class LogReader:
    """Runs on its own thread by `main`; `submit`, `rouse` and `stop` are called from the loop's."""

    def __init__(
        self,
        file: DatabaseFile,
        sink: ChangeSink,
        limits: Limits,
        calls: PacedCalls,
        now: Callable[[], int],
    ) -> None:
        self._file = file
        self._sink = sink
        self._limits = limits
        self._deliver = calls.post
        self._now = now
        self._inbox: WatchfulInbox[Job] = WatchfulInbox(file.path)
        self._waiting: list[Job] = []
        self._delivered = threading.Event()
        """Set unless the loop has a batch to deliver."""
        self._delivered.set()
        self._watches: dict[str, Watch] = {}
        self._layouts: dict[int, EntryLayout] = {}
        self._interruptions: deque[tuple[int, Watch]] = deque()
        self._checked: apsw.Connection | None = None
        self._check_at = 0.0
        self._pace = Pace(self._inbox.has_events, time.monotonic())
        self._opened: tuple[int, int] | None = None
        self._epoch = ""
        self._position = 0
        self._version: object = None
        self._schema: object = None
        self.is_behind = False
        """Whether there is more to read, as far as is known."""
        self._mark_is_low = False
        self._loop_knows = threading.Event()
        self._prune_at = time.monotonic() + limits.prune_seconds

    def _post(self, callback: Callable[..., None], *args: object) -> None:
        self._deliver(partial(callback, *args))

    # --- from the loop's thread ---

    def submit(self, run: Callable[[], None], failed: Callable[[AerostackError], None]) -> None:
        if not self._inbox.put(Job(run, failed, time.monotonic() + self._limits.busy_seconds)):
            self._post(failed, ServerClosing())

    def rouse(self) -> None:
        self._inbox.rouse()

    def stop(self) -> None:
        self._inbox.close()
        self._delivered.set()

    # --- the thread ---

    def main(self) -> None:
        """Read until stopped. A poll that finds the database locked or missing is repeated."""
        self._thread = self._file.thread(busy_ms=10, rouse=self.rouse)
        try:
            self._start()
            while not self._inbox.closed:
                jobs = self._waiting + self._inbox.take(self._timeout())
                self._waiting = []
                if self._inbox.written:
                    self._pace.event(time.monotonic())
                for job in jobs:
                    self._do(job)
                self._poll_safely()
                self._prune_when_due()
        finally:
            self._thread.leave()
            for job in self._waiting + self._inbox.take(0):
                self._post(job.failed, ServerClosing())
            self._inbox.dispose()

    def _timeout(self) -> float:
        if self.is_behind:
            return 0.0
        if not (self._watches or self._waiting):
            return IDLE_SECONDS
        if self._waiting:
            return RETRY_SECONDS
        return self._pace.timeout(time.monotonic())

    def _do(self, job: Job) -> None:
        try:
            job.run()
        except (apsw.BusyError, apsw.LockedError, NotYet) as error:
            if time.monotonic() < job.deadline:
                self._waiting.append(job)
            else:
                self._post(job.failed, translate(apsw.BusyError(str(error)), self._file.path))
        except (apsw.Error, AerostackError, OSError, UnicodeDecodeError) as error:
            self._post(job.failed, translate(error, self._file.path))

    def _poll_safely(self) -> None:
        try:
            self._poll()
        except (apsw.BusyError, apsw.LockedError):
            self.is_behind = False
        except (apsw.Error, AerostackError, OSError, UnicodeDecodeError):
            self.is_behind = False
            self._version = self._checked = None
            self._lose_tables()

    def _start(self) -> None:
        """Find the current position in the log. Older entries are replayed on demand, not delivered."""
        while not self._inbox.closed:
            with suppress(apsw.BusyError, apsw.LockedError):
                connection = self._thread.connection()
                with transaction(connection, "DEFERRED"):
                    self._watches = changelog.watched(connection)
                    self._epoch, self._position = changelog.epoch_and_position(connection)
                    self._file.known_mark = max(self._file.known_mark, changelog.high_water(connection))
                self._opened = self._thread.identity
                self._post(self._sink.began, self._epoch, self._position, list(self._watches.values()))
                return
            time.sleep(RETRY_SECONDS)

    def _connection(self) -> apsw.Connection:
        """The thread's connection. Its file is checked only now and then: a poll must cost next to nothing."""
        now = time.monotonic()
        if self._checked is None or now >= self._check_at:
            self._checked = None
            self._checked = self._thread.connection()
            self._check_at = now + FILE_SECONDS
        return self._checked

    def _poll(self) -> None:
        connection = self._connection()
        if self._mark_is_low and self._loop_knows.is_set():
            with transaction(connection):
                changelog.raise_high_water(connection, self._file.known_mark)
            self._mark_is_low = False
        version = (self._thread.identity, _pragma(connection, "data_version"))
        if version == self._version and not self.is_behind:
            return
        before = self._position
        schema = _pragma(connection, "schema_version")
        known_mark = self._file.known_mark
        try:
            epoch, position = changelog.epoch_and_position(connection)
        except apsw.SQLError:
            epoch, position = "", 0
        restored = not self._mark_is_low and changelog.high_water(connection) < known_mark
        if restored or self._replaced(epoch, position):
            self._begin_anew(connection)
            return
        if (self._thread.identity, schema) != self._schema:
            self._reconcile(connection)
        committed = self._version is not None and version != self._version
        self._version = version
        self.is_behind = self._read_on(connection, position)
        self._pace.looked(time.monotonic(), committed=committed, changed=self._position > before)

    def _replaced(self, epoch: str, position: int) -> bool:
        """Whether this is not the log that was read so far. A restored backup that writers have taken beyond our
        position is recognised by its high-water mark."""
        return self._thread.identity != self._opened or epoch != self._epoch or position < self._position

    def _read_on(self, connection: apsw.Connection, position: int) -> bool:
        """Post a batch to the loop, once it has delivered the last one; returns whether there is more to read."""
        until = self._interruptions[0][0] if self._interruptions else position
        if until > self._position:
            self._delivered.wait()
            if self._inbox.closed:
                return False
            part = changelog.read(
                connection, self._layouts, self._epoch, self._position, until, BATCH_ROWS, BATCH_BYTES
            )
            self._position = part.end
            changes = [change for change in part.changes if change.table in self._watches]
            self._delivered.clear()
            self._deliver(Batch(changes, part.end, self._sink.delivered, self._delivered.set))
        while self._interruptions and self._interruptions[0][0] <= self._position:
            at, watch = self._interruptions.popleft()
            self._post(self._sink.interrupted, watch, at)
        return bool(self._interruptions) or self._position < position

    # --- schema changes and replaced files ---

    def _reconcile(self, connection: apsw.Connection) -> None:
        """Repair the triggers after the schema has changed, and record what may have been missed."""
        remembered = changelog.watched(connection)
        schema = _pragma(connection, "schema_version")
        wrong = [watch for watch in remembered.values() if not changelog.in_order(connection, watch)]
        known = {watch.table: watch for watch in self._watches.values()}
        if wrong or remembered != known:
            with transaction(connection):
                remembered = changelog.put_in_order(connection)
                _, position = changelog.epoch_and_position(connection)
                schema = _pragma(connection, "schema_version")
            for table in known:
                if table not in remembered:
                    self._interruptions.append((position, Watch(table, None, position)))
            self._interruptions.extend(
                (position, watch) for table, watch in remembered.items() if known.get(table) != watch
            )
            self._watches = remembered
        self._schema = (self._thread.identity, schema)

    def _begin_anew(self, connection: apsw.Connection) -> None:
        """This log does not continue the one that was read: begin a new epoch and watch every table again.

        The high-water mark stays as low as it was found until the loop knows: a low mark keeps others from
        answering from this database.
        """
        self._file.prepare(connection)
        with transaction(connection):
            self._epoch = changelog.renew_epoch(connection, self._file.path)
            tables = {*self._watches, *changelog.watched(connection)}
            self._watches = {table: changelog.install(connection, table) for table in sorted(tables)}
            _, self._position = changelog.epoch_and_position(connection)
        self._mark_is_low = True
        self._loop_knows.clear()
        self._opened = self._thread.identity
        self._interruptions.clear()
        self._layouts.clear()
        self._version = self._schema = None
        self._post(self._sink.began, self._epoch, self._position, list(self._watches.values()))
        for watch in self._watches.values():
            self._post(self._sink.interrupted, watch, self._position)
        self._post(self._loop_knows.set)
        self._post(self.rouse)

    def _lose_tables(self) -> None:
        """The file is missing or damaged: no table is available until it returns."""
        for table, watch in self._watches.items():
            if watch.layout is not None:
                self._watches[table] = lost = Watch(table, None, watch.start)
                self._post(self._sink.interrupted, lost, self._position)
        self._epoch = ""

    # --- jobs ---

    def watch(self, table: str, done: Callable[[], None]) -> None:
        connection = self._connection()
        known = self._watches.get(table)
        if known is None or known.layout is None:
            with transaction(connection):
                if read_table(connection, table) is None:
                    raise NotFound(f"There is no table {table!r}. Create it first.")
                known = changelog.install(connection, table)
            self._watches[table] = known
        self._post(self._sink.watching, known)
        self._post(done)

    def unwatch(self, table: str, done: Callable[[], None]) -> None:
        connection = self._connection()
        if table not in self._watches:
            raise NotFound(f"{table!r} is not watched.")
        with transaction(connection):
            changelog.forget(connection, table)
        del self._watches[table]
        self._post(self._sink.unwatched, table)
        self._clear(table, 0, done)

    def _clear(self, table: str, after: int, done: Callable[[], None]) -> None:
        connection = self._connection()
        with transaction(connection):
            following = pruning.clear(connection, table, after)
        if following is None:
            self._post(done)
            return
        self.submit(lambda: self._clear(table, following, done), lambda _error: done())

    def replay(self, table: str, since: str, then: Callable[[Replay], None], rows: int) -> None:
        connection = self._connection()
        watch = self._watches.get(table)
        if watch is None or watch.layout is None:
            raise NotFound(f"{table!r} is not watched, or does not exist any more. Subscribe again.")
        with transaction(connection, "DEFERRED"):
            _, written = changelog.epoch_and_position(connection)
            asked = self._parse(since, written)
            if asked is not None and asked > self._position:
                self._version = None
                raise NotYet
            start = changelog.start(connection, table)
            after = max(start if asked is None else asked, changelog.first(connection) - 1)
            until = min(self._position, after + REPLAY_WINDOW)
            part = changelog.read(
                connection,
                self._layouts,
                self._epoch,
                after,
                until,
                rows,
                BATCH_BYTES,
                only=changelog.layouts_of(connection, table),
            )
        end = max(part.end, after)
        recovered = asked is not None and asked >= start
        more = end < self._position
        self._post(then, Replay(part.changes, f"{self._epoch}.{end}", recovered, more))

    def _parse(self, cursor: str, written: int) -> int | None:
        """The position of a cursor of this log; None for anything else."""
        epoch, _, number = cursor.rpartition(".")
        if epoch != self._epoch or not (number.isascii() and number.isdigit()) or len(number) > 18:
            return None
        return int(number) if int(number) <= written else None

    # --- pruning ---

    def _prune_when_due(self) -> None:
        if time.monotonic() < self._prune_at:
            return
        deleted = 0
        try:
            connection = self._connection()
            oldest = self._now() - int(self._limits.max_age_seconds * 1000)
            with transaction(connection):
                deleted = pruning.prune(connection, self._position, self._limits.max_changes, oldest)
        except (apsw.Error, AerostackError, OSError):
            deleted = 0
        self._prune_at = time.monotonic() + (PRUNE_GAP_SECONDS if deleted else self._limits.prune_seconds)


def _pragma(connection: apsw.Connection, name: str) -> apsw.SQLiteValue:
    return connection.execute(f"PRAGMA {name}").get
