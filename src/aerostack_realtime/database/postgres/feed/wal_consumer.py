"""Follows the write-ahead log: connects, reconnects, and says whether what comes continues what was there."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import psycopg
from msgspec import Struct

from aerostack_realtime.database.base import DatabaseUnusable
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.continuity import Proof, Undone
from aerostack_realtime.database.postgres.feed.epochs import Bookmark, Place, Run, Runs, stamp
from aerostack_realtime.database.postgres.feed.log import Entry, LoggedTable
from aerostack_realtime.database.postgres.feed.publication import Publication
from aerostack_realtime.database.postgres.feed.transactions import Committed, Item, Transactions, Untold
from aerostack_realtime.database.postgres.wal.pgoutput import Logical
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
KEPT_RUNS: Final = 1_000
MARK: Final = "aerostack"
"""The prefix of our own messages in the log."""


class Window(Struct, frozen=True):
    """How much log the slot keeps behind us: by time, and never more than so many `bytes`; and how much of it is
    read again at a start, to have the newest part in memory."""

    seconds: float
    bytes: int
    reread: int


class Outlet(Protocol):
    """Who gets what was committed. Only those that say so raise or wait."""

    async def look(self) -> None:
        """The publication is there: see what is in it. Raises AerostackError: connect again."""

    def began(self, runs: Runs, start: Place, *, anew: bool) -> None:
        """A run begins; `anew`: what comes does not continue what came before `start`."""

    async def described(self, table: LoggedTable) -> None:
        """What a table looks like for the changes that follow. Raises AerostackError: connect again."""

    async def outgrown(self, entry: Entry) -> None:
        """The next change has values that its table's types are not known to print: they were altered. Raises
        AerostackError: connect again."""

    def committed(self, entries: list[Entry], place: Place, xids: list[tuple[int, int]]) -> None:
        """Changes in their order, after which the log stands at `place`; and which transactions ended: their
        numbers, and where in the log."""

    def untold(self, relations: tuple[int, ...], place: Place) -> None: ...

    def emitted(self, message: Logical) -> None: ...


def stream_options(publication: Publication, version: int) -> dict[str, str]:
    """Options of the output plugin: the newest protocol that the server's version speaks and we do."""
    options = {"proto_version": "1", "publication_names": publication.quoted}
    if version >= 140000:
        options |= {"proto_version": "2", "streaming": "on", "messages": "on"}
    return options


