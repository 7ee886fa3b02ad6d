"""The feed of row changes: receives what the consumer reads, and serves the rest of the server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter
from typing import Final

from aerostack_realtime.database.base import Change, ChangeListener, ColumnType, Replay
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.feed.epochs import Epochs, Position
from aerostack_realtime.database.postgres.feed.log import Entry, Log, LoggedTable
from aerostack_realtime.database.postgres.feed.progress import ORIGIN, Progress
from aerostack_realtime.database.postgres.feed.publication import Columns, Publication
from aerostack_realtime.database.postgres.feed.replay import PART, ReplayReader
from aerostack_realtime.database.postgres.feed.sink import Result
from aerostack_realtime.database.postgres.feed.wal_reader import WalReader
from aerostack_realtime.database.postgres.feed.watches import Watch, Watches
from aerostack_realtime.database.postgres.types.types import BUILTINS, Layout, Types
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage
from aerostack_realtime.protocol.errors import AerostackError, ServerClosing

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 1.0
"""Between two polls of the catalogs, for tables that others alter, drop or create."""


class PostgresChangeFeed:
    """Implements `ChangeFeed`, and is the consumer's `ChangeSink`.

    `log_bytes` of changes stay in memory; `reader` reads older ones again through a copy of the slot. `emitted`
    gets the announcements in the WAL. `reload_epochs` reads the epochs again.
    """

    def __init__(
        self,
        connections: Connections,
        publication: Publication,
        types: Types,
        listener: ChangeListener,
        log_bytes: int,
        reader: WalReader,
        emitted: Callable[[LogicalMessage], None],
        reload_epochs: Callable[[], Awaitable[None]],
    ) -> None:
        self._connections = connections
        self._publication = publication
        self._types = types
        self._listener = listener
        self._emitted = emitted
        self._epochs: Epochs | None = None
        self._progress = Progress(connections)
        self._log = Log(ORIGIN, log_bytes)
        self._reading_types = asyncio.Lock()
        self._tables: dict[int, LoggedTable] = {}
        """As the log described them last, by OID."""
        self._watches = Watches(publication, self._read_types, self._interrupt, self._forget)
        self._replays = ReplayReader(
            lambda: self.epochs, self._log, self._progress, self._watches, reader, self.describe, reload_epochs
        )
        self._reader = reader
        self._tasks: set[asyncio.Task[None]] = set()
        self._poll_now = asyncio.Event()
        self._live = False
        """Whether the listener receives changes: what a start reads again can be replayed and is not news."""
        self._following = asyncio.Event()
        self.closing = False

    @property
    def epochs(self) -> Epochs:
        assert self._epochs is not None, "an epoch has started"
        return self._epochs

    # --- ChangeFeed --------------------------------------------------------------------------------------

    async def watch(self, table: str) -> None:
        if not self._following.is_set():  # a command: only a server's consumer creates the publication otherwise
            await self._publication.prepare()
        if not self.watches(table):
            await self._watches.watch(table)

    async def unwatch(self, table: str) -> None:
        await self._watches.unwatch(table)

    def watches(self, table: str) -> bool:
        return self._watches.find(table) is not None

    def columns(self, table: str) -> Sequence[str]:
        return [name for name, _ in self.shape(table)]

    def column_types(self, table: str) -> Mapping[str, ColumnType]:
        return self._types.column_types(self.shape(table))

    def cursor(self, table: str) -> str:
        return self._replays.cursor(self._watches.start(table, self._progress.position))

    def replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int | None = None,
    ) -> None:
        limit = PART if most is None else min(most, PART)
        task = asyncio.get_running_loop().create_task(self._replay(table, since, then, failed, limit))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake(self) -> None:
        """PostgreSQL sends commits on its own; only the catalogs have to be polled."""
        self._poll_now.set()

    def is_behind(self) -> bool:
        return False  # the event loop itself reads the log

    # --- for the database --------------------------------------------------------------------------------

    def shape(self, table: str) -> Columns:
        """The columns of a watched table with their types. Raises NotFound."""
        return self._watches.get(table).columns

    def cursor_at(self, lsn: int) -> str:
        """The cursor of a position in the log."""
        return self.epochs.encode(Position(lsn, 0))

    def changes_kept(self, table: str) -> int | None:
        """How many changes of a watched table can be replayed from memory; None where the log is not followed."""
        if not self._following.is_set():
            return None
        watch = self._watches.find(table)
        return 0 if watch is None or watch.relation is None else self._log.count(watch.relation)

    async def seam(self, snapshot: str) -> str:
        """The cursor after which the log holds exactly what a `pg_snapshot` does not see. Raises Unavailable."""
        return await self._replays.seam(snapshot)

    async def go_live(self) -> None:
        """Wait until everything committed by now has been read; the listener receives all later changes.

        Raises Unavailable.
        """
        await self._following.wait()
        await self._progress.reached(await self._progress.mark())
        self._live = True

    async def poll_catalogs(self) -> None:
        """Poll the catalogs. It never ends."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._poll_now.wait()
            self._poll_now.clear()
            try:
                await self._watches.refresh()
            except AerostackError as error:
                log.debug("the catalogs cannot be read: %s", error.message)

    async def close(self) -> None:
        """End every replay. Idempotent."""
        self.closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._reader.close()

    # --- ChangeSink --------------------------------------------------------------------------------------

    async def reconnect(self, prepare: Callable[[], Awaitable[Result]]) -> Result:
        return await self._watches.reconnect(prepare)

    def epoch_started(self, epochs: Epochs, start: Position, *, discontinuous: bool) -> None:
        first, self._epochs = self._epochs is None, epochs
        if first or discontinuous:
            self._log.clear(start)
            self._replays.clear()
            self._tables.clear()
            self._progress.restart(start)
            self._following.set()
        if discontinuous and not first:
            self._watches.restart_all()

    async def table_described(self, table: LoggedTable) -> None:
        await self.describe(table)
        self._tables[table.oid] = table
        self._watches.altered(table.oid, table.columns)

    async def describe(self, table: LoggedTable) -> None:
        """Make a table's rows convertible. Raises Unavailable."""
        if self._types.missing(oid for _, oid in table.columns):
            await self._read_types([oid for _, oid in table.columns])
        table.layout = self._types.layout(table.columns).compiled()

    async def types_changed(self, entry: Entry) -> bool:
        if entry.position.lsn > self._watches.read_at:
            await self._watches.refresh()
        if not entry.fits:  # it was printed before the type was altered
            self._watches.restart(entry.table.oid, entry.position, Position(self._watches.read_at, 0))
        return entry.fits

    async def layout_now(self, table: str) -> Layout:
        """The layout of a watched table's rows by its types as they are now. Raises NotFound, Unavailable."""
        columns = self.shape(table)
        if await self._read_types([oid for _, oid in columns]):
            self._poll_now.set()
        return self._types.layout(columns).compiled()

    def committed(self, entries: list[Entry], position: Position, xids: list[tuple[int, int]]) -> None:
        changes: list[Change] = []
        for table, run in groupby(entries, attrgetter("table")):
            if names := self._watches.names(table.oid):
                of_table = list(run)
                self._log.extend(of_table, self._watches.relations(table.oid))
                if self._live:
                    changes += self._replays.changes(of_table, names)
        partial = (entries[-1].xid, entries[-1].position.lsn) if entries else None
        self._replays.sent(xids, partial)
        if changes:
            self._listener.changed(changes)
        self._progress.advance(position)

    def opaque_change(self, relations: tuple[int, ...], position: Position) -> None:
        self._progress.advance(max(position, self._progress.position))
        for relation in relations:
            self._watches.interrupt(relation)

    def emitted(self, message: LogicalMessage) -> None:
        self._emitted(message)

    # --- inside ------------------------------------------------------------------------------------------

    def _interrupt(self, name: str, watch: Watch) -> None:
        watch.start = max(watch.start, self._progress.position)
        if self._live:
            self._listener.interrupted(name, self._replays.cursor(watch.start), watch.relation is not None)

    def _forget(self, relation: int) -> None:
        self._log.forget(relation)
        self._tables.pop(relation, None)

    async def _read_types(self, oids: Iterable[int]) -> bool:
        """Read types as they are now, convert by them what comes next, and say whether one was altered."""
        asked = {oid for oid in oids if oid not in BUILTINS}
        if not asked:
            return False
        async with self._reading_types, self._connections.use() as connection:
            altered = await self._types.load(connection, asked)
        if altered:
            for table in self._tables.values():
                table.layout = self._types.layout(table.columns).compiled()
        return altered

    async def _replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int,
    ) -> None:
        try:
            part = await self._replays.part(table, since, most)
        except AerostackError as error:
            failed(error)
        except asyncio.CancelledError:
            failed(ServerClosing())
        else:
            then(part)
