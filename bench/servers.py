"""The servers under test: each is started on its core, waited for, measured from outside, and ended."""

import contextlib
import os
import queue
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from bench.machine import ROOT, SERVER_CORE

_START_S = 120.0
"""A busy machine needs many times what an idle one does."""
_STOP_S = 5.0


class NotStarted(Exception):
    """A server cannot be had here; the message is the reason, for the report."""


@dataclass(frozen=True)
class Plan:
    """How to start one server: it prints `listening on http://HOST:PORT`, unless `port` is given."""

    command: list[str]
    cwd: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)
    port: int | None = None


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    pid: int
    port: int
    directory: Path
    """Its own, removed at the end."""
    host: str = "127.0.0.1"
    database: str = ""
    """Our server's database, as bench.databases starts it: a file or a URI."""
    nodes: tuple["Running", ...] = ()
    """Further nodes of the same server, as bench.clusters starts them."""
    engine: int = 0
    """Process id of the Redis that they share."""


@contextlib.contextmanager
def running(plan: Plan, directory: Path) -> Iterator[Running]:
    """Start the server, give it while it runs, end it with all its children whatever happens.

    It dies with this process too (setpriv --pdeathsig). Raises NotStarted with the last it said.
    """
    command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(SERVER_CORE), *plan.command]
    process = subprocess.Popen(
        command,
        cwd=plan.cwd,
        env={**os.environ, "NODE_ENV": "production", "PYTHONUNBUFFERED": "1", **plan.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    output = _Output(process.stdout)
    try:
        yield Running(process.pid, plan.port or output.port(process), directory)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        output.close()


class _Output:
    """Reads what a server prints, so that its pipe never fills, and finds the port in it."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._said: list[str] = []
        self._stream = stream
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            self._lines.put(line)
        self._lines.put(None)

    def close(self) -> None:
        """Once the server has ended."""
        self._reader.join()
        self._stream.close()

    def port(self, process: "subprocess.Popen[str]") -> int:
        """The port of the line `listening on http://HOST:PORT`."""
        until = time.monotonic() + _START_S
        while (left := until - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                break
            if line is None:
                raise NotStarted(f"it ended with code {process.wait()}: {self._last()}")
            self._said.append(line.strip())
            if "listening on http://" in line:
                return int(line.split("listening on http://")[1].split()[0].rstrip("/,").rsplit(":", 1)[1])
        raise NotStarted(f"not ready after {_START_S:.0f} s: {self._last()}")

    def _last(self) -> str:
        return " / ".join(self._said[-3:])[-300:] or "it said nothing"


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="aerostack-bench-") as name:
        yield Path(name)
