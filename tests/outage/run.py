"""One outage: the line between server and PostgreSQL is interrupted, and all clients continue."""

import asyncio
import itertools
import re
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from msgspec import Struct

from tests.faults.network import Network
from tests.outage.clients import KEPT, TABLE, Publisher, Reader, client
from tests.outage.server import Node, Spent
from tests.outage.writer import Writer
from tests.postgres import PostgresServer

Kind = Literal["closed", "silent"]
"""How the line is away: each connection is reset, or everything is swallowed without an end."""

DATABASE: Final = "shop"
SETTINGS: Final = {"wal_sender_timeout": "60s"}
"""PostgreSQL's default."""
WAITING: Final = 5
"""Messages that the disconnected client publishes meanwhile."""
_NOTICED: Final = re.compile(r"([\d-]+T[\d:.]+Z) warning .*: row changes are not received")


class Options(Struct, frozen=True):
    """`seconds` of outage. `rate`: rows a second; `burst`: rows of one transaction in the midst of it;
    `published`: messages a second; `postgres`: settings of the server's `[postgres]`."""

    seconds: float
    kind: Kind = "closed"
    rate: float = 50.0
    burst: int = 250_000
    published: float = 0.5
    look_seconds: float = 1.0
    postgres: dict[str, float] = {}


class Report(Struct, frozen=True):
    """What came of it.

    `missed`: rows committed during the outage. `noticed`: seconds until the server said that row changes are not
    followed. `caught_up`: seconds from when the line is back until the readers have all that was committed by
    then; `came_back`: the same for the reader that was away, from when its own line is back. `off`: as of Reader.
    `said`: lines in the server's log meanwhile. `wrong`: anomalies, in words.
    """

    options: Options
    rows: int
    missed: int
    messages: int
    outcomes: dict[str, int]
    slowest_refusal: float
    noticed: float | None
    caught_up: float
    came_back: float
    before: Spent
    outage: Spent
    after: Spent
    peak_outage: float
    peak_after: float
    off: float
    said: list[str]
    wrong: list[str]


