"""One server per SQLite file: a lock in a file beside the database, `shop.db-lock`.

The lock is `flock` on a file of its own: SQLite locks the database file itself, and closing any descriptor of that
file would drop its locks. The kernel releases the lock when the process ends, however it ends, and containers of
one machine that mount the same directory share it. Network file systems do not support it reliably; neither do
they support SQLite's WAL.
"""

import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.sqlite.connection import IN_MEMORY


def lock_path(path: Path) -> Path:
    """The same for every name of the file that is a symbolic link."""
    real = path.resolve()
    return real.with_name(f"{real.name}-lock")


class ServerLock:
    """Held from construction to `release`. Raises DatabaseUnusable naming the process that holds it already, and
    where the file system cannot lock."""

    def __init__(self, path: Path) -> None:
        self._path = lock_path(path)
        self._descriptor: int | None = None
        if not self._path.parent.is_dir() or path.is_dir() or str(path) == IN_MEMORY:
            return  # opening the database reports it
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise DatabaseUnusable(
                f"Cannot create {self._path}: {error.strerror}. A server needs write access to the directory."
            ) from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self.release()
            raise DatabaseUnusable(
                f"{path} is already used by {holder}. A SQLite file has one server: stop that one, or use another"
                " file."
            ) from None
        except OSError as error:
            self.release()
            raise DatabaseUnusable(
                f"Cannot lock {self._path}: {error.strerror}. Move the database to a local file system."
            ) from None
        self._write(f"process {os.getpid()} on {socket.gethostname()}")

    def announce(self, url: str) -> None:
        """Name the server's address to a server that finds the lock taken."""
        self._write(f"the server at {url} (process {os.getpid()} on {socket.gethostname()})")

    def release(self) -> None:
        """Idempotent. The file stays: removing it would let two servers lock two files of one name."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _write(self, holder: str) -> None:
        if self._descriptor is not None:
            with suppress(OSError):  # a full disk: the lock holds without a name
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, holder.encode(), 0)

    def _holder(self) -> str:
        assert self._descriptor is not None, "the file is open"
        return os.pread(self._descriptor, 1024, 0).decode(errors="replace") or "another process"
