"""The machine: which core is whose, and what a reader must know to repeat a figure."""

import datetime
import os
import platform
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CORES: tuple[int, ...] = tuple(sorted(os.sched_getaffinity(0)))
SERVER_CORE = CORES[0]
LOAD_CORE = CORES[-1]

_WAKE_UP_LIMIT = Path("/dev/cpu_dma_latency")
"""The kernel keeps to the limit that is written there, in µs, for as long as the file is open."""

ROOT = Path(__file__).resolve().parent.parent
BENCH = ROOT / "bench"


def processor() -> str:
    """Model and number of cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{(models or [platform.machine()])[0]}, {len(CORES)} cores"


def describe() -> list[str]:
    """Lines for a report: machine, kernel, cores, date, how busy the machine was before the run."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    load = os.getloadavg()[0]
    lines = [
        f"{processor()}, {memory:.0f} GiB; {platform.system()} {platform.release()}",
        f"server on core {SERVER_CORE}, load generator on core {LOAD_CORE}, loopback TCP, no compression",
        f"Python {platform.python_version()}, node {version(['node', '--version'])}",
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, load average before the run {load:.2f}",
    ]
    if len(CORES) < 2:
        lines.append("WARNING: server and load generator share the only core: do not use these figures")
    return lines


@contextmanager
def awake() -> Iterator[bool]:
    """Keep idle cores from sleeping, as `tuned-adm profile network-latency` does. Yields whether that is possible:
    it takes Linux and root. See Documentation/power/pm_qos_interface.rst of the kernel."""
    try:
        limit = _WAKE_UP_LIMIT.open("wb", buffering=0)
    except OSError:
        yield False
        return
    with limit:
        limit.write((0).to_bytes(4, "little"))
        yield True


def version(command: list[str]) -> str:
    """The last word of a command's version line; "?" when it cannot be run."""
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "?"
    return output.split()[-1] if output.split() else "?"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