class _Stage:
    """The parts, in a directory of the run's own."""

    def __init__(self, place: Path, options: Options, postgres: PostgresServer) -> None:
        self.options = options
        self.line = Network(postgres.port)
        self.writer = Writer(postgres.dsn(DATABASE), options.rate)
        self.peak = 0.0
        self._place = place

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Everybody is there, and has what was written until now."""
        async with self.line:
            address = f"postgresql://postgres@127.0.0.1:{self.line.port}/{DATABASE}"
            self.node = Node(self._place, address, self.options.postgres)
            await self.writer.open()
            await self.node.start()
            try:
                self.door = Network(self.node.port)
                async with self.door:
                    await self._clients()
                    try:
                        yield
                    finally:
                        await self._leave()
            finally:
                await self.node.end()

    async def _clients(self) -> None:
        self.here = [Reader("first", self.node.url), Reader("second", self.node.url)]
        self.away = Reader("away", self.door.url)
        self.readers = [*self.here, self.away]
        self.publisher = Publisher(self.node.url, self.options.published)
        for reader in self.readers:
            await reader.start()
        self.publisher.start()
        self.writer.start()
        self._looking = asyncio.create_task(self._look())
        await asyncio.gather(*(reader.until(10) for reader in self.readers))

    async def _leave(self) -> None:
        self._looking.cancel()
        await self.publisher.end()
        for reader in self.readers:
            await reader.close()

    async def _look(self) -> None:
        """Note how much memory the server takes."""
        while self.node.running:
            self.peak = max(self.peak, self.node.spent().memory)
            await asyncio.sleep(self.options.look_seconds)

    def peak_since(self) -> float:
        """The most memory since the last time this was asked."""
        peak, self.peak = max(self.peak, self.node.spent().memory), 0.0
        return peak


async def run(place: Path, options: Options) -> Report:
    """Raises TimeoutError when something that has to come does not."""
    postgres = PostgresServer.started(tcp=True, settings=SETTINGS, disk=True)
    try:
        postgres.execute(f"CREATE DATABASE {DATABASE}")
        stage = _Stage(place, options, postgres)
        async with stage.open():
            return await _outage(stage)
    finally:
        postgres.remove()


async def _outage(stage: _Stage) -> Report:
    options, node, writer = stage.options, stage.node, stage.writer
    before, rows_before = node.spent(), writer.rows
    stage.peak_since()
    stage.door.close()
    if options.kind == "closed":
        stage.line.close()
    else:
        stage.line.silence()
    cut, wall = time.monotonic(), time.time()
    publish = stage.publisher.publish
    waiting = [asyncio.create_task(publish(stage.away.sdk, f"away {number}")) for number in range(WAITING)]
    await asyncio.sleep(options.seconds / 2)
    await writer.burst(options.burst)
    await asyncio.sleep(max(0.0, options.seconds - (time.monotonic() - cut)))
    during, peak_outage, missed = node.spent(), stage.peak_since(), writer.rows
    said = node.lines()[before.lines : during.lines]
    stage.line.heal()
    caught_up = await _seconds(*(reader.until(missed) for reader in stage.here))
    stage.door.heal()
    came_back = await _seconds(stage.away.until(missed))
    if not any(await asyncio.gather(*waiting)):
        stage.publisher.wrong.append("nothing that had waited in the client was stored")
    await stage.publisher.end()
    await writer.end()
    await asyncio.gather(*(reader.until(writer.rows) for reader in stage.readers))
    ends = (f"end {number}" for number in itertools.count())
    end = next(ends)
    while not await publish(stage.away.sdk, end):
        end = next(ends)
    await asyncio.gather(*(reader.until_told(end) for reader in stage.readers))
    return Report(
        options,
        rows=writer.rows,
        missed=missed - rows_before,
        messages=len(stage.here[0].messages),
        outcomes=dict(stage.publisher.outcomes),
        slowest_refusal=stage.publisher.slowest,
        noticed=_noticed(said, wall),
        caught_up=caught_up,
        came_back=came_back,
        before=before,
        outage=during,
        after=node.spent(),
        peak_outage=peak_outage,
        peak_after=stage.peak_since(),
        off=max(reader.off for reader in stage.here),
        said=said,
        wrong=[*await _wrong(stage), *([] if node.running else ["the server ended unasked"])],
    )


async def _seconds(*awaited: Coroutine[Any, Any, None]) -> float:
    began = time.monotonic()
    await asyncio.gather(*awaited)
    return time.monotonic() - began


def _noticed(said: Sequence[str], since: float) -> float | None:
    """How many seconds after `since` the log says that the line is away."""
    for line in said:
        if found := _NOTICED.match(line):
            return datetime.fromisoformat(found[1]).timestamp() - since
    return None


async def _wrong(stage: _Stage) -> list[str]:
    """What does not hold, in words."""
    wrong = list(stage.publisher.wrong)
    sure = set(stage.publisher.stored)
    for reader in stage.readers:
        wrong += reader.wrong
        if reader.rows != stage.writer.rows:
            wrong.append(f"{reader.name}: {reader.rows} rows instead of {stage.writer.rows}")
        received = [text for text in reader.messages if text in sure]
        if missing := sure - set(received):
            wrong.append(f"{reader.name}: acknowledged messages are missing: {missing}")
        if invented := set(reader.messages) - sure - set(stage.publisher.refused):
            wrong.append(f"{reader.name}: messages that nobody published: {invented}")
        if len(set(reader.messages)) != len(reader.messages):
            wrong.append(f"{reader.name}: a message came twice")
        numbers = [int(text.split()[1]) for text in reader.messages if text.startswith("kept")]
        if numbers != sorted(numbers):
            wrong.append(f"{reader.name}: messages came out of order")
        if received != [text for text in stage.here[0].messages if text in sure]:
            wrong.append(f"{reader.name}: messages came in another order than to others")
        if reader in stage.here and reader.lost:
            wrong.append(f"{reader.name}: the connection was lost {reader.lost} times")
    return wrong + await _differs(stage, sure)


async def _differs(stage: _Stage, sure: set[str]) -> list[str]:
    """Where the database differs from what the readers received."""
    wrong = []
    async with client(stage.node.url) as sdk:
        (row,) = await sdk.db.query(f"SELECT count(*) AS rows FROM {TABLE}")
        newest = await sdk.realtime.history(KEPT, limit=100)
    if row["rows"] != stage.writer.rows:
        wrong.append(f"the table holds {row['rows']} rows instead of {stage.writer.rows}")
    kept = [message.data for message in reversed(newest) if message.data in sure]
    received = [text for text in stage.here[0].messages if text in sure]
    if not kept or kept != received[-len(kept) :]:
        wrong.append("the history is not what the readers were given")
    return wrong
