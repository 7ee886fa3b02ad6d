"""Transactions of a stream: what counts, in which order, and where the last change is."""

import struct
from typing import Any

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.transactions import (
    SPOOL_BYTES,
    Committed,
    Emitted,
    OpaqueChange,
    Transactions,
)
from aerostack_realtime.database.postgres.wal.rows import UNCHANGED, merged


class Writer:
    """Makes the messages of a stream; inside an open transaction they carry its number."""

    def __init__(self, xid: int | None = None) -> None:
        self._xid = b"" if xid is None else struct.pack(">I", xid)

    def relation(self, oid: int = 7, identity: bytes = b"f") -> bytes:
        column = b"\1id\0" + struct.pack(">Ii", 25, -1)
        return (
            b"R" + self._xid + struct.pack(">I", oid) + b"public\0t\0" + identity + struct.pack(">H", 1) + column
        )

    def insert(self, value: str, oid: int = 7) -> bytes:
        return b"I" + self._xid + struct.pack(">I", oid) + b"N" + _tuple(value)

    def update(self, old: str | None, new: str, kind: bytes = b"O") -> bytes:
        before = b"" if old is None else kind + _tuple(old)
        return b"U" + self._xid + struct.pack(">I", 7) + before + b"N" + _tuple(new)

    def delete(self, old: str, kind: bytes = b"O") -> bytes:
        return b"D" + self._xid + struct.pack(">I", 7) + kind + _tuple(old)

    def truncate(self) -> bytes:
        return b"T" + self._xid + struct.pack(">IBI", 1, 0, 7)

    def logical(self, content: bytes) -> bytes:
        return b"M" + self._xid + struct.pack(">BQ", 1, 9) + b"audit\0" + struct.pack(">I", len(content)) + content


def _tuple(value: str) -> bytes:
    text = value.encode()
    return struct.pack(">H", 1) + b"t" + struct.pack(">I", len(text)) + text


def begin(lsn: int, xid: int) -> bytes:
    return b"B" + struct.pack(">QqI", lsn, 0, xid)


def commit(lsn: int) -> bytes:
    return b"C\0" + struct.pack(">QQq", lsn, lsn + 1, 0)


def stream_start(xid: int, *, first: bool) -> bytes:
    return b"S" + struct.pack(">IB", xid, first)


STREAM_STOP = b"E"


def stream_commit(xid: int, lsn: int) -> bytes:
    return b"c" + struct.pack(">IBQQq", xid, 0, lsn, lsn + 1, 0)


def stream_abort(xid: int, subxid: int) -> bytes:
    return b"A" + struct.pack(">II", xid, subxid)


def fed(*messages: bytes, into: Transactions | None = None) -> list[Any]:
    """What a stream brings, in short: (operation, old, new, index, end), or what else there is."""
    transactions = into or Transactions()
    return [_brief(item) for message in messages for item in transactions.feed(message)]


def _brief(item: object) -> Any:
    match item:
        case Entry():
            new, old = item.values()
            return (item.operation, old, new, item.position.index, item.end)
        case LoggedTable():
            return ("table", item.oid)
        case Committed():
            return ("committed", item.xid, item.position)
        case OpaqueChange():
            return ("opaque", item.relations)
        case Emitted():
            return ("emitted", item.lsn, item.message.content)
        case _:
            raise AssertionError(item)


PLAIN = Writer()


def test_a_transaction_keeps_its_order_and_marks_its_last_change() -> None:
    assert fed(
        begin(50, 3),
        PLAIN.relation(),
        PLAIN.insert("a"),
        PLAIN.update("a", "b"),
        PLAIN.delete("b"),
        commit(50),
    ) == [
        ("table", 7),
        ("INSERT", None, (b"a",), 1, False),
        ("UPDATE", (b"a",), (b"b",), 2, False),
        ("DELETE", (b"b",), None, 3, True),
        ("committed", 3, Position(51, 0)),
    ]


