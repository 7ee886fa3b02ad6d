"""Row changes, ours alone, `python -m bench.changes`: commit → client, idle CPU, changes/s by subscribers."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import monotonic
from typing import TypeVar

import msgspec
import uvloop
from msgspec import Struct

from bench import proctree
from bench.databases import DATABASES, SQLITE, Database, about, add_choice, started
from bench.load.caller import call
from bench.load.latency import Histogram
from bench.load.listener import Listener, listen
from bench.load.load_shape import Timetable
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.servers import Running

SUBSCRIBERS = (1, 10, 100, 1000, 10000)
_RATE = 100.0
_COUNT = 500
_BURST = 50_000
_BURSTS = 3
"""Of each kind: a single one of 0.3 s of CPU has been 20 % off."""
_BATCH = 500
_WAIT_S = 300.0
_IDLE_S = 5.0


class _Row(Struct):
    id: int
    customer: int


class _Change(Struct):
    type: str
    data: _Row


_decode = msgspec.json.Decoder(_Change).decode


Result = TypeVar("Result")


class Wrong(Exception):
    """A change came to the wrong subscriber, or out of order, or not once."""


class Speed(Struct, frozen=True):
    """Changes per second from the first write to the last delivery, and server CPU in µs per change."""

    subscribers: int
    live: float
    live_cpu_us: float
    live_share: float
    """Of a core."""
    backlog: float
    backlog_cpu_us: float


async def prepare(server: Running, layout: str) -> None:
    """Make the table through the server."""
    caller = await call(server.host, server.port)
    await caller.post("/v1/db/query", {"sql": f"CREATE TABLE {TABLE}{layout}", "params": []})
    caller.close()


async def by_query(server: Running) -> tuple[Histogram, Histogram, Histogram]:
    """Single inserts by POST /v1/db/query: due → answered, due → change, answered → change (0: it came before).

    The commit lies between the first two points of time, so what it takes from there lies between the last two
    histograms.
    """
    start = monotonic() + 0.5
    answers, arrivals = [0.0] * _COUNT, [0.0] * _COUNT
    all_came = asyncio.get_running_loop().create_future()
    caller = await call(server.host, server.port)

    def heard(content: bytes, now: float) -> None:
        number = _decode(content).data.id - 1
        arrivals[number] = now
        if number == _COUNT - 1:
            all_came.set_result(None)

    def answered(number: int, answer: "asyncio.Future[tuple[bytes, float]]") -> None:
        answers[number] = answer.result()[1]

    def insert(number: int) -> None:
        sql = f"INSERT INTO {TABLE}(id, customer, total, note) VALUES(?, ?, ?, ?)"
        answer = caller.post("/v1/db/query", {"sql": sql, "params": [number + 1, number, number, "note"]})
        answer.add_done_callback(partial(answered, number))

    listener = await listen(server.host, server.port, _subscribe({}), heard)
    await Timetable(start, _RATE, _COUNT, insert).run()
    await asyncio.wait_for(all_came, _WAIT_S)
    await caller.get("/healthz")  # answers come in order: the last insert's has come
    listener.close()
    caller.close()
    found = Histogram(), Histogram(), Histogram()
    for number, (answer, arrival) in enumerate(zip(answers, arrivals, strict=True)):
        due = start + number / _RATE
        for histogram, latency in zip(found, (answer - due, arrival - due, arrival - answer), strict=True):
            histogram.add(latency)
    return found


async def by_foreign_process(server: Running) -> Histogram:
    """Single inserts by a process that knows nothing of us: from when the commit was back, to the change."""
    arrivals: list[float] = []
    all_came = asyncio.get_running_loop().create_future()

    def heard(_content: bytes, now: float) -> None:
        arrivals.append(now)
        if len(arrivals) == _COUNT:
            all_came.set_result(None)

    listener = await listen(server.host, server.port, _subscribe({}), heard)
    commits = await write(server, "paced", _RATE, _COUNT)
    await asyncio.wait_for(all_came, _WAIT_S)
    listener.close()
    result = Histogram()
    for committed, arrived in zip(commits, arrivals, strict=True):
        result.add(arrived - committed)
    return result


async def listen_to_all(server: Running) -> Listener:
    """A subscriber of the whole table."""
    return await listen(server.host, server.port, _subscribe({}), lambda _content, _now: None)


class _Tally:
    """Counts the changes of all watchers; each customer's must come in order and only to its watcher."""

    def __init__(self, customers: int) -> None:
        self._customers = customers
        self._left = 0
        self.last = 0.0
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def expect(self, count: int) -> None:
        """Be complete after `count` more."""
        self._left = count
        self.complete = asyncio.get_running_loop().create_future()

    def watcher(self, customer: int) -> Callable[[bytes, float], None]:
        """What the watcher of a customer calls for each frame."""
        due = customer + 1

        def heard(content: bytes, now: float) -> None:
            nonlocal due
            row = _decode(content).data
            if row.customer != customer or row.id != due:
                self.complete.set_exception(Wrong(f"customer {customer} was sent {row}, row {due} was due"))
            due += self._customers
            self._left -= 1
            self.last = now
            if not self._left:
                self.complete.set_result(None)

        return heard


