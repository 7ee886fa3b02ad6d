"""Two nodes on one Redis, beside two nodes of the peers: `python -m bench.cluster`.

Both nodes run on the server's core; Redis, PostgreSQL (ours only) and the load generator on the other. Subscribers
are spread over both nodes, and each publisher is on another node than the first subscriber of its channel. Each
workload is done by fresh nodes on a fresh Redis. CPU is that of both nodes, and that of Redis separately.
"""

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.contenders import CENTRIFUGO, SOCKETIO, await_port
from bench.contenders import OURS as SINGLE
from bench.databases import POSTGRES, started
from bench.generator import Failed, Outcome, run_workload
from bench.machine import LOAD_CORE, describe
from bench.report import table
from bench.servers import NotStarted, Plan, Running, running, scratch
from bench.suite import say
from bench.workloads import ONE_TO_ONE, ROOMS, SMALL_ROOMS, Workload, capacity
from tests.redis import RedisServer

NODES = 2


@dataclass(frozen=True)
class Engine:
    """What the nodes of one cluster share."""

    redis: str
    """A URL."""
    database: str = ""
    """A URI of PostgreSQL, where the contender uses one."""


@dataclass(frozen=True)
class Cluster:
    """`prepare` installs what is missing and tells the version; `plan` says how to start one node."""

    name: str
    dialect: str
    prepare: Callable[[], str]
    plan: Callable[[Path, Engine], Plan]
    database: bool = False

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """Two nodes, while they run. Raises NotStarted with the reason."""
        with self.deployed() as (server, _):
            yield server

    @contextlib.contextmanager
    def deployed(self) -> Iterator[tuple[Running, RedisServer]]:
        """The same, with their Redis."""
        self.prepare()
        with contextlib.ExitStack() as stack:
            redis = stack.enter_context(_redis())
            database = stack.enter_context(POSTGRES.new()) if self.database else ""
            nodes = [
                stack.enter_context(_node(self.plan, Engine(redis.url, database), stack.enter_context(scratch())))
                for _ in range(NODES)
            ]
            server = replace(nodes[0], nodes=tuple(nodes[1:]), engine=redis.pid, database=database)
            yield server, redis


@contextlib.contextmanager
def _redis() -> Iterator[RedisServer]:
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


@contextlib.contextmanager
def _node(plan: Callable[[Path, Engine], Plan], engine: Engine, directory: Path) -> Iterator[Running]:
    chosen = plan(directory, engine)
    with running(chosen, directory) as server:
        if chosen.port is not None:
            await_port(chosen.port)
        yield server


def _aerostack(directory: Path, engine: Engine) -> Plan:
    program, *_ = SINGLE.plan(directory).command
    command = [program, "dev", "--port", "0", "--db", engine.database, "--backplane", engine.redis]
    return Plan(command, cwd=directory)


def _centrifugo(history: bool, presence: bool = False) -> Callable[[Path, Engine], Plan]:
    def plan(directory: Path, engine: Engine) -> Plan:
        single = CENTRIFUGO.plan(directory)
        path = directory / "config.json"
        settings = json.loads(path.read_text())
        settings["engine"] = {"type": "redis", "redis": {"address": engine.redis}}
        if history:
            channels = {"history_size": 300, "history_ttl": "300s", "force_recovery": True, "presence": presence}
            settings["channel"] = {"without_namespace": channels}
        path.write_text(json.dumps(settings))
        return single

    return plan


def _socketio(adapter: str) -> Callable[[Path, Engine], Plan]:
    def plan(directory: Path, engine: Engine) -> Plan:
        single = SOCKETIO.plan(directory)
        return replace(single, environment={"ADAPTER": adapter, "REDIS_URL": engine.redis})

    return plan


OURS = Cluster("Aerostack Realtime", "aerostack", SINGLE.prepare, _aerostack, database=True)
SOCKETIO_STREAMS = Cluster(
    "Socket.IO, redis-streams adapter", "socket.io", SOCKETIO.prepare, _socketio("redis-streams")
)
CENTRIFUGO_WITH_PRESENCE = Cluster(
    "Centrifugo, history, recovery, presence", "centrifugo", CENTRIFUGO.prepare, _centrifugo(True, presence=True)
)
"""Not in the measurements, because presence costs Redis more with each subscriber."""

