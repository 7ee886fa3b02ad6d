"""A real PostgreSQL server in a directory of its own, for tests.

It listens on a Unix socket in that directory, so no two get in each other's way and none is on the standard port;
`tcp=True` adds a free port of 127.0.0.1. Its own files say which version it is: AEROSTACK_POSTGRES_BIN names the
directory of the programs, else the newest one that is installed.

`python -m tests.postgres COMMAND…` runs a command with AEROSTACK_TEST_DATABASE naming a server of its own.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import psycopg

from tests.ports import Port

SETTINGS = {
    "wal_level": "logical",
    "fsync": "off",  # what is tested is our crash and the server's, not the machine's
    "max_connections": "200",
    "max_wal_senders": "50",
    "max_replication_slots": "50",
    "wal_sender_timeout": "10s",
    "shared_buffers": "32MB",
    "jit": "off",
    "unix_socket_permissions": "0777",
    "logging_collector": "off",
}
CRASH_SECONDS = 10
STOP_SECONDS = 120
"""An orderly stop waits for the receivers of its log, at most `wal_sender_timeout` for one that is cut off."""
MEMORY = Path("/dev/shm")
"""Files in memory on Linux. There a new database costs a fifth of the CPU time that it costs on a disk."""
MEMORY_BYTES = 4 << 30
"""How much must be free there. Containers have 64 MiB by default."""
PORT = 6543
"""Names the socket's file only, where there is no TCP."""


def binaries() -> Path:
    """The directory with initdb and postgres."""
    if named := os.environ.get("AEROSTACK_POSTGRES_BIN"):
        return Path(named)
    return _installed()


def psql() -> Path:
    """Of the version under test, if its programs came with one; else another, which speaks with all versions."""
    own = binaries() / "psql"
    return own if own.exists() else _installed() / "psql"


def _installed() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parent.parent.name)
    )
    assert installed, "no PostgreSQL server is installed: scripts/require initdb"
    return installed[-1].parent


