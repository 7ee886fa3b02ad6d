"""Stored things, ours alone, `python -m bench.history`: publish → ack, history pages, a watched table's price."""

import argparse
import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

import msgspec
import uvloop
from msgspec import Struct

from aerostack_realtime.database.sqlite.messages import MESSAGES
from bench import proctree
from bench.contenders import OURS
from bench.load import websocket
from bench.load.caller import call
from bench.load.latency import Histogram
from bench.load.listener import listen
from bench.load.writer import LAYOUT, TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.servers import Running, scratch

STORED = (1_000, 10_000, 100_000, 1_000_000)
_IN_FLIGHT = 100
_WARM_S, _MEASURE_S = 1.0, 5.0
_PAGES = 200
_ROOM = "bench/history/default"
_SINGLE, _BULK, _BULK_BATCH = 2_000, 100_000, 1_000

Result = TypeVar("Result")


class _Ack(Struct):
    type: str
    id: str


class Acks(Struct, frozen=True):
    """Persisted publishes, acknowledged after their commit, `_IN_FLIGHT` at a time; CPU in µs each."""

    rate: float
    cpu_us: float
    latency: Histogram


class Pages(Struct, frozen=True):
    """Times of a history request of 50 messages: of the newest, and of some anywhere."""

    stored: int
    newest: Histogram
    anywhere: Histogram


class Writes(Struct, frozen=True):
    """µs per row: single-row commits, and rows of a commit of `_BULK_BATCH`."""

    single: float
    bulk: float


async def acknowledge(server: Running) -> Acks:
    """Publish as acknowledgements come in; check that the store has them all."""
    decode = msgspec.json.Decoder(_Ack).decode
    sent: dict[str, float] = {}
    latency = Histogram()
    begun = monotonic() + _WARM_S
    until = begun + _MEASURE_S
    drained = asyncio.get_running_loop().create_future()
    counted = published = 0

    def publish() -> None:
        nonlocal published
        published += 1
        name = str(published)
        sent[name] = monotonic()
        frame = b'{"type":"publish","topic":"%s","event":"m","persist":true,"id":"%s","data":{"text":"%s"}}'
        listener.send(websocket.encode(frame % (_ROOM.encode(), name.encode(), b"x" * 100)))

    def heard(content: bytes, now: float) -> None:
        nonlocal counted
        ack = decode(content)
        if ack.type != "ack" or ack.id not in sent:
            drained.set_exception(RuntimeError(f"not an awaited ack: {content[:200]!r}"))
            return
        at = sent.pop(ack.id)
        if begun <= now < until:
            counted += 1
            latency.add(now - at)
        if now < until:
            publish()
        elif not sent and not drained.done():
            drained.set_result(None)

    listener = await listen(server.host, server.port, None, heard)
    for _ in range(_IN_FLIGHT):
        publish()
    await asyncio.sleep(begun - monotonic())
    cpu = proctree.cpu_seconds(server.pid)
    await asyncio.sleep(until - monotonic())
    cpu = proctree.cpu_seconds(server.pid) - cpu
    await asyncio.wait_for(drained, 30)
    listener.close()
    with closing(sqlite3.connect(server.directory / "bench.db")) as database:
        (stored,) = database.execute(f"SELECT count(*) FROM {MESSAGES}").fetchone()
    if stored != published:
        raise RuntimeError(f"{published} were acknowledged, {stored} are stored")
    return Acks(counted / _MEASURE_S, cpu / counted * 1e6, latency)


def fill(path: Path, count: int) -> None:
    """Store messages of one room directly: by publishing, ten million would take a quarter of an hour. Their ids
    are in order, so that the index of ids grows at its end."""
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    database.execute("PRAGMA synchronous=OFF")
    database.execute("PRAGMA cache_size=-262144")  # 256 MiB
    (have,) = database.execute(f"SELECT count(*) FROM {MESSAGES} WHERE topic = ?", (_ROOM,)).fetchone()
    step = 100_000
    for first in range(have, count, step):
        database.execute(
            f"INSERT INTO {MESSAGES}(topic, created_at, position, id, user_id, event, data)"
            " WITH RECURSIVE n(i) AS (VALUES(?) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)"
            " SELECT ?, 1700000000000 + i, i, printf('id%08d', i), 'user', 'm', CAST(? AS BLOB) FROM n",
            (first, min(count, first + step), _ROOM, '{"text":"some words"}'),
        )
    database.close()


