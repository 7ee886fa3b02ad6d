"""The command `aerostack` with a wall clock that another process sets; elapsed time stays true.

The file that FAULTS_CLOCK names holds the seconds to add, as a signed integer of eight bytes. (libfaketime needs
no help from us, but takes over `pthread_cond_timedwait` as well, and after a step of the clock CPython's lock
spins in it.)
"""

import mmap
import os
import struct
import time
from ctypes import CDLL, get_errno
from pathlib import Path
from typing import Final

from aerostack_realtime.cli import main
from tests.faults.plants import PLANTS

_OFFSET = struct.Struct("q")
_CLONE_NEWNET: Final = 0x40000000


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


def enter(namespace: str) -> None:
    """Move this process, which has one thread yet, into a network namespace."""
    with Path(namespace).open() as file:
        if CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(get_errno(), f"setns {namespace}")


def run() -> None:
    """The command, by the clock that FAULTS_CLOCK names, in FAULTS_NETWORK, with the bug FAULTS_PLANT."""
    if namespace := os.environ.get("FAULTS_NETWORK"):
        enter(namespace)
    if name := os.environ.get("FAULTS_PLANT"):
        PLANTS[name].plant()
    skew(Path(os.environ["FAULTS_CLOCK"]))
    main()


if __name__ == "__main__":
    run()
