"""Thousands of clients return after a restart of the server: `python -m bench.reconnect`.

Half of the clients are subscribed to a table, half to rooms of ten. Each notices the end, connects, and resumes
from its cursor. While the server is down, rows are written, which every client of the table must receive; a client
is back when it has what it missed.

This is measured twice. First the clients wait as the back-off of the SDKs says, which decides how fast they
return: a server that needs less time is idle in between. Then AT_ONCE of them connect at a time as soon as the
server listens, without a back-off, so that the server or the generator limits them. The CPU of both is reported.

`python -m bench.reconnect --before COMMIT` does the same with an earlier commit, or another checkout, in turn.
"""

import argparse
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import TypeVar

from msgspec import Struct

from bench import proctree
from bench.before import COMMIT, sources, with_sources
from bench.contenders import OURS
from bench.load.fleet import Fleet
from bench.machine import LOAD_CORE, ROOT, describe, free_port
from bench.report import table
from bench.servers import Plan, Running, running, scratch

TABLE = "returns"
MISSED = 10
"""Rows written while the server is down."""
AT_ONCE = 200
"""Clients that connect at a time where the back-off plays no part, and before the measurement."""
_ROOM = 10
_LOOK_S = 0.1
_PATIENCE_S = 300.0

Result = TypeVar("Result")


