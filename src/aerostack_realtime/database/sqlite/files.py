"""The database's file as it is at its path now: a restore may put another one there while we run.

A connection to the old file would keep writing to a deleted file; and a connection to the new file that is opened
while an old one is still open shares its `-wal` by name, which mixes two databases. So every thread checks the
file before its work, and after a replacement none opens the new file before all have closed the old one.

A backup that is copied *into* the file keeps its inode. It is recognised by the high-water mark, which is raised
every few seconds in the database and in a small file beside it: after a restore the one in the database is lower.
Until the log reader has reported the restore, the mark must not be raised again, because that would hide it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from aerostack_realtime.database.sqlite.connection import connect, identity
from aerostack_realtime.protocol.errors import Unavailable

VACANT_SECONDS = 10.0
"""How long a thread waits for the others to close a replaced file: longer than the lock timeout."""


def mark_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-mark")


def read_mark(path: Path) -> int:
    """The high-water mark in the file beside the database at `path`; 0 when there is none."""
    try:
        return int(mark_path(path).read_text())
    except (OSError, ValueError):
        return 0


class DatabaseFile:
    """The path of the database, and the threads that have a connection to it.

    `prepare` creates our tables in a file that replaced another; it may be called again.
    """

    def __init__(self, path: Path, prepare: Callable[[apsw.Connection], None]) -> None:
        self.path = path
        self.prepare = prepare
        self.known_mark = 0
        """The highest mark that is known to be stored: a database with a lower one was restored."""
        self._threads: list[ThreadConnection] = []
        self._changed = threading.Condition()
        self._wal: tuple[int, int] | None = None

    def thread(self, busy_ms: int, rouse: Callable[[], None]) -> "ThreadConnection":
        """The connection of one thread; `rouse` makes that thread call `ThreadConnection.connection` soon."""
        thread = ThreadConnection(self, busy_ms, rouse)
        with self._changed:
            self._threads.append(thread)
        return thread

    def remove(self, thread: "ThreadConnection") -> None:
        """A thread has ended."""
        with self._changed:
            self._threads.remove(thread)

    def occupied(self) -> None:
        """A thread has just opened a connection."""
        if self._wal is None:
            self._wal = identity(self._wal_path())

    def vacated(self) -> None:
        """A thread has just closed its connection."""
        with self._changed:
            self._changed.notify_all()

    def wait_until_free(self, of_other_than: tuple[int, int]) -> None:
        """Return when no thread has a connection to another file. Raises Unavailable when that takes too long."""

        def others() -> "list[ThreadConnection]":
            return [thread for thread in self._threads if thread.identity not in (None, of_other_than)]

        with self._changed:
            if not others() and all(thread.identity is None for thread in self._threads):
                self._drop_stale_wal()
                return
            for thread in others():
                thread.rouse()
            if not self._changed.wait_for(lambda: not others(), VACANT_SECONDS):
                raise Unavailable(
                    "The database file was replaced and its old connections are still closing. Try again."
                )
            if all(thread.identity is None for thread in self._threads):
                self._drop_stale_wal()

    def check_mark(self, mark: int, known: int) -> None:
        """Raises Unavailable for a database whose mark is lower than the one `known` before."""
        if mark < known:
            with self._changed:
                for thread in self._threads:
                    thread.rouse()
            raise Unavailable("A restored backup was detected; subscribers are being notified. Try again.")

    def write_mark(self, position: int) -> None:
        """Store the high-water mark beside the database too, where restoring a backup does not lower it."""
        with suppress(OSError):  # a full disk: the next mark is higher
            fresh = self.path.with_name(f"{self.path.name}-mark.new")
            fresh.write_text(str(max(position, read_mark(self.path))))
            fresh.replace(mark_path(self.path))

    def _drop_stale_wal(self) -> None:
        """Delete the `-wal` of the file that is gone: SQLite would replay it over the new one."""
        if self._wal is not None and identity(self._wal_path()) == self._wal:
            for suffix in ("-wal", "-shm"):
                with suppress(OSError):
                    self.path.with_name(self.path.name + suffix).unlink()
        self._wal = None

    def _wal_path(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")


class ThreadConnection:
    """One thread's connection to the file. `identity` is that of the open file, None when closed."""

    def __init__(self, file: DatabaseFile, busy_ms: int, rouse: Callable[[], None]) -> None:
        self._file = file
        self._busy_ms = busy_ms
        self._connection: apsw.Connection | None = None
        self._waiting = False
        self.rouse = rouse
        self.identity: tuple[int, int] | None = None

    def connection(self) -> apsw.Connection:
        """The connection to the file at the path now. Raises Unavailable when there is none, apsw.Error."""
        present = identity(self._file.path)
        if self._connection is not None and present == self.identity:
            return self._connection
        replaced = self._connection is not None or self._waiting
        self.leave()
        self._waiting = replaced
        if present is None:
            raise Unavailable(f"The database file {self._file.path} is gone. Put it back, then try again.")
        self._file.wait_until_free(present)
        self._connection = connect(self._file.path, busy_ms=self._busy_ms)
        self.identity = present
        try:
            self._connection.execute("PRAGMA schema_version").fetchall()
            if replaced:
                self._file.prepare(self._connection)
        except apsw.Error:
            self.leave()
            raise
        self._waiting = False
        self._file.occupied()
        return self._connection

    def leave(self) -> None:
        """Close the connection. Idempotent."""
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close(force=True)
            self._connection = None
            self.identity = None
            self._file.vacated()
