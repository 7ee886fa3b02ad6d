"""Streams, ours alone, `python -m bench.streams`: the cost of a piece beside that of an ordinary message.

CPU is that of the server per delivery to one reader. Bytes and disk writes are those of one answer of 200 tokens
with one reader, beside one persisted message per token.
"""

import asyncio
import sys
from collections.abc import Iterator
from itertools import count as count_up
from pathlib import Path
from time import monotonic

import msgspec
from msgspec import Struct

from bench import proctree
from bench.databases import DATABASES, started
from bench.load import websocket
from bench.load.listener import Listener, listen
from bench.machine import describe
from bench.report import table
from bench.servers import Running

SECONDS = 8.0
TOKENS = 200
TOKEN = "token "


class Cost(Struct, frozen=True):
    """µs of server CPU per delivery, and how many deliveries there were of how many that were due."""

    cpu_us: float
    delivered: int
    due: int


def frame(**fields: object) -> bytes:
    return websocket.encode(msgspec.json.encode(fields))


class Count:
    """Counts the tokens that a reader receives, and the bytes of its frames."""

    def __init__(self) -> None:
        self.tokens = 0
        self.bytes = 0

    def __call__(self, content: bytes, _: float) -> None:
        self.tokens += content.count(TOKEN.encode())
        self.bytes += len(content)


async def subscribed(server: Running, topic: str, count: Count, *, streams: bool = True) -> Listener:
    content = msgspec.json.encode({"type": "subscribe", "topic": topic, "streams": streams, "id": "s"})
    return await listen(server.host, server.port, content, count)


def opening(topic: str, persist: bool = False) -> bytes:
    return frame(type="publish", topic=topic, event="answer", data="", stream=True, persist=persist, id="s")


def piece(topic: str, n: int) -> bytes:
    return frame(type="append", topic=topic, id="s", n=n, data=TOKEN)


def message(topic: str, n: int, persist: bool = False) -> bytes:
    return frame(type="publish", topic=topic, event="token", data=TOKEN, id=f"m{n}", persist=persist)


def tokens(topic: str, streams: bool, persist: bool = False) -> Iterator[bytes]:
    """The frames of one token each."""
    for n in count_up():
        yield piece(topic, n) if streams else message(topic, n, persist)


async def paced(writers: list[tuple[Listener, Iterator[bytes]]], rate: float, seconds: float) -> None:
    """Each writer sends `rate` frames per second."""
    began = monotonic()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, began + number / rate - monotonic()))
        for writer, frames in writers:
            writer.send(next(frames))
    await asyncio.sleep(0.5)


async def fan_out(server: Running, readers: int, rate: float, *, streams: bool) -> Cost:
    """One writer to many readers."""
    topic = "bench/streams" if streams else "bench/messages"
    count = Count()
    listeners = [await subscribed(server, topic, count, streams=streams) for _ in range(readers)]
    writer = await listen(server.host, server.port, None, Count())
    if streams:
        writer.send(opening(topic))
    return await _measured(server, [(writer, tokens(topic, streams))], rate, count, readers, [*listeners, writer])


async def many(server: Running, topics: int, rate: float, *, streams: bool) -> Cost:
    """Many writers to one reader each; a connection writes to a hundred topics at most."""
    count = Count()
    names = [f"bench/{'streams' if streams else 'messages'}-{number}" for number in range(topics)]
    listeners = [await subscribed(server, topic, count, streams=streams) for topic in names]
    writers: list[tuple[Listener, Iterator[bytes]]] = []
    for number, topic in enumerate(names):
        if number % 50 == 0:
            writer = await listen(server.host, server.port, None, Count())
        if streams:
            writer.send(opening(topic))
        writers.append((writer, tokens(topic, streams)))
    return await _measured(server, writers, rate, count, 1, [*listeners, *{writer for writer, _ in writers}])


async def _measured(
    server: Running,
    writers: list[tuple[Listener, Iterator[bytes]]],
    rate: float,
    count: Count,
    readers: int,
    connections: list[Listener],
) -> Cost:
    before = proctree.cpu_seconds(server.pid)
    await paced(writers, rate, SECONDS)
    cpu = proctree.cpu_seconds(server.pid) - before
    due = int(rate * SECONDS) * len(writers) * readers
    for connection in connections:
        connection.close()
    return Cost(cpu / max(1, count.tokens) * 1e6, count.tokens, due)


async def answer(server: Running, *, streams: bool) -> tuple[int, int]:
    """The bytes that a reader receives of one answer at 50 tokens per second, and those written to disk."""
    topic = f"bench/answer-{streams}"
    count = Count()
    reader = await subscribed(server, topic, count, streams=streams)
    writer = await listen(server.host, server.port, None, Count())
    if streams:
        writer.send(opening(topic, persist=True))
        await asyncio.sleep(0.2)
    before = _written(server.pid)
    await paced([(writer, tokens(topic, streams, persist=True))], 50.0, TOKENS / 50.0)
    if streams:
        writer.send(frame(type="append", topic=topic, id="s", n=TOKENS, state="complete"))
    await asyncio.sleep(1.0)
    written = _written(server.pid) - before
    assert count.tokens == TOKENS, "every token arrives once"
    reader.close()
    writer.close()
    return count.bytes, written


def _written(pid: int) -> int:
    """The bytes that a process has written to disk, of proc_pid_io(5)."""
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))


async def measure(server: Running) -> None:
    rows = []
    for title, readers, rate in (("1 to 1,000 readers, 50/s", 1_000, 50.0),):
        rows.append(_row(title, [await fan_out(server, readers, rate, streams=each) for each in (True, False)]))
    rows.append(
        _row(
            "1,000 × 20/s, one reader each",
            [await many(server, 1_000, 20.0, streams=each) for each in (True, False)],
        )
    )
    print(table(["server CPU per delivery", "piece", "message", "delivered (piece, message)"], rows), end="\n\n")
    answers = [await answer(server, streams=each) for each in (True, False)]
    rows = [
        [name, *(f"{values[index] / 1024:,.0f} KiB" for values in answers)]
        for index, name in enumerate(("received by one reader", "written to disk"))
    ]
    print(table([f"an answer of {TOKENS} tokens, persisted", "stream", "one message per token"], rows))


def _row(title: str, costs: list[Cost]) -> list[str]:
    shares = ", ".join(f"{each.delivered / each.due:.0%}" for each in costs)
    return [title, *(f"{each.cpu_us:.2f} µs" for each in costs), shares]


def main() -> int:
    """Print the figures."""
    print("\n".join(describe()), end="\n\n")
    with started(), DATABASES["sqlite"].running() as server:
        asyncio.run(measure(server))
    return 0


if __name__ == "__main__":
    sys.exit(main())
