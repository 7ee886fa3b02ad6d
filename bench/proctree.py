"""CPU time and memory of a server with all its child processes, from /proc (proc_pid_stat(5))."""

import os
import time
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

_PARENT, _OF_CHILDREN, _RESIDENT = 1, slice(13, 15), 21
"""Fields of `stat` counted from the one behind the command: ppid; cutime, cstime; rss."""


def cpu_seconds(root: int) -> float:
    """User and system time of the tree, in seconds; of children that were waited for in steps of 10 ms."""
    tree = _tree(root)
    waited_for = sum(int(field) for stat in tree.values() for field in stat[_OF_CHILDREN]) / _TICK
    return waited_for + sum(map(_own_seconds, tree))


def _own_seconds(pid: int) -> float:
    """CPU time of one process with all its threads, by its clock (clock_getcpuclockid(3)); 0 if it has ended."""
    try:
        return time.clock_gettime(~pid << 3 | 2)  # the kernel's number for the clock of a process
    except OSError:
        return 0.0


def resident(root: int) -> int:
    """Resident memory of the tree, in bytes."""
    return sum(int(stat[_RESIDENT]) for stat in _tree(root).values()) * _PAGE


def peak(pid: int) -> int:
    """The most memory that one process has ever had resident, in bytes."""
    return _status(pid, "VmHWM")


def private(pid: int) -> int:
    """Resident memory of one process that is neither shared nor a file's, in bytes."""
    return _status(pid, "RssAnon")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(kib) * 1024


def _tree(root: int) -> dict[int, list[str]]:
    """`stat` of `root` and of all its living descendants, by their process ids."""
    stats: dict[int, list[str]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                stats[int(entry.name)] = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
    found = [root]
    for parent in found:
        found += [pid for pid, stat in stats.items() if int(stat[_PARENT]) == parent]
    return {pid: stats[pid] for pid in found if pid in stats}
