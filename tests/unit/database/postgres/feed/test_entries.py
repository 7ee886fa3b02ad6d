"""The rows of an entry: what the compiled reader returns is what decoding and converting returns."""

import random
import struct
from collections.abc import Callable

import pytest

from aerostack_realtime.database.base import Row
from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.wal.pgoutput import Column, MalformedMessage, Relation
from aerostack_realtime.database.postgres.wal.rows import SHORT, UNCHANGED, Values
from aerostack_realtime.protocol.messages import Operation

COLUMNS = (("id", 20), ("name", 25), ("total", 23), ("at", 1184), ("data", 3802), ("it's", 16))
LARGE = b"x" * (SHORT + 1)
SAMPLES = (
    (b"1", b"-9007199254740993", b"?"),
    (b"ann", "é".encode(), b"", b"y" * 255, b"y" * 256, b"y" * 300, LARGE, b"\xff"),
    (b"5", b"-5", b"five"),
    (b"2026-11-25 07:00:00.123456+00", b"infinity"),
    (b'{"a": [1, null]}', b"{"),
    (b"t", b"f"),
)


def row(values: Values) -> bytes:
    """A row as in a message."""
    parts = {None: b"n", UNCHANGED: b"u"}
    texts = [
        parts[each] if each is None or each is UNCHANGED else b"t" + struct.pack(">I", len(each)) + each
        for each in values
    ]
    return struct.pack(">H", len(values)) + b"".join(texts)


def entry(operation: Operation, message: bytes | memoryview, *, compiled: bool = True) -> Entry:
    described = tuple(Column(name, oid, -1, key=True) for name, oid in COLUMNS)
    table = LoggedTable(Relation(7, "public", "t", "f", described))
    table.layout = Types().layout(COLUMNS)
    if compiled:
        table.layout.compiled()
    return Entry(Position(5, 1), 1, 0, table, operation, message, end=False, size=10)


def message(operation: Operation, old: Values, new: Values) -> bytes:
    head = operation[:1].encode() + struct.pack(">I", 7)
    if operation == "INSERT":
        return head + b"N" + row(new)
    return head + b"O" + row(old) + (b"N" + row(new) if operation == "UPDATE" else b"")


def some_row(chance: random.Random) -> Values:
    usual = chance.random() < 0.5
    return tuple(values[0] if usual else chance.choice((*values, None, None, UNCHANGED)) for values in SAMPLES)


@pytest.mark.parametrize("operation", ["INSERT", "UPDATE", "DELETE"])
def test_the_compiled_reader_returns_what_decoding_returns(operation: Operation) -> None:
    chance = random.Random(operation)
    for _ in range(500):
        sent = message(operation, some_row(chance), some_row(chance))
        expected = entry(operation, sent, compiled=False).rows()
        assert entry(operation, sent).rows() == expected
        assert entry(operation, memoryview(sent)).rows() == expected


def test_an_unchanged_value_is_that_of_the_old_row() -> None:
    old: Values = (b"1", b"long", b"5", None, b"{}", b"t")
    new: Values = (b"2", UNCHANGED, b"6", UNCHANGED, UNCHANGED, b"f")
    before: Row = {"id": 1, "name": "long", "total": 5, "at": None, "data": {}, "it's": True}
    after = before | {"id": 2, "total": 6, "it's": False}
    assert entry("UPDATE", message("UPDATE", old, new)).rows() == (after, before)


@pytest.mark.parametrize("damage", [lambda sent: sent[:-1], lambda sent: sent + b"n", lambda sent: sent[:7]])
def test_a_malformed_row_is_refused(damage: Callable[[bytes], bytes]) -> None:
    sent = message("INSERT", (), (b"1", b"ann", b"5", None, b"{}", b"t"))
    with pytest.raises(MalformedMessage):
        entry("INSERT", damage(sent)).rows()
