"""Streams under kills: `python -m tests.faults.streams --appends 20000 --database postgres --nodes 3`.

Writers append to stored streams while servers are killed again and again, and readers are cut off. On several
nodes, Redis is killed as well, and loses all its data. At the end each reader's text has to be its writer's, with
every piece once, and every stream has to have an end.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from msgspec import Struct, field

from aerostack_realtime.protocol.messages import End
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.payload import Payload
from tests.flow.conftest import ServerProcess
from tests.flow.databases import Databases, PostgresDatabases, SqliteFiles
from tests.postgres import PostgresServer
from tests.redis import RedisServer

TOPIC: Final = "streams/faults"
PIECES: Final = 200
"""Appends of one stream."""
PROGRESS_STREAMS: Final = 100
"""Streams after which a line says how far a run is."""
WRITERS: Final = 3
READERS: Final = 3
ENDS_SECONDS: Final = 120.0
"""How long a reader may take for the ends: twice as long as the stream of a writer that is gone stays open."""
ENDS: Final[tuple[End, ...]] = ("complete", "complete", "failed")


class Report(Struct):
    """The outcome of a run; `anomalies` are sentences."""

    appends: int = 0
    streams: int = 0
    kills: int = 0
    cuts: int = 0
    losses: int = 0
    """How often Redis lost its data."""
    anomalies: list[str] = field(default_factory=list)


class Stage(Struct, frozen=True):
    """The servers of a run: one, or the nodes of a cluster on one Redis."""

    servers: list[ServerProcess]
    redis: RedisServer | None = None
    pause: float = 0.6
    """The most seconds between two faults."""

    def client(self, first: int) -> Aerostack:
        """A client of all servers, which begins with one of them."""
        first %= len(self.servers)
        urls = [server.url for server in (*self.servers[first:], *self.servers[:first])]
        return Aerostack(urls, api_key=self.servers[0].secret_key, backoff=Backoff(0.02, 0.1))


class Reader:
    """Puts the text of every stream together, from the deltas alone."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.states: dict[str, str] = {}
        self._changed = asyncio.Event()

    def __call__(self, payload: Payload) -> None:
        if payload.id is None or payload.state is None:
            return
        self.texts[payload.id] = self.texts.get(payload.id, "") + payload.delta
        self.states[payload.id] = payload.state
        self._changed.set()

    async def ended(self, ids: set[str]) -> None:
        """Wait until every one of these streams has an end."""
        while not all(self.states.get(id, "open") != "open" for id in ids):
            self._changed.clear()
            await self._changed.wait()


async def run(stage: Stage, appends: int, seed: int = 0) -> Report:
    """Write `appends` pieces, and kill and cut meanwhile."""
    report, chance = Report(), random.Random(seed)
    written: dict[str, tuple[str, str]] = {}
    readers = [(stage.client(number), Reader()) for number in range(READERS)]
    for sdk, reader in readers:
        await sdk.realtime.channel(TOPIC, streams=True).on("*", reader).subscribe()

    async def write(writer: int) -> None:
        sdk = stage.client(writer)
        for number in range(max(1, appends // PIECES // WRITERS)):
            id, text = f"{writer}-{number}", ""
            stream = await sdk.realtime.channel(TOPIC).stream("text", id=id, persist=True).open()
            for piece in range(PIECES):
                text += f"{piece} "
                await stream.append(f"{piece} ")
            state = chance.choice(ENDS)
            await stream.finish(state)
            written[id] = text, state
            report.appends += PIECES
            report.streams += 1
            if report.streams % PROGRESS_STREAMS == 0:
                print(f"… {report.appends:,} appends, {report.kills} kills, {report.cuts} cuts", flush=True)
        await sdk.close()

    writing = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    clients = [sdk for sdk, _ in readers]
    written_all = asyncio.Event()
    breaking = asyncio.create_task(_break(stage, clients, chance, report, written_all))
    await asyncio.gather(*writing)
    written_all.set()
    await breaking
    for number, (sdk, reader) in enumerate(readers):
        await sdk.realtime.connect()
        await _compare(reader, f"reader {number}", written, report)
        await sdk.close()
    return report


async def _compare(reader: Reader, name: str, written: dict[str, tuple[str, str]], report: Report) -> None:
    """Whether a reader has read what was written."""
    try:
        async with asyncio.timeout(ENDS_SECONDS):
            await reader.ended(set(written))
    except TimeoutError:
        report.anomalies += [
            f"{name}: {id} is {reader.states.get(id, 'unknown')}"
            for id in written
            if reader.states.get(id, "open") == "open"
        ]
    for id, (text, state) in written.items():
        found = reader.texts.get(id, "")
        if found != text:
            report.anomalies.append(f"{name}: {id}: {len(found)} characters read, {len(text)} written")
        if reader.states.get(id) not in (state, None, "open"):
            report.anomalies.append(f"{name}: {id} ended as {reader.states[id]}, not as {state}")


async def _break(
    stage: Stage, readers: list[Aerostack], chance: random.Random, report: Report, written_all: asyncio.Event
) -> None:
    """Kill a server, Redis, or cut a reader off, until all is written."""
    while not written_all.is_set():
        await asyncio.sleep(chance.uniform(stage.pause / 6, stage.pause))
        kind = chance.random()
        if kind < 0.5:
            sdk = chance.choice(readers)
            await sdk.realtime.disconnect()
            await sdk.realtime.connect()
            report.cuts += 1
        elif kind < 0.9 or stage.redis is None:
            await _restart(chance.choice(stage.servers))
            report.kills += 1
        else:
            stage.redis.kill()
            stage.redis.forget_data()
            stage.redis.start()
            report.losses += 1


async def _restart(server: ServerProcess) -> None:
    await server.kill()
    await server.start()


async def served(databases: Databases, place: Path, asked: argparse.Namespace) -> Report:
    """A run with servers of its own."""
    nodes = asked.nodes
    database = databases.new(place)
    redis = RedisServer.started() if nodes > 1 else None
    backplane = None if redis is None else redis.url
    logs = [place / f"server{number}.log" for number in range(nodes)]
    stage = Stage([ServerProcess(database, log, backplane=backplane) for log in logs], redis, asked.pause)
    try:
        await asyncio.gather(*(server.start() for server in stage.servers))
        return await run(stage, asked.appends, asked.seed)
    finally:
        for server in stage.servers:
            await server.close()
        if redis is not None:
            redis.remove()


def main() -> int:
    """Print the report; 1 if there was an anomaly."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.streams", description=__doc__)
    parser.add_argument("--appends", type=int, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--nodes", type=int, default=1, help="several run on PostgreSQL and Redis")
    parser.add_argument("--pause", type=float, default=0.6, help="the most seconds between two faults")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.nodes > 1:
        asked.database = "postgres"
    with TemporaryDirectory() as place:
        if asked.database == "sqlite":
            report = asyncio.run(served(SqliteFiles(), Path(place), asked))
        else:
            postgres = PostgresServer.started()
            try:
                databases = PostgresDatabases(postgres, "streams")
                report = asyncio.run(served(databases, Path(place), asked))
            finally:
                postgres.remove()
    print(
        f"{asked.database}, {asked.nodes} nodes: {report.appends:,} appends in {report.streams} streams "
        f"to {READERS} readers, {report.kills} kills, {report.cuts} cuts, {report.losses} losses of Redis: "
        f"{len(report.anomalies)} anomalies"
    )
    print("\n".join(report.anomalies[:20]))
    return 1 if report.anomalies else 0


if __name__ == "__main__":
    sys.exit(main())
