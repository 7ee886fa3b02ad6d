"""The messages of PostgreSQL's output plugin `pgoutput`, protocol versions 1 and 2, out of their bytes.

Pure: bytes in, messages out. The formats are those of PostgreSQL's documentation, "Logical Replication Message
Formats". Positions in the log (LSN), object ids (OID) and transaction ids (xid) are ints, timestamps are ms since
the Unix epoch. Names that are not UTF-8 (a database in SQL_ASCII may have them) get replacement characters.

Version 2 sends a large transaction in pieces before its end, each between `StreamStart` and `StreamStop`. Inside a
piece every message carries in `xid` the (sub)transaction it belongs to, so that a later `StreamAbort` can take it
back; outside `xid` is 0.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final, get_args

from msgspec import Struct

from aerostack_realtime.database.base import LARGE_BYTES
from aerostack_realtime.database.postgres.wal.rows import Data, Misread, Values, read_row
from aerostack_realtime.protocol.messages import Operation


class MalformedMessage(ValueError):
    """Bytes that are not a message of the protocol: which message they resemble, and at which byte it fails."""


class Begin(Struct, frozen=True, gc=False):
    """A transaction begins; its commit is at `final_lsn`. Everything up to `Commit` is part of it."""

    final_lsn: int
    timestamp: int
    xid: int


class Commit(Struct, frozen=True, gc=False):
    """It ends. `commit_lsn` is the `final_lsn` of its `Begin`; `end_lsn`, just after it, is the position to
    confirm."""

    commit_lsn: int
    end_lsn: int
    timestamp: int


class Origin(Struct, frozen=True, gc=False):
    """The transaction was replicated to this server from `name`, where its commit is at `lsn`."""

    lsn: int
    name: str


class Column(Struct, frozen=True, gc=False):
    """A published column. `modifier` is the type's (a length, a precision), -1 for none; `key`: it is part of the
    replica identity."""

    name: str
    type_oid: int
    modifier: int
    key: bool


class Relation(Struct, frozen=True, gc=False):
    """A table, sent before its first change and again when its definition has changed.

    `replica_identity`, what an old row holds: `d` the primary key, `i` an index's columns, `f` all, `n` nothing.
    """

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[Column, ...]
    xid: int = 0


class Type(Struct, frozen=True, gc=False):
    """A type that is not built in, sent before the relation that has a column of it."""

    oid: int
    schema: str
    name: str
    xid: int = 0


class Insert(Struct, frozen=True, gc=False):
    relation: int
    new: Values
    xid: int = 0


class Update(Struct, frozen=True, gc=False):
    """`old` is the whole old row (REPLICA IDENTITY FULL); with `key_only` it has values for the key only, NULL
    elsewhere; None: the key has not changed, and nothing else is recorded. Beware of a partitioned table published
    via its root: what `old` holds is the partition's replica identity, what `key_only` says is the root's."""

    relation: int
    old: Values | None
    key_only: bool
    new: Values
    xid: int = 0


class Delete(Struct, frozen=True, gc=False):
    """`old` as in `Update`, but never None."""

    relation: int
    old: Values
    key_only: bool
    xid: int = 0


class Truncate(Struct, frozen=True, gc=False):
    relations: tuple[int, ...]
    cascade: bool
    restart_identity: bool
    xid: int = 0


class LogicalMessage(Struct, frozen=True, gc=False):
    """A message by `pg_logical_emit_message`. One that is not `transactional` is sent at once, outside of any
    transaction."""

    lsn: int
    transactional: bool
    prefix: str
    content: bytes
    xid: int = 0


class StreamStart(Struct, frozen=True, gc=False):
    """A piece of the open transaction `xid`; `first`: it is its first piece."""

    xid: int
    first: bool


class StreamStop(Struct, frozen=True, gc=False):
    """The piece ends; pieces of other transactions, and whole transactions, may come before the next one."""


class StreamCommit(Struct, frozen=True, gc=False):
    """The streamed transaction has committed. Positions and timestamp as in `Commit`."""

    xid: int
    commit_lsn: int
    end_lsn: int
    timestamp: int


class StreamAbort(Struct, frozen=True, gc=False):
    """What was streamed with `subxid` is rolled back; if that is `xid` itself, the whole transaction is."""

    xid: int
    subxid: int


Change = Relation | Type | Insert | Update | Delete | Truncate | LogicalMessage
Message = Begin | Commit | Origin | StreamStart | StreamStop | StreamCommit | StreamAbort | Change


class Decoder:
    """Decodes the messages of one connection in their order; its state is whether it is inside a streamed
    piece."""

    def __init__(self) -> None:
        self._streaming = False

    def decode(self, data: bytes | memoryview) -> Message:
        """One message, which must fill `data`. Raises MalformedMessage, and nothing else."""
        kind = data[0] if data else 0
        if type(data) is not bytes and (len(data) <= LARGE_BYTES or kind not in _ROWS):
            data = bytes(data)  # of a large row its values alone are copied
        try:
            if (read := _CHANGES.get(kind)) is not None:
                if self._streaming:
                    return read(data, 5, _INT32(data, 1)[0])
                return read(data, 1, 0)
            if (control := _CONTROLS.get(kind)) is not None:
                message = control(data)
                if kind in _BRACKETS:
                    self._yield_if_due(kind)
                return message
            raise Misread(0, "there is no such message")
        except Misread as error:
            raise MalformedMessage(f"{_described(data)} is malformed at byte {error.at}: {error.why}.") from None
        except (IndexError, struct.error):
            raise MalformedMessage(f"{_described(data)} is malformed: it ends at byte {len(data)}.") from None

    def _yield_if_due(self, kind: int) -> None:
        if self._streaming is (kind == _START):
            raise Misread(0, "a streamed piece begins within one, or ends outside of one")
        self._streaming = not self._streaming


_INT16 = struct.Struct(">H").unpack_from
_INT32 = struct.Struct(">I").unpack_from
_INT64 = struct.Struct(">Q").unpack_from
_HEAD = struct.Struct(">BIB").unpack_from
_FLAGGED = struct.Struct(">IB").unpack_from
_LOGICAL = struct.Struct(">BQ").unpack_from
_COLUMN = struct.Struct(">Ii").unpack_from

_INSERT, _UPDATE, _DELETE = _ROWS = b"IUD"
_NEW, _KEY, _OLD = b"NKO"
_START, _ = _BRACKETS = b"SE"
_EPOCH_MS = 946_684_800_000
"""2000-01-01: the zero of PostgreSQL's timestamps."""


