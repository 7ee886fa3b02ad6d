"""Transactions: messages of the output plugin in, what they committed out, in commit order.

A large transaction may be sent while it goes on (protocol version 2). Its messages wait in a file until its commit
says that they count; an abort throws them away.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from tempfile import SpooledTemporaryFile, gettempdir
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from aerostack_realtime.database.postgres.feed.epochs import Position
from aerostack_realtime.database.postgres.feed.log import ENTRY_BYTES, Entry, LoggedTable, bytes_of
from aerostack_realtime.database.postgres.wal import pgoutput
from aerostack_realtime.database.postgres.wal.pgoutput import UNCHANGED, Decoder, Relation, Values
from aerostack_realtime.protocol.errors import Unavailable
from aerostack_realtime.protocol.messages import Operation

SPOOL_BYTES: Final = 1 << 20
"""What a transaction that goes on may hold in memory; beyond, its messages are in a file."""

_LENGTH: Final = struct.Struct("!I")
_IN_STREAM: Final = b"S\0\0\0\1\1"
"""A stream's start: a decoder that has read it takes what follows as messages of a transaction that goes on."""


class Committed(Struct, frozen=True, gc=False):
    """Everything of a transaction has come: committed at `lsn`, the log stands at `place` after it."""

    xid: int
    lsn: int
    position: Position


class OpaqueChange(Struct, frozen=True, gc=False):
    """Tables, by their OIDs, that changed in a way that is not told row by row: emptied by TRUNCATE, or changed
    while their old rows were not in the log."""

    position: Position
    relations: tuple[int, ...]


class Emitted(Struct, frozen=True, gc=False):
    """A message by pg_logical_emit_message; `lsn` is the position of its transaction's commit, or its own if it
    has no transaction."""

    lsn: int
    message: pgoutput.LogicalMessage


Item = Entry | Committed | OpaqueChange | LoggedTable | Emitted


class _Spool:
    """The messages of one transaction that goes on. Raises Unavailable when there is no room for it."""

    def __init__(self) -> None:
        self.aborted: set[int] = set()
        self._file = SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - it lives until the transaction ends

    def append(self, payload: bytes | memoryview) -> None:
        try:
            self._file.write(_LENGTH.pack(len(payload)))
            self._file.write(payload)
        except OSError as error:
            raise _no_room(error) from error

    def __iter__(self) -> Iterator[bytes]:
        try:
            self._file.seek(0)  # which writes what is not written yet
        except OSError as error:
            raise _no_room(error) from error
        while header := self._file.read(_LENGTH.size):
            yield self._file.read(_LENGTH.unpack(header)[0])

    def close(self) -> None:
        with suppress(OSError):  # it writes what is not written yet, which nobody wants any more
            self._file.close()


class _Open(Struct):
    """A transaction whose changes are coming: committed at `lsn`, `timestamp` in ms since the Unix epoch."""

    xid: int
    lsn: int
    timestamp: int
    index: int = 0
    last: Entry | None = None