async def page(server: Running, stored: int) -> Pages:
    """Ask for pages of 50, one at a time."""
    caller = await call(server.host, server.port)
    found = Pages(stored, Histogram(), Histogram())
    path = f"/api/v1/public/realtime/history?room={_ROOM}&limit=50"
    for number in range(_PAGES):
        before = 1700000000000 + 50 + (number * 7919 * stored // _PAGES) % max(1, stored - 50)
        for histogram, where in ((found.newest, ""), (found.anywhere, f"&before={before}")):
            start = monotonic()
            body, end = await caller.get(path + where)
            histogram.add(end - start)
            if body.count(b'"created_at"') != 50:
                raise RuntimeError(f"not a page of 50: {body[:200]!r}")
    caller.close()
    return found


async def watch(server: Running) -> None:
    """Make the table and have it watched."""
    caller = await call(server.host, server.port)
    await caller.post("/v1/db/query", {"sql": f"CREATE TABLE {TABLE}{LAYOUT}", "params": []})
    caller.close()
    frame = msgspec.json.encode({"type": "subscribe", "topic": TABLE})
    (await listen(server.host, server.port, frame, lambda _content, _now: None)).close()


def writes(path: Path) -> Writes:
    """What writes of another process cost on the table in the database at `path`."""
    single = _write(path, _SINGLE, 1)
    return Writes(single / _SINGLE * 1e6, _write(path, _BULK, _BULK_BATCH) / _BULK * 1e6)


def _write(path: Path, count: int, batch: int) -> float:
    command = [sys.executable, "-m", "bench.load.writer", str(path), "burst", str(count), "100", str(batch)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    start, end = msgspec.json.decode(output, type=list[float])
    return end - start


def run(measure: Coroutine[Any, Any, Result]) -> Result:
    """Run `measure` in a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure)


def acks() -> Acks:
    """On a fresh server."""
    with OURS.running() as server:
        return run(acknowledge(server))


def pages(counts: tuple[int, ...]) -> list[Pages]:
    """On one server, filled further and further."""
    found = []
    with OURS.running() as server:
        for count in sorted(counts):
            fill(server.directory / "bench.db", count)
            found.append(run(page(server, count)))
    return found


def watched_and_not() -> list[tuple[str, Writes]]:
    """The same writes on a plain table, on a watched one without a server, and beside a server that reads them."""
    with scratch() as directory:
        plain, apart = directory / "plain.db", directory / "apart.db"
        with closing(sqlite3.connect(plain, isolation_level=None)) as database:
            database.execute(f"CREATE TABLE {TABLE}{LAYOUT}")
        found = [("not watched", writes(plain))]
        with OURS.running() as server:
            run(watch(server))
            path = server.directory / "bench.db"
            with closing(sqlite3.connect(path)) as watched, closing(sqlite3.connect(apart)) as copy:
                watched.backup(copy)
            beside = writes(path)
        found.append(("watched, no server running", writes(apart)))
        found.append(("watched, the server reading along", beside))
        return found


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--stored", type=int, nargs="*", default=STORED)
    chosen = parser.parse_args()
    print("\n".join(describe()), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    result = acks()
    shares = (0.5, 0.99, 0.999)
    row = [f"{_IN_FLIGHT} in flight", f"{result.rate:,.0f}", "≥ 15,000", f"{result.cpu_us:.1f} µs"]
    row += [f"{result.latency.percentile(share):.2f} ms" for share in shares]
    head = ["persisted publish → ack", "acks/s", "budget", "server CPU each", "p50", "p99", "p99.9"]
    print(table(head, [row]), end="\n\n", flush=True)
    rows = [
        [f"{each.stored:,}"]
        + [f"{times.percentile(share):.2f} ms" for times in (each.newest, each.anywhere) for share in shares[:2]]
        for each in pages(tuple(chosen.stored))
    ]
    print(
        table(["stored in the room", "newest 50: p50", "p99", "50 anywhere: p50", "p99"], rows),
        end="\n\n",
        flush=True,
    )
    rows = [[name, f"{each.single:.1f} µs", f"{each.bulk:.2f} µs"] for name, each in watched_and_not()]
    print(table(["table", "single-row commit", f"row of a commit of {_BULK_BATCH:,}"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
