"""Events of the database's files by inotify (Linux)."""

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import Final

_IN_MODIFY: Final = 0x2
_IN_MOVED_TO: Final = 0x80
_IN_CREATE: Final = 0x100
_IN_DELETE: Final = 0x200
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")  # inotify(7): wd, mask, cookie, len


class InotifyEvents:
    """Writes to the database file at `path`, its WAL and its rollback journal.

    The directory is watched, not the files: they are replaced, deleted and made again.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where the directory cannot be watched (fs.inotify.max_user_watches, for example)."""
        libc = ctypes.CDLL(None, use_errno=True)
        real = path.resolve()
        self._names = {os.fsencode(real.name + suffix) for suffix in ("", "-wal", "-journal")}
        self._fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init1 failed")
        mask = _IN_MODIFY | _IN_MOVED_TO | _IN_CREATE | _IN_DELETE
        if libc.inotify_add_watch(self._fd, os.fsencode(real.parent), mask) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, "inotify_add_watch failed")

    def fileno(self) -> int:
        return self._fd

    def read(self) -> bool:
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
