"""Documents, `python -m bench.documents [EDITS]`: what it costs to open, store and compact one; with `--peers`
beside Hocuspocus (documents_peers.py).

The edits are one person's typing: runs of letters at changing places, with corrections. Each is a message, as an
editor sends it. The round trip of a ping is measured while nothing happens and while the document is compacted.
"""

import argparse
import asyncio
import random
import sys
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import msgspec
import pycrdt

from aerostack_realtime import Aerostack
from aerostack_realtime.protocol import documents
from bench import documents_peers
from bench.machine import describe
from bench.report import table
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import SqliteFiles
from tests.flow.wire import Wire, frame

TOPIC = "docs/bench"
OPENINGS = 20
WINDOW = 500
"""Messages on their way to the server."""
SETTINGS = f"""secret_keys = ["{SERVE_KEY}"]
anonymous = true
[[documents]]
topic = "docs/{{id}}"
compact_bytes = 1_000_000_000
idle = "10s"
[[channels]]
topic = "**"
"""
STORED = "SELECT count(*) AS count, sum(length(data)) AS bytes FROM _aerostack_messages"


def typed(count: int) -> list[bytes]:
    """The updates of `count` edits."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=1)
    text = doc.get("content", type=pycrdt.Text)
    updates: list[bytes] = []
    observed = doc.observe(lambda event: updates.append(event.update))
    chance, length, at = random.Random(1), 0, 0
    for _ in range(count):
        if chance.random() < 0.02:
            at = chance.randrange(length + 1)
        if chance.random() < 0.1 and at > 0:
            at -= 1
            del text[at : at + 1]
            length -= 1
        else:
            text.insert(at, chance.choice("etaoin shrdlu"))
            at, length = at + 1, length + 1
    doc.unobserve(observed)
    return updates


async def publish(server: ServerProcess, updates: list[bytes]) -> float:
    """Store the updates one after the other; returns the seconds it took."""
    wire = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{SERVE_KEY}"])
    began = perf_counter()
    for number, update in enumerate(updates):
        fields = {"topic": TOPIC, "event": documents.EVENT, "data": documents.written(update), "persist": True}
        wire.write(frame(msgspec.json.encode({"type": "publish", "id": f"u{number}", **fields})))
        if number >= WINDOW:
            await wire.hear("ack")
    for _ in range(min(WINDOW, len(updates))):
        await wire.hear("ack")
    wire.drop()
    return perf_counter() - began


async def opened(server: ServerProcess) -> tuple[float, int]:
    """The seconds until a new reader has the document, and the length of its text."""
    async with Aerostack(server.url, api_key=SERVE_KEY) as sdk:
        await sdk.realtime.connect()
        began = perf_counter()
        async with sdk.document(TOPIC) as document:
            return perf_counter() - began, len(document.text())


async def pings(server: ServerProcess, until: asyncio.Event) -> list[float]:
    """Round trips of pings in ms, one every 5 ms."""
    wire = await Wire.open(server.url, protocols=["aerostack-v1", f"aerostack-token.{SERVE_KEY}"])
    found = []
    while not until.is_set():
        began = perf_counter()
        wire.say("ping")
        await wire.hear("pong")
        found.append((perf_counter() - began) * 1000)
        await asyncio.sleep(0.005)
    wire.drop()
    return found


async def compacted(sdk: Aerostack) -> None:
    """Wait until the document is one message."""
    while True:
        if (await sdk.db.query(STORED)).rows[0]["count"] == 1:
            return
        await asyncio.sleep(0.1)


async def measure(server: ServerProcess, count: int) -> None:
    seconds = await publish(server, typed(count))
    async with Aerostack(server.url, api_key=SERVE_KEY) as sdk:
        before = (await sdk.db.query(STORED)).rows[0]
        first, length = await opened(server)
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(3.0, done.set)
        quiet = await pings(server, done)
        done = asyncio.Event()
        compacting = asyncio.create_task(compacted(sdk))
        compacting.add_done_callback(lambda _: done.set())
        beside = await pings(server, done)
        after = (await sdk.db.query(STORED)).rows[0]
    openings = [await opened(server) for _ in range(OPENINGS)]
    assert {each[1] for each in openings} == {length}, "the same text as before"
    print(
        table(
            [f"a document of {count:,} edits, {length:,} characters", "before compaction", "after"],
            [
                ["stored messages", f"{before['count']:,}", f"{after['count']:,}"],
                ["stored bytes of data", f"{before['bytes']:,}", f"{after['bytes']:,}"],
                [
                    "opens in (median of the second)",
                    f"{first * 1000:,.0f} ms",
                    _ms([each[0] for each in openings]),
                ],
            ],
        ),
        end="\n\n",
    )
    print(
        table(
            ["round trip of a ping", "p50", "p99", "longest"],
            [_row("before", quiet), _row("until and beside the compaction", beside)],
        )
    )
    print(f"\nstored in {seconds:.1f} s: {count / seconds:,.0f} edits/s, one after the other")


def _ms(seconds: list[float]) -> str:
    return f"{median(seconds) * 1000:,.0f} ms"


def _row(title: str, milliseconds: list[float]) -> list[str]:
    p99 = quantiles(milliseconds, n=100)[98]
    return [title, *(f"{each:.2f} ms" for each in (median(milliseconds), p99, max(milliseconds)))]


async def _main(count: int) -> None:
    with TemporaryDirectory() as directory:
        place = Path(directory)
        config = place / "aerostack.toml"
        config.write_text(SETTINGS)
        server = ServerProcess(SqliteFiles().new(place), place / "server.log", config)
        await server.start()
        try:
            await measure(server, count)
        finally:
            await server.close()


def main(count: int) -> int:
    """Print the figures."""
    print("\n".join(describe()), end="\n\n")
    asyncio.run(_main(count))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.documents", description=__doc__)
    parser.add_argument("edits", type=int, nargs="?", default=100_000)
    parser.add_argument("--peers", action="store_true", help="beside Hocuspocus")
    parser.add_argument("--scale", type=float, default=1.0, help="of the work beside the peers")
    chosen = parser.parse_args()
    sys.exit(documents_peers.main(chosen.scale) if chosen.peers else main(chosen.edits))