class Transactions:
    """Takes the messages of one stream in their order. Raises MalformedMessage, and Unavailable when there is no
    room for a transaction's file."""

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._tables: dict[int, LoggedTable] = {}
        self._spools: dict[int, _Spool] = {}
        self._spool: _Spool | None = None
        self._open: _Open | None = None

    @property
    def between(self) -> bool:
        """Whether no committed transaction is half here."""
        return self._open is None

    def feed(self, payload: bytes | memoryview) -> Iterator[Item]:
        """What a message brings, at once or read from the file of its transaction as it is asked for.

        Take all of it before the next message.
        """
        message = self._decoder.decode(payload)
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
                yield from self._take(message)

    def close(self) -> None:
        """Throw away what was never committed here."""
        for spool in self._spools.values():
            spool.close()
        self._spools.clear()

    def _take(self, message: pgoutput.Message) -> Iterator[Item]:
        match message:
            case pgoutput.Begin():
                self._open = _Open(message.xid, message.final_lsn, message.timestamp)
            case pgoutput.Commit():
                yield from self._commit(message.end_lsn)
            case pgoutput.Insert():
                yield from self._entry("INSERT", message.relation, None, message.new)
            case pgoutput.Update():
                if message.old is None or message.key_only:
                    yield from self._opaque_change((message.relation,))
                else:
                    new = merged(message.old, message.new)
                    yield from self._entry("UPDATE", message.relation, message.old, new)
            case pgoutput.Delete():
                if message.key_only:
                    yield from self._opaque_change((message.relation,))
                else:
                    yield from self._entry("DELETE", message.relation, message.old, None)
            case pgoutput.Truncate():
                yield from self._opaque_change(message.relations)
            case Relation():
                yield from self._release(end=False)
                table = self._tables[message.oid] = LoggedTable(message)
                yield table
            case pgoutput.LogicalMessage():
                transaction = self._open
                yield Emitted(message.lsn if transaction is None else transaction.lsn, message)

    def _entry(self, operation: Operation, oid: int, old: Values | None, new: Values | None) -> Iterator[Entry]:
        transaction = self._open
        assert transaction is not None, "a change comes between begin and commit"
        yield from self._release(end=False)
        transaction.index += 1
        transaction.last = Entry(
            Position(transaction.lsn, transaction.index),
            transaction.xid,
            transaction.timestamp,
            self._tables[oid],
            operation,
            old,
            new,
            end=False,
            size=ENTRY_BYTES + bytes_of(old) + bytes_of(new),
        )

    def _opaque_change(self, relations: tuple[int, ...]) -> Iterator[Item]:
        transaction = self._open
        assert transaction is not None, "a change comes between begin and commit"
        yield from self._release(end=False)
        transaction.index += 1
        yield OpaqueChange(Position(transaction.lsn, transaction.index), relations)

    def _release(self, *, end: bool) -> Iterator[Entry]:
        """The change that waited to learn whether it is its transaction's last."""
        transaction = self._open
        if transaction is None or transaction.last is None:
            return
        entry, transaction.last = transaction.last, None
        yield replace(entry, end=True) if end else entry

    def _commit(self, end_lsn: int) -> Iterator[Item]:
        assert self._open is not None, "a commit follows a begin"
        yield from self._release(end=True)
        ended, self._open = self._open, None
        yield Committed(ended.xid, ended.lsn, Position(end_lsn, 0))

    def _replay(self, commit: pgoutput.StreamCommit) -> Iterator[Item]:
        spool = self._spools.pop(commit.xid, None)
        self._open = _Open(commit.xid, commit.commit_lsn, commit.timestamp)
        if spool is not None:
            try:
                yield from self._counted(spool)
            finally:  # also when nobody asks for the rest
                spool.close()
        yield from self._commit(commit.end_lsn)

    def _counted(self, spool: _Spool) -> Iterator[Item]:
        """What the messages of a transaction brought that no rollback to a savepoint has undone."""
        decoder = Decoder()
        decoder.decode(_IN_STREAM)
        for payload in spool:
            message = decoder.decode(payload)
            if getattr(message, "xid", 0) not in spool.aborted:
                yield from self._take(message)

    def _abort(self, abort: pgoutput.StreamAbort) -> None:
        spool = self._spools.get(abort.xid)
        if spool is None:
            return
        spool.aborted.add(abort.subxid)
        if abort.subxid == abort.xid:
            del self._spools[abort.xid]
            spool.close()


def merged(old: Values | None, new: Values) -> Values:
    """The new row, its unchanged values taken from the whole old row; without one they stay UNCHANGED.

    Do not pass an old row that is `key_only`: its NULLs say nothing.
    """
    if old is None or UNCHANGED not in new:
        return new
    return tuple(before if after is UNCHANGED else after for before, after in zip(old, new, strict=True))


def _no_room(error: OSError) -> Unavailable:
    return Unavailable(
        f"A large transaction waits for its commit in a file, which cannot be written ({error.strerror}): make "
        f"room in {gettempdir()}, or set TMPDIR to a directory that has it."
    )
