"""Follows the write-ahead log: connects, reconnects, and says whether what comes continues what was there."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol, TypeVar

import psycopg
from msgspec import Struct

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.continuity import Continuity, LogDiverged
from aerostack_realtime.database.postgres.feed.epochs import Cursor, Epoch, Epochs, Position, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.publication import Publication
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, OpaqueChange, Transactions
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage
from aerostack_realtime.database.postgres.wal.slot import Slot
from aerostack_realtime.database.postgres.wal.stream import (
    Keepalive,
    ReplicationEnded,
    ReplicationStream,
    SystemIdentity,
    lsn_of,
    lsn_text,
)
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

CONFIRM_SECONDS: Final = 1.0
"""Between two answers to the server; a line that is silent is looked at as often."""
RETRY_SECONDS: Final = (0.05, 2.0)
"""The shortest and the longest pause before the next attempt to connect."""
INSISTING: Final = 5
INSISTING_SECONDS: Final = 1.0
"""A server that shuts down asks for an answer again and again, until we confirm everything. All was sent by then,
but we confirm late on purpose: so many requests in so short a time mean that it is time to hang up. Otherwise it
asks twice in its wal_sender_timeout."""
STAND_BY_SECONDS: Final = 0.2
BATCH: Final = 256
"""Messages and changes read before others have their turn: some ms, whatever size a transaction has."""
BATCH_BYTES: Final = 1 << 20
"""The same by size: what is handed on at once is in memory at once, several times over."""
MAX_EPOCHS: Final = 1_000
MARK: Final = "aerostack"
"""The prefix of our own messages in the log."""


class Window(Struct, frozen=True):
    """How much log the slot keeps behind us: by time, and never more than so many `bytes`; and how much of it is
    read again at a start, to have the newest part in memory."""

    seconds: float
    bytes: int
    reread: int


class ChangeSink(Protocol):
    """Who gets what was committed. Only those that say so raise or wait."""

    async def reconnect(self, prepare: Callable[[], Awaitable[Result]]) -> Result:
        """Run `prepare`, which creates the publication and the slot where they are missing, then read what is in
        the publication; nobody else changes it meanwhile. Raises AerostackError: connect again."""

    def epoch_started(self, epochs: Epochs, start: Position, *, anew: bool) -> None:
        """A run begins; `anew`: what comes does not continue what came before `start`."""

    async def table_described(self, table: LoggedTable) -> None:
        """What a table looks like for the changes that follow. Raises AerostackError: connect again."""

    async def types_changed(self, entry: Entry) -> bool:
        """The next change has values that its table's types do not print: they were altered. Whether it can be
        converted now; else it is skipped, and a gap covers it. Raises AerostackError: connect again."""

    def committed(self, entries: list[Entry], position: Position, xids: list[tuple[int, int]]) -> None:
        """Changes in their order, after which the log stands at `place`; and which transactions ended: their
        numbers, and where in the log."""

    def opaque_change(self, relations: tuple[int, ...], position: Position) -> None: ...

    def emitted(self, message: LogicalMessage) -> None: ...


def stream_options(publication: Publication, version: int) -> dict[str, str]:
    """Options of the output plugin: the newest protocol that the server's version speaks and we do."""
    options = {"proto_version": "1", "publication_names": publication.quoted}
    if version >= 140000:
        options |= {"proto_version": "2", "streaming": "on", "messages": "on"}
    return options


