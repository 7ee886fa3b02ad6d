"""A snapshot of a large table through the whole server, ours alone: `python -m bench.snapshot`.

A client takes all rows and the changes after them, while a writer changes the table; another one that reads
nothing for some seconds; and four at the same time, of a tenth of the rows. How fast the rows come, what each
costs the server, what memory it needs, and what another connection notices: it sends a ping every 10 ms, each
counted from when it was due.
"""

import argparse
import asyncio
import os
import sys
from asyncio.subprocess import Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import uvloop
from msgspec import Struct

from bench import proctree
from bench.changes import write
from bench.databases import DATABASES, POSTGRES, Database, about, add_choice, started
from bench.load.latency import Histogram
from bench.load.snapshot_client import SnapshotResult
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.pings import Pinger, shares
from bench.report import table
from bench.servers import Running
from bench.transaction import in_mib

ROWS = 10_000_000
PAUSE_S = 10.0
AT_ONCE = 4
RATE = 50.0
"""Commits a second of the writer, of three changes each."""
_BEFORE_S = 2.0
_WAIT_S = 900.0
_HOLDS = f"SELECT count(*), sum(total), sum(id * 7 + total) FROM {TABLE}"


class Found(Struct, frozen=True):
    """Of all clients: `rate` in rows/s, without pauses; `cpu_us` of the server per row. Memory in bytes; `private`
    is that of PostgreSQL's processes that read, without what they share. Pings `quiet`: before it."""

    rows: int
    changes: int
    rate: float
    cpu_us: float
    memory_before: int
    memory_peak: int
    private: int
    quiet: Histogram
    pings: Histogram


@contextmanager
def filled(database: Database, rows: int) -> Iterator[str]:
    """A fresh database with the table and `rows` rows in it."""
    with database.new() as place:
        database.execute(place, f"CREATE TABLE {TABLE}{database.layout}")
        asyncio.run(write(Running(0, 0, ROOT, database=place), "transaction", rows))
        database.execute(place, "VACUUM")
        yield place


def on_filled(database: Database, place: str, count: int, pause: float) -> Found:
    """Run `measure` on the generator's core against a server of its own."""
    with database.serving(place) as server, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure(server, database, count, pause))


async def measure(server: Running, database: Database, count: int, pause: float) -> Found:
    """Take `count` snapshots at the same time, by clients that `pause` (s), while the table is written to.

    Raises RuntimeError when one does not end with what the table holds.
    """
    writer = await _started("bench.load.writer", server.database, "churn", str(RATE))
    async with Pinger(server) as pinger:
        await asyncio.sleep(_BEFORE_S)
        quiet = (await pinger.take()).whole
        memory, cpu = proctree.resident(server.pid), proctree.cpu_seconds(server.pid)
        clients = [
            await _started("bench.load.snapshot_client", server.host, str(server.port), str(pause))
            for _ in range(count)
        ]
        await _said(clients, "begun")
        readers = await asyncio.to_thread(_readers, database, server.database)
        await _said(clients, "taken")
        private = sum(map(proctree.private, readers))
        cpu = proctree.cpu_seconds(server.pid) - cpu
        pings = (await pinger.take()).whole
    await writer.communicate(b"")
    taken = [await _result(client) for client in clients]
    ((*holds,),) = database.execute(server.database, _HOLDS)
    for each in taken:
        if each.holds != holds:
            raise RuntimeError(f"a client holds {each.holds}, and the table {holds}")
    rows = sum(each.rows for each in taken)
    return Found(
        rows=rows,
        changes=sum(each.changes for each in taken),
        rate=rows / (max(each.last for each in taken) - min(each.asked for each in taken) - pause),
        cpu_us=cpu / rows * 1e6,
        memory_before=memory,
        memory_peak=proctree.peak(server.pid),
        private=private,
        quiet=quiet,
        pings=pings,
    )


async def _started(module: str, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, *arguments,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def _said(clients: Sequence[Process], word: str) -> None:
    """Wait until each has said a word. Raises RuntimeError for one that says another."""
    async with asyncio.timeout(_WAIT_S):
        for client in clients:
            assert client.stdout is not None, "it is a pipe"
            if (said := (await client.stdout.readline()).decode().strip()) != word:
                raise RuntimeError(f"a client said {said!r} for {word!r}")


async def _result(client: Process) -> SnapshotResult:
    output, _ = await asyncio.wait_for(client.communicate(), _WAIT_S)
    if client.returncode:
        raise RuntimeError(f"a client ended with code {client.returncode}")
    return msgspec.json.decode(output, type=SnapshotResult)


def _readers(database: Database, place: str) -> list[int]:
    """The processes of PostgreSQL that read a snapshot."""
    if database is not POSTGRES:
        return []
    asked = "SELECT pid FROM pg_stat_activity WHERE query LIKE 'FETCH%aerostack_rows' AND xact_start IS NOT NULL"
    return [int(pid) for (pid,) in database.execute(place, asked)]


def snapshots(databases: Sequence[Database], rows: int, pause: float) -> str:
    """What they cost, as a table."""
    lines = []
    for database in databases:
        for size, clients, waits, title in (
            (rows, 1, 0.0, "one client"),
            (rows, 1, pause, f"one that reads nothing for {pause:g} s"),
            (rows // 10, AT_ONCE, 0.0, f"{AT_ONCE} at the same time"),
        ):
            with filled(database, size) as place:
                each = on_filled(database, place, clients, waits)
            lines.append(
                [
                    f"{database.title}, {title}",
                    f"{each.rows:,}",
                    f"{each.rate:,.0f}",
                    f"{each.cpu_us:.1f} µs",
                    f"{each.changes:,}",
                    in_mib(each.memory_before, each.memory_peak),
                    f"{each.private / 2**20:.0f} MiB" if each.private else "",
                    shares(each.quiet),
                    shares(each.pings),
                ]
            )
    head = [
        "a snapshot to",
        "rows",
        "rows/s",
        "CPU per row",
        "changes after it",
        "memory",
        "PostgreSQL's, private",
    ]
    return table([*head, "pings before", "pings p50 / p99 / max"], lines)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.snapshot", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--pause", type=float, default=PAUSE_S)
    add_choice(parser)
    chosen = parser.parse_args()
    databases = [DATABASES[each] for each in chosen.database]
    print("\n".join([*describe(), *about(chosen.database)]), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with started():
        print(snapshots(databases, chosen.rows, chosen.pause))
    print("Each client got each row once, and with the changes after them had what the table held at the end.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
