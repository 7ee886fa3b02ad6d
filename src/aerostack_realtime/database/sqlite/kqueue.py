"""Events of the database's files by kqueue (macOS and FreeBSD).

kqueue reports changes of what a descriptor refers to: writes of a file, and new, deleted and renamed entries of a
directory. The WAL and the rollback journal are watched, and their directory for the moment when they appear.

The database itself and its `-shm` must not be opened here. SQLite locks them with POSIX locks, and closing any
descriptor of a file releases all such locks that the process holds on it. SQLite never locks the WAL and the
journal. Every commit changes one of these two, except in the journal modes OFF and MEMORY.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Protocol

from aerostack_realtime.database.sqlite.connection import identity

# sys/event.h
_EVFILT_VNODE: Final = -4
_EV_ADD: Final = 0x1
_EV_CLEAR: Final = 0x20
_NOTE_DELETE: Final = 0x1
_NOTE_WRITE: Final = 0x2
_NOTE_EXTEND: Final = 0x4
_NOTE_ATTRIB: Final = 0x8
_NOTE_RENAME: Final = 0x20
_CHANGES: Final = _NOTE_DELETE | _NOTE_WRITE | _NOTE_EXTEND | _NOTE_ATTRIB | _NOTE_RENAME
"""Truncating a journal changes its attributes and is not reported as a write."""

_OPEN_FLAGS: Final[int] = getattr(os, "O_EVTONLY", os.O_RDONLY) | os.O_CLOEXEC
"""A descriptor that macOS opens for events only does not keep its volume from being unmounted."""
_MOST_EVENTS: Final = 8
"""More than the watched descriptors: each has at most one pending event."""


class Event(Protocol):
    ident: int
    """The descriptor that the event is about."""


class Queue(Protocol):
    def control(self, changes: Any, most_events: int, timeout: float | None = None, /) -> Sequence[Event]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Platform(Protocol):
    """What this module uses of the module `select`."""

    def kqueue(self) -> Queue: ...
    def kevent(self, ident: int, filter: int, flags: int, fflags: int) -> Event: ...


class KqueueEvents:
    """Writes to the WAL and to the rollback journal of the database at `path`."""

    def __init__(self, path: Path, platform: Platform) -> None:
        """Raises OSError where the directory cannot be watched."""
        real = path.resolve()
        self._platform = platform
        self._wal = real.with_name(f"{real.name}-wal")
        self._journal = real.with_name(f"{real.name}-journal")
        self._watched: dict[Path, int] = {}
        self._queue = platform.kqueue()
        try:
            self._directory = self._watch(real.parent, _NOTE_WRITE)
        except OSError:
            self.close()
            raise
        self._follow()

    def fileno(self) -> int:
        return self._queue.fileno()

    def read(self) -> bool:
        events = self._queue.control(None, _MOST_EVENTS, 0)
        if not events:
            return False
        changed = self._follow()
        # Without a WAL, a journal that came and went between two calls was a commit.
        return changed or self._wal not in self._watched or any(event.ident != self._directory for event in events)

    def close(self) -> None:
        self._queue.close()
        for descriptor in self._watched.values():
            os.close(descriptor)

    def _follow(self) -> bool:
        """Watch the files that are at their paths now; returns whether they are others than before."""
        changed = False
        for path in (self._wal, self._journal):
            watched = self._watched.get(path)
            if identity(path) == (None if watched is None else identity(watched)):
                continue
            changed = True
            if watched is not None:
                os.close(self._watched.pop(path))
            with suppress(OSError):  # deleted since, or out of descriptors: the next event tries again
                self._watch(path, _CHANGES)
        return changed

    def _watch(self, path: Path, changes: int) -> int:
        descriptor = os.open(path, _OPEN_FLAGS)
        try:
            event = self._platform.kevent(descriptor, _EVFILT_VNODE, _EV_ADD | _EV_CLEAR, changes)
            self._queue.control([event], 0, 0)
        except OSError:
            os.close(descriptor)
            raise
        self._watched[path] = descriptor
        return descriptor