class Watch:
    """Samples a server's CPU and memory, and this process's CPU, whenever it is called."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._own = time.process_time()
        self._next = 0.0
        self._samples: list[tuple[float, float]] = []
        self.memory = 0
        self.own = 0.0
        self()

    def __call__(self) -> None:
        """Take a sample, if the last one is old."""
        if (now := monotonic()) >= self._next:
            self._next = now + _LOOK_S
            self._samples.append((now, proctree.cpu_seconds(self._server.pid)))
            self.memory = max(self.memory, proctree.resident(self._server.pid))

    def end(self) -> None:
        """Take the last sample now."""
        self._next = 0.0
        self()
        self.own = time.process_time() - self._own

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
    at_once: int
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
    own_cpu: float
    """Of this process, which is all clients together."""


def plan(directory: Path, port: int, source: Path | None = None) -> Plan:
    """Our server on a port that stays the same, with the sources of another version if they are given."""
    begun = (OURS.plan if source is None else with_sources(source, OURS.plan))(directory)
    command = [
        str(port) if before == "--port" else each
        for before, each in zip(["", *begun.command], begun.command, strict=False)
    ]
    return replace(begun, command=command)


def reconnect(
    count: int,
    how: signal.Signals,
    directory: Path,
    *,
    at_once: int = 0,
    source: Path | None = None,
) -> Outcome:
    """Connect `count` clients, end the server by `how`, start it again, and wait until all are back: `at_once` at
    a time, or as their back-off says (0). `source` are the sources of another version."""
    topics = [f"bench/room-{each // 2 // _ROOM}" if each % 2 else TABLE for each in range(count)]
    fleet, port = Fleet(topics, at_once), free_port()
    with ThreadPoolExecutor(1) as keeper, ExitStack() as host:

        def wait_for(call: Callable[[], Result]) -> Result:
            """Call it in another thread, while the clients continue."""
            future = keeper.submit(call)
            fleet.run(future.done)
            return future.result()

        host.callback(fleet.close)
        servers = ExitStack()
        host.callback(lambda: keeper.submit(servers.close).result())  # its thread started the servers
        start = lambda: servers.enter_context(running(plan(directory, port, source), directory))  # noqa: E731
        server = wait_for(start)
        statement = f"CREATE TABLE {TABLE}(id INTEGER PRIMARY KEY, n)"
        _write(directory, [statement])
        fleet.start(server.host, server.port, AT_ONCE)
        before = proctree.resident(server.pid)
        fleet.reset()
        for each in fleet.clients:
            each.due = MISSED if each.topic == TABLE else 0
        fleet.is_held, begun = True, monotonic()
        os.kill(server.pid, how)
        wait_for(servers.close)
        ended = monotonic()
        fleet.run(lambda: fleet.losses == count)
        gone = fleet.last_loss
        _write(directory, [f"INSERT INTO {TABLE}(n) VALUES ({number})" for number in range(MISSED)])
        server = wait_for(start)
        listens, watch = monotonic(), Watch(server)
        fleet.is_held = False
        fleet.run(lambda: len(fleet.times) == count or monotonic() > listens + _PATIENCE_S, watch)
        watch.end()
        assert len(fleet.times) == count, f"{count - len(fleet.times)} of {count} clients did not return"
        return Outcome(
            clients=count,
            at_once=at_once,
            gone=gone - begun,
            ended=ended - begun,
            listens=listens - begun,
            back=sorted(each - begun for each in fleet.times),
            attempts=fleet.attempts,
            failures=fleet.failures,
            gaps=fleet.gaps,
            memory_before=before,
            memory_peak=watch.memory,
            cpu=watch.cpu,
            cpu_peak=watch.peak,
            own_cpu=watch.own,
        )


def _write(directory: Path, statements: Sequence[str]) -> None:
    with closing(sqlite3.connect(directory / "bench.db", isolation_level=None)) as database:
        for each in statements:
            database.execute(each)


def report(*outcomes: Outcome) -> str:
    """The figures, as a table with a column for each outcome."""
    columns = [_figures(each) for each in outcomes]
    titles = ["value"] if len(columns) == 1 else ["before", "now"]
    how = f"{outcomes[0].at_once} at a time" if outcomes[0].at_once else "with the SDKs' back-off"
    return table(
        [f"return, {how}", *titles], [[title, *(each[title] for each in columns)] for title in columns[0]]
    )


def _figures(found: Outcome) -> dict[str, str]:
    per_second = Counter(int((each - found.listens) * 10) for each in found.back)
    busiest = max(sum(per_second[at + step] for step in range(10)) for at in per_second)
    half, most = (found.back[int(len(found.back) * share)] for share in (0.5, 0.99))
    took = found.back[-1] - found.listens
    return {
        "clients": f"{found.clients:,}",
        "the last connection has ended after": f"{found.gone:.2f} s",
        "the old server has ended after": f"{found.ended:.2f} s",
        "the new server listens after": f"{found.listens:.2f} s",
        "half / 99 % / all are back after": f"{half:.2f} / {most:.2f} / {found.back[-1]:.2f} s",
        "all are back, from when it listens": f"{took:.2f} s",
        "returns per second until then": f"{found.clients / took:,.0f}",
        "most returns within a second": f"{busiest:,}",
        "attempts to connect, of which refused": f"{found.attempts:,}, {found.failures:,}",
        "clients of the table with a gap": f"{found.gaps:,}",
        "server CPU from listening until then": f"{found.cpu:.2f} s",
        "the same for each client": f"{found.cpu / found.clients * 1e6:.0f} µs",
        "returns per second of server CPU": f"{found.clients / found.cpu:,.0f}",
        "the server's share of its core": f"{found.cpu / took:.0%}",
        "the generator's CPU for each client": f"{found.own_cpu / found.clients * 1e6:.0f} µs",
        "the generator's share of its core": f"{found.own_cpu / took:.0%}",
        "memory before; peak after": f"{found.memory_before / 2**20:.0f}; {found.memory_peak / 2**20:.0f} MiB",
    }


def run(count: int, how: signal.Signals, at_once: int = 0, source: Path | None = None) -> Outcome:
    """`reconnect` in a directory of its own."""
    with scratch() as directory:
        return reconnect(count, how, directory, at_once=at_once, source=source)


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome whose CPU per client is the middle one."""
    return sorted(outcomes, key=lambda each: each.cpu)[len(outcomes) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reconnect", description=__doc__)
    parser.add_argument("--clients", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=1, help="how often each is done; the middle one counts")
    parser.add_argument("--kill", action="store_true", help="kill -9 instead of SIGTERM")
    parser.add_argument("--before", nargs="?", const=COMMIT, help="a commit, or the directory of a checkout")
    options = parser.parse_args()
    for line in describe():
        print(line, flush=True)
    how = signal.SIGKILL if options.kill else signal.SIGTERM
    os.sched_setaffinity(0, {LOAD_CORE})
    with ExitStack() as host:
        versions: list[Path | None] = [None]
        if options.before is not None:
            versions = [host.enter_context(sources(options.before)), ROOT / "src"]
        for at_once in (0, AT_ONCE):
            found: list[list[Outcome]] = [[] for _ in versions]
            for _ in range(options.rounds):
                for outcomes, source in zip(found, versions, strict=True):
                    outcomes.append(run(options.clients, how, at_once, source))
            print(f"\n{report(*map(middle, found))}", flush=True)


if __name__ == "__main__":
    main()
