"""Documents under kills: `python -m tests.faults.documents [EDITORS] [EDITS] [KIND] [--seed N]`; see `--help`.

Editors type, delete and paste in one document while the servers are killed and the editors cut off again and
again, and while the server compacts. At the end every editor and a new reader have the same document, byte for
byte, and it holds every edit that was reported as saved.
"""

import argparse
import asyncio
import logging
import random
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, get_args

import pycrdt
from msgspec import Struct, field

from aerostack_realtime.documents.compactor import FEWEST
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.aerostack import Aerostack
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.document import Document
from tests.faults.network import Network
from tests.flow.cluster import Cluster
from tests.flow.compaction import until_compacted
from tests.flow.conftest import SERVE_KEY, ServerProcess
from tests.flow.databases import Database, PostgresDatabases, SqliteFiles
from tests.postgres import PostgresServer
from tests.redis import RedisServer

Kind = Literal["sqlite", "postgres", "cluster"]
TOPIC: Final = "docs/faults"
SETTINGS: Final = f"""secret_keys = ["{SERVE_KEY}"]
anonymous = true
[[documents]]
topic = "docs/{{id}}"
compact_bytes = 10_000
idle = "1s"
[[channels]]
topic = "**"
"""
PASTE: Final = 60_000
"""Characters of a large paste, which is sent in pieces."""
PATIENCE_SECONDS: Final = 120.0
NODES: Final = 3
STARTS: Final = 20
"""How often a server is started until it runs."""


class Report(Struct):
    """The outcome of a run; `anomalies` are sentences."""

    edits: int = 0
    saved: int = 0
    kills: int = 0
    cuts: int = 0
    messages: int = 0
    bytes: int = 0
    anomalies: list[str] = field(default_factory=list)


class Editor:
    """A program that edits at random. `saved_clock` is how far its edits have been reported as saved."""

    def __init__(self, urls: list[str], number: int, seed: int) -> None:
        self.sdk = Aerostack(urls, api_key=SERVE_KEY, backoff=Backoff(0.02, 0.1))
        self.document: Document = self.sdk.document(TOPIC)
        self.saved_clock = 0
        self._chance = random.Random(f"{seed} {number}")

    @property
    def client_id(self) -> int:
        return self.document.doc.client_id

    async def edit(self, count: int, report: Report) -> None:
        """Make `count` edits; after some of them, wait until they are saved."""
        text = self.document.text()
        for _ in range(count):
            length, choice = len(text), self._chance.random()
            at = self._chance.randrange(length + 1)
            if choice < 0.2 and length > 20:
                start = min(at, length - 10)
                del text[start : start + self._chance.randrange(1, 10)]
            elif choice < 0.01 + 0.2:
                text.insert(at, "p" * PASTE)
                del text[at + 10 : at + PASTE]
            else:
                text.insert(at, self._chance.choice(("a", "bc", "word ", "line\n")))
            report.edits += 1
            if self._chance.random() < 0.1:
                await self.document.saved()
                self.note_saved()
                report.saved += 1
            await asyncio.sleep(self._chance.uniform(0.0, 0.02))

    def note_saved(self) -> None:
        """Everything that this editor has done is saved."""
        self.saved_clock = clocks(self.document.doc).get(self.client_id, 0)


async def run(servers: list[ServerProcess], editors: int, edits: int, seed: int = 0) -> Report:
    """Let `editors` editors make `edits` edits each, and kill and cut meanwhile."""
    report, chance = Report(), random.Random(seed)
    async with AsyncExitStack() as stack:
        networks = [Network(int(server.url.rpartition(":")[2])) for server in servers]
        for network in networks:
            await stack.enter_async_context(network)
        urls = [network.url for network in networks]
        made = [Editor(urls[number % len(urls) :] + urls, number, seed) for number in range(editors)]
        for editor in made:
            stack.push_async_callback(editor.sdk.close)
            await editor.document.open()
        done = asyncio.Event()
        breaking = asyncio.create_task(_break(servers, networks, chance, report, done))
        try:
            await asyncio.gather(*(editor.edit(edits, report) for editor in made))
        finally:
            done.set()
            await breaking
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                for editor in made:
                    await editor.document.saved()
                    editor.note_saved()
                await _converged(made)
        except (AerostackError, TimeoutError) as error:
            report.anomalies.append(f"the editors do not come to one document: {error!r}")
        late = Aerostack(urls, api_key=SERVE_KEY)
        stack.push_async_callback(late.close)
        async with late.document(TOPIC) as document:
            _check(document, made, report)
            # A node that starts again knows of no document until somebody edits it.
            document.text().insert(0, ".")
            await document.saved()
            await _compacted(late, report)
    return report