class Follower:
    """One task, `follow`, that never ends by itself; `place` is where it stands in the log."""

    def __init__(
        self,
        connections: Connections,
        slot: Slot,
        publication: Publication,
        options: Mapping[str, str],
        window: Window,
        outlet: Outlet,
        high_water: Callable[[], Awaitable[int]],
        known_mark: Callable[[], int],
        raise_mark: Callable[[int], Awaitable[None]],
        out_of_reach: Callable[[], None],
    ) -> None:
        """`high_water` reads the stored mark of positions, `known_mark` is what we know to be stored: a database
        whose mark is lower was restored from a backup, and `raise_mark` stores it there again. `out_of_reach` is
        called when the server has been silent for too long, though it was asked."""
        self.place = Place(0, 0)
        self._connections = connections
        self._slot = slot
        self._publication = publication
        self._options = options
        self._window = window
        self._outlet = outlet
        self._high_water = high_water
        self._known_mark = known_mark
        self._raise_mark = raise_mark
        self._out_of_reach = out_of_reach
        self._last: Bookmark | None = None
        """Of the last change that was told."""
        self._proof: Proof | None = None
        """Of it, while it is not there."""
        self._undone = False
        self._identity: SystemIdentity | None = None
        self._runs: Runs | None = None
        self._waymarks: deque[tuple[float, int]] = deque()
        self._waits_since: float | None = None
        self._asked: deque[float] = deque(maxlen=INSISTING)
        self._pause = RETRY_SECONDS[0]
        self._said = False
        self._timer: asyncio.TimerHandle | None = None

    async def follow(self) -> None:
        """Follow the log, over every loss of the connection. Raises DatabaseUnusable before the first run only."""
        while True:
            try:
                await self._session()
            except psycopg.errors.ObjectInUse:
                self._say(logging.WARNING, f"the slot {self._slot.name} is another server's: standing by")
                self._pause = STAND_BY_SECONDS
            except (psycopg.Error, ReplicationEnded, AerostackError, TimeoutError, OSError) as error:
                if self._runs is None and isinstance(error, DatabaseUnusable):
                    raise
                self._undone = self._undone or isinstance(error, Undone)
                reason = " ".join(str(error).split())
                self._say(logging.WARNING, f"row changes are not followed, connecting again: {reason}")
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, RETRY_SECONDS[1])

    async def _session(self) -> None:
        stream = await self._connect()
        try:
            identity = await stream.identify()
            anew, since = await self._slot_place()
            await self._outlet.look()
            await stream.start(self._slot.name, since, self._options)
            await self._begin(identity, since, anew=anew)
            if self._said:
                log.warning("row changes are followed, from %s on", lsn_text(self.place.lsn))
            self._said = False
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

    def _say(self, level: int, text: str) -> None:
        """Once until the log is followed again: what goes on is no news."""
        log.log(logging.DEBUG if self._said else level, "%s", text)
        self._said = True

    # --- where to begin ----------------------------------------------------------------------------------

    async def _slot_place(self) -> tuple[bool, int]:
        """Whether the slot's log does not continue ours, and where to stream from."""
        self._proof = None
        state = await self._slot.state()
        made = await self._publication.prepare()
        if state is not None and (made or state.lost):
            why = "its publication was dropped" if made else "PostgreSQL has removed log that it needs"
            log.error("the slot %s begins anew: %s", self._slot.name, why)
            await self._slot.drop()
            state = None
        if state is None:
            return True, await self._slot.create()
        if self._runs is None:
            self._waymarks = deque([(time.monotonic(), state.confirmed)])
            return False, max(state.confirmed, state.wal_end - self._window.reread)
        if state.wal_end < self.place.lsn:  # another log, of which much may have been told before
            return True, state.wal_end
        if state.confirmed > self.place.lsn:  # the same, moved on by someone else
            return True, state.confirmed
        if self._undone:  # another that was beyond ours when we came
            return True, state.wal_end
        if self._last is not None and self._last.place.lsn >= state.confirmed:
            self._proof = Proof(self._last)
            return False, self._last.place.lsn
        return False, self.place.lsn

    async def _begin(self, identity: SystemIdentity, since: int, *, anew: bool) -> None:
        mark, known_mark = await self._high_water(), self._known_mark()
        before, switches, restored = self._identity, {}, False
        if before is None or identity.timeline != before.timeline:
            switches = await self._switches(identity)
        if before is not None and not anew:
            since = self.place.lsn  # what is sent once more is no news
        if before is not None:
            left = switches.get(before.timeline, self.place.lsn)
            restored = (
                identity.system != before.system
                or min(left, identity.wal_end) < self.place.lsn
                or mark < known_mark
                or self._undone
            )
            anew = anew or restored
        self._identity = identity
        if anew or before is None or identity.timeline != before.timeline:
            self._runs = await self._new_run(identity.timeline, mark, switches, forget=restored)
            if anew or before is None:
                self.place = Place(since, 0)
                self._last, self._proof, self._undone = None, None, False
                if anew:
                    self._waymarks = deque([(time.monotonic(), since)])
            self._outlet.began(self._runs, self.place, anew=anew)
        if mark < known_mark:  # told by now, and not to be told at every connection that follows
            await self._raise_mark(known_mark)

    async def _switches(self, identity: SystemIdentity) -> dict[int, int]:
        stream = await self._connect()
        try:
            return await stream.switch_points(identity.timeline)
        finally:
            await stream.close()

    async def _new_run(self, timeline: int, mark: int, switches: dict[int, int], *, forget: bool) -> Runs:
        """Note that a run begins here; `forget`: no cursor of an earlier one counts any more. A slot that is lost
        costs no cursor: those of changes are too old then, those of custom channels are as good as before."""
        async with self._connections.use() as connection, connection.transaction():
            if forget:
                await connection.execute("DELETE FROM aerostack.runs")
            await connection.execute(
                "INSERT INTO aerostack.runs(id, lsn, timeline, position) "
                "VALUES(%s, pg_current_wal_insert_lsn(), %s, %s)",
                (secrets.token_hex(6), timeline, mark),
            )
            await connection.execute(
                "DELETE FROM aerostack.runs WHERE lsn < (SELECT min(lsn) FROM "
                f"(SELECT lsn FROM aerostack.runs ORDER BY lsn DESC LIMIT {KEPT_RUNS}) newest)"
            )
            rows = await connection.execute("SELECT id, lsn, timeline, position FROM aerostack.runs ORDER BY lsn")
            return Runs([Run(id, lsn_of(lsn), *rest) for id, lsn, *rest in await rows.fetchall()], switches)

    # --- the stream --------------------------------------------------------------------------------------

    async def _read(self, stream: ReplicationStream) -> None:
        transactions = Transactions()
        batch = _Batch()
        try:
            while True:
                message = stream.receive()
                if message is None:
                    self._hand_on(batch)
                    self._waits_since = time.monotonic()
                    await stream.more()
                    self._waits_since = None
                elif isinstance(message, Keepalive):
                    self._hear(stream, message, batch, between=transactions.between)
                else:
                    await self._turn(batch)
                    for item in transactions.feed(message.payload):
                        await self._turn(batch)
                        await self._take(item, batch)
        finally:
            transactions.close()

    async def _turn(self, batch: _Batch) -> None:
        """Let everyone else have a turn now and then, whatever the log brings."""
        batch.steps += 1
        if batch.steps >= BATCH or batch.bytes >= BATCH_BYTES:
            batch.steps = batch.bytes = 0
            self._hand_on(batch)
            await asyncio.sleep(0)

    async def _take(self, item: Item, batch: _Batch) -> None:
        if self._proof is not None and self._proof.see(item):
            self._proof = None
        match item:
            case Entry():
                if item.place > self.place:
                    if not item.fits:
                        self._hand_on(batch)
                        await self._outlet.outgrown(item)
                    batch.entries.append(item)
                    batch.bytes += item.size
            case Committed():
                batch.place = item.place
                batch.xids.append((item.xid, item.lsn))
            case LoggedTable():
                self._hand_on(batch)
                await self._outlet.described(item)
            case Untold():
                self._hand_on(batch)
                if item.place > self.place:
                    self._outlet.untold(item.relations, item.place)
            case Logical():
                if item.prefix != MARK:
                    self._hand_on(batch)
                    self._outlet.emitted(item)

    def _hand_on(self, batch: _Batch) -> None:
        if not batch.entries and batch.place is None:
            return
        place = batch.place or self.place
        if batch.entries:
            last = batch.entries[-1]
            place = max(place, last.place)
            self._last = Bookmark(last.place, stamp(last.timestamp))
        if place > self.place:  # else what ended the last session may be what comes next
            self.place = place
            self._pause = RETRY_SECONDS[0]
        entries, batch.entries = batch.entries, []
        xids, batch.xids = batch.xids, []
        batch.place = None
        self._outlet.committed(entries, self.place, xids)

    def _hear(self, stream: ReplicationStream, message: Keepalive, batch: _Batch, *, between: bool) -> None:
        if self._proof is not None and between:
            self._proof.come(message.wal_end)
        if (
            between
            and message.wal_end > self.place.lsn
            and (batch.place is None or message.wal_end > batch.place.lsn)
        ):
            batch.place = Place(message.wal_end, 0)
        if message.reply:
            self._hand_on(batch)
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
            self._waymarks.append((now, self.place.lsn))
        while len(self._waymarks) > 1 and (
            self._waymarks[1][0] <= now - self._window.seconds
            or self._waymarks[0][1] < self.place.lsn - self._window.bytes
        ):
            self._waymarks.popleft()
        stream.confirm(self.place.lsn, self._waymarks[0][1], time.time_ns() // 1000, ask=ask)

    def give_up_window(self) -> None:
        """Let all log go that was read: keeping it for a restart would fill the disk or cost the slot."""
        self._waymarks.clear()


class _Batch:
    """What was read and not handed on yet."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.xids: list[tuple[int, int]] = []
        self.place: Place | None = None
        self.steps = self.bytes = 0
