"""What the hot path does per message, step by step: `python -m bench.hotpath` prints µs of CPU each.

Each step is run alone, in this process, on the objects it gets in the server; the best of five rounds counts,
since whatever disturbs a round only adds to it.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

from aerostack_realtime import config
from aerostack_realtime.access.identity import Authenticator
from aerostack_realtime.access.keys import Keys
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.backplane.base import Journal, JournalListener
from aerostack_realtime.backplane.items import Batch, Beat, Publish, decode_batch, encode_batch
from aerostack_realtime.backplane.memory import HybridClock, MemoryJournal
from aerostack_realtime.channels.custom.budget import Budget
from aerostack_realtime.channels.custom.log import Bounds, Log
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.parts import HubOptions
from aerostack_realtime.channels.tables.memberships import Memberships
from aerostack_realtime.database.base import Database
from aerostack_realtime.database.sqlite.database import SqliteDatabase
from aerostack_realtime.gateway.limits.connections import ConnectionCounter
from aerostack_realtime.gateway.limits.settings import UNLIMITED
from aerostack_realtime.gateway.websocket.framing import whole_texts
from aerostack_realtime.gateway.websocket.protocol import WebSocketProtocol
from aerostack_realtime.gateway.websocket.rights import Guard
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.gateway.websocket.session import Session
from aerostack_realtime.interpreter import freeze_garbage_collector
from aerostack_realtime.protocol import frames, messages, topics
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.records import ConnectionRecords
from aerostack_realtime.sdk.outbox import new_id
from bench import summary
from bench.load import websocket
from bench.machine import describe
from bench.report import table
from bench.servers import scratch

TIMES = 50_000
ROUNDS = 5
BATCH = 50
ROOMS = 1_000
SWEEP = 1_000
"""Publishes between two runs of the work of once a second. A busy server publishes many times as often."""
UNHEARD = 100_000
"""Events of another node: a second of a busy cluster."""
TOPIC = "bench/rooms-17/default"
DATA = msgspec.Raw(b'{"n":123456,"text":"' + b"x" * 80 + b'"}')
COMMAND = b'{"type":"publish","topic":"bench/rooms-17","event":"m","data":' + bytes(DATA) + b"}"

COMING = websocket.encode(COMMAND)


class Nowhere:
    """A subscriber whose socket takes everything: what is left is our own cost."""

    connection_id = "c"
    write_shared = None

    def write(self, data: bytes) -> None:
        """As a transport's."""

    def buffered(self) -> int:
        return 0

    get_write_buffer_size = buffered

    def overflow(self) -> None:
        raise AssertionError("it takes everything")

    def deny(self, topic: str, reason: AerostackError) -> None:
        raise AssertionError(f"no rule fails on {topic}: {reason}")

    def scope(self, table: str) -> Scope:
        raise AssertionError(f"there is no table {table} here")


def cost(step: Callable[[], object], per: int = 1) -> float:
    """µs of CPU for one of `per` things that `step` does."""
    best = min(_round(step) for _ in range(ROUNDS))
    return best / TIMES / per * 1e6


def _round(step: Callable[[], object]) -> float:
    begin = time.process_time()
    for _ in range(TIMES):
        step()
    return time.process_time() - begin


