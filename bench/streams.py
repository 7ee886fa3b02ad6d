"""Streams beside one message per token, here and in Centrifugo: `python -m bench.streams`.

CPU is that of the server per token that reaches a reader, in the same run one after the other. Bytes and writes
are those of one answer of 200 tokens with one reader, persisted here; Centrifugo stores nothing.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count as count_up
from pathlib import Path
from time import monotonic

import msgspec
from msgspec import Struct

from aerostack_realtime.database.sqlite.message_table import MESSAGES
from bench import proctree
from bench.contenders import CENTRIFUGO
from bench.databases import SQLITE
from bench.load import websocket
from bench.load.dialects import DIALECTS
from bench.load.handshake import enter
from bench.load.listener import Listener, listen
from bench.machine import describe
from bench.report import table
from bench.servers import NotStarted, Running

SECONDS = 8.0
TOKENS = 200
TOKEN = "token "


class Cost(Struct, frozen=True):
    """µs of server CPU per delivery, and how many deliveries there were of how many that were due."""

    cpu_us: float
    delivered: int
    due: int


class Answer(Struct, frozen=True):
    """Bytes that a reader received of one answer; rows and bytes that were written for it, None for nowhere."""

    received: int
    rows: int | None = None
    written: int | None = None


class Count:
    """Counts the tokens that a reader receives, and the bytes of its frames."""

    def __init__(self) -> None:
        self.tokens = 0
        self.bytes = 0

    def __call__(self, content: bytes, _: float) -> None:
        self.tokens += content.count(TOKEN.encode())
        self.bytes += len(content)


class Way:
    """How tokens are sent: `open` begins an answer, `token` is its token number `n`, `end` ends it."""

    title = "message per token"

    async def read(self, server: Running, topic: str, count: Count) -> Listener:
        """A reader of one topic."""
        content = msgspec.json.encode({"type": "subscribe", "topic": topic, "streams": True, "id": "s"})
        return await listen(server.host, server.port, content, count)

    async def write(self, server: Running) -> Listener:
        """A connection that only writes."""
        return await listen(server.host, server.port, None, Count())

    def open(self, topic: str, *, persist: bool = False) -> bytes | None:  # noqa: ARG002  (a message needs none)
        return None

    def token(self, topic: str, n: int, *, persist: bool = False) -> bytes:
        return frame(type="publish", topic=topic, event="token", data=TOKEN, id=f"m{n}", persist=persist)

    def end(self, topic: str) -> bytes | None:  # noqa: ARG002  (a message needs none)
        return None


class AsStream(Way):
    """One stream per answer."""

    title = "stream"

    def open(self, topic: str, *, persist: bool = False) -> bytes | None:
        return frame(type="publish", topic=topic, event="answer", data="", stream=True, persist=persist, id="s")

    def token(self, topic: str, n: int, *, persist: bool = False) -> bytes:  # noqa: ARG002  (its opening says it)
        return frame(type="append", topic=topic, id="s", n=n, data=TOKEN)

    def end(self, topic: str) -> bytes | None:
        return frame(type="append", topic=topic, id="s", n=TOKENS, state="complete")


class InCentrifugo(Way):
    """One publication per token in Centrifugo, which answers pings as its clients do."""

    title = "Centrifugo, message per token"
    dialect = DIALECTS["centrifugo"]

    async def read(self, server: Running, topic: str, count: Count) -> Listener:
        return await self._enter(server, topic, count)

    async def write(self, server: Running) -> Listener:
        return await self._enter(server, None, Count())

    def token(self, topic: str, n: int, *, persist: bool = False) -> bytes:  # noqa: ARG002  (it stores nothing)
        data = msgspec.json.encode({"event": "token", "data": TOKEN, "id": f"m{n}"})
        return websocket.encode(self.dialect.publish(topic, data))

    async def _enter(self, server: Running, topic: str | None, count: Count) -> Listener:
        def heard(content: bytes, now: float) -> None:
            if content.strip() == b"{}":
                listener.send(websocket.encode(b"{}"))
            else:
                count(content, now)

        listener = Listener(heard)
        await enter(self.dialect, server.host, server.port, topic, listener)
        return listener


def frame(**fields: object) -> bytes:
    return websocket.encode(msgspec.json.encode(fields))


def tokens(way: Way, topic: str, *, persist: bool = False) -> Iterator[bytes]:
    """The frames of one token each."""
    return (way.token(topic, n, persist=persist) for n in count_up())


async def paced(writers: list[tuple[Listener, Iterator[bytes]]], rate: float, seconds: float) -> None:
    """Each writer sends `rate` frames per second."""
    began = monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - monotonic()))
        for writer, frames in writers:
            writer.send(next(frames))
    await asyncio.sleep(0.5)


async def fan_out(server: Running, way: Way, topics: int, readers: int, rate: float, seconds: float) -> Cost:
    """As many writers as topics, each to `readers` readers; a connection writes to fifty topics at most."""
    count = Count()
    names = [f"bench/{way.title[:6]}-{topics}-{number}" for number in range(topics)]
    listeners = [await way.read(server, topic, count) for topic in names for _ in range(readers)]
    writers: list[tuple[Listener, Iterator[bytes]]] = []
    for number, topic in enumerate(names):
        if number % 50 == 0:
            writer = await way.write(server)
            listeners.append(writer)
        opening = way.open(topic)
        if opening is not None:
            writer.send(opening)
        writers.append((writer, tokens(way, topic)))
    await asyncio.sleep(0.5)
    before = proctree.cpu_seconds(server.pid)
    await paced(writers, rate, seconds)
    cpu = proctree.cpu_seconds(server.pid) - before
    for listener in listeners:
        listener.close()
    return Cost(cpu / max(1, count.tokens) * 1e6, count.tokens, int(rate * seconds) * topics * readers)


async def answer(server: Running, way: Way, *, is_stored: bool) -> Answer:
    """One persisted answer at 50 tokens per second to one reader."""
    topic, count = f"bench/answer-{way.title[:6]}", Count()
    reader, writer = await way.read(server, topic, count), await way.write(server)
    rows, written = _written(server) if is_stored else (0, 0)
    opening, end = way.open(topic, persist=True), way.end(topic)
    if opening is not None:
        writer.send(opening)
    await paced([(writer, tokens(way, topic, persist=True))], 50.0, TOKENS / 50.0)
    if end is not None:
        writer.send(end)
    await asyncio.sleep(1.0)
    assert count.tokens == TOKENS, f"every token arrives once, {count.tokens} did"
    reader.close()
    writer.close()
    if not is_stored:
        return Answer(count.bytes)
    rows_after, written_after = _written(server)
    return Answer(count.bytes, rows_after - rows, written_after - written)


def _count_writes(server: Running) -> None:
    """Let the database count the rows of messages that are inserted and updated."""
    SQLITE.execute(server.database, "CREATE TABLE bench_writes(n INTEGER)")
    for what in ("INSERT", "UPDATE"):
        trigger = f"CREATE TRIGGER bench_{what} AFTER {what} ON {MESSAGES}"
        SQLITE.execute(server.database, f"{trigger} BEGIN INSERT INTO bench_writes VALUES(1); END")


def _written(server: Running) -> tuple[int, int]:
    """Rows of messages that were written, and bytes that the process has written to disk (proc_pid_io(5))."""
    [(rows,)] = SQLITE.execute(server.database, "SELECT count(*) FROM bench_writes")
    lines = Path(f"/proc/{server.pid}/io").read_text().splitlines()
    return rows, next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


async def measure(ours: Running, peer: Running | None, seconds: float) -> None:
    """Print the figures of both servers."""
    ways: list[tuple[Running, Way]] = [(ours, AsStream()), (ours, Way())]
    if peer is not None:
        ways.append((peer, InCentrifugo()))
    rows = []
    for title, topics, readers, rate in (
        ("1 to 1,000 readers, 50/s", 1, 1_000, 50.0),
        ("1,000 × 20/s, one reader each", 1_000, 1, 20.0),
    ):
        costs = [await fan_out(server, way, topics, readers, rate, seconds) for server, way in ways]
        rows.append([title, *(f"{each.cpu_us:.2f} µs ({each.delivered / each.due:.0%})" for each in costs)])
    titles = [way.title for _, way in ways]
    print(table(["server CPU per delivery (delivered)", *titles], rows), end="\n\n")
    _count_writes(ours)
    answers = [await answer(server, way, is_stored=server is ours) for server, way in ways]
    rows = [
        ["received by one reader", *(f"{each.received / 1024:,.1f} KiB" for each in answers)],
        ["rows written", *("–" if each.rows is None else f"{each.rows:,}" for each in answers)],
        [
            "written to disk",
            *("–" if each.written is None else f"{each.written / 1024:,.0f} KiB" for each in answers),
        ],
    ]
    print(table([f"an answer of {TOKENS} tokens, persisted", *titles], rows))


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.streams", description=__doc__)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each is measured")
    seconds = parser.parse_args().seconds
    print("\n".join(describe()), end="\n\n", flush=True)
    with ExitStack() as servers:
        ours = servers.enter_context(SQLITE.running())
        peer = None
        try:
            peer = servers.enter_context(CENTRIFUGO.running())
        except NotStarted as reason:
            print(f"Centrifugo: {reason}", end="\n\n")
        asyncio.run(measure(ours, peer, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
