"""What a latency over Redis costs without any server's work: `python -m bench.cluster_floor`.

The path is that of bench.cluster: generator, process A, Redis, process B, generator. A and B do nothing but copy:
A appends what it receives with XADD, B waits in XREAD and sends what it gets. They are on the server's core, Redis
and the generator on the other. A server's own part of a latency is what is above these figures.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import cast

import msgspec
import uvloop

from aerostack_realtime.backplane.redis.address import Endpoint
from aerostack_realtime.backplane.redis.connection import Connection, Reply
from bench.fanout import own_cost
from bench.load.baseline import BYTES
from bench.load.latency import Histogram
from bench.machine import LOAD_CORE, ROOT, SERVER_CORE, describe
from bench.report import table
from tests.redis import RedisServer

RATES = (200.0, 1000.0)
SECONDS = 5.0
_LOG = "floor"


class _Appender(asyncio.Protocol):
    """Appends each message that it receives."""

    def __init__(self, redis: Connection) -> None:
        self._redis = redis
        self._rest = 0

    def data_received(self, data: bytes) -> None:
        messages, self._rest = divmod(self._rest + len(data), BYTES)
        for _ in range(messages):
            self._redis.send(lambda _: None, "XADD", _LOG, "MAXLEN", "~", "1000", "*", "b", b"x" * BYTES)


class _Reader(asyncio.Protocol):
    """Sends the messages of the log to each client that connects."""

    def __init__(self, redis: Connection) -> None:
        self._redis = redis
        self._last: str | bytes = "$"
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._read(None)

    def _read(self, reply: Reply) -> None:
        if reply:
            assert self._transport is not None
            entries = reply[0][1]
            self._last = entries[-1][0]
            self._transport.write(b"".join(fields[1] for _, fields in entries))
        self._redis.send(self._read, "XREAD", "BLOCK", "0", "STREAMS", _LOG, self._last)


async def _copy(role: str, redis: int) -> None:
    """Print the port of one process of the path, and serve it."""
    loop = asyncio.get_running_loop()
    connection = await Connection.open(Endpoint("127.0.0.1", redis))
    protocol = _Appender if role == "A" else _Reader
    server = await loop.create_server(lambda: protocol(connection), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def _process(role: str, redis: RedisServer) -> Iterator[int]:
    """The port of a process that copies, on the server's core."""
    command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(SERVER_CORE), sys.executable]
    command += ["-m", "bench.cluster_floor", role, str(redis.port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextlib.contextmanager
def redis_on_load_core() -> Iterator[RedisServer]:
    """A Redis on the load generator's core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {LOAD_CORE})  # a child process keeps the core of its parent
    try:
        server = RedisServer.started()
    finally:
        os.sched_setaffinity(0, cores)
    try:
        yield server
    finally:
        server.remove()


def over_redis(rate: float, seconds: float = SECONDS) -> Histogram:
    """Latencies of the path without a server."""
    with redis_on_load_core() as redis, _process("A", redis) as sender, _process("B", redis) as receiver:
        command = [sys.executable, "-m", "bench.load.baseline", str(rate), str(seconds), str(LOAD_CORE)]
        command += [str(sender), str(receiver)]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return Histogram(msgspec.json.decode(output, type=dict[str, int]))


def floors(rate: float, seconds: float = SECONDS) -> dict[str, Histogram]:
    """By name: the generator alone, and the path over Redis."""
    return {
        "nothing: the generator alone": own_cost(rate, seconds),
        "two processes that copy, over Redis": over_redis(rate, seconds),
    }


def main() -> None:
    if len(sys.argv) > 1:
        role, port = sys.argv[1:]
        uvloop.run(_copy(role, int(port)))
        return
    print("\n".join(f"- {line}" for line in describe()), end="\n\n")
    found = {rate: floors(rate) for rate in RATES}
    rows = [
        [
            name,
            *(" / ".join(f"{found[rate][name].percentile(share):.2f}" for share in (0.5, 0.99)) for rate in RATES),
        ]
        for name in found[RATES[0]]
    ]
    print(table(["latency, ms: p50 / p99", *(f"{rate:,.0f} messages/s" for rate in RATES)], rows))


if __name__ == "__main__":
    main()
