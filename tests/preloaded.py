"""Processes of the program that start at once: forks of an interpreter that has imported it.

Half of the time of the flow tests was spent on imports. What runs is the same: a process of its own, with its own
arguments, environment and files, which receives signals and ends with an exit code.

`python -m tests.preloaded FD` is the interpreter that forks; it ends when the socket FD is closed, and kills
what it started.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import selectors
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Final, Self

from aerostack_realtime.cli.main import COMMANDS

MODULES: Final = (
    *(f"aerostack_realtime.cli.{place.partition(':')[0]}" for place, _ in COMMANDS.values()),
    "aerostack_realtime.backplane.redis.check",
    "aerostack_realtime.backplane.redis.journal",
    "aerostack_realtime.database.postgres.database",
    "aerostack_realtime.database.sqlite.database",
    "aerostack_realtime.documents.service",
    "aerostack_realtime.gateway.http.openapi",
    "aerostack_realtime.gateway.yjs.endpoint",
    "tests.faults.skewed",
)
"""What a server imports only when it needs it is among them."""
ROOT: Final = Path(__file__).parents[1]
MAX_BYTES: Final = 1 << 20
"""Of a request: the arguments and the environment."""
_STATUS: Final = struct.Struct("i")


class Process:
    """As `asyncio.subprocess.Process`, without standard input."""

    def __init__(self, pid: int, status: int, pipes: Sequence[_Pipe]) -> None:
        """`status`: the descriptor that its exit code comes from; `pipes`: what it prints, and its errors."""
        self.pid = pid
        self.stdout = pipes[0].reader
        self._pipes = pipes
        self._loop = asyncio.get_running_loop()
        self._status = status
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(status, self._end)

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._ended.result() if self._ended.done() else None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """The exit code; that of a process which a signal ended is the signal's number, negative."""
        return await asyncio.shield(self._ended)

    async def communicate(self) -> tuple[bytes, bytes]:
        """What it still prints, once it has ended."""
        printed = [await pipe.rest() for pipe in self._pipes]
        await self.wait()
        return printed[0], b"".join(printed[1:])

    def _end(self) -> None:
        code = os.read(self._status, _STATUS.size)
        self._loop.remove_reader(self._status)
        os.close(self._status)
        assert code, "the interpreter runs"
        self._ended.set_result(_STATUS.unpack(code)[0])


class _Pipe(asyncio.StreamReaderProtocol):
    """What a process prints."""

    def __init__(self) -> None:
        self.reader = asyncio.StreamReader()
        super().__init__(self.reader)
        self._gone = asyncio.Event()

    @classmethod
    async def open(cls, descriptor: int) -> Self:
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        return (await asyncio.get_running_loop().connect_read_pipe(cls, pipe))[1]

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._gone.set()

    async def rest(self) -> bytes:
        """Everything up to its end."""
        printed = await self.reader.read()
        await self._gone.wait()
        return printed


async def start(
    *arguments: str,
    env: Mapping[str, str],
    stderr: IO[bytes] | None = None,
    cwd: Path | None = None,
    entry: str = "aerostack_realtime.cli.main:main",
) -> Process:
    """Start the command `aerostack` with these arguments. Its output is piped, its errors without `stderr` too.

    `entry`: the function to run in its place.
    """
    out, theirs = os.pipe()
    status, ended = os.pipe()
    read, sent = [out], [theirs, ended]
    if stderr is None:
        errors, write = os.pipe()
        read.append(errors)
        sent.append(write)
    request = json.dumps([entry, ["aerostack", *arguments], dict(env), str(cwd or Path.cwd())]).encode()
    pid = _interpreter().fork(request, [theirs, sent[2] if stderr is None else stderr.fileno(), ended])
    for descriptor in sent:
        os.close(descriptor)
    return Process(pid, status, [await _Pipe.open(descriptor) for descriptor in read])


class _Interpreter:
    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.preloaded", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
            )

    def fork(self, request: bytes, descriptors: list[int]) -> int:
        """The process that runs what is requested."""
        socket.send_fds(self._socket, [request], descriptors)
        (pid,) = _STATUS.unpack(self._socket.recv(_STATUS.size))
        return int(pid)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


@cache
def _interpreter() -> _Interpreter:
    """One for each process that runs tests."""
    started = _Interpreter()
    atexit.register(started.close)
    return started


class _Forks:
    """The forks of the interpreter that run, by the descriptors that say when they end."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._running: dict[int, tuple[int, int]] = {}

    def serve(self) -> str:
        """Fork at each request. Returns in each fork, with its entry; in the interpreter it does not return."""
        while True:
            for key, _ in self._selector.select():
                if key.fd != self._control.fileno():
                    self._ended(key.fd)
                    continue
                request, descriptors, _, _ = socket.recv_fds(self._control, MAX_BYTES, 3)
                if not request:
                    for pid, _ in self._running.values():
                        os.kill(pid, signal.SIGKILL)
                    os._exit(0)
                if (entry := self._fork(request, descriptors)) is not None:
                    return entry

    def _fork(self, request: bytes, descriptors: list[int]) -> str | None:
        output, errors, status = descriptors
        pid = os.fork()
        if pid == 0:
            os.dup2(output, 1)
            os.dup2(errors, 2)
            self._close(output, errors, status)
            entry, sys.argv, environment, directory = json.loads(request)
            os.environ.clear()
            os.environ.update(environment)
            sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))
            os.chdir(directory)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return str(entry)
        os.close(output)
        os.close(errors)
        handle = os.pidfd_open(pid)
        self._running[handle] = (pid, status)
        self._selector.register(handle, selectors.EVENT_READ)
        self._control.send(_STATUS.pack(pid))
        return None

    def _ended(self, handle: int) -> None:
        pid, status = self._running.pop(handle)
        self._selector.unregister(handle)
        os.close(handle)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):
            os.write(status, _STATUS.pack(code))
        os.close(status)

    def _close(self, *descriptors: int) -> None:
        """In a fork: what is not its own."""
        self._selector.close()
        self._control.close()
        for handle, (_, status) in self._running.items():
            os.close(handle)
            os.close(status)
        for descriptor in descriptors:
            os.close(descriptor)


def _main(descriptor: int) -> None:
    for name in MODULES:
        import_module(name)
    gc.collect()
    gc.freeze()  # else the forks copy what they only look at
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ctrl-c ends the tests, and they end this process
    module, _, function = _Forks(socket.socket(fileno=descriptor)).serve().partition(":")
    getattr(import_module(module), function)()


if __name__ == "__main__":
    _main(int(sys.argv[1]))
