"""What the journal on Redis costs: `python -m bench.journal`.

Two nodes, each a process with a RedisJournal and nothing else, publish events with 100 bytes of data through a
fresh Redis, in ticks, as sockets hand them over. Printed are the CPU of Redis and of a node per event, and the
time from the append on one node to the entry on the other.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic_ns, process_time
from typing import Final

import uvloop
from msgspec import Struct

from aerostack_realtime.backplane.items import AnyItem, Publish
from aerostack_realtime.backplane.redis.address import parse_address
from aerostack_realtime.backplane.redis.journal import RedisJournal
from bench.machine import ROOT, describe
from bench.report import table
from tests.contract.backplane.arbiter import SqliteGenerations
from tests.redis import RedisServer

SECONDS: Final = 6.0
FILLER: Final = "x" * 70
DIGITS: Final = 20


class Work(Struct, frozen=True):
    """Events per second over all publishers, who append every `tick` seconds."""

    name: str
    rate: int
    publishers: int
    tick: float


WORK: Final = (
    Work("500/s, one node publishes", 500, 1, 0.002),
    Work("1,000/s, both publish", 1_000, 2, 0.002),
    Work("25,000/s, one node publishes", 25_000, 1, 0.002),
    Work("25,000/s, both publish", 25_000, 2, 0.002),
    Work("25,000/s, both publish, ticks of 1 ms", 25_000, 2, 0.001),
    Work("100,000/s, both publish", 100_000, 2, 0.002),
)


class Listener:
    """Takes the time of what other nodes appended."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._expected = -1
        self._complete = asyncio.Event()
        self.count = 0
        self.times: list[int] = []

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:  # noqa: ARG002
        self.count += 1
        if self.count == self._expected:
            self._complete.set()
        if node != self._node and isinstance(item, Publish):
            self.times.append(monotonic_ns() - int(item.data[1 : 1 + DIGITS]))

    async def until(self, count: int) -> None:
        """Return when `count` events have entered."""
        self._expected = count
        if self.count < count:
            await self._complete.wait()

    def began(self, since: int, until: int) -> None:
        """Once, at the start."""

    def cut_off(self) -> None:
        raise AssertionError("Redis is in reach")

    def reconnected(self) -> None:
        raise AssertionError("Redis is in reach")

    def refused(self, items: object, error: object) -> tuple[int, ...]:
        raise AssertionError(f"Redis takes {items}: {error}")


async def run_node(name: str, url: str, arbiter: str, per_tick: float, tick: float) -> None:
    """Publish for a while and print what it took, as JSON."""
    journal = RedisJournal(parse_address(url), SqliteGenerations(Path(arbiter)), name)
    listener = Listener(name)
    await journal.start(listener)
    running = asyncio.create_task(journal.run())
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    cpu, begin, due, appended = process_time(), monotonic_ns(), 0.0, 0
    ticks = int(SECONDS / tick)
    for number in range(ticks):
        due += per_tick
        now = f"{monotonic_ns():0{DIGITS}d}"
        while appended < due:
            journal.append(Publish("bench/room/default", "m", f'"{now}{FILLER}"'.encode(), "user"))
            appended += 1
        pause = (number + 1) * tick - (monotonic_ns() - begin) / 1e9
        await asyncio.sleep(max(pause, 0.0))
    cpu = process_time() - cpu
    print(appended, flush=True)
    await listener.until(int(await asyncio.to_thread(sys.stdin.readline)))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await journal.close()
    listener.times.sort()
    print(json.dumps({"cpu": cpu, "entered": listener.count, "times": listener.times[::10]}))


async def measure(work: Work) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        server = RedisServer.started()
        try:
            return await _measured(work, server, Path(directory) / "arbiter.db")
        finally:
            server.remove()


async def _measured(work: Work, server: RedisServer, arbiter: Path) -> list[str]:
    nodes = []
    for number in range(2):
        rate = work.rate / work.publishers if number < work.publishers else 0
        arguments = ("--node", f"node{number}", server.url, str(arbiter), str(rate * work.tick), str(work.tick))
        node = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bench.journal",
            *arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=1 << 26,
        )
        assert node.stdin is not None
        assert node.stdout is not None
        assert await node.stdout.readline() == b"ready\n"
        nodes.append((node, node.stdin, node.stdout))
    calls = int(server.command("INFO", "stats").partition(b"total_commands_processed:")[2].split()[0])
    cpu = server.cpu_seconds()
    for _, stdin, _ in nodes:
        stdin.write(b"go\n")
    events = sum([int(await stdout.readline()) for _, _, stdout in nodes])
    await asyncio.sleep(0.5)
    cpu = server.cpu_seconds() - cpu
    calls = int(server.command("INFO", "stats").partition(b"total_commands_processed:")[2].split()[0]) - calls
    for _, stdin, _ in nodes:
        stdin.write(b"%d\n" % events)
    results = [json.loads(await stdout.readline()) for _, _, stdout in nodes]
    for node, _, _ in nodes:
        await node.wait()
    assert {result["entered"] for result in results} == {events}, "every node gets every event"
    times = sorted(time for result in results for time in result["times"])
    return [
        work.name,
        f"{events / SECONDS:,.0f}",
        f"{cpu / events * 1e6:.1f}",
        *(f"{result['cpu'] / events * 1e6:.1f}" for result in results),
        f"{calls / SECONDS:,.0f}",
        *(f"{times[int(len(times) * part)] / 1e6:.2f}" for part in (0.5, 0.99)),
    ]


async def report(names: Sequence[str]) -> None:
    hardware, _, *software = describe()
    print(hardware, "nothing pinned to a core, loopback TCP", *software, sep="\n")
    head = (
        "work",
        "events/s",
        "Redis, µs/event",
        "node A, µs/event",
        "node B, µs/event",
        "Redis commands/s",
        "p50, ms",
        "p99, ms",
    )
    print(table(head, [await measure(work) for work in WORK if not names or work.name in names]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--node", nargs=5, help=argparse.SUPPRESS)
    parser.add_argument("work", nargs="*", help="the rows to measure; without any, all")
    chosen = parser.parse_args()
    if chosen.node:
        name, url, arbiter, per_tick, tick = chosen.node
        uvloop.run(run_node(name, url, arbiter, float(per_tick), float(tick)))
    else:
        asyncio.run(report(chosen.work))


if __name__ == "__main__":
    main()
