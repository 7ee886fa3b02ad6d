"""What a latency costs without a server: both ends of a loopback connection in one process.

`python -m bench.load.baseline RATE SECONDS CORE` prints a latency histogram as JSON. With two ports more, the
messages are sent to the first and received from the second: what lies between them is part of the latency.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import monotonic

import msgspec
import uvloop

from bench.load.latency import Histogram
from bench.load.load_shape import Timetable

BYTES = 250
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
        for number in range(before // BYTES, self._received // BYTES):
            self.latency.add(now - self._start - number / self._rate)


async def measure(rate: float, seconds: float, ports: Sequence[int] = ()) -> Histogram:
    """Latencies of `rate` messages a second for `seconds`, from when each was due."""
    loop = asyncio.get_running_loop()
    start = monotonic() + 0.2
    end = _End(start, rate)
    async with AsyncExitStack() as stack:
        if ports:
            _, receiver = ports
            transport, _ = await loop.create_connection(lambda: end, "127.0.0.1", receiver)
            stack.callback(transport.close)
        else:
            server = await stack.enter_async_context(await loop.create_server(lambda: end, "127.0.0.1", 0))
            ports = [server.sockets[0].getsockname()[1]]
        transport, _ = await loop.create_connection(asyncio.Protocol, "127.0.0.1", ports[0])
        stack.callback(transport.close)
        await Timetable(start, rate, int(rate * seconds), lambda _: transport.write(b"x" * BYTES)).run()
        await asyncio.sleep(0.1)
    return end.latency


def main() -> None:
    """Measure on the generator's core."""
    rate, seconds, core, *ports = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        latency = runner.run(measure(float(rate), float(seconds), [int(port) for port in ports]))
    print(msgspec.json.encode(latency.dump()).decode())


if __name__ == "__main__":
    main()
