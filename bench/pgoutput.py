"""What a row from PostgreSQL costs on the event loop: `python -m bench.pgoutput` prints µs of CPU each.

The messages are made by hand as the server sends them: no server, no socket, decoding and conversion alone.
A row has six columns. The best of five rounds counts, as in bench.hotpath.
"""

import struct
import time
from collections.abc import Callable
from itertools import count

from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import Change
from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import ENTRY_BYTES, Entry, Log, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import Transactions
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.wal.pgoutput import Decoder
from aerostack_realtime.database.postgres.wal.stream import Received
from bench.hotpath import Nowhere, cost
from bench.report import table

ROW = (b"4711", b"ann", b"open", b"19.90", b"2026-11-25 07:00:00.123456+00", None)
OLD = (b"4711", b"ann", b"new", b"19.90", b"2026-11-25 07:00:00.123456+00", None)


START = Position(0, 0)
TOPIC = "orders/default"
ROWS = 1_000
"""Of one transaction."""
TURN = 250
"""Rows that are delivered at once."""


def relation_message() -> bytes:
    """The description of the table, as in a message."""
    columns = ("id", 20), ("name", 25), ("status", 25), ("total", 1700), ("at", 1184), ("note", 25)
    described = b"".join(b"\1" + name.encode() + b"\0" + struct.pack(">Ii", oid, -1) for name, oid in columns)
    head = b"R" + struct.pack(">I", 16_385) + b"public\0orders\0f"
    return head + struct.pack(">H", len(columns)) + described


def through_transactions(messages: list[bytes]) -> Callable[[], None]:
    """Messages up to the entries of the log, decoded and put into transactions."""
    transactions = Transactions()
    list(transactions.feed(relation_message()))

    def feed() -> None:
        for message in messages:
            for _ in transactions.feed(message):
                pass

    return feed


def through_runs(messages: list[bytes]) -> Callable[[], None]:
    """The same as the server reads them: the rows of a transaction in runs."""
    transactions = Transactions()
    [described] = transactions.feed(relation_message())
    assert isinstance(described, LoggedTable)

    def feed() -> None:
        waiting: list[Received] = [None, *reversed(messages)]
        entries: list[Entry] = []
        while (message := transactions.read_rows(waiting.pop, entries, START)[0]) is not None:
            assert isinstance(message, bytes)
            for _ in transactions.feed(message):
                pass

    return feed


def into_full_log(row: bytes) -> Callable[[], None]:
    """Transactions of rows as the server reads them, into a log that drops as many as it is given."""
    transactions, log, lsn = Transactions(), Log(START, ROWS * ENTRY_BYTES), count(1)
    list(transactions.feed(relation_message()))

    def feed() -> None:
        begin = b"B" + struct.pack(">QqI", next(lsn), 0, 7)
        list(transactions.feed(begin))
        waiting: list[Received] = [None, *[row] * ROWS]
        for _ in range(0, ROWS, TURN):
            entries: list[Entry] = []
            transactions.read_rows(waiting.pop, entries, START, TURN)
            log.extend(entries, [16_385])

    return feed


def values(row: tuple[bytes | None, ...]) -> bytes:
    """A row as in a message."""
    parts = [b"n" if value is None else b"t" + struct.pack(">I", len(value)) + value for value in row]
    return struct.pack(">H", len(row)) + b"".join(parts)


def bulk_cost(step: Callable[[], None]) -> float:
    """µs for one of the rows of a step."""
    best = float("inf")
    for _ in range(20):
        began = time.process_time()
        step()
        best = min(best, time.process_time() - began)
    return best / ROWS * 1e6


def steps() -> list[tuple[str, float]]:
    relation = struct.pack(">I", 16_385)
    insert = b"I" + relation + b"N" + values(ROW)
    update = b"U" + relation + b"O" + values(OLD) + b"N" + values(ROW)
    begin, commit = b"B" + bytes(20), b"C" + bytes(25)
    bulk = through_runs([begin, *[insert] * ROWS, commit])
    single = through_transactions([begin, insert, commit])
    decode = Decoder().decode
    columns = ("id", 20), ("name", 25), ("status", 25), ("total", 1700), ("at", 1184), ("note", 25)
    types = Types()
    [table] = Transactions().feed(relation_message())
    assert isinstance(table, LoggedTable)
    table.layout = types.layout(columns).compiled()
    inserted = Entry(START, 7, 0, table, "INSERT", insert, end=False, size=0)
    updated = Entry(START, 7, 0, table, "UPDATE", update, end=False, size=0)
    document = types.converter(3802)
    numbers = types.converter(1007)
    channel = TableChannel(TOPIC, "orders", lambda: Audience(lambda _: None, 1 << 20, lambda _: None), 1 << 20)
    view = channel.views.view({"id": 4711}, [name for name, _ in columns])
    channel.add(Nowhere(), view, None, presence=True)
    row, _ = inserted.rows()
    change = Change("orders", "INSERT", row, None, 1_764_412_345_123, f"3f9a.{begin.hex()}", "3e8")

    def deliver() -> None:
        channel.deliver([change])
        view.audience.flush()

    return [
        ("BEGIN", cost(lambda: decode(begin))),
        (f"INSERT in a transaction of {ROWS:,}, to an entry of the log", bulk_cost(bulk)),
        ("the same, and into a log that is full", bulk_cost(into_full_log(insert))),
        ("BEGIN, INSERT, COMMIT, to an entry of the log", cost(single)),
        ("an INSERT's row: bigint, text, text, numeric, timestamptz, NULL", cost(inserted.rows)),
        ("both rows of an UPDATE", cost(updated.rows)),
        ("its change to one subscriber's buffer, and its flush", cost(deliver)),
        ("a jsonb of four values", cost(lambda: document(b'{"a": 1, "b": [true, "x"], "c": null, "d": 2.5}'))),
        ("a jsonb with an integer beyond 2^53", cost(lambda: document(b'{"a": 12345678901234567890, "b": "x"}'))),
        ("an int[] of six", cost(lambda: numbers(b"{1,2,3,4,NULL,6}"))),
    ]


if __name__ == "__main__":
    print(table(["step", "µs"], [[name, f"{each:.2f}"] for name, each in steps()]))
