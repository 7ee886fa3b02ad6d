"""What is large, ours alone, `python -m bench.transaction`: many rows in one transaction, and a value of 100 MB.

How long the last change takes after the commit, what each row costs, what memory the server needs for it, and what
another connection notices: it sends a ping every 10 ms, each counted from when it was due.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from functools import partial

import msgspec
from msgspec import Struct

from bench import proctree
from bench.changes import on_fresh_server, write
from bench.databases import DATABASES, Database, about, add_choice, started
from bench.load.counting_subscriber import Counts
from bench.load.latency import Histogram
from bench.load.listener import listen
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.pings import Pinger, shares
from bench.report import table
from bench.servers import Running

ROWS = 1_000_000
BYTES = 100_000_000
_BEFORE_S = 2.0
_WAIT_S = 300.0


class Bulk(Struct, frozen=True):
    """Times in seconds, memory in bytes, CPU in µs per row of the transaction. Pings `quiet`: before it."""

    written: float
    arrived: float
    cpu_us: float
    memory_before: int
    memory_peak: int
    quiet: Histogram
    pings: Histogram
    returns: int


class Large(Struct, frozen=True):
    """What a subscriber saw of an INSERT, of an UPDATE of another column, and of a small row after them."""

    seen: list[str]
    took: list[float]
    memory_before: int
    memory_peak: int
    pings: Histogram


async def bulk(server: Running, rows: int, *, filtered: bool) -> Bulk:
    """A transaction of `rows` rows, to one subscriber that gets them all or, `filtered`, the last one."""
    count, customer = (1, [str(rows)]) if filtered else (rows, [])
    subscriber = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "bench.load.counting_subscriber",
        server.host, str(server.port), str(count), *customer,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert subscriber.stdout is not None, "it is a pipe"
    await subscriber.stdout.readline()
    async with Pinger(server) as pinger:
        await asyncio.sleep(_BEFORE_S)
        quiet = (await pinger.take()).whole
        memory, cpu = proctree.resident(server.pid), proctree.cpu_seconds(server.pid)
        begun, committed = await write(server, "transaction", rows)
        output, _ = await asyncio.wait_for(subscriber.communicate(), _WAIT_S)
        cpu = proctree.cpu_seconds(server.pid) - cpu
        pings = (await pinger.take()).whole
    if subscriber.returncode:
        raise RuntimeError(f"the subscriber ended with code {subscriber.returncode}")
    found = msgspec.json.decode(output, type=Counts)
    if found.gaps:
        raise RuntimeError(f"the subscriber received {found.gaps} gaps")
    return Bulk(
        written=committed - begun,
        arrived=found.last - committed,
        cpu_us=cpu / rows * 1e6,
        memory_before=memory,
        memory_peak=proctree.peak(server.pid),
        quiet=quiet,
        pings=pings,
        returns=found.returns,
    )


async def large(server: Running, size: int) -> Large:
    """A row with a value of `size` bytes, an UPDATE of another of its columns, and another row."""
    came: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

    def heard(content: bytes, now: float) -> None:
        kind = "a gap" if content.startswith(b'{"type":"subscribed"') else f"{len(content):,} bytes"
        came.put_nowait((kind, now))

    frame = msgspec.json.encode({"type": "subscribe", "topic": TABLE})
    listener = await listen(server.host, server.port, frame, heard)
    memory, seen, took = proctree.resident(server.pid), [], []
    async with Pinger(server) as pinger:
        for what in (("large", size), ("touch",), ("burst", 1, 1, 1)):
            _, committed = await write(server, *what)
            async with asyncio.timeout(_WAIT_S):
                kind, now = await came.get()
            seen.append(kind)
            took.append(now - committed)
        pings = (await pinger.take()).whole
    listener.close()
    return Large(seen, took, memory, proctree.peak(server.pid), pings)


def in_mib(before: int, peak: int) -> str:
    """Memory before and at its peak, for a table."""
    return f"{before / 2**20:.0f} → {peak / 2**20:.0f} MiB"


def transactions(databases: Sequence[Database], rows: int) -> str:
    """One transaction of many rows, as a table."""
    lines = []
    for database in databases:
        for filtered in (False, True):
            each = on_fresh_server(partial(bulk, rows=rows, filtered=filtered), database)
            lines.append(
                [
                    f"{database.title}, {'one row' if filtered else 'all rows'}",
                    f"{each.written:.1f} s",
                    f"{each.arrived:.1f} s",
                    f"{each.cpu_us:.1f} µs",
                    in_mib(each.memory_before, each.memory_peak),
                    shares(each.quiet),
                    shares(each.pings),
                    str(each.returns),
                ]
            )
    head = [f"{rows:,} rows, to a subscriber of", "written in", "commit → last change", "CPU per row"]
    return table([*head, "memory", "pings before", "pings p50 / p99 / max", "closed as slow"], lines)


def values(databases: Sequence[Database], size: int) -> str:
    """A large value, as a table."""
    lines = []
    for database in databases:
        each = on_fresh_server(partial(large, size=size), database)
        steps = [f"{kind} ({took:.1f} s)" for kind, took in zip(each.seen, each.took, strict=True)]
        lines.append([database.title, *steps, in_mib(each.memory_before, each.memory_peak), shares(each.pings)])
    head = [f"a value of {size:,} bytes", "INSERT: seen", "UPDATE of another column: seen", "a small row after it"]
    return table([*head, "memory", "pings p50 / p99 / max"], lines)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.transaction", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--bytes", type=int, default=BYTES)
    add_choice(parser)
    chosen = parser.parse_args()
    databases = [DATABASES[each] for each in chosen.database]
    print("\n".join([*describe(), *about(chosen.database)]), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with started():
        print(transactions(databases, chosen.rows), end="\n\n", flush=True)
        print(values(databases, chosen.bytes))
    print("Each subscriber got each of its changes once and in order.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