CLUSTERS = (
    OURS,
    Cluster("Centrifugo, history and recovery", "centrifugo", CENTRIFUGO.prepare, _centrifugo(True)),
    Cluster("Centrifugo, at most once", "centrifugo", CENTRIFUGO.prepare, _centrifugo(False)),
    SOCKETIO_STREAMS,
    Cluster("Socket.IO, redis adapter", "socket.io", SOCKETIO.prepare, _socketio("redis")),
)

FANOUT = capacity("1 → 500 + 500", 1, 1000, 32)
PAIRS = Workload(
    "1,000 pairs, 1,000 messages/s",
    "half",
    {**SMALL_ROOMS.fields, "window": 0, "rate": 1000.0, "measure_s": 8.0, "warm_s": 2.0},
)
WORK = (
    FANOUT,
    replace(ROOMS, title="100 × 5 + 5"),
    replace(SMALL_ROOMS, title="1,000 × 1 + 1"),
    PAIRS,
    ONE_TO_ONE,
)

Cell = Callable[[Outcome], str]


def _marked(outcome: Outcome, text: str) -> str:
    return text + ("†" if outcome.bottleneck else "‡" if outcome.idle else "") + ("" if outcome.correct else " ✗")


def _latency(outcome: Outcome) -> str:
    return " / ".join(f"{outcome.latency.percentile(share):.2f}" for share in (0.5, 0.99))


def report(outcomes: dict[tuple[str, str], Outcome], names: Sequence[str], work: Sequence[Workload]) -> str:
    """The tables, as Markdown."""

    def part(title: str, chosen: Sequence[Workload], cell: Cell) -> str:
        rows = [
            [name, *(cell(found) if (found := outcomes.get((each.title, name))) else "–" for each in chosen)]
            for name in names
        ]
        return f"## {title}\n\n{table(['', *(each.title for each in chosen)], rows)}"

    full = [each for each in work if each.shape == "capacity"]
    paced = [each for each in work if each.shape != "capacity"]
    parts = [
        part(
            "CPU of both nodes per delivery", [*full, *paced], lambda each: _marked(each, f"{each.cpu_us:.2f} µs")
        ),
        part("CPU of Redis per message", [*full, *paced], lambda each: f"{each.engine_us:.1f} µs"),
        part("Deliveries per second", full, lambda each: _marked(each, f"{each.rate:,.0f}")),
        part("Latency, ms: p50 / p99", paced, _latency),
        part(
            "CPU per connect and subscribe",
            full,
            lambda each: f"{each.connect_cpu_s / each.connections * 1e6:.0f} µs",
        ),
    ]
    return "\n\n".join(part for part in parts if part)


def measure(clusters: Sequence[Cluster], work: Sequence[Workload]) -> dict[tuple[str, str], Outcome]:
    """Each workload by each cluster in turn."""
    outcomes: dict[tuple[str, str], Outcome] = {}
    for workload in work:
        for cluster in clusters:
            say(f"{workload.title}: {cluster.name} … ")
            try:
                with cluster.running() as server:
                    outcome = run_workload(cluster.dialect, server, **workload.fields)
            except (NotStarted, Failed) as reason:
                say(f"{reason}\n")
                continue
            outcomes[workload.title, cluster.name] = outcome
            say(f"{outcome.rate:,.0f} deliveries/s{'' if outcome.correct else f', NOT ALL: {outcome.details}'}\n")
    return outcomes


def shortened(workload: Workload, seconds: float) -> Workload:
    """The same work for `seconds`."""
    fields: dict[str, Any] = {**workload.fields, "measure_s": seconds, "warm_s": 0.5}
    return replace(workload, fields=fields)


def main() -> int:
    """Measure and print; 1 when anything was lost, repeated or out of order."""
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("--only", action="append", help="a name of a cluster (may be repeated)")
    parser.add_argument("--seconds", type=float, help="of each measurement; without it 5 to 10")
    chosen = parser.parse_args()
    clusters = [each for each in CLUSTERS if not chosen.only or each.name in chosen.only]
    work = [shortened(each, chosen.seconds) if chosen.seconds else each for each in WORK]
    print("\n".join(f"- {line}" for line in describe()))
    for cluster in clusters:
        with contextlib.suppress(NotStarted):
            print(f"- {cluster.name}: {cluster.prepare()}")
    with started():
        outcomes = measure(clusters, work)
    print("\n" + report(outcomes, [each.name for each in clusters], work))
    return 0 if all(each.correct for each in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
