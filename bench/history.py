"""Stored things, ours alone, `python -m bench.history`: publish → ack, history pages, a watched table's price."""

import argparse
import asyncio
import os
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any, TypeVar

import msgspec
import uvloop
from msgspec import Struct

from aerostack_realtime.database.sqlite.message_table import MESSAGES
from bench import proctree
from bench.databases import DATABASES, POSTGRES, SQLITE, Database, about, add_choice, started
from bench.load import websocket
from bench.load.caller import call
from bench.load.latency import Histogram
from bench.load.listener import listen
from bench.load.writer import TABLE
from bench.machine import LOAD_CORE, ROOT, describe
from bench.report import table
from bench.servers import Running

STORED = (1_000, 10_000, 100_000, 1_000_000)
_IN_FLIGHT = 100
_WARM_S, _MEASURE_S = 1.0, 5.0
_PAGES = 200
_ROOM = "bench/history/default"
_SINGLE, _BULK, _BULK_BATCH = 2_000, 100_000, 1_000
_STORE = {SQLITE: MESSAGES, POSTGRES: "aerostack.messages"}
_DATA = {
    SQLITE: """CAST('{"text":"some words"}' AS BLOB)""",
    POSTGRES: """convert_to('{"text":"some words"}', 'UTF8')""",
}

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
    """µs per row: single-row commits; rows inserted and rows changed, by commits of `_BULK_BATCH`.

    `log` is how many bytes of PostgreSQL's log a changed row took.
    """

    single: float
    bulk: float
    update: float
    log: float | None = None


async def acknowledge(
    server: Running, database: Database, warm_s: float = _WARM_S, measure_s: float = _MEASURE_S
) -> Acks:
    """Publish as acknowledgements come in; check that the store has them all."""
    decode = msgspec.json.Decoder(_Ack).decode
    sent: dict[str, float] = {}
    latency = Histogram()
    begun = monotonic() + warm_s
    until = begun + measure_s
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
    ((stored,),) = database.execute(server.database, f"SELECT count(*) FROM {_STORE[database]}")
    if stored != published:
        raise RuntimeError(f"{published} were acknowledged, {stored} are stored")
    return Acks(counted / measure_s, cpu / counted * 1e6, latency)


def fill(database: Database, place: str, count: int) -> None:
    """Store messages of one room directly: by publishing, ten million would take a quarter of an hour. The
    ids ascend, so that their index grows at its end."""
    store, step = _STORE[database], 100_000
    ((have,),) = database.execute(place, f"SELECT count(*) FROM {store} WHERE topic = '{_ROOM}'")
    for first in range(have, count, step):
        end = min(count, first + step)
        database.execute(
            place,
            f"INSERT INTO {store}(topic, created_at, position, id, user_id, event, data)"
            f" WITH RECURSIVE n(i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {end})"
            f" SELECT '{_ROOM}', 1700000000000 + i, i, 'id' || (100000000 + i), 'user', 'm', {_DATA[database]}"
            " FROM n",
        )


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
    """Have the table watched."""
    frame = msgspec.json.encode({"type": "subscribe", "topic": TABLE})
    (await listen(server.host, server.port, frame, lambda _content, _now: None)).close()


def writes(database: Database, place: str, few: int = _SINGLE, many: int = _BULK) -> Writes:
    """What writes of another process cost on the table in the database at `place`."""
    single = _write(place, "burst", few, 100, 1) / few
    bulk = _write(place, "burst", many, 100, _BULK_BATCH) / many
    before = _log_end(database, place)
    update = _write(place, "update", many, _BULK_BATCH) / many
    log = (_log_end(database, place) - before) / many
    return Writes(single * 1e6, bulk * 1e6, update * 1e6, log if database is POSTGRES else None)


def _log_end(database: Database, place: str) -> int:
    """How many bytes PostgreSQL has ever written into its log; 0 for SQLite."""
    if database is not POSTGRES:
        return 0
    ((end,),) = database.execute(place, "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint")
    return int(end)


def _write(place: str, *arguments: str | int) -> float:
    command = [sys.executable, "-m", "bench.load.writer", place, *map(str, arguments)]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    start, end = msgspec.json.decode(output, type=list[float])
    return end - start


def run(measure: Coroutine[Any, Any, Result]) -> Result:
    """Run `measure` in a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(measure)


def acks(database: Database = SQLITE) -> Acks:
    """On a fresh server."""
    with database.running() as server:
        return run(acknowledge(server, database))


def pages(counts: Sequence[int], database: Database = SQLITE) -> list[Pages]:
    """On one server, filled further and further."""
    found = []
    with database.running() as server:
        for count in sorted(counts):
            fill(database, server.database, count)
            found.append(run(page(server, count)))
    return found


def watched_and_not(database: Database = SQLITE) -> list[tuple[str, Writes]]:
    """The same writes on a plain table, beside a server that reads them, and on a watched one without a server."""
    found = []
    create = f"CREATE TABLE {TABLE}{database.layout}"
    with database.new() as plain:
        database.execute(plain, create)
        found.append(("not watched", writes(database, plain)))
    with database.new() as apart:
        database.execute(apart, create)
        with database.serving(apart) as server:
            run(watch(server))
        found.append(("watched, no server running", writes(database, apart)))
    with database.new() as beside:
        database.execute(beside, create)
        with database.serving(beside) as server:
            run(watch(server))
            found.append(("watched, the server reading along", writes(database, beside)))
    return found


def acknowledged(databases: Sequence[Database]) -> str:
    """Acknowledged publishes, as a table."""
    rows = []
    for database in databases:
        result = acks(database)
        row = [f"{database.title}, {_IN_FLIGHT} in flight", f"{result.rate:,.0f}", "≥ 15,000"]
        row += [f"{result.cpu_us:.1f} µs"]
        rows.append(row + [f"{result.latency.percentile(share):.2f} ms" for share in (0.5, 0.99, 0.999)])
    head = ["persisted publish → ack", "acks/s", "budget", "server CPU each", "p50", "p99", "p99.9"]
    return table(head, rows)


def paged(databases: Sequence[Database], counts: Sequence[int]) -> str:
    """History pages, as a table."""
    rows = [
        [f"{database.title}, {each.stored:,}"]
        + [f"{times.percentile(share):.2f} ms" for times in (each.newest, each.anywhere) for share in (0.5, 0.99)]
        for database in databases
        for each in pages(counts, database)
    ]
    return table(["stored in the room", "newest 50: p50", "p99", "50 anywhere: p50", "p99"], rows)


def priced(databases: Sequence[Database]) -> str:
    """What a watch costs who writes, as a table."""
    rows = [
        [
            f"{database.title}, {name}",
            f"{each.single:.1f} µs",
            f"{each.bulk:.2f} µs",
            f"{each.update:.2f} µs",
            "" if each.log is None else f"{each.log:.0f} bytes",
        ]
        for database in databases
        for name, each in watched_and_not(database)
    ]
    many = f"of a commit of {_BULK_BATCH:,}"
    return table(["table", "single INSERT", f"INSERT {many}", f"UPDATE {many}", "log per UPDATE"], rows)


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.history", description=__doc__)
    parser.add_argument("--stored", type=int, nargs="*", default=STORED)
    add_choice(parser)
    chosen = parser.parse_args()
    databases = [DATABASES[each] for each in chosen.database]
    print("\n".join([*describe(), *about(chosen.database)]), end="\n\n", flush=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    with started():
        print(acknowledged(databases), end="\n\n", flush=True)
        print(paged(databases, chosen.stored), end="\n\n", flush=True)
        print(priced(databases))
    return 0


if __name__ == "__main__":
    sys.exit(main())
