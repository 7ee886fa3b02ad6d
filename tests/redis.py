"""Real Redis servers and Sentinels for tests.

Each has a directory of its own, a Unix socket in it, and a free port of 127.0.0.1. AEROSTACK_REDIS_SERVER names
another program, such as valkey-server.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, Self

import hiredis

from tests.ports import Port

EMPTY = '""'
PATIENCE = 100.0
"""Seconds after which a server is not going to answer."""


def program() -> str:
    return os.environ.get("AEROSTACK_REDIS_SERVER", "redis-server")


@cache
def _locks_debug(name: str) -> bool:
    """Whether a server refuses DEBUG until its settings allow it; older ones refuse that setting."""
    version = subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout
    major = re.search(r"v=(\d+)", version)
    assert major is not None, version
    return int(major[1]) >= 7


class RedisError(Exception):
    pass


class RedisServer:
    """One server process with its files; `start` returns once it answers.

    `settings` are those of redis.conf. Without any, it keeps nothing on disk.
    """

    def __init__(self, **settings: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="ard-"))
        self._port = Port()
        self.port = self._port.number
        self.socket = self.directory / "redis.sock"
        self._settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "repl-diskless-sync-delay": "0",
        } | {name.replace("_", "-"): value for name, value in settings.items()}
        if _locks_debug(program()):
            self._settings["enable-debug-command"] = "yes"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def started(cls, **settings: str) -> Self:
        made = cls(**settings)
        made.start()
        return made

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def is_master(self) -> bool:
        try:
            return bool(self.command("ROLE")[0] == b"master")
        except OSError:  # a promotion closes connections
            return False

    @property
    def tls_port(self) -> int:
        return int(self._settings["tls-port"])

    @property
    def version(self) -> str:
        lines = self.command("INFO", "server").decode().splitlines()
        return str(next(line.partition(":")[2] for line in lines if line.startswith("redis_version:")))

    @property
    def used_memory(self) -> int:
        """In bytes, as it is compared with maxmemory."""
        lines = self.command("INFO", "memory").decode().splitlines()
        return next(int(line.partition(":")[2]) for line in lines if line.startswith("used_memory:"))

    @property
    def clients(self) -> list[str]:
        """Its connections, in its own words."""
        return str(self.command("CLIENT", "LIST").decode()).splitlines()

    @property
    def pid(self) -> int:
        assert self._process is not None, "it runs"
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def start(self) -> None:
        configuration = self.directory / "redis.conf"
        lines = [f"{name} {value or EMPTY}" for name, value in self._settings.items()]
        if not configuration.exists():  # a Sentinel and a server that it commands write into theirs
            configuration.write_text("\n".join(lines) + "\n")
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [program(), configuration, *self._arguments()], stdout=log, stderr=log
            )
        self.await_answer()

    def await_answer(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            assert self._process is not None
            assert self._process.poll() is None, self.log[-2000:]
            try:
                if self.command("PING", user=None) == b"PONG":
                    return
            except RedisError as error:
                if "LOADING" not in str(error):
                    return  # it asks for a password
            except OSError:
                assert time.monotonic() < end, self.log[-2000:]

    def command(self, *parts: str | int, user: tuple[str, str] | None = None) -> Any:
        """Run one command on a connection of its own; errors are raised."""
        reader = hiredis.Reader(replyError=RedisError)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(PATIENCE)
            connection.connect(str(self.socket))
            if user is not None:
                connection.sendall(hiredis.pack_command(("AUTH", *user)))  # type: ignore[arg-type]
                self._reply(reader, connection)
            connection.sendall(hiredis.pack_command(parts))  # type: ignore[arg-type]
            reply = self._reply(reader, connection)
        return reply

    @staticmethod
    def _reply(reader: hiredis.Reader, connection: socket.socket) -> Any:
        while (reply := reader.gets()) is False:
            data = connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the server closed the connection")
            reader.feed(data)
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def kill(self) -> None:
        """As by a crash of its machine, but for what it wrote to its files."""
        assert self._process is not None, "it runs"
        self._process.kill()
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def forget_data(self) -> None:
        """Remove what a stopped server has on disk."""
        for path in self.directory.iterdir():
            if path.name not in ("redis.conf", "log"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def cpu_seconds(self) -> float:
        """What its process has used, by /proc: user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def remove(self) -> None:
        if self._process is not None:
            self.kill()
        self._port.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _arguments(self) -> tuple[str, ...]:
        return ()