ROW_AT: Final = 6
"""Where the first row of a message begins, outside of streamed pieces; a second one comes a byte after its end."""


def whole_rows(data: Data) -> tuple[Operation | None, int]:
    """What a message outside of streamed pieces does to a row, and the relation of the row; None for any other
    message, and where the old row is not whole. What follows the head of the message is not checked."""
    if len(data) < ROW_AT:
        return None, 0
    kind, relation, part = _HEAD(data)
    if part == _OLD:
        return "UPDATE" if kind == _UPDATE else "DELETE" if kind == _DELETE else None, relation
    return "INSERT" if part == _NEW and kind == _INSERT else None, relation


def _string(data: bytes, at: int) -> tuple[str, int]:
    end = data.find(0, at)
    if end < 0:
        raise IndexError
    return data[at:end].decode("utf-8", "replace"), end + 1


def _schema(data: bytes, at: int) -> tuple[str, int]:
    name, end = _string(data, at)
    return name or "pg_catalog", end  # which is sent as an empty string


def _finish(data: Data, at: int) -> None:
    """Raise unless the message ends exactly at `at`."""
    if at > len(data):
        raise IndexError
    if at < len(data):
        raise Misread(at, "the message should end here")


def _timestamp(microseconds: int) -> int:
    return _EPOCH_MS + microseconds // 1000


def _insert(data: Data, at: int, xid: int) -> Insert:
    if data[at + 4] != _NEW:
        raise Misread(at + 4, "no new row")
    new, end = read_row(data, at + 5)
    if end != len(data):
        _finish(data, end)
    return Insert(_INT32(data, at)[0], new, xid)


