"""Thousands of clients reconnect after a restart of the server: `python -m bench.reconnect`.

Half of the clients are subscribed to a table, half to rooms of ten. Each does what the SDKs do: it notices the
end, waits as the SDK's back-off says, connects, and resumes from its cursor. While the server is down, rows are
written, which every client of the table must receive; a client is back when it has what it missed.

`python -m bench.reconnect --before COMMIT` does the same with an earlier commit, or another checkout, first.
"""

import argparse
import asyncio
import os
import signal
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from time import monotonic

import msgspec
import uvloop
from msgspec import Struct

from aerostack_realtime.sdk.backoff import Backoff
from bench import proctree
from bench.before import COMMIT, sources, with_sources
from bench.contenders import OURS
from bench.load import websocket
from bench.load.caller import call
from bench.load.dialects import Aerostack, Exchange
from bench.load.handshake import Refused, enter
from bench.load.listener import Listener
from bench.machine import LOAD_CORE, describe, free_port
from bench.report import table
from bench.servers import Plan, Running, running, scratch

TABLE = "returns"
MISSED = 10
"""Rows written while the server is down."""
_ROOM = 10
_AT_ONCE = 200
"""Clients that connect at a time before the measurement."""
_LOOK_S = 0.1
_PATIENCE_S = 300.0


class _Heard(Struct):
    type: str
    cursor: str = ""
    recovered: bool | None = None


class _Subscribing(Aerostack):
    """Ours, with a subscription whose answer is left to the successor."""

    def setup(self, channel: str | None) -> list[Exchange]:  # noqa: ARG002  (the client subscribes itself)
        return super().setup(None)


class Client:
    """A client that stays subscribed, from its cursor on, until it is cancelled."""

    def __init__(self, number: int, host: str, port: int, world: "World") -> None:
        self._address = host, port
        self._world = world
        self._decode = msgspec.json.Decoder(_Heard).decode
        self.table = number % 2 == 0
        self.topic = TABLE if self.table else f"bench/room-{number // 2 // _ROOM}"
        self._cursor: str | None = None
        self._due = 0
        self.back = asyncio.Event()

    async def live(self) -> None:
        backoff = Backoff()
        while True:
            guest = Listener(self._hear)
            try:
                self._world.attempts += 1
                await enter(_Subscribing(), *self._address, None, guest)
            except (OSError, Refused, TimeoutError):
                self._world.failures += 1
            else:
                backoff.opened()
                command = {"type": "subscribe", "topic": self.topic, "since": self._cursor}
                guest.send(websocket.encode(msgspec.json.encode(command)))
                await guest.gone.wait()
                self.back.clear()
                self._world.lost()
            await asyncio.sleep(backoff.wait())

    def miss(self, count: int) -> None:
        """It is back when `count` changes have come."""
        self._due = count if self.table else 0

    def _hear(self, content: bytes, now: float) -> None:
        frame = self._decode(content)
        if frame.type == "subscribed" and self._cursor is not None and self.table and frame.recovered is not True:
            self._world.gaps += 1
        if frame.type == "db_change":
            self._due -= 1
        if frame.cursor:
            self._cursor = frame.cursor
        if self._due <= 0 and frame.type in ("subscribed", "db_change") and not self.back.is_set():
            self.back.set()
            self._world.returned(now)


class World:
    """What happened to all clients together."""

    def __init__(self) -> None:
        self.attempts = self.failures = self.gaps = self.away = 0
        self.times: list[float] = []
        self.all_gone: float | None = None

    def lost(self) -> None:
        self.away += 1
        self.all_gone = monotonic()

    def returned(self, now: float) -> None:
        self.times.append(now)


