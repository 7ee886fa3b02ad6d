"""A stand-in, on Linux, for the kqueue of the module `select`: its events of files and directories.

Linux has no kqueue, and Debian no package that adds one. This one is built on inotify. It reports the least that
the manual pages kqueue(2) of macOS and FreeBSD promise: of a directory the changes of its entries, not the writes
to its files; of a file that becomes shorter a change of its attributes, not a write.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_EVFILT_VNODE: Final = -4
_EV_ADD: Final = 0x1
_EV_CLEAR: Final = 0x20
_NOTE_DELETE: Final = 0x1
_NOTE_WRITE: Final = 0x2
_NOTE_EXTEND: Final = 0x4
_NOTE_ATTRIB: Final = 0x8
_NOTE_RENAME: Final = 0x20

_IN_MODIFY: Final = 0x2
_IN_ATTRIB: Final = 0x4
_IN_ENTRIES: Final = 0x40 | 0x80 | 0x100 | 0x200  # moved from, moved to, created, deleted
_IN_MOVE_SELF: Final = 0x800
_EVENT: Final = struct.Struct("iIII")  # inotify(7): wd, mask, cookie, len


@dataclass
class kevent:  # noqa: N801
    ident: int
    filter: int
    flags: int
    fflags: int


class kqueue:  # noqa: N801
    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._inotify: int = self._checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._watched: dict[int, _Watched] = {}
        """By the number of the watch of inotify."""

    def fileno(self) -> int:
        return self._inotify

    def control(
        self, changes: Sequence[kevent] | None, most_events: int, timeout: float | None = None, /
    ) -> list[kevent]:
        assert timeout == 0, "a wait is done by select, on the descriptor of the queue"
        for change in changes or ():
            self._add(change)
        return self._pending()[:most_events] if most_events else []

    def close(self) -> None:
        os.close(self._inotify)

    def _add(self, change: kevent) -> None:
        assert (change.filter, change.flags) == (_EVFILT_VNODE, _EV_ADD | _EV_CLEAR)
        path = f"/proc/self/fd/{change.ident}".encode()
        watched = _Watched(change)
        mask = _IN_ENTRIES if watched.is_directory else _IN_MODIFY | _IN_ATTRIB | _IN_MOVE_SELF
        self._watched[self._checked(self._libc.inotify_add_watch(self._inotify, path, mask))] = watched

    def _pending(self) -> list[kevent]:
        """One event for each descriptor with all that has happened since the last call."""
        notes: dict[int, int] = {}
        with suppress(BlockingIOError):
            while True:
                data = os.read(self._inotify, 65_536)
                offset = 0
                while offset < len(data):
                    number, mask, _, length = _EVENT.unpack_from(data, offset)
                    offset += _EVENT.size + length
                    watched = self._watched.get(number)
                    if watched is not None and watched.is_open():
                        ident = watched.change.ident
                        notes[ident] = notes.get(ident, 0) | watched.notes(mask)
        return [
            kevent(ident, _EVFILT_VNODE, _EV_ADD | _EV_CLEAR, fflags) for ident, fflags in notes.items() if fflags
        ]

    def _checked(self, result: int) -> int:
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result


class _Watched:
    """What a descriptor refers to. Closing it ends its events, even if its number is used again."""

    def __init__(self, change: kevent) -> None:
        self.change = change
        status = os.fstat(change.ident)
        self.is_directory = stat.S_ISDIR(status.st_mode)
        self._identity = (status.st_dev, status.st_ino)
        self._size = status.st_size

    def is_open(self) -> bool:
        try:
            status = os.fstat(self.change.ident)
        except OSError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    def notes(self, mask: int) -> int:
        """What an event of inotify with this mask is to kqueue, as far as the program asked for it."""
        status = os.fstat(self.change.ident)
        found = 0
        if mask & _IN_ENTRIES:
            found = _NOTE_WRITE
        elif mask & _IN_MODIFY:
            grown = status.st_size - self._size
            found = _NOTE_ATTRIB if grown < 0 else _NOTE_WRITE | (_NOTE_EXTEND if grown else 0)
            self._size = status.st_size
        elif mask & _IN_MOVE_SELF:
            found = _NOTE_RENAME
        elif mask & _IN_ATTRIB:
            found = _NOTE_ATTRIB if status.st_nlink else _NOTE_DELETE
        return found & self.change.fflags
