"""Transactions: takes messages of the output plugin, and yields what they committed in commit order.

A large transaction may be sent before it has committed (protocol version 2). Its messages wait in a file until its
commit; an abort discards them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Final, assert_never

from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import ENTRY_BYTES, Entry, LoggedTable
from aerostack_realtime.database.postgres.wal import pgoutput
from aerostack_realtime.database.postgres.wal.pgoutput import (
    ROW_AT,
    Begin,
    Commit,
    Decoder,
    Relation,
    whole_rows,
)
from aerostack_realtime.database.postgres.wal.stream import Received
from aerostack_realtime.protocol.errors import Unavailable
from aerostack_realtime.protocol.messages import Operation

SPOOL_BYTES: Final = 1 << 20
"""Bytes of an open transaction that are held in memory; the rest of its messages is in a file."""

ROWS: Final = 256
ROWS_BYTES: Final = 1 << 20
"""How much is read at once before other tasks run: some ms, and in memory several times over."""

_LENGTH: Final = struct.Struct("!I")
_IN_STREAM: Final = b"S\0\0\0\1\1"
"""A stream's start: after it, a decoder reads messages as those of an open transaction."""


class Committed(Struct, frozen=True, gc=False):
    """A transaction is complete: it committed at `lsn`, and the log stands at `position` after it."""

    xid: int
    lsn: int
    position: Position


class OpaqueChange(Struct, frozen=True, gc=False):
    """Tables, by their OIDs, that changed in a way that cannot be reported row by row: emptied by TRUNCATE, or
    changed while their old rows were not in the WAL."""

    position: Position
    relations: tuple[int, ...]


