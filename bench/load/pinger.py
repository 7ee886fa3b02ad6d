"""A connection in its own process that sends a ping every 10 ms, each counted from when it was due.

`python -m bench.load.pinger HOST PORT` prints `ready` when it is connected. For each line on its standard input it
waits for the pongs of all pings so far, and prints as JSON a `Histogram` of what they took since the last line. It
ends with its standard input.

Where it may, it runs with real-time priority: it shares the generator's core with clients and writers that keep it
busy, and would measure how long it waits for them.
"""

import asyncio
import contextlib
import os
import sys
from collections import deque
from time import monotonic

import msgspec
import uvloop

from bench.load import websocket
from bench.load.latency import Histogram
from bench.load.listener import Listener, listen
from bench.machine import LOAD_CORE

_PING = websocket.encode(b'{"type":"ping"}')
_PING_S = 0.01
_HIGHER = 10
"""Above the processes that it was started with, also where these have a real-time priority."""


class _Pinger:
    """Pings on a connection of its own."""

    def __init__(self) -> None:
        self._due: deque[float] = deque()
        self._found = Histogram()
        self._idle = asyncio.Event()
        self._listener: Listener | None = None

    async def begin(self, host: str, port: int) -> None:
        self._listener = await listen(host, port, None, self._hear)
        self._ping(monotonic())

    async def take(self) -> Histogram:
        """Once every ping has its pong."""
        if self._due:
            self._idle.clear()
            await self._idle.wait()
        found, self._found = self._found, Histogram()
        return found

    def _ping(self, due: float) -> None:
        assert self._listener is not None, "it is connected"
        while due <= monotonic():
            self._due.append(due)
            self._listener.send(_PING)
            due += _PING_S
        asyncio.get_running_loop().call_later(due - monotonic(), self._ping, due)

    def _hear(self, _content: bytes, now: float) -> None:
        self._found.add(now - self._due.popleft())
        if not self._due:
            self._idle.set()


async def main() -> None:
    """Ping until the standard input ends."""
    host, port = sys.argv[1:]
    pinger = _Pinger()
    await pinger.begin(host, int(port))
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(msgspec.json.encode((await pinger.take()).dump()).decode(), flush=True)


if __name__ == "__main__":
    os.sched_setaffinity(0, {LOAD_CORE})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(os.sched_getparam(0).sched_priority + _HIGHER))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
