"""Streams under kills: `python -m tests.faults.streams [APPENDS] [sqlite|postgres]`.

Writers append to stored streams while the server is killed again and again, and readers are cut off. At the end
each reader's text has to be its writer's, with every piece once, and every stream has to have an end.
"""

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

TOPIC: Final = "streams/faults"
PIECES: Final = 200
"""Appends of one stream."""
WRITERS: Final = 3
READERS: Final = 3
ENDS: Final[tuple[End, ...]] = ("complete", "complete", "failed")


class Report(Struct):
    """The outcome of a run; `anomalies` are sentences."""

    appends: int = 0
    streams: int = 0
    kills: int = 0
    cuts: int = 0
    anomalies: list[str] = field(default_factory=list)


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


def client(server: ServerProcess) -> Aerostack:
    return Aerostack(server.url, api_key=server.secret_key, backoff=Backoff(0.02, 0.1))


async def run(server: ServerProcess, appends: int, seed: int = 0) -> Report:
    """Write so many pieces, and kill and cut meanwhile."""
    report, chance = Report(), random.Random(seed)
    written: dict[str, tuple[str, str]] = {}
    readers = [(client(server), Reader()) for _ in range(READERS)]
    for sdk, reader in readers:
        await sdk.realtime.channel(TOPIC, streams=True).on("*", reader).subscribe()

    async def write(writer: int) -> None:
        sdk = client(server)
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
        await sdk.close()

    writing = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    clients = [sdk for sdk, _ in readers]
    breaking = asyncio.create_task(_break(server, clients, chance, report))
    await asyncio.gather(*writing)
    breaking.cancel()
    await asyncio.wait([breaking])
    for sdk, reader in readers:
        await sdk.realtime.connect()
        await reader.ended(set(written))
        for id, (text, state) in written.items():
            if (found := reader.texts[id]) != text:
                report.anomalies.append(f"{id}: {len(found)} characters read, {len(text)} written")
            if reader.states[id] != state:
                report.anomalies.append(f"{id}: ended as {reader.states[id]}, not as {state}")
        await sdk.close()
    return report


async def _break(server: ServerProcess, readers: list[Aerostack], chance: random.Random, report: Report) -> None:
    """Kill the server, or cut a reader off, until cancelled; never while the server is down."""
    while True:
        await asyncio.sleep(chance.uniform(0.1, 0.6))
        if chance.random() < 0.5:
            sdk = chance.choice(readers)
            await sdk.realtime.disconnect()
            await sdk.realtime.connect()
            report.cuts += 1
        else:
            await asyncio.shield(_restart(server))
            report.kills += 1


async def _restart(server: ServerProcess) -> None:
    await server.kill()
    await server.start()


async def served(databases: Databases, place: Path, appends: int) -> Report:
    """A run with a server of its own."""
    server = ServerProcess(databases.new(place), place / "server.log")
    await server.start()
    try:
        return await run(server, appends)
    finally:
        await server.close()


def main(appends: int, kind: str) -> int:
    """Print the report; 1 if there was an anomaly."""
    with TemporaryDirectory() as place:
        if kind == "sqlite":
            report = asyncio.run(served(SqliteFiles(), Path(place), appends))
        else:
            postgres = PostgresServer.started()
            try:
                report = asyncio.run(served(PostgresDatabases(postgres, "streams"), Path(place), appends))
            finally:
                postgres.remove()
    print(
        f"{kind}: {report.appends:,} appends in {report.streams} streams to {READERS} readers, "
        f"{report.kills} kills, {report.cuts} cuts: {len(report.anomalies)} anomalies"
    )
    print("\n".join(report.anomalies[:20]))
    return 1 if report.anomalies else 0


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:] or ["20000"])[0]), (sys.argv[2:] or ["sqlite"])[0]))