def steps() -> list[tuple[str, float]]:
    """Every step of a publish to ten subscribers, in its order."""
    clock = HybridClock(lambda: time.time_ns() // 1000, 0, 2**62, lambda _: None)
    log = Log(0, Bounds(), Budget(1 << 28))
    audience = Audience(lambda _: None, 1 << 20, lambda _: None)
    for _ in range(10):
        audience.add(Nowhere(), presence=True)
    position = clock.next()
    message = messages.Event(TOPIC, "m", DATA, position // 1000, f"{position:x}", f"3f9a.{position}")
    payload = messages.encode(message)
    frame = frames.text(payload)

    def deliver() -> None:
        audience.append(frame)
        audience.flush()

    nothing = cost(lambda: None)
    found = [
        ("unmask the texts of a read", cost(lambda: whole_texts(COMING))),
        ("decode the command, its payload untouched", cost(lambda: messages.decode_command(COMMAND))),
        ("canonical topic (remembered)", cost(lambda: topics.canonical("bench/rooms-17", "default"))),
        ("position: the hybrid clock", cost(clock.next)),
        ("the journal's item", cost(lambda: Publish(TOPIC, "m", bytes(DATA), None, None, False, None))),
        ("encode the event, once for all", cost(lambda: messages.encode(message))),
        ("WebSocket header", cost(lambda: frames.text(payload))),
        ("the channel's log", cost(lambda: log.append(clock.next(), frame)) - cost(clock.next)),
        ("buffer and flush to 10 subscribers, each", cost(deliver, per=10)),
    ]
    return [(name, max(0.0, each - nothing)) for name, each in found]


def _with_id() -> bytes:
    """The publish as the SDK in Python sends it."""
    command = messages.Publish("bench/rooms-17", "m", DATA, id=new_id())
    return websocket.encode(messages.encode(command))


def _hub(database: Database, journal: Journal, records: ConnectionRecords) -> Hub:
    return Hub(
        HubOptions(
            journal=journal,
            changes=database.changes,
            store=database.messages,
            defer=lambda _: None,
            later=lambda _seconds, _call: None,
            logs=Logs([], 1 << 28),
            buffer_limit=UNLIMITED.buffer_bytes,
            presence_limit=UNLIMITED.presence_members,
            records=records,
        )
    )


async def whole(database: Database, subscribers: int, *, ids: bool = False) -> float:
    """µs of all of it: the bytes of a publish as they are read, to a write to each of `subscribers`. With `ids`
    each has an id of its own and is acknowledged."""
    return cost(await publisher(database, subscribers, ids=ids))


async def publisher(
    database: Database,
    subscribers: int,
    records: ConnectionRecords | None = None,
    transport: Callable[[], object] = Nowhere,
    ids: bool = False,
) -> Callable[[], None]:
    """A publish, from the bytes that are read to a write to each of `subscribers`, whose sockets are made by
    `transport`, with its share of what is done once a second."""
    journal = MemoryJournal(
        store=database.messages,
        now=lambda: time.time_ns() // 1000,
        epochs=database,
    )
    hub = _hub(database, journal, records or ConnectionRecords(lambda: 0.0))
    await hub.start()
    rules = config.rules(config.development(config.Settings()))
    guard = Guard(rules, Memberships(rules.memberships, database), time.monotonic)
    door = Authenticator(
        secret_keys=Keys(()), publishable_keys=Keys(()), tokens=None, now=time.time, open_access=True
    )
    services = Services(hub, database, door, guard, UNLIMITED, time.monotonic, "")
    connections = ConnectionCounter(UNLIMITED)

    def connection(transport: Callable[[], object] = transport) -> WebSocketProtocol:
        socket = WebSocketProtocol(cast(asyncio.Transport, transport()), UNLIMITED, lambda _: None)
        session = Session(
            services=services,
            transport=socket,
            identity=door.identify(None, None),
            project="default",
            slot=connections.enter("127.0.0.1", None, unauthenticated=False),
        )
        socket.serve(session, session.greeting(), b"")
        return socket

    subscribe = websocket.encode(b'{"type":"subscribe","topic":"bench/rooms-17"}')
    for _ in range(subscribers):
        connection().data_received(subscribe)
    speaker, command = connection(Nowhere), websocket.encode(COMMAND)
    others = [_with_id() for _ in range(TIMES * ROUNDS)] if ids else []

    published = 0

    def publish() -> None:
        nonlocal published
        speaker.data_received(others.pop() if others else command)
        hub.flush()
        published += 1
        if published == SWEEP:
            published = 0
            hub.sweep()

    return publish


class Overheard(MemoryJournal):
    """A journal whose listener can be given the items of another node."""

    listener: JournalListener

    async def start(self, listener: JournalListener) -> None:
        self.listener = listener
        await super().start(listener)


async def unheard(database: Database, *, ids: bool) -> float:
    """µs of an event of another node that nobody on this node hears: decoded, and kept in case somebody asks."""
    journal = Overheard(
        store=database.messages,
        now=lambda: time.time_ns() // 1000,
        epochs=database,
    )
    hub = _hub(database, journal, ConnectionRecords(lambda: 0.0))
    await hub.start()
    batches = [_batch(sequence, ids=ids) for sequence in range(ROUNDS * UNHEARD // BATCH)]
    entered, position = journal.listener.entered, journal.last

    def read() -> None:
        nonlocal position
        for _ in range(UNHEARD // BATCH):
            for item in decode_batch(batches.pop()).items:
                position += 1
                entered(position, position, "other", item)

    freeze_garbage_collector()  # as the server does

    def forget() -> None:
        """What was read is too old: its memory is used again, as in a server at work."""
        nonlocal position
        position += 1
        entered(position, position, "other", Beat(floor=position))
        hub._registry.expire(position + 3_600_000_000)

    found = []
    for _ in range(ROUNDS):
        found.append(_seconds(read))
        forget()
    best = min(found)
    return best / UNHEARD * 1e6


def _batch(sequence: int, *, ids: bool) -> bytes:
    """What the other node appended at once, on as many channels of ROOMS."""
    events = tuple(
        Publish(
            f"bench/rooms-{sequence * BATCH % ROOMS + n}/default",
            "m",
            bytes(DATA),
            "ann",
            f"{sequence}-{n}" if ids else None,
        )
        for n in range(BATCH)
    )
    return encode_batch(Batch("other", sequence, events))


def _seconds(step: Callable[[], object]) -> float:
    begin = time.process_time()
    step()
    return time.process_time() - begin


async def from_bytes_to_writes() -> list[tuple[str, float]]:
    """The same for a room of two and one of ten."""
    with scratch() as directory:
        database = await SqliteDatabase.open(directory / "bench.db", Deaf(), retention=[])
        try:
            return [
                *[(f"all of it, from the bytes read to {n} writes", await whole(database, n)) for n in (2, 10)],
                ("the same to 2 with an id, and its acknowledgement", await whole(database, 2, ids=True)),
                ("an event that nobody on this node hears", await unheard(database, ids=False)),
                ("the same with an id, whose repeats are recognised", await unheard(database, ids=True)),
            ]
        finally:
            await database.close()


class Deaf:
    """Nobody listens to the change feed here."""

    def changed(self, changes: Any) -> None:
        """Nothing changes."""

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        """Nothing is watched."""


def main() -> None:
    """Print the table; with --publish write it into docs/performance.md."""
    found = [*steps(), *asyncio.run(from_bytes_to_writes())]
    text = table(["step", "µs"], [[name, f"{each:.2f}"] for name, each in found])
    print(text)
    if "--publish" in sys.argv[1:]:
        machine = f"{'; '.join(describe())}"
        summary.write(summary.PERFORMANCE, "python -m bench.hotpath", f"{text}\n\n({machine}.)")


if __name__ == "__main__":
    main()
