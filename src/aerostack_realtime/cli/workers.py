"""`aerostack serve --workers N`: several nodes on one port of one machine, and the process that watches them."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aerostack_realtime.cli.console import fail, note

RESTART_SECONDS: Final = 1.0
"""How soon a worker that ended is started again: one that fails at once must not use up the machine."""
NEVER_STARTED: Final = 2
"""The exit code of a server that could not start."""


def reserve(host: str, port: int) -> socket.socket:
    """Keep a port for the workers without listening on it: a free one for 0. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kept = socket.socket(family)
    try:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind((host, port))
    except BaseException:
        kept.close()
        raise
    return kept


async def supervise(command: Sequence[str], count: int) -> int:
    """Run `command --worker 1` to `--worker COUNT` until SIGTERM or SIGINT; restart the ones that end.

    SIGHUP is passed on. Returns the exit code: that of a worker that could not start, when no worker ever ran
    longer than its start.
    """
    return await Workers(command, count).run()


class Workers:
    """The worker processes. `command` starts one; its number follows."""

    def __init__(self, command: Sequence[str], count: int) -> None:
        self._command = command
        self._count = count
        self._running: dict[int, asyncio.subprocess.Process] = {}
        self._stop = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        loop = asyncio.get_running_loop()
        for ending in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(ending, self._end)
        loop.add_signal_handler(signal.SIGHUP, self._send, signal.SIGHUP)
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, self._count + 1):
                tasks.create_task(self._keep(number))
        return self._code

    def _end(self) -> None:
        self._stop.set()
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running.values():
            with suppress(ProcessLookupError):  # it has just ended
                process.send_signal(number)

    async def _keep(self, number: int) -> None:
        """Run one worker, again and again, until all have to end."""
        while not self._stop.is_set():
            process = await asyncio.create_subprocess_exec(*self._command, "--worker", str(number), env=os.environ)
            self._running[number] = process
            if self._stop.is_set():  # it was set while the process started
                process.send_signal(signal.SIGTERM)
            code = await process.wait()
            del self._running[number]
            if self._stop.is_set():
                return
            if code == NEVER_STARTED:
                self._code = code
                self._end()
                return
            note(f"worker {number} ended with {code}; starting it again")
            try:
                async with asyncio.timeout(RESTART_SECONDS):
                    await self._stop.wait()
            except TimeoutError:
                continue


def serve_workers(arguments: Sequence[str], host: str, port: int, count: int) -> int:
    """Run `aerostack serve` with these arguments in `count` workers; returns the exit code."""
    try:
        kept = reserve(host, port)
    except OSError as error:
        fail(f"Cannot listen on {host}:{port}: {error.strerror}. Set another port in AEROSTACK_PORT.", 2)
    with kept:
        os.environ["AEROSTACK_PORT"] = str(kept.getsockname()[1])
        program = [sys.executable, "-c", "from aerostack_realtime.cli import main; main()", "serve"]
        return asyncio.run(supervise([*program, *arguments], count))