def _update(data: Data, at: int, xid: int) -> Update:
    (relation,) = _INT32(data, at)
    part = data[at + 4]
    at += 5
    old = None
    key_only = part == _KEY
    if key_only or part == _OLD:
        old, at = read_row(data, at)
        part = data[at]
        at += 1
    if part != _NEW:
        raise Misread(at - 1, "no new row")
    new, at = read_row(data, at)
    if at != len(data):
        _finish(data, at)
    return Update(relation, old, key_only, new, xid)


def _delete(data: Data, at: int, xid: int) -> Delete:
    if data[at + 4] not in (_KEY, _OLD):
        raise Misread(at + 4, "no old row")
    old, end = read_row(data, at + 5)
    _finish(data, end)
    return Delete(_INT32(data, at)[0], old, data[at + 4] == _KEY, xid)


def _truncate(data: bytes, at: int, xid: int) -> Truncate:
    count, options = _FLAGGED(data, at)
    _finish(data, at + 5 + 4 * count)
    relations = struct.unpack_from(f">{count}I", data, at + 5)
    return Truncate(relations, bool(options & 1), bool(options & 2), xid)


def _relation(data: bytes, at: int, xid: int) -> Relation:
    (oid,) = _INT32(data, at)
    schema, at = _schema(data, at + 4)
    name, at = _string(data, at)
    identity = chr(data[at])
    (count,) = _INT16(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        key = data[at] & 1
        column, at = _string(data, at + 1)
        type_oid, modifier = _COLUMN(data, at)
        columns.append(Column(column, type_oid, modifier, bool(key)))
        at += 8
    _finish(data, at)
    return Relation(oid, schema, name, identity, tuple(columns), xid)


def _type(data: bytes, at: int, xid: int) -> Type:
    (oid,) = _INT32(data, at)
    schema, at = _schema(data, at + 4)
    name, at = _string(data, at)
    _finish(data, at)
    return Type(oid, schema, name, xid)


def _logical(data: bytes, at: int, xid: int) -> LogicalMessage:
    flags, lsn = _LOGICAL(data, at)
    prefix, at = _string(data, at + 9)
    (length,) = _INT32(data, at)
    _finish(data, at + 4 + length)
    return LogicalMessage(lsn, bool(flags & 1), prefix, data[at + 4 :], xid)


def _origin(data: bytes) -> Origin:
    name, at = _string(data, 9)
    _finish(data, at)
    return Origin(_INT64(data, 1)[0], name)


def _fixed(fields: str, make: Callable[..., Message]) -> Callable[[bytes], Message]:
    """The reader of a message that always has the same size."""
    layout = struct.Struct(fields)

    def read(data: bytes) -> Message:
        _finish(data, layout.size)
        return make(*layout.unpack(data))

    return read


_CHANGES: Final[dict[int, Callable[..., Change]]] = {
    ord("I"): _insert,
    ord("U"): _update,
    ord("D"): _delete,
    ord("T"): _truncate,
    ord("R"): _relation,
    ord("Y"): _type,
    ord("M"): _logical,
}
"""Called with the offset of their own part and the xid that precedes it within a streamed piece."""

_CONTROLS: Final[dict[int, Callable[..., Message]]] = {
    ord("B"): _fixed(">xQqI", lambda lsn, at, xid: Begin(lsn, _timestamp(at), xid)),
    ord("C"): _fixed(">xxQQq", lambda lsn, end, at: Commit(lsn, end, _timestamp(at))),
    ord("O"): _origin,
    ord("S"): _fixed(">xIB", lambda xid, first: StreamStart(xid, first == 1)),
    ord("E"): _fixed(">x", StreamStop),
    ord("c"): _fixed(">xIxQQq", lambda xid, lsn, end, at: StreamCommit(xid, lsn, end, _timestamp(at))),
    ord("A"): _fixed(">xII", StreamAbort),
}

_NAMES: Final = {kind: each.__name__ for kind, each in zip(b"BCOSEcARYIUDTM", get_args(Message), strict=True)}


def _described(data: Data) -> str:
    """The message's name, for an error."""
    if not data:
        return "An empty message"
    return f"The message {bytes(data[:1])!r} ({_NAMES.get(data[0], 'unknown')}) of {len(data)} bytes"
