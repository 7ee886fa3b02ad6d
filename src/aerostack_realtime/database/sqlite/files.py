"""The database's file as it is at its path now: a restore may put another one there while we run.

A connection to the file that was there keeps writing to it, into the void; and a connection to the new file
opened while an old one is still open shares its `-wal` by name, which mixes two databases. So every seat checks
the file before its work, and after a replacement none opens the new file before all have let go of the old.

A backup copied *into* the file is the same file. It is known by its high-water mark, which is raised every few
seconds, there and in a small file beside the database: the one in the database is lower after a restoration. Until
the reader of the log has told of that, the mark must not be raised again: it would hide it.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import apsw

from aerostack_realtime.database.sqlite.connection import connect, identity
from aerostack_realtime.protocol.errors import Unavailable

VACANT_SECONDS = 10.0
"""How long a seat waits for the others to let go of a replaced file: longer than a lock is waited for."""


def mark_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-mark")


def read_mark(path: Path) -> int:
    """The high-water mark that was kept beside the database at `path`; 0 when there is none."""
    try:
        return int(mark_path(path).read_text())
    except (OSError, ValueError):
        return 0


class DatabaseFile:
    """The path, and who has a connection to what is there.

    `prepare` makes our tables in a file that has replaced another; it may be called again.
    """

    def __init__(self, path: Path, prepare: Callable[[apsw.Connection], None]) -> None:
        self.path = path
        self.prepare = prepare
        self.known_mark = 0
        """The highest mark that is known to be stored: a database that has a lower one was restored."""
        self._seats: list[Seat] = []
        self._changed = threading.Condition()
        self._wal: tuple[int, int] | None = None

    def seat(self, busy_ms: int, rouse: Callable[[], None]) -> "Seat":
        """A place for one thread's connection; `rouse` makes that thread call `Seat.connection` soon."""
        seat = Seat(self, busy_ms, rouse)
        with self._changed:
            self._seats.append(seat)
        return seat

    def give_up(self, seat: "Seat") -> None:
        """A seat is needed no more."""
        with self._changed:
            self._seats.remove(seat)

    def occupied(self) -> None:
        """A seat has just opened a connection."""
        if self._wal is None:
            self._wal = identity(self._wal_path())

    def vacated(self) -> None:
        """A seat has just let go of its connection."""
        with self._changed:
            self._changed.notify_all()

    def wait_until_free(self, of_other_than: tuple[int, int]) -> None:
        """Return when no seat has a connection to another file. Raises Unavailable when that takes too long."""

        def others() -> "list[Seat]":
            return [seat for seat in self._seats if seat.identity not in (None, of_other_than)]

        with self._changed:
            if not others() and all(seat.identity is None for seat in self._seats):
                self._drop_stale_wal()
                return
            for seat in others():
                seat.rouse()
            if not self._changed.wait_for(lambda: not others(), VACANT_SECONDS):
                raise Unavailable("The database file was replaced and is still being let go of. Try again.")
            if all(seat.identity is None for seat in self._seats):
                self._drop_stale_wal()

    def check_mark(self, mark: int, known: int) -> None:
        """Raises Unavailable for a database that has a lower mark than was `known` before it was read."""
        if mark < known:
            with self._changed:
                for seat in self._seats:
                    seat.rouse()
            raise Unavailable("The database was restored from a backup, which is being told. Try again.")

    def write_mark(self, position: int) -> None:
        """Keep the high-water mark beside the database too, where a restored backup does not take it back."""
        with suppress(OSError):  # a full disk: the next mark is higher
            fresh = self.path.with_name(f"{self.path.name}-mark.new")
            fresh.write_text(str(max(position, read_mark(self.path))))
            fresh.replace(mark_path(self.path))

    def _drop_stale_wal(self) -> None:
        """The `-wal` that belongs to the file that is gone would be replayed over the new one."""
        if self._wal is not None and identity(self._wal_path()) == self._wal:
            for suffix in ("-wal", "-shm"):
                with suppress(OSError):
                    self.path.with_name(self.path.name + suffix).unlink()
        self._wal = None

    def _wal_path(self) -> Path:
        return self.path.with_name(self.path.name + "-wal")


class Seat:
    """One thread's connection to the file. `identity` is the file's that it is open to, None when closed."""

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
