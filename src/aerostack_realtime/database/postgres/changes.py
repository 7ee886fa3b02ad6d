"""The feed of row changes: what is watched, the newest part of the log, and who asks for what they missed."""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

from msgspec import Struct

from aerostack_realtime.database.base import Change, ChangeListener, Replay, Row
from aerostack_realtime.database.postgres.connection import Connections
from aerostack_realtime.database.postgres.follower import MARK
from aerostack_realtime.database.postgres.log import Entry, Log, LoggedTable
from aerostack_realtime.database.postgres.pgoutput import Logical
from aerostack_realtime.database.postgres.publication import Columns, Publication, Watched
from aerostack_realtime.database.postgres.replication import lsn_of
from aerostack_realtime.database.postgres.runs import Place, Runs, Visible
from aerostack_realtime.database.postgres.types import Types
from aerostack_realtime.protocol.errors import AerostackError, NotFound, Unavailable

log = logging.getLogger(__name__)

PART: Final = 1_000
"""Changes in a part of a replay: some ms of the loop."""
REMEMBERED: Final = 50_000
"""Transactions that a new snapshot may not see yet although they were sent to us: the newest ones."""
LOOK_SECONDS: Final = 1.0
"""Between two looks at the catalogs, for tables that were altered, dropped or made by others."""
NOWHERE: Final = Place(0, 0)


class _Watch(Struct):
    """A watched name: the table that has it (None: none has), its columns, and the place in the log after which
    its changes are complete."""

    relation: int | None
    columns: Columns
    start: Place


