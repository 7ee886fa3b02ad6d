"""One shard of a workload, from the first connect to the report."""

import asyncio
import os
import sys
from bisect import bisect_right
from time import monotonic

from bench import proctree
from bench.load.dialects import DIALECTS, Dialect
from bench.load.handshake import enter
from bench.load.job import Go, Job, Ready, Report, Sent, read, write
from bench.load.latency import Histogram
from bench.load.load_shape import Outlet, Window, due, schedule
from bench.load.stream import Faults, Payload, Stream
from bench.load.subscriber import Subscriber, subscriber

_WARM_CONNECTIONS = 50
"""Opened and closed before memory is read, so that what a server loads on first use is not counted."""

_POLL_S = 0.02


class Worker:
    """Holds the connections of one shard."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._dialect: Dialect = DIALECTS[job.dialect]
        self._faults = Faults()
        payload = Payload(job.payload)
        shares = [self._share(index) for index in range(job.channels)]
        self._streams = [Stream(f"c{index}", share, payload, self._faults) for index, share in enumerate(shares)]
        timed = job.window == 0
        self._subscribers = [
            subscriber(self._dialect, stream, timed) for stream in self._streams for _ in range(stream.subscribers)
        ]
        self._publishers: list[Subscriber] = []
        self._ports = [job.port, *(port for port, _ in job.nodes)]
        self._processes = [job.server, *(process for _, process in job.nodes)]

    def _share(self, channel: int) -> int:
        """This shard's number of subscribers of a channel."""
        job = self._job
        return sum((channel * job.subscribers + n) % job.shards == job.shard for n in range(job.subscribers))

    async def run(self) -> None:
        """Connect, wait for the harness, load, report, close."""
        try:
            print(write(await self._connect()), end="", flush=True)
            go = read(await _line(), Go)
            report = await self._load(go.start)
            if self._job.leave_s:
                report.leave_cpu_s = await self._leave()
            print(write(report), end="", flush=True)
        finally:
            for each in (*self._subscribers, *self._publishers):
                each.close()

    async def _connect(self) -> Ready:
        job = self._job
        idle = Stream("warm-up", 0, Payload(job.payload), self._faults)
        warm = [subscriber(self._dialect, idle, False) for _ in range(_WARM_CONNECTIONS)]
        await self._enter([(each, idle.name) for each in warm])
        for each in warm:
            each.close()
        if job.shard == 0:
            nothing = Stream("publisher", 0, Payload(job.payload), self._faults)
            self._publishers = [subscriber(self._dialect, nothing, False) for _ in self._streams]
            # On another node than the first subscriber of the channel, where there are several.
            await self._enter([(each, None) for each in self._publishers], first=-1)
        self._dialect.prepare(len(self._subscribers))
        await asyncio.sleep(job.settle_s)
        memory = self._resident()
        cpu = self._cpu_seconds()
        start = monotonic()
        await self._enter([(each, each.stream.name) for each in self._subscribers])
        took = monotonic() - start
        cpu = self._cpu_seconds() - cpu
        await asyncio.sleep(job.settle_s)
        memory = self._resident() - memory
        return Ready(len(self._subscribers), took, cpu, memory)

    async def _leave(self) -> float:
        """The server's CPU while all connections end, in seconds."""
        cpu = self._cpu_seconds()
        for each in self._subscribers:
            each.close()
        await asyncio.sleep(self._job.leave_s)
        return self._cpu_seconds() - cpu

    def _cpu_seconds(self) -> float:
        return sum(map(proctree.cpu_seconds, self._processes))

    def _engine_cpu_seconds(self) -> float:
        return proctree.cpu_seconds(self._job.engine) if self._job.engine else 0.0

    def _resident(self) -> int:
        return sum(map(proctree.resident, self._processes))

    async def _enter(self, entries: list[tuple[Subscriber, str | None]], first: int = 0) -> None:
        """Connect to the nodes in turn, beginning with the one of index `first`."""
        job = self._job
        waiting = enumerate(entries, first)

        async def enter_next() -> None:
            for number, (each, channel) in waiting:
                port = self._ports[number % len(self._ports)]
                await enter(self._dialect, job.host, port, channel, each)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(job.concurrency, len(entries))):
                group.create_task(enter_next())

    async def _load(self, start: float) -> Report:
        job = self._job
        offering = asyncio.create_task(self._offer(start))
        await asyncio.sleep(start + job.warm_s - monotonic())
        begun, before = monotonic(), self._held()
        cpu, engine, own = self._cpu_seconds(), self._engine_cpu_seconds(), _own_cpu()
        await asyncio.sleep(start + job.warm_s + job.measure_s - monotonic())
        cpu, engine = self._cpu_seconds() - cpu, self._engine_cpu_seconds() - engine
        own = _own_cpu() - own
        deliveries, measured = self._held() - before, monotonic() - begun
        published = await offering
        await self._drain(published)
        expected = sum(count * stream.subscribers for count, stream in zip(published, self._streams, strict=True))
        received = self._held()
        if received < expected and not self._faults.count:
            self._faults.add(f"{expected - received} deliveries did not come within {job.drain_s} s")
        return Report(
            deliveries=deliveries,
            measured_s=measured,
            published=sum(published) if job.shard == 0 else 0,
            expected=expected,
            received=received,
            faults=self._faults.count,
            details=self._faults.details,
            server_cpu_s=cpu,
            engine_cpu_s=engine,
            own_cpu_s=own,
            latency=self._latency(start).dump(),
        )

    def _held(self) -> int:
        """Whole messages that all subscribers have together."""
        return sum(each.stream.whole(each.position) for each in self._subscribers)

    async def _offer(self, start: float) -> list[int]:
        """Publish, or wait for the shard that does; how many messages each channel got."""
        job = self._job
        if job.shard != 0:
            return read(await _line(), Sent).published
        outlets = [
            Outlet(self._dialect, stream, publisher)
            for stream, publisher in zip(self._streams, self._publishers, strict=True)
        ]
        lasts = job.warm_s + job.measure_s
        if job.window:
            await asyncio.sleep(start - monotonic())
            windows = [Window(outlet, job.window) for outlet in outlets]
            for window in windows:
                window.open()
            await asyncio.sleep(start + lasts - monotonic())
            for window in windows:
                window.close()
        else:
            await schedule(outlets, start, job.rate, max(1, int(lasts * job.rate))).run()
        published = [stream.published for stream in self._streams]
        if job.shards > 1:
            print(write(Sent(published)), end="", flush=True)
        return published

    async def _drain(self, published: list[int]) -> None:
        """Wait until every subscriber has all, one is broken, or the time is up."""
        until = monotonic() + self._job.drain_s
        goals = {stream.name: count for stream, count in zip(self._streams, published, strict=True)}
        while monotonic() < until and not self._faults.count:
            if all(each.stream.whole(each.position) >= goals[each.stream.name] for each in self._subscribers):
                return
            await asyncio.sleep(_POLL_S)

    def _latency(self, start: float) -> Histogram:
        """Of the messages that were due in the measured time."""
        job, result = self._job, Histogram()
        index = {stream.name: number for number, stream in enumerate(self._streams)}
        first = start + job.warm_s
        last = first + job.measure_s
        for each in self._subscribers:
            channel, ends, done = index[each.stream.name], each.stream.ends, 0
            for time, position in zip(each.times or (), each.positions, strict=True):
                whole = bisect_right(ends, position, done)
                for number in range(done, whole):
                    at = due(start, job.rate, job.channels, channel, number)
                    if first <= at < last:
                        result.add(time - at)
                done = whole
        return result


async def _line() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _own_cpu() -> float:
    times = os.times()
    return times.user + times.system