class Sentinel(RedisServer):
    """Watches the master `name`. `quorum` Sentinels have to agree that it is down."""

    def __init__(
        self,
        name: str,
        master: RedisServer,
        *,
        quorum: int,
        down_after_ms: int = 500,
        host: str = "127.0.0.1",
    ) -> None:
        """`host`: the address of this machine by which everybody is known."""
        super().__init__()
        watch = {
            "monitor": f"{name} {host} {master.port} {quorum}",
            "down-after-milliseconds": f"{name} {down_after_ms}",
            "failover-timeout": f"{name} 3000",
            "parallel-syncs": f"{name} 1",
        }
        self._settings = {
            "bind": host,
            "port": str(self.port),
            "unixsocket": str(self.socket),
            "dir": str(self.directory),
        } | {f"sentinel {option}": value for option, value in watch.items()}

    def _arguments(self) -> tuple[str, ...]:
        return ("--sentinel",)


class WatchedRedis:
    """A master, a replica, and three Sentinels that fail over to the replica."""

    NAME = "main"

    def __init__(self, host: str = "127.0.0.1", *, down_after_ms: int = 500) -> None:
        """`host`: the address of this machine by which the servers know each other and clients find them."""
        self._host = host
        how = {"bind": host, "protected_mode": "no"}
        self.master = RedisServer.started(**how)
        self.replica = RedisServer.started(**how, replicaof=f"{host} {self.master.port}")
        self.sentinels = [
            Sentinel(self.NAME, self.master, quorum=2, down_after_ms=down_after_ms, host=host) for _ in range(3)
        ]
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            self._await_complete(sentinel)

    @property
    def url(self) -> str:
        places = ",".join(f"{self._host}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{self.NAME}"

    @property
    def current(self) -> RedisServer:
        """The server that the Sentinels name as the master."""
        reply = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
        return next(each for each in (self.master, self.replica) if each.port == int(reply[1]))

    @property
    def other(self) -> RedisServer:
        return self.replica if self.current is self.master else self.master

    def await_master(self, server: RedisServer) -> None:
        """Return once the Sentinels have made a server the master."""
        end = time.monotonic() + 2 * PATIENCE
        while self.current is not server or not server.is_master:
            assert time.monotonic() < end, "the Sentinels do not fail over"
            time.sleep(0.05)

    def await_complete(self) -> None:
        """Return once the replica is in step again, and the Sentinels know it."""
        for sentinel in self.sentinels:
            self._await_complete(sentinel)

    def fail_over(self) -> None:
        """Command one; the old master stays up, and writable until the Sentinels demote it."""
        self.sentinels[0].command("SENTINEL", "FAILOVER", self.NAME)

    def remove(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.remove()

    def _await_complete(self, sentinel: Sentinel) -> None:
        end = time.monotonic() + 4 * PATIENCE
        while not self._complete(sentinel):
            time.sleep(0.05)
            assert time.monotonic() < end, "the Sentinels do not see each other and the replica"

    def _complete(self, sentinel: Sentinel) -> bool:
        """Whether it knows the other Sentinels and a replica that is in step."""
        others = sentinel.command("SENTINEL", "SENTINELS", self.NAME)
        replicas = [fields(found) for found in sentinel.command("SENTINEL", "REPLICAS", self.NAME)]
        return len(others) == 2 and any(found.get("master-link-status") == "ok" for found in replicas)


def fields(pairs: list[bytes]) -> dict[str, str]:
    """A flat list of names and values."""
    return {name.decode(): value.decode() for name, value in zip(pairs[::2], pairs[1::2], strict=True)}
