"""The command `aerostack` with a wall clock that another process sets; elapsed time stays true.

The file that FAULTS_CLOCK names holds the seconds to add, as a signed integer of eight bytes. (libfaketime needs
no help from us, but takes over `pthread_cond_timedwait` as well, and after a step of the clock CPython's lock
spins in it.)
"""

import mmap
import os
import struct
import time
from pathlib import Path

from aerostack_realtime.cli import main

_OFFSET = struct.Struct("q")


def encoded(seconds: int) -> bytes:
    """What the file holds."""
    return _OFFSET.pack(seconds)


def skew(path: Path) -> None:
    """Move this process's wall clock by what the file says, now and whenever it is written to."""
    with path.open("rb") as file:
        shared = mmap.mmap(file.fileno(), _OFFSET.size, access=mmap.ACCESS_READ)
    true_ns = time.time_ns

    def time_ns() -> int:
        return int(true_ns() + _OFFSET.unpack(shared[:])[0] * 1_000_000_000)

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def run() -> None:
    """The command, by the clock that FAULTS_CLOCK names."""
    skew(Path(os.environ["FAULTS_CLOCK"]))
    main()


if __name__ == "__main__":
    run()
