"""Every message of pgoutput by its bytes, and nothing but a message."""

import struct
from typing import Any

import pytest
from msgspec import structs

from aerostack_realtime.database.base import LARGE_BYTES
from aerostack_realtime.database.postgres.wal.pgoutput import (
    Begin,
    Column,
    Commit,
    Decoder,
    Delete,
    Insert,
    LogicalMessage,
    MalformedMessage,
    Message,
    Origin,
    Relation,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
    Truncate,
    Type,
    Update,
)
from aerostack_realtime.database.postgres.wal.rows import UNCHANGED, Unchanged

MICROSECONDS = 817_455_600_123_456
"""2025-11-26T07:00:00.123456Z since 2000."""
MILLISECONDS = 1_764_140_400_123
START = b"S" + struct.pack(">IB", 700, 1)


def row(*values: bytes | Unchanged | None) -> bytes:
    parts = [
        b"n" if value is None else b"u" if value is UNCHANGED else b"t" + struct.pack(">I", len(value)) + value
        for value in values
    ]
    return struct.pack(">H", len(values)) + b"".join(parts)


def column(name: bytes, oid: int, modifier: int, key: int) -> bytes:
    return bytes([key]) + name + b"\0" + struct.pack(">Ii", oid, modifier)


CONTROLS: list[tuple[bytes, Message]] = [
    (
        b"B" + struct.pack(">QqI", 2**63 + 1, MICROSECONDS, 4_000_000_000),
        Begin(2**63 + 1, MILLISECONDS, 4_000_000_000),
    ),
    (b"C\0" + struct.pack(">QQq", 10, 20, -1), Commit(10, 20, 946_684_799_999)),
    (b"O" + struct.pack(">Q", 5) + "über\0".encode(), Origin(5, "über")),
    (b"c" + struct.pack(">IBQQq", 700, 0, 10, 20, MICROSECONDS), StreamCommit(700, 10, 20, MILLISECONDS)),
    (b"A" + struct.pack(">II", 700, 702), StreamAbort(700, 702)),
]
CHANGES: list[tuple[bytes, bytes, Any]] = [
    (
        b"R",
        struct.pack(">I", 16_385)
        + 'sales\0Bestell"ungen é\0f'.encode()
        + struct.pack(">H", 2)
        + column(b"id", 23, -1, 1)
        + column("größe".encode(), 1043, 24, 0),
        Relation(
            16_385,
            "sales",
            'Bestell"ungen é',
            "f",
            (Column("id", 23, -1, True), Column("größe", 1043, 24, False)),
        ),
    ),
    (b"R", struct.pack(">I", 1) + b"\0pg_class\0n\0\0", Relation(1, "pg_catalog", "pg_class", "n", ())),
    (b"Y", struct.pack(">I", 16_400) + b"public\0mood\0", Type(16_400, "public", "mood")),
    (
        b"I",
        struct.pack(">I", 7) + b"N" + row(b"1", None, b"", "é".encode()),
        Insert(7, (b"1", None, b"", "é".encode())),
    ),
    (b"I", struct.pack(">I", 7) + b"N" + row(), Insert(7, ())),
    (b"U", struct.pack(">I", 7) + b"N" + row(b"1", UNCHANGED), Update(7, None, False, (b"1", UNCHANGED))),
    (
        b"U",
        struct.pack(">I", 7) + b"K" + row(b"0", None) + b"N" + row(b"1", b"x"),
        Update(7, (b"0", None), True, (b"1", b"x")),
    ),
    (
        b"U",
        struct.pack(">I", 7) + b"O" + row(b"0", b"w") + b"N" + row(b"1", UNCHANGED),
        Update(7, (b"0", b"w"), False, (b"1", UNCHANGED)),
    ),
    (b"D", struct.pack(">I", 7) + b"K" + row(b"1", None), Delete(7, (b"1", None), True)),
    (b"D", struct.pack(">I", 7) + b"O" + row(b"1", b"x"), Delete(7, (b"1", b"x"), False)),
    (b"T", struct.pack(">IBII", 2, 3, 7, 8), Truncate((7, 8), True, True)),
    (b"T", struct.pack(">IBI", 1, 2, 7), Truncate((7,), False, True)),
    (
        b"M",
        struct.pack(">BQ", 1, 99) + b"audit\0" + struct.pack(">I", 4) + b"\0\1\2\xff",
        LogicalMessage(99, True, "audit", b"\0\1\2\xff"),
    ),
    (b"M", struct.pack(">BQ", 0, 99) + b"\0" + struct.pack(">I", 0), LogicalMessage(99, False, "", b"")),
]
PLAIN = [*CONTROLS, *((kind + body, message) for kind, body, message in CHANGES)]
STREAMED = [
    (kind + struct.pack(">I", 702) + body, structs.replace(message, xid=702)) for kind, body, message in CHANGES
]