async def speed(server: Running, subscribers: int, rows: int = _BURST) -> Speed:
    """Bursts of `rows` rows while `subscribers` connections each watch one customer.

    The first ones are delivered while they are written; while the others are written the server is stopped
    (SIGSTOP), so that it finds a backlog and nothing else is slow. Of each kind, the burst with the median CPU
    time counts.
    """
    tally = _Tally(subscribers)
    listeners: list[Listener] = []
    customers = iter(range(subscribers))

    async def connect() -> None:
        for customer in customers:
            frame = _subscribe({"customer": customer})
            listeners.append(await listen(server.host, server.port, frame, tally.watcher(customer)))

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(connect())
    live = sorted([await _burst(server, tally, rows, subscribers) for _ in range(_BURSTS)])[_BURSTS // 2]
    backlog = sorted([await _backlog(server, tally, rows, subscribers) for _ in range(_BURSTS)])[_BURSTS // 2]
    for listener in listeners:
        listener.close()
    return Speed(
        subscribers=subscribers,
        live=rows / live[1],
        live_cpu_us=live[0] / rows * 1e6,
        live_share=live[0] / live[1],
        backlog=rows / backlog[1],
        backlog_cpu_us=backlog[0] / rows * 1e6,
    )


async def _burst(server: Running, tally: _Tally, rows: int, subscribers: int) -> tuple[float, float]:
    """Rows that are delivered while they are written: seconds of the server's CPU, and from the first write to the
    last delivery."""
    tally.expect(rows)
    cpu = proctree.cpu_seconds(server.pid)
    start, _ = await write(server, "burst", rows, subscribers, _BATCH)
    await asyncio.wait_for(tally.complete, _WAIT_S)
    return proctree.cpu_seconds(server.pid) - cpu, tally.last - start


async def _backlog(server: Running, tally: _Tally, rows: int, subscribers: int) -> tuple[float, float]:
    """The same of rows that were written while the server was stopped, from when it continues."""
    tally.expect(rows)
    os.kill(server.pid, signal.SIGSTOP)
    try:
        await write(server, "burst", rows, subscribers, _BATCH)
    finally:
        os.kill(server.pid, signal.SIGCONT)
    start, cpu = monotonic(), proctree.cpu_seconds(server.pid)
    await asyncio.wait_for(tally.complete, _WAIT_S)
    return proctree.cpu_seconds(server.pid) - cpu, tally.last - start


async def write(server: Running, *arguments: str | float) -> list[float]:
    """Run the foreign writer (bench.load.writer) on the server's database."""
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.load.writer",
        server.database, *map(str, arguments),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the foreign writer ended with code {process.returncode}")
    times: list[float] = msgspec.json.decode(output)
    return times


async def idle(server: Running) -> float:
    """The share of a core in percent while nothing happens; a client is subscribed."""
    listener = await listen_to_all(server)
    await asyncio.sleep(1.0)
    began, cpu = monotonic(), proctree.cpu_seconds(server.pid)
    await asyncio.sleep(_IDLE_S)
    share = (proctree.cpu_seconds(server.pid) - cpu) / (monotonic() - began)
    listener.close()
    return share * 100


def _subscribe(wanted: dict[str, int]) -> bytes:
    return msgspec.json.encode({"type": "subscribe", "topic": TABLE, "filter": wanted})


def on_fresh_server(measure: Callable[[Running], Awaitable[Result]], database: Database = SQLITE) -> Result:
    """Run `measure` on the generator's core against a server with the table and no rows."""

    async def run(server: Running) -> Result:
        await prepare(server, database.layout)
        return await measure(server)

    with database.running() as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(run(server))


def speeds(counts: Sequence[int], database: Database = SQLITE) -> list[Speed]:
    """Bursts for each number of subscribers, each on a fresh server."""
    return [on_fresh_server(partial(speed, subscribers=count), database) for count in counts]


def latencies(databases: Sequence[Database]) -> str:
    """From a commit to the client, as a table."""
    rows = []
    for database in databases:
        answered, changed, between = on_fresh_server(by_query, database)
        foreign = on_fresh_server(by_foreign_process, database)
        for title, each, budget in (
            ("by sdk.db: request due → answered", answered, ""),
            ("by sdk.db: request due → change received", changed, "p50 ≤ 2 ms"),
            ("by sdk.db: answered → change received", between, ""),
            ("by a foreign process: committed → received", foreign, "p50 ≤ 0.6 ms"),
        ):
            shares = [f"{each.percentile(share):.2f} ms" for share in (0.5, 0.99, 0.999)]
            rows.append([f"{database.title}, {title}", *shares, budget])
    return table([f"{_RATE:.0f} single inserts a second", "p50", "p99", "p99.9", "budget"], rows)


def idles(databases: Sequence[Database]) -> str:
    """What it costs to wait for changes, as a table."""
    rows = [[database.title, f"{on_fresh_server(idle, database):.1f} %"] for database in databases]
    return table(["idle, with a watched table", "CPU of a core"], rows)


def throughput(databases: Sequence[Database], counts: Sequence[int]) -> str:
    """Changes per second by number of subscribers, as a table."""
    rows = [
        [
            f"{database.title}, {each.subscribers:,}",
            f"{each.live:,.0f}",
            f"{each.live_cpu_us:.1f} µs",
            f"{each.live_share:.0%}",
            f"{each.backlog:,.0f}",
            f"{each.backlog_cpu_us:.1f} µs",
        ]
        for database in databases
        for each in speeds(counts, database)
    ]
    head = ["filtered subscribers", "while written: changes/s", "CPU each", "server's core busy"]
    return table([*head, "from a backlog: changes/s", "CPU each"], rows)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.changes", description=__doc__)
    parser.add_argument("--subscribers", type=int, nargs="*", default=SUBSCRIBERS)
    add_choice(parser)
    chosen = parser.parse_args()
    databases = [DATABASES[each] for each in chosen.database]
    print("\n".join([*describe(), *about(chosen.database)]), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with started():
        print(latencies(databases), end="\n\n", flush=True)
        print(idles(databases), end="\n\n", flush=True)
        print(throughput(databases, chosen.subscribers))
    print("Each change concerns one subscriber, and came to it once and in order.")
    print("Budget: at least 10,000 changes/s at 10,000 subscribers.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
