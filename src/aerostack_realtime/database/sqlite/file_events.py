"""Wakes the feed's thread as soon as a file of the database is written, by inotify (Linux).

An event is only a hint: SQLite writes the WAL before the commit is visible, and some file systems (NFS, FUSE,
shared folders of virtual machines) deliver no events for what others write. `Pace` turns hints into looks and
notices when they are missing.
"""

import ctypes
import errno
import os
import select
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from aerostack_realtime.database.sqlite.worker import Inbox

Item = TypeVar("Item")

POLL_SECONDS: Final = 0.008
QUIET_POLL_SECONDS: Final = 0.016
"""Between two looks for a foreign commit where no events come, at 20 to 80 µs each (the price of system calls):
while there are commits, and after QUIET_SECONDS without."""
QUIET_SECONDS: Final = 5.0
SAFETY_SECONDS: Final = 0.25
"""Between two looks where events come: finds out when they do not."""
SHORTEST_SECONDS: Final = 0.0001
"""Between two looks right after an event: a fraction of what a commit's fsync takes on a fast disk."""
GROWTH: Final = 0.1
"""The next look after an event comes after this share of the time since the event, so that a slow fsync is
noticed with a delay of a tenth, by some 15 looks for each tenfold time."""
PENDING_SECONDS: Final = 1.0
FOUND_SECONDS: Final = 0.05
"""How long an event is followed by looks: when none found a commit, and when one did (another commit may have
been announced by the same event)."""

_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")  # inotify(7): wd, mask, cookie, len


class DirectoryEvents:
    """Writes to the database file at `path`, its WAL and its rollback journal; `fileno` is readable after each.

    The directory is watched, not the files: they are replaced, deleted and made again.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is no inotify, or no watch left (fs.inotify.max_user_watches)."""
        if not sys.platform.startswith("linux"):
            raise OSError(errno.ENOSYS, "inotify is part of Linux")
        libc = ctypes.CDLL(None, use_errno=True)
        self._names = {os.fsencode(path.name + suffix) for suffix in ("", "-wal", "-journal")}
        self._fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
        if libc.inotify_add_watch(self._fd, os.fsencode(path.resolve().parent), mask) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, "inotify_add_watch failed")

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bool:
        """Take all events; whether one concerns the database."""
        concerned = False
        with suppress(BlockingIOError):
            while True:
                data = os.read(self._fd, 65_536)
                offset = 0
                while offset < len(data):
                    _, mask, _, length = _EVENT.unpack_from(data, offset)
                    offset += _EVENT.size
                    name = data[offset : offset + length].rstrip(b"\0")
                    offset += length
                    concerned = concerned or name in self._names or bool(mask & _IN_Q_OVERFLOW)
        return concerned

    def close(self) -> None:
        os.close(self._fd)


def readiness(descriptors: Sequence[int]) -> Callable[[float | None], Sequence[int]]:
    """A function that waits up to the given seconds and returns the readable ones of `descriptors`.

    `select` waits by the microsecond, but only for descriptors below 1024; `poll` rounds up to milliseconds.
    """
    if max(descriptors) < 1024:
        return lambda timeout: select.select(descriptors, (), (), timeout)[0]
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    return lambda timeout: [each for each, _ in poll.poll(None if timeout is None else timeout * 1000)]


class WatchfulInbox(Inbox[Item]):
    """An inbox whose `take` also returns when the database at `path` is written; `written` reports it.

    Without events (`has_events` False) it is an ordinary inbox.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.written = False
        self._events: DirectoryEvents | None = None
        with suppress(OSError):
            self._events = DirectoryEvents(path)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        descriptors = (self._wake_read, *(() if self._events is None else (self._events.fileno(),)))
        self._ready = readiness(descriptors)

    @property
    def has_events(self) -> bool:
        return self._events is not None

    def put(self, item: Item) -> bool:
        taken = super().put(item)
        self._signal()
        return taken

    def rouse(self) -> None:
        super().rouse()
        self._signal()

    def close(self) -> None:
        super().close()
        self._signal()

    def take(self, timeout: float | None = None, limit: int | None = None) -> list[Item]:
        if self._wake_read in self._ready(timeout):
            os.read(self._wake_read, 4096)
        if self._events is not None:
            self.written = self._events.read()
        return super().take(0, limit)

    def dispose(self) -> None:
        """Close the descriptors; only `put`, `rouse` and `close` may be called afterwards, and do nothing."""
        with self._changed:
            if self._events is not None:
                self._events.close()
                self._events = None
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_write = -1

    def _signal(self) -> None:
        with self._changed:
            if self._wake_write >= 0:
                with suppress(BlockingIOError):
                    os.write(self._wake_write, b"\0")


class Pace:
    """When to look for commits next. Pure: `now` is monotonic, in seconds.

    With `trusted` events a look follows each event soon, and again after growing pauses until the commit is
    visible. A commit that a look finds without an event shows that events are missing; from then on the pace is
    that of polling.
    """

    def __init__(self, trusted: bool, now: float) -> None:
        self.trusted = trusted
        self._event_at = now - 2 * PENDING_SECONDS
        self._found_at = now
        self._found = True
        self._shortest = SHORTEST_SECONDS

    def event(self, now: float) -> None:
        """The database was written."""
        self._event_at = now
        self._found = False

    def looked(self, now: float, *, committed: bool, changed: bool) -> None:
        """A look found a commit, and in it changes of watched tables.

        Commits without changes, such as those of this server's messages, make the next looks rarer, up to the pace
        of polling: there is nothing to be early for.
        """
        if changed:
            self._shortest = SHORTEST_SECONDS
        elif committed:
            self._shortest = min(2 * self._shortest, POLL_SECONDS)
        if committed:
            self._found = True
            self._found_at = now
            if self.trusted and now - self._event_at > PENDING_SECONDS:
                self.trusted = False

    def timeout(self, now: float) -> float:
        """Seconds until the next look, unless an event comes first."""
        if not self.trusted:
            return QUIET_POLL_SECONDS if now - self._found_at > QUIET_SECONDS else POLL_SECONDS
        elapsed = now - self._event_at
        if elapsed > (FOUND_SECONDS if self._found else PENDING_SECONDS):
            return SAFETY_SECONDS
        return min(max(elapsed * GROWTH, self._shortest), POLL_SECONDS)
