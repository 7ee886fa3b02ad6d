"""Wakes the feed's thread as soon as a file of the database is written, by inotify (Linux) or kqueue (macOS, BSD).

An event is only a hint: SQLite writes the WAL before the commit is visible, and some file systems (NFS, FUSE,
shared folders of virtual machines) deliver no events for what others write. `Pace` turns hints into looks and
notices when they are missing.
"""

import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from aerostack_realtime.database.sqlite.inotify import InotifyEvents
from aerostack_realtime.database.sqlite.kqueue import KqueueEvents
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


class FileEvents(Protocol):
    """Events of a database's files. They belong to one thread."""

    def fileno(self) -> int:
        """A descriptor that is readable while there are events."""
        ...

    def read(self) -> bool:
        """Take all events; whether one concerns the database."""
        ...

    def close(self) -> None: ...


def open_events(path: Path) -> FileEvents:
    """Events of the database at `path`. Raises OSError where its directory cannot be watched."""
    if sys.platform == "linux":
        return InotifyEvents(path)
    else:
        return KqueueEvents(path, select)


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
        self._events: FileEvents | None = None
        with suppress(OSError):
            self._events = open_events(path)
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
