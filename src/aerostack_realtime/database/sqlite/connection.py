"""Opening a SQLite file, its transactions, and SQLite's errors as ours.

A connection belongs to the thread that opened it. apsw bundles a current SQLite; the system's may have the
WAL-reset bug.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import apsw

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, ServerClosing, TooLarge, Unavailable

IN_MEMORY = ":memory:"
"""SQLite opens no file of this name."""


def connect(path: Path, *, busy_ms: int, create: bool = False) -> apsw.Connection:
    """Open `path` for reading and writing. Raises apsw.Error."""
    flags = apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    connection = apsw.Connection(str(path), flags=flags)
    connection.set_busy_timeout(busy_ms)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def first_connection(path: Path, *, busy_ms: int) -> apsw.Connection:
    """Open `path`, creating it if it does not exist, and switch an empty file to WAL.

    A file with content keeps its journal mode, since others may rely on it. Raises DatabaseUnusable.
    """
    if str(path) == IN_MEMORY:
        raise DatabaseUnusable(
            f"{path} is a database without a file, which no other program can write: name a file."
        )
    if path.is_dir():
        raise DatabaseUnusable(f"{path} is a directory: name a database file in it.")
    if not path.parent.is_dir():
        raise DatabaseUnusable(f"{path} cannot be created: create the directory {path.parent} first.")
    connection = None
    try:
        connection = connect(path, busy_ms=busy_ms, create=True)
        if connection.readonly("main"):
            raise DatabaseUnusable(f"{path} cannot be written: give this user write access to it.")
        if path.stat().st_size == 0:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        return connection
    except apsw.Error as error:
        if connection is not None:
            connection.close()
        raise unusable(error, path) from error
    except DatabaseUnusable:
        if connection is not None:
            connection.close()
        raise


def unusable(error: apsw.Error, path: Path) -> DatabaseUnusable:
    """Why the file cannot be opened, in one sentence."""
    match error:
        case apsw.NotADBError():
            return DatabaseUnusable(f"{path} is not a SQLite database: name another file or move it away.")
        case apsw.CorruptError():
            return DatabaseUnusable(
                f"{path} is a corrupt database ({error}): restore a backup, or try `sqlite3 {path} .recover`."
            )
        case apsw.BusyError() | apsw.LockedError():
            return DatabaseUnusable(f"{path} stays locked by another program: end its transaction.")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return DatabaseUnusable(
                f"{path} cannot be opened for writing: give this user write access to it and its directory."
            )
        case apsw.FullError():
            return DatabaseUnusable(f"The disk of {path} is full: make room and start again.")
        case _:
            return DatabaseUnusable(f"{path} cannot be used: {error}.")


def translate(error: Exception, path: Path) -> AerostackError:
    """The error that a client gets for an exception of a statement."""
    match error:
        case AerostackError():
            return error
        case apsw.BusyError() | apsw.LockedError():
            return Unavailable(f"The database {path.name} is locked by another writer. Try again.")
        case apsw.FullError():
            return Unavailable("The disk of the database is full. Make room on the server, then try again.")
        case apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.PermissionsError():
            return Unavailable(f"The database {path.name} cannot be written. Check its access rights.")
        case apsw.CorruptError() | apsw.NotADBError():
            return Unavailable(f"The database {path.name} is damaged: {error}. Restore a backup.")
        case apsw.InterruptError():
            return ServerClosing()
        case apsw.BindingsError():
            return BadMessage(f"The parameters do not fit the statement ({error}): give one for each ?.")
        case apsw.TooBigError():
            return TooLarge(f"A value is too big for SQLite: {error}.")
        case apsw.IOError() | apsw.NoMemError() | apsw.ProtocolError():
            return Unavailable(f"The database {path.name} cannot be reached: {error}.")
        case _:
            return BadMessage(str(error))


@contextmanager
def transaction(connection: apsw.Connection, mode: str = "IMMEDIATE") -> Iterator[None]:
    """BEGIN `mode` … COMMIT, or ROLLBACK when the block or the commit fails."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(apsw.Error):
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def identity(file: Path | int) -> tuple[int, int] | None:
    """Device and inode of the file at a path or of a descriptor, None when there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino
