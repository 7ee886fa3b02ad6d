"""The harness's side of the load generator: starts its processes, keeps them in step, adds up."""

import math
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from bench.load.job import Go, Job, Ready, Report, S, Sent, read, write
from bench.load.latency import Histogram
from bench.machine import LOAD_CORE, ROOT
from bench.servers import Running

_SPARE_DESCRIPTORS = 200
_LEAD_S = 0.3
"""Between the last shard's readiness and the first message."""

SATURATED = 0.9
"""A share of a core at which it counts as busy."""


class Failed(Exception):
    """The load could not be offered; the message is the reason, for the report."""


@dataclass(frozen=True)
class Outcome:
    """A workload's figures, all shards together. Times in seconds, memory in bytes, latencies in ms."""

    job: Job
    connections: int
    connect_s: float
    connect_cpu_s: float
    memory: int
    deliveries: int
    measured_s: float
    expected: int
    received: int
    faults: int
    details: list[str]
    server_cpu_s: float
    engine_cpu_s: float
    leave_cpu_s: float
    own_share: float
    """Of a core, the busiest shard's."""
    latency: Histogram

    @property
    def rate(self) -> float:
        """Deliveries per second."""
        return self.deliveries / self.measured_s

    @property
    def cpu_us(self) -> float:
        """Server CPU per delivery, in µs; NaN when nothing was delivered."""
        return self.server_cpu_s / self.deliveries * 1e6 if self.deliveries else math.nan

    @property
    def engine_us(self) -> float:
        """CPU of the engine per message, in µs; NaN when nothing was delivered."""
        messages = self.deliveries / self.job.subscribers
        return self.engine_cpu_s / messages * 1e6 if messages else math.nan

    @property
    def server_share(self) -> float:
        """Of a core, the server's."""
        return self.server_cpu_s / self.measured_s

    @property
    def bottleneck(self) -> bool:
        """Whether the generator, not the server, limited the rate."""
        return self.job.window > 0 and self.own_share >= SATURATED and self.server_share < SATURATED

    @property
    def idle(self) -> bool:
        """Whether neither was busy under a load meant to saturate: something else had the cores."""
        return self.job.window > 0 and self.own_share < SATURATED and self.server_share < SATURATED

    @property
    def correct(self) -> bool:
        """Whether every subscriber received every message once and in order."""
        return not self.faults and self.received == self.expected


class _Shard:
    """One process of the generator."""

    def __init__(self, job: Job) -> None:
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.load"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.say(job)

    def say(self, message: msgspec.Struct) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(write(message))
        self._process.stdin.flush()

    def hear(self, kind: type[S]) -> S:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return read(line, kind)
        error = self._process.communicate()[1].strip().splitlines()
        raise Failed("the load generator ended: " + " / ".join(error[-1:]))

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue


class _Shards:
    """All processes of the generator; they are ended at the end, whatever happens."""

    def __init__(self, jobs: list[Job]) -> None:
        self._jobs = jobs
        self.all: list[_Shard] = []

    def __enter__(self) -> list[_Shard]:
        try:
            for job in self._jobs:
                self.all.append(_Shard(job))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self.all

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for shard in self.all:
            shard.end()


def shards_for(connections: int) -> int:
    """As many processes as the limit of descriptors asks for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, math.ceil(connections / max(1, limit - _SPARE_DESCRIPTORS)))


def run_workload(dialect: str, server: Running, shards: int | None = None, **workload: Any) -> Outcome:
    """Run a workload (the fields of Job) against a server and return its outcome. Raises Failed."""
    job = Job(
        dialect=dialect,
        host=server.host,
        port=server.port,
        server=server.pid,
        nodes=[(node.port, node.pid) for node in server.nodes],
        engine=server.engine,
        core=LOAD_CORE,
        **workload,
    )
    count = shards or shards_for(job.channels * (job.subscribers + 1))
    jobs = [msgspec.structs.replace(job, shard=shard, shards=count) for shard in range(count)]
    with _Shards(jobs) as processes:
        ready = [process.hear(Ready) for process in processes]
        go = Go(time.monotonic() + _LEAD_S)
        for process in processes:
            process.say(go)
        if count > 1:
            sent = processes[0].hear(Sent)
            for process in processes[1:]:
                process.say(sent)
        reports = [process.hear(Report) for process in processes]
    return Outcome(
        job=job,
        connections=sum(each.connections for each in ready),
        connect_s=max(each.connect_s for each in ready),
        connect_cpu_s=max(each.connect_cpu_s for each in ready),
        memory=max(each.memory for each in ready),
        deliveries=sum(each.deliveries for each in reports),
        measured_s=max(each.measured_s for each in reports),
        expected=sum(each.expected for each in reports),
        received=sum(each.received for each in reports),
        faults=sum(each.faults for each in reports),
        details=[detail for each in reports for detail in each.details][:5],
        server_cpu_s=reports[0].server_cpu_s,
        engine_cpu_s=reports[0].engine_cpu_s,
        leave_cpu_s=max(each.leave_cpu_s for each in reports),
        own_share=max(each.own_cpu_s / each.measured_s for each in reports),
        latency=Histogram().merge(Histogram(each.latency) for each in reports),
    )
