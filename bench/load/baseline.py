"""What a latency costs the generator itself: both ends of a loopback connection in one process, no server.

`python -m bench.load.baseline RATE SECONDS CORE` prints a latency histogram as JSON.
"""

import asyncio
import os
import sys
from time import monotonic

import msgspec
import uvloop

from bench.load.latency import Histogram
from bench.load.load_shape import Timetable

_BYTES = 250
"""About what a 100-byte message is on the wire."""


class _End(asyncio.Protocol):
    """Receives what the other end sent, message by message."""

    def __init__(self, start: float, rate: float) -> None:
        self._start = start
        self._rate = rate
        self._received = 0
        self.latency = Histogram()

    def data_received(self, data: bytes) -> None:
        now = monotonic()
        before, self._received = self._received, self._received + len(data)
        for number in range(before // _BYTES, self._received // _BYTES):
            self.latency.add(now - self._start - number / self._rate)


async def measure(rate: float, seconds: float) -> Histogram:
    """Latencies of `rate` messages a second for `seconds`, from when each was due."""
    loop = asyncio.get_running_loop()
    start = monotonic() + 0.2
    end = _End(start, rate)
    server = await loop.create_server(lambda: end, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", port)
        await Timetable(start, rate, int(rate * seconds), lambda _: transport.write(b"x" * _BYTES)).run()
        await asyncio.sleep(0.1)
        transport.close()
    return end.latency


def main() -> None:
    """Measure on the generator's core."""
    rate, seconds, core = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
    os.sched_setaffinity(0, {core})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(msgspec.json.encode(runner.run(measure(rate, seconds)).dump()).decode())


if __name__ == "__main__":
    main()
