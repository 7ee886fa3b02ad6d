"""Clients that read steadily but slowly, ours alone: `python -m bench.steady`.

A foreign process writes many rows. Slow clients, at speeds between 1,000 and 50,000 changes a second, take all
of them, beside quick ones that each take the rows of one customer. After some seconds: how many were
disconnected, which must be none; how many changes they had, in order and without a gap; how far the server's
memory rose; how much CPU time it took until the quick ones had all of their rows; and what another connection
noticed. It sends a ping every 10 ms: before the writer began, until the quick clients had all, and after that. The
same without the slow clients is the line to compare with.

The pings of a line are the time from when they were sent to when their pongs had arrived. How late the process was
that sent and read them is its own, because it shares its core with clients and writers.
"""

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Sequence
from functools import partial
from time import monotonic

import msgspec
from msgspec import Struct

from bench import proctree, summary
from bench.changes import on_fresh_server, write
from bench.databases import DATABASES, Database, about, add_choice, started
from bench.load.listener import listen
from bench.load.steady_readers import Taken
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.pings import Pinger, Pings, shares
from bench.report import table
from bench.servers import Running
from bench.transaction import in_mib

ROWS = 1_000_000
READERS = 100
QUICK = 1_000
SECONDS = 60.0
_BATCH = 500
_BEFORE_S = 2.0
_WAIT_S = 300.0


class Steady(Struct, frozen=True):
    """`changes` of all slow clients together. `quick` is when the last quick client had its last row, in seconds
    after the writer began, and `cpu` is how much CPU time the server took until then, in seconds. Memory in bytes.
    Pings: `before` the writer began, `meanwhile`, until the last quick client had its last row, and `after` it."""

    readers: int
    changes: int
    closed: int
    gaps: int
    quick: float
    cpu: float
    memory_before: int
    memory_peak: int
    before: Pings
    meanwhile: Pings
    after: Pings


class _Quick:
    """Counts the rows of all quick clients; `complete`: when the last came, and the server's CPU time by then."""

    def __init__(self, server: Running, rows: int) -> None:
        self._server = server
        self._left = rows
        self.complete: asyncio.Future[tuple[float, float]] = asyncio.get_running_loop().create_future()

    def hear(self, _content: bytes, now: float) -> None:
        self._left -= 1
        if not self._left:
            self.complete.set_result((now, proctree.cpu_seconds(self._server.pid)))


async def steady(server: Running, readers: int, quick: int, rows: int, seconds: float) -> Steady:
    """Write `rows` rows to `readers` slow and `quick` quick clients; look at them `seconds` after it began.

    Raises RuntimeError when a client was sent a row twice or out of order.
    """
    slow, tally, listeners = await _started(server, readers), _Quick(server, rows), []
    for customer in range(quick):
        frame = _subscribe({"customer": customer})
        listeners.append(await listen(server.host, server.port, frame, tally.hear))
    memory = proctree.resident(server.pid)
    async with Pinger(server) as pinger:
        await asyncio.sleep(_BEFORE_S)
        before = await pinger.take()
        began, cpu = monotonic(), proctree.cpu_seconds(server.pid)
        await write(server, "burst", rows, quick, _BATCH)
        done, cpu_done = await asyncio.wait_for(tally.complete, _WAIT_S)
        meanwhile = await pinger.take()
        await asyncio.sleep(max(0.0, began + seconds - monotonic()))
        after = await pinger.take()
    output, _ = await asyncio.wait_for(slow.communicate(b""), _WAIT_S)
    taken = msgspec.json.decode(output, type=Taken)
    closed = taken.closed + sum(each.gone.is_set() for each in listeners)
    for each in listeners:
        each.close()
    if taken.faults:
        raise RuntimeError(f"{taken.faults} changes came twice or out of order")
    return Steady(
        readers=readers,
        changes=taken.changes,
        closed=closed,
        gaps=taken.gaps,
        quick=done - began,
        cpu=cpu_done - cpu,
        memory_before=memory,
        memory_peak=proctree.peak(server.pid),
        before=before,
        meanwhile=meanwhile,
        after=after,
    )


async def _started(server: Running, readers: int) -> Process:
    """The process of the slow clients, once they are subscribed."""
    process = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.load.steady_readers",
        server.host, str(server.port), str(readers),
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None, "it is a pipe"
    await process.stdout.readline()
    return process


def _subscribe(filter: dict[str, int]) -> bytes:
    return msgspec.json.encode({"type": "subscribe", "topic": TABLE, "filter": filter})


def report(databases: Sequence[Database], rows: int, readers: int, quick: int, seconds: float) -> str:
    """What slow clients cost, as a table."""
    lines = []
    for database in databases:
        for count in (0, readers):
            each = on_fresh_server(
                partial(steady, readers=count, quick=quick, rows=rows, seconds=seconds), database
            )
            lines.append(
                [
                    f"{database.title}, {count} slow clients",
                    str(each.closed),
                    str(each.gaps),
                    f"{each.changes:,}",
                    f"{each.quick:.1f} s",
                    f"{each.cpu:.1f} s",
                    in_mib(each.memory_before, each.memory_peak),
                    shares(each.before.server),
                    shares(each.meanwhile.server),
                    shares(each.meanwhile.own),
                    shares(each.after.server),
                ]
            )
    head = [f"{rows:,} rows, {quick:,} quick clients", "disconnected", "gaps", "changes to slow clients"]
    return table(
        [
            *head,
            "quick clients had all",
            "server's CPU until then",
            "memory",
            "pings before",
            "pings meanwhile, p50 / p99 / max",
            "own delay of the pinging process",
            "pings after",
        ],
        lines,
    )


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.steady", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--quick", type=int, default=QUICK)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--publish", action="store_true", help="write the table into docs/performance.md")
    add_choice(parser)
    chosen = parser.parse_args()
    databases = [DATABASES[each] for each in chosen.database]
    machine = [*describe(), *about(chosen.database)]
    print("\n".join(machine), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with started():
        rows = report(databases, chosen.rows, chosen.readers, chosen.quick, chosen.seconds)
    print(rows)
    if chosen.publish:
        summary.write(summary.PERFORMANCE, "python -m bench.steady", f"{rows}\n\n({'; '.join(machine)}.)")
    print("Each slow client got its changes once and in order, each quick one all of its rows.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