class Watch:
    """Samples a server's CPU and memory until it is stopped."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._samples = [(monotonic(), proctree.cpu_seconds(server.pid))]
        self.memory = 0
        self._task = asyncio.create_task(self._look())

    async def _look(self) -> None:
        while True:
            self._samples.append((monotonic(), proctree.cpu_seconds(self._server.pid)))
            self.memory = max(self.memory, proctree.resident(self._server.pid))
            await asyncio.sleep(_LOOK_S)

    def stop(self) -> None:
        self._task.cancel()

    @property
    def cpu(self) -> float:
        """Seconds since the first sample."""
        return self._samples[-1][1] - self._samples[0][1]

    @property
    def peak(self) -> float:
        """The largest share of a core over a second."""
        window = max(1, round(1 / _LOOK_S))
        pairs = zip(self._samples, self._samples[window:], strict=False)
        return max(((last[1] - first[1]) / (last[0] - first[0]) for first, last in pairs), default=0.0)


class Outcome(Struct, frozen=True):
    """Times in seconds since the server received SIGTERM or was killed; memory in bytes."""

    clients: int
    gone: float
    ended: float
    listens: float
    back: list[float]
    attempts: int
    failures: int
    gaps: int
    memory_before: int
    memory_peak: int
    cpu: float
    cpu_peak: float


def plan(directory: Path, port: int, source: Path | None = None) -> Plan:
    """Our server on a port that stays the same, with the sources of another version if they are given."""
    begun = (OURS.plan if source is None else with_sources(source, OURS.plan))(directory)
    command = [
        str(port) if before == "--port" else each
        for before, each in zip(["", *begun.command], begun.command, strict=False)
    ]
    return replace(begun, command=command)


async def reconnect(
    count: int,
    how: signal.Signals,
    directory: Path,
    host: ExitStack,
    keeper: ThreadPoolExecutor,
    source: Path | None = None,
) -> Outcome:
    """Connect `count` clients, end the server by `how`, start it again, and wait until all are back. `source` are
    the sources of another version."""
    loop = asyncio.get_running_loop()
    port = free_port()
    start = lambda: host.enter_context(running(plan(directory, port, source), directory))  # noqa: E731
    server = await loop.run_in_executor(keeper, start)
    caller = await call(server.host, server.port)
    await caller.post("/v1/db/query", {"sql": f"CREATE TABLE {TABLE}(id INTEGER PRIMARY KEY, n)", "params": []})
    caller.close()
    world = World()
    clients = [Client(number, server.host, server.port, world) for number in range(count)]
    living: list[asyncio.Task[None]] = []
    for first in range(0, count, _AT_ONCE):
        part = clients[first : first + _AT_ONCE]
        living += [asyncio.create_task(each.live()) for each in part]
        await asyncio.gather(*(each.back.wait() for each in part))
    before = proctree.resident(server.pid)
    world.attempts = world.failures = 0
    world.times.clear()
    for each in clients:
        each.miss(MISSED)
    begun = monotonic()
    os.kill(server.pid, how)
    await loop.run_in_executor(keeper, host.close)
    ended = monotonic()
    with closing(sqlite3.connect(directory / "bench.db", isolation_level=None)) as database:
        for number in range(MISSED):
            database.execute(f"INSERT INTO {TABLE}(n) VALUES (?)", (number,))
    server = await loop.run_in_executor(keeper, start)
    listens, watch = monotonic(), Watch(server)
    async with asyncio.timeout(_PATIENCE_S):
        await asyncio.gather(*(each.back.wait() for each in clients))
    await asyncio.sleep(2 * _LOOK_S)
    watch.stop()
    for task in living:
        task.cancel()
    assert world.all_gone is not None
    assert world.away == count, f"{world.away} of {count} were away"
    return Outcome(
        count,
        world.all_gone - begun,
        ended - begun,
        listens - begun,
        sorted(each - begun for each in world.times),
        world.attempts,
        world.failures,
        world.gaps,
        before,
        watch.memory,
        watch.cpu,
        watch.peak,
    )


def report(*outcomes: Outcome) -> str:
    """The figures, as a table with a column for each outcome."""
    columns = [_figures(each) for each in outcomes]
    titles = ["value"] if len(columns) == 1 else ["before", "now"]
    return table(["reconnect", *titles], [[title, *(each[title] for each in columns)] for title in columns[0]])


def _figures(found: Outcome) -> dict[str, str]:
    per_second = Counter(int((each - found.listens) * 10) for each in found.back)
    busiest = max(sum(per_second[at + step] for step in range(10)) for at in per_second)
    half, most = (found.back[int(len(found.back) * share)] for share in (0.5, 0.99))
    return {
        "clients": f"{found.clients:,}",
        "the last connection has ended after": f"{found.gone:.2f} s",
        "the old server has ended after": f"{found.ended:.2f} s",
        "the new server listens after": f"{found.listens:.2f} s",
        "half / 99 % / all are back after": f"{half:.2f} / {most:.2f} / {found.back[-1]:.2f} s",
        "all are back, from when it listens": f"{found.back[-1] - found.listens:.2f} s",
        "most returns within a second": f"{busiest:,}",
        "attempts to connect, of which refused": f"{found.attempts:,}, {found.failures:,}",
        "clients of the table with a gap": f"{found.gaps:,}",
        "server CPU from listening until then": f"{found.cpu:.2f} s",
        "the same for each client": f"{found.cpu / found.clients * 1e6:.0f} µs",
        "peak of a core": f"{found.cpu_peak:.0%}",
        "memory before; peak after": f"{found.memory_before / 2**20:.0f}; {found.memory_peak / 2**20:.0f} MiB",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--kill", action="store_true", help="kill -9 instead of SIGTERM")
    parser.add_argument("--before", nargs="?", const=COMMIT, help="a commit, or the directory of a checkout")
    options = parser.parse_args()
    for line in describe():
        print(line)
    how = signal.SIGKILL if options.kill else signal.SIGTERM
    os.sched_setaffinity(0, {LOAD_CORE})
    outcomes = []
    with suppress(KeyboardInterrupt):
        if options.before is not None:
            with sources(options.before) as source:
                outcomes.append(run(options.clients, how, source))
        outcomes.append(run(options.clients, how))
        print(report(*outcomes))


def run(count: int, how: signal.Signals, source: Path | None = None) -> Outcome:
    """`reconnect` on an event loop of its own."""
    with (
        scratch() as directory,
        ThreadPoolExecutor(1) as keeper,
        ExitStack() as host,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(reconnect(count, how, directory, host, keeper, source))


if __name__ == "__main__":
    main()