def named(cases: list[tuple[bytes, Message]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("data", "message"), cases, ids=[type(message).__name__ for _, message in cases]
    )


@named(PLAIN)
def test_a_message_is_what_its_bytes_say(data: bytes, message: Message) -> None:
    assert Decoder().decode(data) == message
    assert Decoder().decode(memoryview(b"header" + data)[6:]) == message


@named(STREAMED)
def test_changes_in_a_streamed_piece_carry_their_transaction(data: bytes, message: Message) -> None:
    decoder = Decoder()
    assert decoder.decode(START) == StreamStart(700, True)
    assert decoder.decode(data) == message


def test_a_piece_ends_and_what_follows_has_no_xid() -> None:
    decoder = Decoder()
    decoder.decode(START)
    assert decoder.decode(b"E") == StreamStop()
    for data, message in PLAIN:
        assert decoder.decode(data) == message
    assert decoder.decode(b"S" + struct.pack(">IB", 700, 0)) == StreamStart(700, False)
    assert decoder.decode(CONTROLS[2][0]) == Origin(5, "über"), "an origin within a piece has no xid"
    for data, message in STREAMED:
        assert decoder.decode(data) == message


@named([(START, StreamStart(700, True)), *PLAIN])
def test_a_message_that_is_cut_anywhere_is_refused(data: bytes, message: Message) -> None:
    for length in range(len(data)):
        with pytest.raises(MalformedMessage, match=f"of {length} bytes|empty"):
            Decoder().decode(data[:length])


@named(STREAMED)
def test_a_streamed_message_that_is_cut_anywhere_is_refused(data: bytes, message: Message) -> None:
    decoder = Decoder()
    decoder.decode(START)
    for length in range(len(data)):
        with pytest.raises(MalformedMessage, match=f"of {length} bytes|empty"):
            decoder.decode(data[:length])
    assert decoder.decode(data) == message, "a refused message changes nothing"


@named([(START, StreamStart(700, True)), *PLAIN])
def test_a_message_that_is_longer_than_it_says_is_refused(data: bytes, message: Message) -> None:
    with pytest.raises(MalformedMessage, match=f"{type(message).__name__}.*of {len(data) + 1} bytes"):
        Decoder().decode(data + b"\0")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "An empty message"),
        (b"x123", r"b'x' \(unknown\) of 4 bytes is malformed at byte 0: there is no such message"),
        (b"I" + bytes(4) + b"K" + row(), r"\(Insert\) of 8 bytes is malformed at byte 5: no new row"),
        (b"U" + bytes(4) + b"K" + row() + b"O" + row(), "at byte 8: no new row"),
        (b"D" + bytes(4) + b"N" + row(), "at byte 5: no old row"),
        (b"I" + bytes(4) + b"N" + row(None)[:2] + b"b\0\0\0\1x", "at byte 8: .*binary"),
        (b"I" + bytes(4) + b"N" + row(b"x") + b"y", "at byte 14: the message should end here"),
        (b"I" + bytes(4) + b"N" + row(b"x", b"y")[:-1], "ends at byte 19"),
        (b"I" + bytes(4) + b"N\0\1t\xff\xff\xff\xff", "ends at byte 13"),
        (b"E", "outside of one"),
    ],
)
def test_a_refusal_says_which_message_and_where(data: bytes, expected: str) -> None:
    with pytest.raises(MalformedMessage, match=expected):
        Decoder().decode(data)


def test_a_piece_within_a_piece_is_refused() -> None:
    decoder = Decoder()
    decoder.decode(START)
    with pytest.raises(MalformedMessage, match=r"StreamStart.*within one"):
        decoder.decode(START)


def test_a_name_that_is_not_utf8_is_repaired() -> None:
    assert Decoder().decode(b"Y" + bytes(4) + b"a\xff\0b\0") == Type(0, "a\ufffd", "b")


def test_large_rows_convert_like_small_ones() -> None:
    large = b"x" * LARGE_BYTES
    values = b"".join(b"t" + struct.pack(">I", len(value)) + value for value in (large, b"small"))
    message = memoryview(b"I" + struct.pack(">I", 7) + b"N" + struct.pack(">H", 3) + values + b"n")
    found = Decoder().decode(message)
    assert isinstance(found, Insert)
    assert found.new == (large, b"small", None)
    assert [type(value) for value in found.new] == [bytes, bytes, type(None)]
    with pytest.raises(MalformedMessage, match=r"Insert.* it ends at byte"):
        Decoder().decode(message[:-1])
