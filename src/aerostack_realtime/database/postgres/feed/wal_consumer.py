"""Consumes the write-ahead log: connects, reconnects, and decides whether what comes continues what was there."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, assert_never

import psycopg

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.confirmations import Confirmations
from aerostack_realtime.database.postgres.feed.continuity import Continuity, LogDiverged
from aerostack_realtime.database.postgres.feed.epoch_table import EPOCH_STARTED, EpochTable, continuation
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Epochs, Position, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.retention_window import Window
from aerostack_realtime.database.postgres.feed.sink import PREFIX, ChangeSink
from aerostack_realtime.database.postgres.feed.slot_access import SlotAccess
from aerostack_realtime.database.postgres.feed.transactions import (
    ROWS,
    ROWS_BYTES,
    Committed,
    Emitted,
    Item,
    OpaqueChange,
    Transactions,
)
from aerostack_realtime.database.postgres.marks import Marks
from aerostack_realtime.database.postgres.wal.stream import (
    Keepalive,
    ReplicationEnded,
    ReplicationStream,
    SystemIdentity,
    lsn_text,
)
from aerostack_realtime.database.turns import TurnSize
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = (0.05, 2.0)
"""The shortest and the longest pause before the next attempt to connect."""
STAND_BY_SECONDS: Final = 0.2


class RoleChanged(ReplicationEnded):
    """This node became the keeper of the slot, or ceased to be it: reconnect."""


class WalConsumer:
    """One task, `run`, that runs until it is cancelled; `position` is where it stands in the log."""

    def __init__(
        self,
        connections: Connections,
        access: SlotAccess,
        options: Mapping[str, str],
        window: Window,
        sink: ChangeSink,
        epochs: EpochTable,
        marks: Callable[[], Awaitable[Marks]],
        known_marks: Callable[[], Marks],
        restore_marks: Callable[[Marks], Awaitable[None]],
        unreachable: Callable[[], None],
    ) -> None:
        """`marks` reads the stored marks of positions, and `known_marks` are those that are known to be stored: a
        database that lacks them was restored from a backup, and `restore_marks` stores them there again.
        `unreachable` is called when the server does not reply for too long."""
        self.position = Position(0, 0)
        self._connections = connections
        self._access = access
        self._options = options
        self._sink = sink
        self._epoch_table = epochs
        self._marks = marks
        self._known_marks = known_marks
        self._restore_marks = restore_marks
        self._last: Cursor | None = None
        """The last change that was handed on."""
        self._last_message = (0, 0)
        """The last message that was handed on. If the stream ends before its commit, it is sent again."""
        self._start = self._seen = Position(0, 0)
        """Where the log was read from, and the last change in it, also one that was not handed on."""
        self._continuity: Continuity | None = None
        """The check that a new stream sends the log that was read, until the stream has passed it."""
        self._diverged = self._interrupted = False
        """What a stream has shown and no epoch has begun for yet: that it sends another log, and that it does not
        continue ours."""
        self._identity: SystemIdentity | None = None
        self._switches: Mapping[int, int] = {}
        self._epochs: Epochs | None = None
        self._reread = window.reread
        self._confirmations = Confirmations(
            access, window, connections.silence_seconds, lambda: self.position.lsn, unreachable
        )
        self._pause = RETRY_SECONDS[0]
        self._reported = False
        self._stream: ReplicationStream | None = None

    async def run(self) -> None:
        """Consume the log, over every loss of the connection. Raises DatabaseUnusable before the first epoch
        only."""
        while True:
            try:
                await self._session()
            except RoleChanged:
                self._pause = 0.0
            except (psycopg.errors.ObjectInUse, psycopg.errors.DuplicateObject):
                self._report("the slot is in use by another server; waiting to take over")
                self._pause = STAND_BY_SECONDS
            except (psycopg.Error, ReplicationEnded, AerostackError, TimeoutError, OSError) as error:
                if self._epochs is None and isinstance(error, DatabaseUnusable):
                    raise
                self._diverged = self._diverged or isinstance(error, LogDiverged)
                self._report(f"row changes are not received, reconnecting: {' '.join(str(error).split())}")
            await asyncio.sleep(self._pause)
            self._pause = min(max(self._pause, RETRY_SECONDS[0]) * 2, RETRY_SECONDS[1])

    @property
    def is_streaming(self) -> bool:
        """Whether the WAL is being received."""
        return self._stream is not None

    def set_keeper(self, keeper: bool) -> None:
        """Whether this node of a cluster streams from the slot itself."""
        if keeper != self._access.keeper:
            self._access.keeper = keeper
            if self._stream is not None:
                self._stream.abort(RoleChanged("the keeper of the slot changed"))

    def release_window(self) -> None:
        """Retain no WAL that was read: PostgreSQL would run out of disk or drop the slot."""
        self._confirmations.release_window()

    async def register(self) -> None:
        """Tell the other nodes of the cluster that this one is live, once it is. Raises Unavailable."""
        if self._epochs is not None and self._stream is not None:
            last = self._last or Cursor(self.position)
            await self._epoch_table.register(
                self._epochs.current.id, self._epochs.encode(last.position, last.last)
            )

    async def reload_epochs(self) -> None:
        """Read the epochs again: another node may have started one. Raises Unavailable."""
        if self._epochs is not None:
            self._epochs = await self._epoch_table.load(self._switches)
            self._sink.epoch_started(self._epochs, self.position, discontinuous=False)

    async def _session(self) -> None:
        stream = await self._connect()
        try:
            self._stream = stream
            identity = await stream.identify()
            self._interrupted, since, name = await self._sink.reconnect(lambda: self._resume_point(stream))
            if self._epochs is None:
                since = await self._adopt(identity, since)
            await stream.start(name, since, self._options)
            await self._begin(identity, since, discontinuous=self._interrupted)
            if self._reported:
                log.warning("row changes are received, from %s on", lsn_text(self.position.lsn))
            self._reported = False
            self._confirmations.start(stream)
            await self._read(stream)
        finally:
            self._stream = None
            self._confirmations.stop()
            with suppress(psycopg.Error):
                await stream.close()

    async def _connect(self) -> ReplicationStream:
        return await ReplicationStream.connect(self._connections.dsn, self._connections.silence_seconds)

    def _report(self, text: str) -> None:
        """Log once until the log is consumed again."""
        log.log(logging.DEBUG if self._reported else logging.WARNING, "%s", text)
        self._reported = True

    # --- where to begin ----------------------------------------------------------------------------------

    async def _resume_point(self, stream: ReplicationStream) -> tuple[bool, int, str]:
        """Whether the slot's log does not continue ours, where to stream from, and by which slot."""
        self._continuity = None
        slot = await self._access.prepare(stream)
        if self._epochs is None:
            self._confirmations.restart_window(slot.confirmed)
            since = max(slot.confirmed, slot.wal_end - self._reread)
            return slot.created, slot.confirmed if slot.created else since, slot.name
        if slot.wal_end < self.position.lsn:  # another log, of which much may have been delivered before
            return True, slot.wal_end, slot.name
        if slot.created or slot.confirmed > self.position.lsn:  # the latter: advanced by somebody else
            return True, slot.confirmed, slot.name
        if self._diverged or self._interrupted:  # another log that was beyond ours when we connected
            return True, slot.wal_end, slot.name
        last = self._last
        since = self._start.lsn if last is None else last.position.lsn
        if since < slot.confirmed:
            since, last = slot.confirmed, None
        # A restored log may have grown beyond our position: changes that it has before it would not be handed on.
        self._continuity = Continuity(last, self._seen, self.position)
        return False, since, slot.name

    async def _adopt(self, identity: SystemIdentity, since: int) -> int:
        """At the first start, join the epoch of a live node, if the log turns out to hold its last change; returns
        where to stream from."""
        peer = await self._epoch_table.live_peer()
        if peer is None or self._diverged:
            return since
        self._switches = await self._timeline_switches(identity)
        epochs = await self._epoch_table.load(self._switches)
        if epochs.current.id != peer.epoch:
            raise ReplicationEnded("another epoch has just started")
        last = continuation(epochs, peer.cursor)
        if last is not None and last.position.lsn >= since:
            self._continuity = Continuity.at(last)
        self._epochs, self._identity = epochs, identity
        self.position = self._start = self._seen = Position(since, 0)
        self._sink.epoch_started(epochs, self.position, discontinuous=False)
        return since

    async def _begin(self, identity: SystemIdentity, since: int, *, discontinuous: bool) -> None:
        known_marks = self._known_marks()  # before the others, which may be raised at any moment
        marks = await self._marks()
        before, switches, restored = self._identity, self._switches, False
        if before is None or identity.timeline != before.timeline:
            switches = await self._timeline_switches(identity)
        if before is not None and not discontinuous:
            since = self.position.lsn  # what is sent again is not news
        if before is not None:
            lacks = identity.lacks(self.position.lsn, before, switches)
            restored = lacks or marks.lack(known_marks) or self._diverged
            discontinuous = discontinuous or restored
        if discontinuous or before is None or identity.timeline != before.timeline:
            known = None if self._epochs is None else self._epochs.current.id
            self._epochs = await self._epoch_table.start(
                identity.timeline, marks.stored, switches, forget=restored, known=known
            )
            self._last_message = (0, 0)
            if discontinuous or before is None:
                self.position = self._start = self._seen = Position(since, 0)
                self._last, self._continuity, self._diverged, self._interrupted = None, None, False, False
                if discontinuous:
                    self._confirmations.restart_window(since)
            self._sink.epoch_started(self._epochs, self.position, discontinuous=discontinuous)
        self._identity, self._switches = identity, switches
        if marks.lack(known_marks):  # reported by now, and not to be reported at every connection that follows
            await self._restore_marks(known_marks)

    async def _timeline_switches(self, identity: SystemIdentity) -> dict[int, int]:
        stream = await self._connect()
        try:
            return await stream.switch_points(identity.timeline)
        finally:
            await stream.close()

    # --- the stream --------------------------------------------------------------------------------------

    async def _read(self, stream: ReplicationStream) -> None:
        transactions = Transactions()
        batch = _Batch()
        turn = batch.turn
        confirmations = self._confirmations
        try:
            while True:
                if self._continuity is None:
                    message, size = transactions.read_rows(
                        stream.receive, batch.entries, self.position, turn.changes
                    )
                    batch.bytes += size
                    if len(batch.entries) >= turn.changes or batch.bytes >= ROWS_BYTES:
                        await self._yield(batch)
                else:
                    message = stream.receive()
                if message is None:
                    self._flush(batch)
                    confirmations.waits_since = time.monotonic()
                    await stream.more()
                    turn.begin()
                    confirmations.waits_since = None
                elif isinstance(message, Keepalive):
                    self._keepalive(stream, message, batch, between=transactions.between)
                else:
                    if batch.step():
                        await self._yield(batch)
                    for item in transactions.feed(message):
                        if batch.step():
                            await self._yield(batch)
                        if isinstance(item, Entry) and self._continuity is None and item.fits:
                            self._take(item, batch)
                        else:
                            await self._handle(item, batch)
        finally:
            transactions.close()

    async def _yield(self, batch: _Batch) -> None:
        """Let other tasks run now and then, whatever the log brings."""
        batch.steps = batch.bytes = 0
        self._flush(batch)
        batch.turn.pause()
        await asyncio.sleep(0)
        batch.turn.begin()

    def _take(self, entry: Entry, batch: _Batch) -> None:
        if entry.position > self.position:
            batch.entries.append(entry)
            batch.bytes += entry.size

    async def _handle(self, item: Item, batch: _Batch) -> None:
        if self._continuity is not None and self._continuity.see(item):
            self._continuity = None
        match item:
            case Entry():
                if item.position > self.position:
                    if not item.fits:
                        self._flush(batch)
                        self._seen = item.position
                        if not await self._sink.types_changed(item):
                            return
                    self._take(item, batch)
            case Committed():
                batch.position = item.position
                batch.xids.append((item.xid, item.lsn))
            case LoggedTable():
                self._flush(batch)
                await self._sink.table_described(item)
            case OpaqueChange():
                self._flush(batch)
                if item.position > self.position:
                    self._seen = item.position
                    self._sink.opaque_change(item.relations, item.position)
            case Emitted():
                await self._emitted(item, batch)
            case _:
                assert_never(item)

    async def _emitted(self, item: Emitted, batch: _Batch) -> None:
        if item.message.prefix == PREFIX:
            return
        self._flush(batch)
        if item.message.prefix == EPOCH_STARTED:
            if self._epochs is not None and not self._epochs.knows(bytes(item.message.content).decode()):
                await self.reload_epochs()
        elif item.lsn >= self.position.lsn and item.place > self._last_message:
            self._last_message = item.place
            self._sink.emitted(item.message)

    def _flush(self, batch: _Batch) -> None:
        if not batch.entries and batch.position is None:
            return
        position = batch.position or self.position
        if batch.entries:
            last = batch.entries[-1]
            position = max(position, last.position)
            self._last, self._seen = Cursor(last.position, stamp(last.timestamp)), last.position
        if position > self.position:  # else what ended the last session may come next
            self.position = position
            self._pause = RETRY_SECONDS[0]
        entries, batch.entries = batch.entries, []
        xids, batch.xids = batch.xids, []
        batch.position = None
        self._sink.committed(entries, self.position, xids)
        batch.turn.delivered(len(entries))

    def _keepalive(self, stream: ReplicationStream, message: Keepalive, batch: _Batch, *, between: bool) -> None:
        if self._continuity is not None and between and self._continuity.reached(message.wal_end):
            self._continuity = None
        if (
            between
            and message.wal_end > self.position.lsn
            and (batch.position is None or message.wal_end > batch.position.lsn)
        ):
            batch.position = Position(message.wal_end, 0)
        if message.reply:
            self._flush(batch)
            self._confirmations.requested(stream)


class _Batch:
    """What was read and is not handed on yet."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.xids: list[tuple[int, int]] = []
        self.position: Position | None = None
        self.steps = self.bytes = 0
        self.turn = TurnSize(ROWS)

    def step(self) -> bool:
        """Count a step; whether other tasks are due."""
        self.steps += 1
        return self.steps >= ROWS or len(self.entries) >= self.turn.changes or self.bytes >= ROWS_BYTES