def test_an_empty_transaction_moves_the_log_on() -> None:
    assert fed(begin(50, 3), commit(50)) == [("committed", 3, Position(51, 0))]


def test_opaque_changes_keep_their_position() -> None:
    found = fed(begin(5, 1), PLAIN.relation(), PLAIN.insert("a"), PLAIN.truncate(), PLAIN.insert("b"), commit(5))
    assert [each[0] for each in found] == ["table", "INSERT", "opaque", "INSERT", "committed"]
    assert found[3] == ("INSERT", None, (b"b",), 3, True)


def test_a_change_without_its_whole_old_row_is_opaque() -> None:
    incomplete = [PLAIN.update(None, "b"), PLAIN.update("a", "b", b"K"), PLAIN.delete("a", b"K")]
    found = fed(begin(5, 1), PLAIN.relation(identity=b"d"), *incomplete, commit(5))
    assert found[1:-1] == [("opaque", (7,))] * 3


def test_a_logical_message_is_passed_on() -> None:
    assert fed(begin(5, 1), PLAIN.logical(b"hello"), commit(5))[0] == ("emitted", 5, b"hello"), (
        "with the position of its commit"
    )


def test_an_open_transaction_appears_completely_after_its_commit() -> None:
    transactions = Transactions()
    own, nested = Writer(8), Writer(9)
    assert not fed(stream_start(8, first=True), own.relation(), own.insert("a"), STREAM_STOP, into=transactions)
    assert [
        each[0] for each in fed(begin(40, 2), PLAIN.relation(), PLAIN.insert("z"), commit(40), into=transactions)
    ] == [
        "table",
        "INSERT",
        "committed",
    ], "another transaction passes it"
    assert not fed(stream_start(8, first=False), nested.insert("b"), STREAM_STOP, into=transactions)
    assert fed(stream_commit(8, 60), into=transactions) == [
        ("table", 7),
        ("INSERT", None, (b"a",), 1, False),
        ("INSERT", None, (b"b",), 2, True),
        ("committed", 8, Position(61, 0)),
    ]


def test_rolled_back_messages_never_appear() -> None:
    transactions = Transactions()
    own, undone = Writer(8), Writer(9)
    fed(stream_start(8, first=True), own.relation(), own.insert("a"), into=transactions)
    fed(undone.insert("b"), STREAM_STOP, stream_abort(8, 9), into=transactions)
    assert [each[2] for each in fed(stream_commit(8, 60), into=transactions)[1:-1]] == [(b"a",)]
    fed(stream_start(10, first=True), Writer(10).insert("c"), STREAM_STOP, into=transactions)
    assert not fed(stream_abort(10, 10), stream_abort(11, 11), into=transactions)
    assert transactions.between


def test_a_large_open_transaction_is_spooled_to_a_file() -> None:
    transactions = Transactions()
    own = Writer(8)
    text = "x" * (SPOOL_BYTES // 4)
    fed(stream_start(8, first=True), own.relation(), into=transactions)
    for number in range(10):
        fed(own.insert(f"{number}{text}"), into=transactions)
    found = fed(STREAM_STOP, stream_commit(8, 60), into=transactions)
    assert [each[2] for each in found[1:-1]] == [(f"{number}{text}".encode(),) for number in range(10)]


def test_an_incomplete_transaction_is_known() -> None:
    transactions = Transactions()
    between = []
    for message in (begin(5, 1), commit(5)):
        fed(message, into=transactions)
        between.append(transactions.between)
    assert between == [False, True]
    transactions.close()


def test_unchanged_values_are_taken_from_the_whole_old_row() -> None:
    assert merged((b"1", b"long", None), (b"2", UNCHANGED, UNCHANGED)) == (b"2", b"long", None)
    assert merged((b"1", b"long"), (None, b"")) == (None, b"")


def test_without_the_old_row_unchanged_values_stay_unchanged() -> None:
    assert merged(None, (b"2", UNCHANGED)) == (b"2", UNCHANGED)