class PostgresChangeFeed:
    """Implements `ChangeFeed`, and is the outlet of the follower. `runs` and `place` are where it stands."""

    def __init__(
        self,
        connections: Connections,
        publication: Publication,
        types: Types,
        listener: ChangeListener,
        log_bytes: int,
        emitted: Callable[[Logical], None] | None,
    ) -> None:
        self._connections = connections
        self._publication = publication
        self._types = types
        self._listener = listener
        self._emitted = emitted
        self._runs: Runs | None = None
        self._place = NOWHERE
        self._log = Log(NOWHERE, log_bytes)
        self._watches: dict[str, _Watch] = {}
        self._names: dict[int, list[str]] = {}
        self._xids: deque[tuple[int, int]] = deque(maxlen=REMEMBERED)
        self._half: tuple[int, int] | None = None
        """The transaction of which a part was handed on last."""
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changing = asyncio.Lock()
        self._look_now = asyncio.Event()
        self._live = False
        """Whether the listener hears: what a restart reads again is there to be replayed, not news."""
        self.following = asyncio.Event()
        self.closing = False

    @property
    def runs(self) -> Runs:
        assert self._runs is not None, "a run has begun"
        return self._runs

    # --- ChangeFeed --------------------------------------------------------------------------------------

    async def watch(self, table: str) -> None:
        if self.watches(table):
            return
        async with self._changing:
            if not self.watches(table):
                await self._publication.watch(table)
                await self._look_around()

    async def unwatch(self, table: str) -> None:
        async with self._changing:
            await self._publication.unwatch(table)
            self._drop(table)

    def watches(self, table: str) -> bool:
        watch = self._watches.get(table)
        return watch is not None and watch.relation is not None

    def columns(self, table: str) -> Sequence[str]:
        return [name for name, _ in self.shape(table)]

    def cursor(self, table: str) -> str:
        watch = self._watches.get(table)
        return self.runs.cursor(self._place if watch is None else max(self._place, watch.start))

    def replay(
        self, table: str, since: str, then: Callable[[Replay], None], failed: Callable[[AerostackError], None]
    ) -> None:
        self._run(self._replay(table, since, then, failed))

    def wake(self) -> None:
        """Commits come by themselves; it is the catalogs that have to be looked at."""
        self._look_now.set()

    # --- for the database --------------------------------------------------------------------------------

    def shape(self, table: str) -> Columns:
        """The columns of a watched table with their types. Raises NotFound."""
        watch = self._watches.get(table)
        if watch is None or watch.relation is None:
            raise NotFound(f"There is no table {table!r}, or it is not watched. Subscribe again.")
        return watch.columns

    def cursor_at(self, lsn: int) -> str:
        """The cursor of a place in the log."""
        return self.runs.cursor(Place(lsn, 0))

    def changes_kept(self, table: str) -> int:
        """How many changes of a watched table can be replayed from memory."""
        watch = self._watches.get(table)
        return 0 if watch is None or watch.relation is None else self._log.count(watch.relation)

    async def seam(self, snapshot: str) -> str:
        """The cursor after which the log is exactly what a `pg_snapshot` does not see.

        A transaction may be sent to us before a new snapshot sees it, and the other way round: so the cursor
        stands before the first that the snapshot lacks, and names those that it has. Raises Unavailable.
        """
        mark = await self._emit_mark()
        try:
            visible = Visible.of(snapshot, mark)
        except ValueError:
            raise Unavailable("Too many transactions are running. Try again in a moment.") from None
        sent = self._xids if self._half is None else (*self._xids, self._half)
        unseen = [lsn for xid, lsn in sent if not visible.sees(xid)]
        place = min(Place(min(unseen), 0), self._place) if unseen else self._place
        return self.runs.cursor(place, visible)

    async def go_live(self) -> None:
        """Tell the listener from now on, once everything that is committed by now is here. Raises Unavailable."""
        await self.following.wait()
        await self._reached(await self._emit_mark())
        self._live = True

    async def keep_watching(self) -> None:
        """Look at the catalogs now and then. It never ends."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._look_now.wait()
            self._look_now.clear()
            try:
                await self.look()
            except AerostackError as error:
                log.debug("the catalogs cannot be looked at: %s", error.message)

    async def close(self) -> None:
        """Tell everyone who waits. Idempotent."""
        self.closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the follower's outlet ---------------------------------------------------------------------------

    def began(self, runs: Runs, start: Place, *, anew: bool) -> None:
        first, self._runs = self._runs is None, runs
        if not (first or anew):
            return
        self._place = start
        self._log.clear(start)
        self._xids.clear()
        self._half = None
        self._release(all=True)
        self.following.set()
        if anew and not first:
            for name, watch in self._watches.items():
                self._interrupt(name, watch)

    async def described(self, table: LoggedTable) -> None:
        missing = self._types.missing(type_oid for _, type_oid in table.columns)
        if missing:
            async with self._connections.use() as connection:
                await self._types.load(connection, missing)
        table.layout = self._types.layout(table.columns)
        for name in self._names.get(table.oid, ()):
            watch = self._watches[name]
            if watch.columns != table.columns:
                watch.columns = table.columns
                self._interrupt(name, watch)

    def committed(self, entries: list[Entry], place: Place, xids: list[tuple[int, int]]) -> None:
        changes: list[Change] = []
        for entry in entries:
            names = self._names.get(entry.table.oid)
            if names is not None:
                self._log.append(entry)
                if self._live:
                    changes += [self._change(entry, name) for name in names]
        self._place = place
        self._xids.extend(xids)
        self._half = (entries[-1].xid, entries[-1].place.lsn) if entries else None
        if changes:
            self._listener.changed(changes)
        if self._waiting:
            self._release()

    def untold(self, relations: tuple[int, ...], place: Place) -> None:
        self._place = max(place, self._place)
        for relation in relations:
            for name in self._names.get(relation, ()):
                self._interrupt(name, self._watches[name])

    def emitted(self, message: Logical) -> None:
        if self._emitted is not None:
            self._emitted(message)

    # --- the catalogs ------------------------------------------------------------------------------------

    async def look(self) -> None:
        """See what is watched, and tell of tables that were altered, replaced or dropped. Raises Unavailable."""
        async with self._changing:
            await self._look_around()

    async def _look_around(self) -> None:
        found = {watched.name: watched for watched in await self._publication.look()}
        for name in [name for name in self._watches if name not in found]:
            self._drop(name)
        wrong = [
            each.name
            for each in found.values()
            if each.relation is not None and not (each.complete and each.relation == each.before)
        ]
        for name in wrong:
            await self._mend(name)
        if wrong:
            found = {watched.name: watched for watched in await self._publication.look()}
        for name, watched in found.items():
            self._compare(name, watched)
        missing = self._types.missing(oid for watched in found.values() for _, oid in watched.columns)
        if missing:
            async with self._connections.use() as connection:
                await self._types.load(connection, missing)

    async def _mend(self, name: str) -> None:
        """Put a table under watch that took over a watched name, or whose old rows are not in the log."""
        try:
            await self._publication.watch(name)
        except AerostackError as error:
            log.error("%s is watched no more, its subscribers are told: %s", name, error.message)

    def _compare(self, name: str, watched: Watched) -> None:
        known = self._watches.get(name)
        relation = watched.relation if watched.complete else None
        start = Place(watched.since, 0)
        if known is None:
            self._watches[name] = _Watch(relation, watched.columns, start)
            self._index()
            return
        if relation == known.relation and (relation is None or watched.columns == known.columns):
            if known.start < start and known.start != start:
                known.start = start
                self._interrupt(name, known)
            return
        gone = relation is None
        if not gone:
            known.columns = watched.columns
        known.relation = relation
        known.start = max(known.start, start)
        self._index()
        self._interrupt(name, known)

    def _drop(self, name: str) -> None:
        watch = self._watches.pop(name, None)
        self._index()
        if watch is not None and watch.relation is not None and watch.relation not in self._names:
            self._log.forget(watch.relation)

    def _index(self) -> None:
        self._names = {}
        for name, watch in self._watches.items():
            if watch.relation is not None:
                self._names.setdefault(watch.relation, []).append(name)

    def _interrupt(self, name: str, watch: _Watch) -> None:
        watch.start = max(watch.start, self._place)
        if not self._live:
            return
        self._listener.interrupted(name, self.runs.cursor(watch.start), watch.relation is not None)

    # --- replays -----------------------------------------------------------------------------------------

    async def _replay(
        self, table: str, since: str, then: Callable[[Replay], None], failed: Callable[[AerostackError], None]
    ) -> None:
        try:
            found = self.runs.place(since)
            if found is not None:
                place, visible = found
                after = place.lsn + (place.index > 0)
                await self._come(after if visible is None else max(after, visible.until))
            part = self._part(table, since)
        except AerostackError as error:
            failed(error)
        except asyncio.CancelledError:
            failed(_closing())
        else:
            then(part)

    async def _come(self, lsn: int) -> None:
        """Wait until the log is here up to a place, if it goes that far. Raises Unavailable."""
        if lsn > self._place.lsn:
            await self._reached(min(lsn, await self._emit_mark()))

    def _part(self, table: str, since: str) -> Replay:
        watch = self._watches.get(table)
        if watch is None or watch.relation is None:
            raise NotFound(f"There is no table {table!r}, or it is not watched. Subscribe again.")
        place, visible = self.runs.place(since) or (NOWHERE, None)
        recovered = max(self._log.start, watch.start) <= place <= max(
            self._place, watch.start
        ) and self._log.holds(place)
        if place > self._place and not recovered:
            place = NOWHERE
        changes: list[Change] = []
        for entry in self._log.after(watch.relation, place):
            if len(changes) == PART:
                return Replay(changes, changes[-1].cursor, recovered, more=True)
            if visible is None or not (entry.place.lsn < visible.until and visible.sees(entry.xid)):
                changes.append(self._change(entry, table, visible))
        return Replay(changes, self.cursor(table), recovered, more=False)

    def _change(self, entry: Entry, name: str, visible: Visible | None = None) -> Change:
        table = entry.table
        old = None if entry.old is None else table.row(entry.old)
        data: Row | None = old if entry.new is None else table.row(entry.new)
        assert data is not None, "a change has an old row or a new one"
        return Change(
            name,
            entry.operation,
            data,
            old,
            entry.timestamp,
            self._cursor(entry.place, visible),
            f"{entry.place.lsn:x}",
            entry.end,
        )

    def _cursor(self, place: Place, visible: Visible | None) -> str:
        """A place among what a snapshot may have seen is told with what it saw."""
        return self.runs.cursor(place, visible if visible is not None and place.lsn < visible.until else None)

    # --- marks -------------------------------------------------------------------------------------------

    async def _emit_mark(self) -> int:
        """Put a message of ours into the log; its place is after everything that is committed by now."""
        async with self._connections.use() as connection:
            rows = await connection.execute("SELECT pg_logical_emit_message(true, %s, '')", (MARK,))
            (lsn,) = await rows.fetchone() or ("0/0",)
        return lsn_of(lsn)

    async def _reached(self, lsn: int) -> None:
        if self._place.lsn >= lsn:
            return
        reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (lsn, next(self._order), reached))
        await reached

    def _release(self, *, all: bool = False) -> None:
        """Wake who waits for a place that has come; or all, since the log is another one."""
        while self._waiting and (all or self._waiting[0][0] <= self._place.lsn):
            reached = heapq.heappop(self._waiting)[2]
            if not reached.done():
                reached.set_result(None)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _closing() -> Unavailable:
    return Unavailable("The server is closing. Try again after its restart.")