async def _compacted(sdk: Aerostack, report: Report) -> None:
    """Wait until the document is stored as few messages."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            report.messages = await until_compacted(sdk, TOPIC, FEWEST - 1)
    except TimeoutError:
        report.messages = len(await sdk.history(TOPIC, 1_000))
        report.anomalies.append(f"the document is not compacted: {report.messages} messages are stored")


def _check(document: Document, editors: list[Editor], report: Report) -> None:
    whole, known = canonical(document), clocks(document.doc)
    report.bytes = len(whole)
    for number, editor in enumerate(editors):
        if canonical(editor.document) != whole:
            report.anomalies.append(f"editor {number} has another document than a new reader")
        if known.get(editor.client_id, 0) < editor.saved_clock:
            report.anomalies.append(f"a saved edit of editor {number} is lost")


async def _converged(editors: list[Editor]) -> None:
    """Wait until all editors have the same document."""
    changed = asyncio.Event()
    for editor in editors:
        editor.document.on_change(changed.set)
    while True:
        changed.clear()
        # A state vector costs little, but does not tell what was deleted.
        one_state = len({frozenset(clocks(editor.document.doc).items()) for editor in editors}) == 1
        if one_state and len({canonical(editor.document) for editor in editors}) == 1:
            return
        await changed.wait()


def canonical(document: Document) -> bytes:
    """The document in bytes that are the same for the same document. How an editor divides runs of changes into
    blocks depends on the transactions in which they came; loading the document again joins them."""
    loaded: pycrdt.Doc[Any] = pycrdt.Doc()
    loaded.apply_update(document.update())
    found: bytes = loaded.get_update()
    return found


def clocks(doc: pycrdt.Doc[Any]) -> dict[int, int]:
    """How many changes of each Yjs client a document holds."""
    numbers, number, shift = list[int](), 0, 0
    for byte in doc.get_state():
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            numbers.append(number)
            number = shift = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


async def _break(
    servers: list[ServerProcess],
    networks: list[Network],
    chance: random.Random,
    report: Report,
    done: asyncio.Event,
) -> None:
    """Kill a server, or cut its editors off, until `done`; between two faults there is time for some edits."""
    saved = -1
    while not done.is_set():
        await asyncio.sleep(chance.uniform(0.3, 1.0))
        if report.saved == saved:
            continue
        saved = report.saved
        if chance.random() < 0.5:
            chance.choice(networks).cut()
            report.cuts += 1
        else:
            await _restart(chance.choice(servers))
            report.kills += 1


async def _restart(server: ServerProcess) -> None:
    """Kill it, and start it until it runs, as an init system does: on a busy machine Redis may answer too late."""
    await server.kill()
    for attempt in range(STARTS):
        try:
            await server.start()
            return
        except AssertionError:
            if attempt == STARTS - 1:
                raise
            await server.close()


async def served(editors: int, edits: int, kind: Kind, place: Path, seed: int = 0) -> Report:
    """A run with servers of its own."""
    config = place / "aerostack.toml"
    config.write_text(SETTINGS)
    async with AsyncExitStack() as stack:
        database: Database = SqliteFiles().new(place)
        if kind != "sqlite":
            postgres = await asyncio.to_thread(PostgresServer.started)
            stack.callback(postgres.remove)
            database = PostgresDatabases(postgres, "documents").new(place)
        if kind != "cluster":
            server = ServerProcess(database, place / "server.log", config)
            await server.start()
            stack.push_async_callback(server.close)
            return await run([server], editors, edits, seed)
        redis = await asyncio.to_thread(RedisServer.started)
        stack.callback(redis.remove)
        cluster = Cluster(
            database,
            redis,
            place,
            lambda log, backplane, _: ServerProcess(database, log, config, backplane=backplane),
        )
        stack.push_async_callback(cluster.close)
        return await run(await cluster.start(NODES), editors, edits, seed)


def main(editors: int, edits: int, kind: Kind, seed: int) -> int:
    """Print the report; 1 if there was an anomaly."""
    logging.getLogger("aerostack_realtime").setLevel(logging.ERROR)  # each lost connection is a warning
    with TemporaryDirectory() as place:
        report = asyncio.run(served(editors, edits, kind, Path(place), seed))
    print(
        f"{kind}, seed {seed}: {report.edits:,} edits by {editors} editors, {report.saved:,} waits for saved, "
        f"{report.kills} kills, {report.cuts} cuts; {report.messages} messages are stored, the document "
        f"has {report.bytes:,} bytes: {len(report.anomalies)} anomalies"
    )
    print("\n".join(report.anomalies[:20]))
    return 1 if report.anomalies else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.faults.documents")
    parser.add_argument("editors", type=int, nargs="?", default=50)
    parser.add_argument("edits", type=int, nargs="?", default=200, help="of each editor")
    parser.add_argument("kind", nargs="?", default="sqlite", choices=get_args(Kind))
    parser.add_argument("--seed", type=int, default=0)
    sys.exit(main(**vars(parser.parse_args())))