class PostgresServer:
    """One server process with its files. `start` returns once it answers."""

    def __init__(
        self,
        *,
        tcp: bool = False,
        settings: dict[str, str] | None = None,
        data: Path | None = None,
        copy_of: Path | None = None,
        disk: bool = False,
    ) -> None:
        """`data`: where its files are to be, in a directory that it may write to; else they are in memory if there
        is room, unless it is to use the `disk`. With `copy_of`, the data directory of a server that is stopped, it
        begins with those files but for their replication slots, as after a base backup."""
        self.directory = Path(tempfile.mkdtemp(prefix="apg-", dir=None if disk else _memory()))
        self.data = data or self.directory / "data"
        self._kept = Port() if tcp else None
        self.port = PORT if self._kept is None else self._kept.number
        self._host = "127.0.0.1" if tcp else str(self.directory)
        self._settings = (
            SETTINGS
            | {
                "port": str(self.port),
                "listen_addresses": "127.0.0.1" if tcp else "",
                "unix_socket_directories": str(self.directory),
            }
            | (settings or {})
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        if os.geteuid() == 0:  # the server refuses to run as root
            shutil.chown(self.directory, "postgres")
            if data is not None:
                data.mkdir()
                shutil.chown(data, "postgres")
        self.directory.chmod(0o755)
        if copy_of is None:
            self.run(
                "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", "--locale=C"
            )
        else:
            shutil.copytree(
                copy_of, self.data, ignore=lambda path, names: names if path.endswith("replslot") else ()
            )
            self.own_files()

    @classmethod
    def started(cls, **settings: Any) -> Self:
        made = cls(**settings)
        made.start()
        return made

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self._host}&port={self.port}"

    def socket_dsn(self, database: str = "postgres") -> str:
        """The way in by the socket's file, which is there without TCP, too."""
        return f"postgresql://postgres@/{database}?host={self.directory}&port={self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "it runs"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *, alone: bool = False) -> None:
        """`alone`: without TCP, so it is reachable only by its socket's file."""
        chosen = self._settings | ({"listen_addresses": ""} if alone else {})
        settings = [part for name, value in chosen.items() for part in ("-c", f"{name}={value}")]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [binaries() / "postgres", "-D", self.data, *settings],
                stdout=log,
                stderr=log,
                **self._identity(),
            )
        ready = subprocess.run(
            [binaries() / "pg_ctl", "status", "-D", self.data],
            capture_output=True,
            check=False,
            **self._identity(),
        )
        while ready.returncode != 0 or not self._answers():
            assert self._process.poll() is None, (self.directory / "log").read_text()[-2000:]
            ready = subprocess.run(
                [binaries() / "pg_ctl", "status", "-D", self.data],
                capture_output=True,
                check=False,
                **self._identity(),
            )

    def signal_process(self, pid: int, name: str) -> None:
        """Send one of its processes SIGSTOP, SIGCONT and the like: `signal_process(pid, "STOP")`."""
        os.kill(pid, signal.Signals[f"SIG{name}"])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast, in order. SIGQUIT: immediate, as a crash; the next start recovers from the log."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(STOP_SECONDS)
            self._process = None

    def crash(self) -> None:
        """SIGQUIT; and SIGKILL for all its processes if that does not end it, which was seen once in hundreds."""
        process = self._process
        assert process is not None, "it runs"
        try:
            process.send_signal(signal.SIGQUIT)
            process.wait(CRASH_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in [*_children(process.pid), process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(CRASH_SECONDS)
        self._process = None

    def remove(self) -> None:
        if self.runs:
            self.crash()
        if self._kept is not None:
            self._kept.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def version(self) -> int:
        """As a number like 150018."""
        with psycopg.connect(self.dsn()) as connection:
            return connection.info.server_version

    def restore(self, backup: Path) -> None:
        """Stop, put its files back as they are in `backup`, and start."""
        self.stop()
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)
        self.own_files()
        self.start()

    def own_files(self) -> None:
        """Give files that were copied into its directory to the user it runs as."""
        if os.geteuid() == 0:
            for path in [self.data, *self.data.rglob("*")]:
                shutil.chown(path, "postgres", "postgres")
            self.data.chmod(0o700)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Run statements in autocommit."""
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def drop_database(self, name: str) -> None:
        drop_database(self.dsn(), name)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.socket_dsn(), connect_timeout=5):
                return True
        except psycopg.OperationalError:
            return False

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the user whom the files belong to."""
        done = subprocess.run(
            [binaries() / program, *arguments], capture_output=True, text=True, check=False, **self._identity()
        )
        assert done.returncode == 0, done.stderr

    def _identity(self) -> dict[str, Any]:
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}
        if os.geteuid() != 0:
            return {"env": environment}
        return {"user": "postgres", "group": "postgres", "extra_groups": [], "cwd": "/", "env": environment}


def end_connection(dsn: str, pid: int) -> None:
    """End the process that serves a connection; return once it is gone."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with suppress(ProcessLookupError):
        while True:  # pg_stat_activity forgets it before its socket is closed
            os.kill(pid, 0)


def create_database(dsn: str, name: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())


def drop_database(dsn: str, name: str) -> None:
    """Drop a database of the server at `dsn` with its replication slots."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        slots = "SELECT slot_name FROM pg_replication_slots WHERE database = %s"
        while connection.execute(f"{slots} AND active", (name,)).fetchall():
            connection.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active AND database = %s",
                (name,),
            )
        connection.execute(
            f"SELECT pg_drop_replication_slot(slot_name) FROM ({slots}) s",
            (name,),
        )
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def _main(command: list[str]) -> int:
    server = PostgresServer.started()
    try:
        return subprocess.run(
            command, env=os.environ | {"AEROSTACK_TEST_DATABASE": server.dsn()}, check=False
        ).returncode
    finally:
        server.remove()


def _children(parent: int) -> list[int]:
    """The processes that a process has started and that are there."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _memory() -> Path | None:
    """MEMORY if there is room."""
    with suppress(OSError):
        if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
            return MEMORY
    return None


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