class Emitted(Struct, frozen=True, gc=False):
    """A message by pg_logical_emit_message; `lsn` is the position of its transaction's commit, or its own if it
    has no transaction."""

    lsn: int
    message: pgoutput.LogicalMessage

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among all messages: by commits, and in the order of one transaction."""
        return self.lsn, self.message.lsn


Item = Entry | Committed | OpaqueChange | LoggedTable | Emitted


class _Spool:
    """The messages of one open transaction. Raises Unavailable when there is no space for it."""

    def __init__(self) -> None:
        self.aborted: set[int] = set()
        self._file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - closed when the transaction ends

    def append(self, payload: bytes | memoryview) -> None:
        try:
            self._file.write(_LENGTH.pack(len(payload)))
            self._file.write(payload)
        except OSError as error:
            raise _no_room(error) from error

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._file.seek(0)  # flushes
        except OSError as error:
            raise _no_room(error) from error
        while header := self._file.read(_LENGTH.size):
            yield self._file.read(_LENGTH.unpack(header)[0])

    def close(self) -> None:
        with suppress(OSError):  # closing flushes, and the content is not needed any more
            self._file.close()


class _Open(Struct):
    """A committed transaction whose changes are being read: committed at `lsn`, `timestamp` in ms since the Unix
    epoch."""

    xid: int
    lsn: int
    timestamp: int
    index: int = 0
    last: Entry | None = None

    def passes(self, position: Position) -> bool:
        """Whether its next changes, and the one that is held back, are beyond a position and certain to fit."""
        last = self.last
        if last is not None and not (last.position > position and last.table.layout.is_fixed):
            return False
        return (self.lsn, self.index) >= (position.lsn, position.index)


class Transactions:
    """Processes the messages of one stream in their order. Raises MalformedMessage, and Unavailable when there is
    no space for a transaction's file."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._tables: dict[int, LoggedTable] = {}
        self._spools: dict[int, _Spool] = {}
        self._spool: _Spool | None = None
        self._open: _Open | None = None

    @property
    def between(self) -> bool:
        """Whether no committed transaction is incomplete."""
        return self._open is None

    def read_rows(
        self, receive: Callable[[], Received], entries: list[Entry], after: Position, most: int = ROWS
    ) -> tuple[Received, int]:
        """Append the rows that `receive` brings, as far as they belong to the transaction that is being read, are
        beyond `after` and certain to fit their tables; returns the first other message, for `feed`, and the bytes
        of the rows.

        It is `feed` for the messages of which there are many, without decoding them: it stops when `entries` has
        `most` rows, or after ROWS_BYTES.
        """
        transaction = self._open
        if transaction is None or self._spool is not None or not transaction.passes(after):
            return receive(), 0
        tables = self._tables
        lsn, xid, timestamp = transaction.lsn, transaction.xid, transaction.timestamp
        index, held = transaction.index, transaction.last
        head: bytes | None = None
        operation: Operation
        table: LoggedTable
        until, room = index + most - len(entries), ROWS_BYTES
        while True:
            message = receive()
            if type(message) is not bytes or index >= until or room <= 0:
                break
            if message[:ROW_AT] != head:  # else it does the same to the same table as the message before
                found, relation = whole_rows(message)
                if found is None or not tables[relation].layout.is_fixed:
                    break
                head, operation, table = message[:ROW_AT], found, tables[relation]
            index += 1
            size = ENTRY_BYTES + len(message)
            room -= size
            if held is not None:
                entries.append(held)
            held = Entry(Position(lsn, index), xid, timestamp, table, operation, message, False, size)
        transaction.index, transaction.last = index, held
        return message, ROWS_BYTES - room

    def feed(self, payload: bytes | memoryview) -> Iterable[Item]:
        """The items that a message completes; those of a spooled transaction are read from its file one by one.

        Consume all of them before the next message.
        """
        if self._spool is None:  # almost every message is one of these, and generators cost as much as decoding
            operation, relation = whole_rows(payload)
            if operation is not None:
                return self._entry(operation, relation, payload)
        message = self._decoder.decode(payload)
        if self._spool is None:
            if isinstance(message, Begin):
                self._open = _Open(message.xid, message.final_lsn, message.timestamp)
                return ()
            if isinstance(message, Commit):
                return self._commit(message.end_lsn)
        return self._feed(message, payload)

    def _feed(self, message: pgoutput.Message, payload: bytes | memoryview) -> Iterator[Item]:
        match message:
            case pgoutput.StreamStart():
                self._spool = self._spools.get(message.xid)
                if self._spool is None:
                    self._spool = self._spools[message.xid] = _Spool()
            case pgoutput.StreamStop():
                self._spool = None
            case pgoutput.StreamCommit():
                yield from self._replay(message)
            case pgoutput.StreamAbort():
                self._abort(message)
            case _ if self._spool is not None:
                self._spool.append(payload)
            case _:
                yield from self._take(message, payload)

    def close(self) -> None:
        """Discard transactions whose commit was not received."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()

    def _take(self, message: pgoutput.Message, payload: bytes | memoryview) -> Iterator[Item]:
        """The items of a message; `payload` is it as it is outside of streamed pieces."""
        match message:
            case Begin():
                self._open = _Open(message.xid, message.final_lsn, message.timestamp)
            case Commit():
                yield from self._commit(message.end_lsn)
            case pgoutput.Insert() | pgoutput.Update() | pgoutput.Delete():
                operation, relation = whole_rows(payload)
                if operation is None:
                    yield from self._opaque_change((message.relation,))
                else:
                    yield from self._entry(operation, relation, payload)
            case pgoutput.Truncate():
                yield from self._opaque_change(message.relations)
            case Relation():
                yield from self._release()
                table = self._tables[message.oid] = LoggedTable(message)
                yield table
            case pgoutput.LogicalMessage():
                transaction = self._open
                yield Emitted(message.lsn if transaction is None else transaction.lsn, message)
            case pgoutput.Origin() | pgoutput.Type():
                pass  # neither changes a row
            case pgoutput.StreamStart() | pgoutput.StreamStop() | pgoutput.StreamCommit() | pgoutput.StreamAbort():
                raise AssertionError(f"{type(message).__name__} is handled where streams are put together")
            case _:
                assert_never(message)

    def _entry(self, operation: Operation, oid: int, payload: bytes | memoryview) -> tuple[()] | tuple[Entry]:
        """Hold a change back, and release the one before it."""
        transaction = self._open
        assert transaction is not None, "a change comes between begin and commit"
        held = transaction.last
        transaction.index += 1
        transaction.last = Entry(
            Position(transaction.lsn, transaction.index),
            transaction.xid,
            transaction.timestamp,
            self._tables[oid],
            operation,
            payload,
            False,
            ENTRY_BYTES + len(payload),
        )
        return () if held is None else (held,)

    def _opaque_change(self, relations: tuple[int, ...]) -> Iterator[Item]:
        transaction = self._open
        assert transaction is not None, "a change comes between begin and commit"
        yield from self._release()
        transaction.index += 1
        yield OpaqueChange(Position(transaction.lsn, transaction.index), relations)

    def _release(self) -> Iterator[Entry]:
        """The change that was held back to learn whether it is its transaction's last, which it is not."""
        transaction = self._open
        if transaction is None or transaction.last is None:
            return
        entry, transaction.last = transaction.last, None
        yield entry

    def _commit(self, end_lsn: int) -> tuple[Committed] | tuple[Entry, Committed]:
        ended, self._open = self._open, None
        assert ended is not None, "a commit follows a begin"
        committed = Committed(ended.xid, ended.lsn, Position(end_lsn, 0))
        last = ended.last
        return (committed,) if last is None else (replace(last, end=True), committed)

    def _replay(self, commit: pgoutput.StreamCommit) -> Iterator[Item]:
        spool = self._spools.pop(commit.xid, None)
        self._open = _Open(commit.xid, commit.commit_lsn, commit.timestamp)
        if spool is not None:
            try:
                yield from self._counted(spool)
            finally:  # also when the rest is not consumed
                spool.close()
        yield from self._commit(commit.end_lsn)

    def _counted(self, spool: _Spool) -> Iterator[Item]:
        """The items of a transaction's messages that no rollback to a savepoint has undone."""
        decoder = Decoder()
        decoder.decode(_IN_STREAM)
        for payload in spool:
            message = decoder.decode(payload)
            if getattr(message, "xid", 0) not in spool.aborted:
                yield from self._take(message, payload[:1] + payload[5:])

    def _abort(self, abort: pgoutput.StreamAbort) -> None:
        spool = self._spools.get(abort.xid)
        if spool is None:
            return
        spool.aborted.add(abort.subxid)
        if abort.subxid == abort.xid:
            del self._spools[abort.xid]
            spool.close()


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(
        f"A large transaction is spooled to a file, which cannot be written ({error.strerror}): free space in "
        f"{gettempdir()}, or set TMPDIR to another directory."
    )
