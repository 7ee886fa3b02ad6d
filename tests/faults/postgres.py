"""The PostgreSQL beneath the server under test: on the small disk, and reached by it through a network of its own.

`fsync` is off: what is killed are processes, and what a process has written the operating system keeps.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow

from tests.faults.network import Network
from tests.postgres import PostgresServer

DATABASE: Final = "app"
SLOT: Final = f"aerostack_{DATABASE}"
"""The server's; copies of it come and go."""
SETTINGS: Final = {
    "max_connections": "100",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_wal_size": "256MB",  # what a backup copies
    "checkpoint_timeout": "60s",
    "shared_buffers": "64MB",
    "wal_sender_timeout": "20s",  # a stop in order waits that long for a receiver that is cut off
}
PATIENCE_SECONDS: Final = 120.0
"""It recovers, and everybody reconnects, beside three nodes on two busy cores."""
LOOK_SECONDS: Final = 0.02


class Postgres:
    """One server, with the database of the run in it."""

    def __init__(self, directory: Path) -> None:
        self.server = PostgresServer(tcp=True, settings=SETTINGS, data=directory / "data")
        self.link = Network(self.server.port)
        self.server.start()
        self.server.execute(f"CREATE DATABASE {DATABASE}")

    @property
    def address(self) -> str:
        """For writers: what happens to the server's network is not theirs to bear."""
        return f"postgresql://postgres@127.0.0.1:{self.server.port}/{DATABASE}"

    @property
    def address_by_link(self) -> str:
        """For the server under test."""
        return f"postgresql://postgres@127.0.0.1:{self.link.port}/{DATABASE}"

    def address_by_cable(self, host: str) -> str:
        """For a node on a host of its own, which reaches this one at the address `host`."""
        return f"postgresql://postgres@{host}:{self.link.port}/{DATABASE}"

    @contextmanager
    def connected(self) -> Iterator[psycopg.Connection[TupleRow]]:
        """A connection of the suite's, in autocommit, waited for while PostgreSQL recovers."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.ensure()
            try:
                connection = psycopg.connect(self.server.socket_dsn(DATABASE), autocommit=True, connect_timeout=5)
                break
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)
        with connection:
            yield connection

    def ask(self, query: str, *params: Any) -> Any:
        """The one value that a query answers, which may be asked twice; None without a row."""
        while True:
            with suppress(psycopg.OperationalError), self.connected() as connection:
                row = connection.execute(query.encode(), params).fetchone()
                return row[0] if row else None

    def ensure(self) -> None:
        """Start it again when it ended, as after a crash with a disk that stays full."""
        if not self.server.runs:
            self.server.start()

    def restart(self, how: signal.Signals, *, alone: bool = False) -> None:
        """SIGINT stops it in order, SIGQUIT at once. `alone`: only we can reach it then."""
        self.server.stop(how)
        self.server.start(alone=alone)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Between these none of its processes does anything: its files are as after a loss of power, with all that
        was written."""
        stopped = []
        try:
            os.kill(self.server.pid, signal.SIGSTOP)
            stopped.append(self.server.pid)
            stopped += [pid for pid in children(self.server.pid) if stop(pid)]
            for pid in stopped:
                while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
                    time.sleep(0.001)
            yield
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)

    def walsender(self) -> int | None:
        """The process that sends the log to the server under test."""
        pid = self.ask("SELECT active_pid FROM pg_replication_slots WHERE slot_name = %s", SLOT)
        return None if pid is None else int(pid)

    async def until(self, query: str, *params: Any) -> None:
        """Wait until a query answers true. Raises TimeoutError."""
        await asyncio.to_thread(self._until, query, params)

    def _until(self, query: str, params: tuple[Any, ...]) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not self.ask(query, *params):
            if time.monotonic() > until:
                raise TimeoutError(f"{PATIENCE_SECONDS} s were not enough for {query}")
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        self.server.remove()


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def stop(pid: int, number: signal.Signals = signal.SIGSTOP) -> bool:
    """Signal a process; whether it was still there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