class WalConsumer:
    """One task, `follow`, that never ends by itself; `place` is where it stands in the log."""

    def __init__(
        self,
        connections: Connections,
        slot: Slot,
        publication: Publication,
        options: Mapping[str, str],
        window: Window,
        sink: ChangeSink,
        high_water: Callable[[], Awaitable[int]],
        known_mark: Callable[[], int],
        raise_mark: Callable[[int], Awaitable[None]],
        out_of_reach: Callable[[], None],
    ) -> None:
        """`high_water` reads the stored mark of positions, `known_mark` is what we know to be stored: a database
        whose mark is lower was restored from a backup, and `raise_mark` stores it there again. `out_of_reach` is
        called when the server has been silent for too long, though it was asked."""
        self.position = Position(0, 0)
        self._connections = connections
        self._slot = slot
        self._publication = publication
        self._options = options
        self._window = window
        self._sink = sink
        self._high_water = high_water
        self._known_mark = known_mark
        self._raise_mark = raise_mark
        self._out_of_reach = out_of_reach
        self._last: Cursor | None = None
        """Of the last change that was told."""
        self._continuity: Continuity | None = None
        """Of it, while it is not there."""
        self._diverged = False
        self._identity: SystemIdentity | None = None
        self._epochs: Epochs | None = None
        self._waymarks: deque[tuple[float, int]] = deque()
        self._waits_since: float | None = None
        self._asked: deque[float] = deque(maxlen=INSISTING)
        self._pause = RETRY_SECONDS[0]
        self._reported = False
        self._timer: asyncio.TimerHandle | None = None

    async def follow(self) -> None:
        """Follow the log, over every loss of the connection. Raises DatabaseUnusable before the first run only."""
        while True:
            try:
                await self._session()
            except psycopg.errors.ObjectInUse:
                self._report(logging.WARNING, f"the slot {self._slot.name} is another server's: standing by")
                self._pause = STAND_BY_SECONDS
            except (psycopg.Error, ReplicationEnded, AerostackError, TimeoutError, OSError) as error:
                if self._epochs is None and isinstance(error, DatabaseUnusable):
                    raise
                self._diverged = self._diverged or isinstance(error, LogDiverged)
                reason = " ".join(str(error).split())
                self._report(logging.WARNING, f"row changes are not followed, connecting again: {reason}")
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, RETRY_SECONDS[1])

    async def _session(self) -> None:
        stream = await self._connect()
        try:
            identity = await stream.identify()
            anew, since = await self._sink.reconnect(self._resume_point)
            await stream.start(self._slot.name, since, self._options)
            await self._begin(identity, since, anew=anew)
            if self._reported:
                log.warning("row changes are followed, from %s on", lsn_text(self.position.lsn))
            self._reported = False
            self._waits_since = None
            self._asked.clear()
            self._tick(stream)
            await self._read(stream)
        finally:
            if self._timer is not None:
                self._timer.cancel()
            with suppress(psycopg.Error):
                await stream.close()

    async def _connect(self) -> ReplicationStream:
        return await ReplicationStream.connect(self._connections.dsn, self._connections.silence_seconds)

    def _report(self, level: int, text: str) -> None:
        """Once until the log is followed again: what goes on is no news."""
        log.log(logging.DEBUG if self._reported else level, "%s", text)
        self._reported = True

    # --- where to begin ----------------------------------------------------------------------------------

    async def _resume_point(self) -> tuple[bool, int]:
        """Whether the slot's log does not continue ours, and where to stream from."""
        self._continuity = None
        state = await self._slot.state()
        made = await self._publication.prepare()
        if state is not None and (made or state.lost):
            why = "its publication was dropped" if made else "PostgreSQL has removed log that it needs"
            log.error("the slot %s begins anew: %s", self._slot.name, why)
            await self._slot.drop()
            state = None
        if state is None:
            return True, await self._slot.create()
        if self._epochs is None:
            self._waymarks = deque([(time.monotonic(), state.confirmed)])
            return False, max(state.confirmed, state.wal_end - self._window.reread)
        if state.wal_end < self.position.lsn:  # another log, of which much may have been told before
            return True, state.wal_end
        if state.confirmed > self.position.lsn:  # the same, moved on by someone else
            return True, state.confirmed
        if self._diverged:  # another that was beyond ours when we came
            return True, state.wal_end
        if self._last is not None and self._last.position.lsn >= state.confirmed:
            self._continuity = Continuity(self._last)
            return False, self._last.position.lsn
        return False, self.position.lsn

    async def _begin(self, identity: SystemIdentity, since: int, *, anew: bool) -> None:
        mark, known_mark = await self._high_water(), self._known_mark()
        before, switches, restored = self._identity, {}, False
        if before is None or identity.timeline != before.timeline:
            switches = await self._switches(identity)
        if before is not None and not anew:
            since = self.position.lsn  # what is sent once more is no news
        if before is not None:
            left = switches.get(before.timeline, self.position.lsn)
            restored = (
                identity.system != before.system
                or min(left, identity.wal_end) < self.position.lsn
                or mark < known_mark
                or self._diverged
            )
            anew = anew or restored
        self._identity = identity
        if anew or before is None or identity.timeline != before.timeline:
            self._epochs = await self._start_epoch(identity.timeline, mark, switches, forget=restored)
            if anew or before is None:
                self.position = Position(since, 0)
                self._last, self._continuity, self._diverged = None, None, False
                if anew:
                    self._waymarks = deque([(time.monotonic(), since)])
            self._sink.epoch_started(self._epochs, self.position, anew=anew)
        if mark < known_mark:  # told by now, and not to be told at every connection that follows
            await self._raise_mark(known_mark)

    async def _switches(self, identity: SystemIdentity) -> dict[int, int]:
        stream = await self._connect()
        try:
            return await stream.switch_points(identity.timeline)
        finally:
            await stream.close()

    async def _start_epoch(self, timeline: int, mark: int, switches: dict[int, int], *, forget: bool) -> Epochs:
        """Note that a run begins here; `forget`: no cursor of an earlier one counts any more. A slot that is lost
        costs no cursor: those of changes are too old then, those of custom channels are as good as before."""
        async with self._connections.use() as connection, connection.transaction():
            if forget:
                await connection.execute("DELETE FROM aerostack.epochs")
            await connection.execute(
                "INSERT INTO aerostack.epochs(id, lsn, timeline, position) "
                "VALUES(%s, pg_current_wal_insert_lsn(), %s, %s)",
                (secrets.token_hex(6), timeline, mark),
            )
            await connection.execute(
                "DELETE FROM aerostack.epochs WHERE lsn < (SELECT min(lsn) FROM "
                f"(SELECT lsn FROM aerostack.epochs ORDER BY lsn DESC LIMIT {MAX_EPOCHS}) newest)"
            )
            rows = await connection.execute(
                "SELECT id, lsn, timeline, position FROM aerostack.epochs ORDER BY lsn"
            )
            return Epochs([Epoch(id, lsn_of(lsn), *rest) for id, lsn, *rest in await rows.fetchall()], switches)

    # --- the stream --------------------------------------------------------------------------------------

    async def _read(self, stream: ReplicationStream) -> None:
        transactions = Transactions()
        batch = _Batch()
        try:
            while True:
                message = stream.receive()
                if message is None:
                    self._flush(batch)
                    self._waits_since = time.monotonic()
                    await stream.more()
                    self._waits_since = None
                elif isinstance(message, Keepalive):
                    self._hear(stream, message, batch, between=transactions.between)
                else:
                    await self._yield_if_due(batch)
                    for item in transactions.feed(message.payload):
                        await self._yield_if_due(batch)
                        await self._take(item, batch)
        finally:
            transactions.close()

    async def _yield_if_due(self, batch: _Batch) -> None:
        """Let everyone else have a turn now and then, whatever the log brings."""
        batch.steps += 1
        if batch.steps >= BATCH or batch.bytes >= BATCH_BYTES:
            batch.steps = batch.bytes = 0
            self._flush(batch)
            await asyncio.sleep(0)

    async def _take(self, item: Item, batch: _Batch) -> None:
        if self._continuity is not None and self._continuity.see(item):
            self._continuity = None
        match item:
            case Entry():
                if item.position > self.position:
                    if not item.fits:
                        self._flush(batch)
                        if not await self._sink.types_changed(item):
                            return
                    batch.entries.append(item)
                    batch.bytes += item.size
            case Committed():
                batch.position = item.position
                batch.xids.append((item.xid, item.lsn))
            case LoggedTable():
                self._flush(batch)
                await self._sink.table_described(item)
            case OpaqueChange():
                self._flush(batch)
                if item.position > self.position:
                    self._sink.opaque_change(item.relations, item.position)
            case LogicalMessage():
                if item.prefix != MARK:
                    self._flush(batch)
                    self._sink.emitted(item)

    def _flush(self, batch: _Batch) -> None:
        if not batch.entries and batch.position is None:
            return
        position = batch.position or self.position
        if batch.entries:
            last = batch.entries[-1]
            position = max(position, last.position)
            self._last = Cursor(last.position, stamp(last.timestamp))
        if position > self.position:  # else what ended the last session may be what comes next
            self.position = position
            self._pause = RETRY_SECONDS[0]
        entries, batch.entries = batch.entries, []
        xids, batch.xids = batch.xids, []
        batch.position = None
        self._sink.committed(entries, self.position, xids)

    def _hear(self, stream: ReplicationStream, message: Keepalive, batch: _Batch, *, between: bool) -> None:
        if self._continuity is not None and between:
            self._continuity.come(message.wal_end)
        if (
            between
            and message.wal_end > self.position.lsn
            and (batch.position is None or message.wal_end > batch.position.lsn)
        ):
            batch.position = Position(message.wal_end, 0)
        if message.reply:
            self._flush(batch)
            self._answer(stream, ask=False)
            self._asked.append(time.monotonic())
            if len(self._asked) == INSISTING and self._asked[-1] - self._asked[0] < INSISTING_SECONDS:
                raise ReplicationEnded("PostgreSQL is shutting down")

    # --- what may go -------------------------------------------------------------------------------------

    def _tick(self, stream: ReplicationStream) -> None:
        """Every CONFIRM_SECONDS while the stream is there, more often when silence is to be noticed sooner."""
        limit = self._connections.silence_seconds
        pause = min(CONFIRM_SECONDS, limit / 10)
        self._timer = asyncio.get_running_loop().call_later(pause, self._tick, stream)
        silent = 0.0 if self._waits_since is None else time.monotonic() - self._waits_since
        try:
            if silent > limit:
                self._out_of_reach()
                raise ReplicationEnded(f"PostgreSQL has been silent for {limit:g} s")
            self._answer(stream, ask=silent > limit / 3)
        except (psycopg.Error, ReplicationEnded) as error:
            stream.abort(error)

    def _answer(self, stream: ReplicationStream, *, ask: bool) -> None:
        now = time.monotonic()
        if not self._waymarks or now - self._waymarks[-1][0] >= self._window.seconds / 100:
            self._waymarks.append((now, self.position.lsn))
        while len(self._waymarks) > 1 and (
            self._waymarks[1][0] <= now - self._window.seconds
            or self._waymarks[0][1] < self.position.lsn - self._window.bytes
        ):
            self._waymarks.popleft()
        stream.confirm(self.position.lsn, self._waymarks[0][1], time.time_ns() // 1000, ask=ask)

    def give_up_window(self) -> None:
        """Let all log go that was read: keeping it for a restart would fill the disk or cost the slot."""
        self._waymarks.clear()


class _Batch:
    """What was read and not handed on yet."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.xids: list[tuple[int, int]] = []
        self.position: Position | None = None
        self.steps = self.bytes = 0
