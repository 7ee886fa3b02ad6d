"""A user's PostgreSQL database: its WAL is the change feed, and our schema in it stores the messages."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final, Self

import msgspec

from aerostack_realtime.backplane.base import Generations
from aerostack_realtime.database.base import (
    ChangeFeed,
    ChangeListener,
    Cluster,
    DatabaseStatus,
    DatabaseUnusable,
    QueryResult,
    Selection,
    TableSnapshot,
    TableStatus,
    Value,
)
from aerostack_realtime.database.message_store import MessageStore, Retention
from aerostack_realtime.database.postgres.cluster.generations import PostgresGenerations, cluster_of
from aerostack_realtime.database.postgres.connection.pool import Connections
from aerostack_realtime.database.postgres.diagnostics import CLUSTER_VERSION
from aerostack_realtime.database.postgres.feed.changes import PostgresChangeFeed
from aerostack_realtime.database.postgres.feed.epoch_table import EpochTable
from aerostack_realtime.database.postgres.feed.publication import InsufficientPrivilege, Publication
from aerostack_realtime.database.postgres.feed.retention_monitor import RetentionMonitor
from aerostack_realtime.database.postgres.feed.retention_window import Window
from aerostack_realtime.database.postgres.feed.sink import PREFIX, stream_options
from aerostack_realtime.database.postgres.feed.slot_access import SlotAccess
from aerostack_realtime.database.postgres.feed.status import read_status
from aerostack_realtime.database.postgres.feed.wal_consumer import WalConsumer
from aerostack_realtime.database.postgres.feed.wal_reader import WalReader
from aerostack_realtime.database.postgres.messages.store import PostgresMessageStore
from aerostack_realtime.database.postgres.migrations import SCHEMA, migrate
from aerostack_realtime.database.postgres.queries import statements
from aerostack_realtime.database.postgres.queries.snapshots import AT_ONCE, Snapshots
from aerostack_realtime.database.postgres.settings import PostgresSettings
from aerostack_realtime.database.postgres.types.types import Types
from aerostack_realtime.database.postgres.wal.pgoutput import LogicalMessage
from aerostack_realtime.database.postgres.wal.slot import Slot, default_name
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

log = logging.getLogger(__name__)

REGISTER_SECONDS: Final = 1.0
_ANNOUNCE: Final = "SELECT pg_logical_emit_message(true, %s, %s::bytea)"
_DEFINES: Final = re.compile(r"\s*(CREATE|ALTER|DROP)\b", re.IGNORECASE)
"""Statements that may change the definition of a watched table."""
EXIT_SECONDS: Final = 2.0
"""How long PostgreSQL may take to notice that a server has ended."""


DEFAULTS: Final = PostgresSettings()


class PostgresDatabase:
    """Implements `Database`; `open` makes one."""

    def __init__(
        self,
        connections: Connections,
        reading: Connections,
        version: int,
        database: str,
        listener: ChangeListener,
        retention: Sequence[Retention],
        settings: PostgresSettings,
        now: Callable[[], int],
        node: str | None,
        cluster: str,
    ) -> None:
        types = Types()
        slot_name = settings.slot or default_name(database)
        self._connections = connections
        self._reading = reading
        self._publication = Publication(connections, settings.publication, version)
        self._slot = Slot(connections, slot_name, version)
        options = stream_options(self._publication, version)
        self._heard: list[Callable[[str, bytes], None]] = []
        self._feed = PostgresChangeFeed(
            connections,
            self._publication,
            types,
            listener,
            settings.log_bytes,
            WalReader(connections, slot_name, options),
            self._emitted,
            lambda: self._consumer.reload_epochs(),
        )
        self._messages = PostgresMessageStore(connections, retention, now, self._died, node)
        if node is not None:
            self._messages.fence(node, 0)  # no generation: nothing is stored before the first licence
        self._snapshots = Snapshots(reading, self._feed, types)
        self._types = types
        self._role = settings.query_role
        self._node = node
        self._epoch_table = EpochTable(connections, node)
        self._generations = _generations(connections, cluster, node or "", self._messages)
        self._consumer = WalConsumer(
            connections,
            SlotAccess(self._slot, self._publication, clustered=node is not None),
            options,
            Window(settings.resume_seconds, settings.resume_bytes, 2 * settings.log_bytes),
            self._feed,
            self._epoch_table,
            self._messages.marks,
            lambda: self._messages.known_marks,
            self._messages.restore_marks,
            self._unreachable,
        )
        self._retention_monitor = RetentionMonitor(
            connections, self._slot, settings.resume_bytes, self._consumer.release_window
        )
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @classmethod
    async def open(
        cls,
        dsn: str,
        listener: ChangeListener,
        *,
        retention: Sequence[Retention] = (),
        settings: PostgresSettings = DEFAULTS,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        node: str | None = None,
        follow: bool = True,
    ) -> Self:
        """Connect to a database, create or update our schema in it and consume its log; while another single
        server does, wait until that ends.

        `node` names this start of a node in its cluster: unique over all nodes and starts. Without `follow` the
        log is not consumed: for commands that only look or set up.

        Raises DatabaseUnusable with one sentence that says what to do.
        """
        silence = settings.silence_seconds
        connections = await Connections.open(
            dsn, size=settings.pool, statement_seconds=settings.statement_seconds, silence_seconds=silence
        )
        try:
            async with connections.use() as connection:
                await migrate(connection)
                if settings.query_role is not None:
                    await statements.try_role(connection, settings.query_role)
                version, database = connection.info.server_version, connection.info.dbname
                cluster = await cluster_of(connection)
            if node is not None and version < CLUSTER_VERSION * 10_000:
                raise DatabaseUnusable(f"A cluster needs PostgreSQL {CLUSTER_VERSION} or newer: upgrade it.")
            reading = await Connections.open(dsn, size=2 * AT_ONCE, statement_seconds=0, silence_seconds=silence)
        except BaseException:
            await connections.close()
            raise
        made = cls(connections, reading, version, database, listener, retention, settings, now, node, cluster)
        try:
            if follow:
                await made._follow()
        except BaseException:
            await made.close()
            raise
        return made

    @property
    def epoch(self) -> str:
        return self._feed.epochs.current.id

    def understands(self, epoch: str, position: int) -> bool:
        return self._feed.epochs.understands(epoch, position)

    @property
    def changes(self) -> ChangeFeed:
        return self._feed

    @property
    def messages(self) -> MessageStore:
        return self._messages

    async def query(self, sql: str, params: Sequence[Value] = ()) -> QueryResult:
        return (await self.batch([(sql, params)]))[0]

    async def batch(self, queries: Sequence[tuple[str, Sequence[Value]]]) -> list[QueryResult]:
        async with self._connections.use() as connection:
            results = await statements.run_all(
                connection, queries, types=self._types, cursor_at=self._feed.cursor_at, role=self._role
            )
        if any(_DEFINES.match(sql) for sql, _ in queries):
            self._feed.wake()
        return results

    def snapshot(self, table: str, selection: Selection) -> AbstractAsyncContextManager[TableSnapshot]:
        return self._snapshots.open(table, selection)

    async def tables(self) -> list[TableStatus]:
        async with self._connections.use() as connection:
            rows = await connection.execute(
                "SELECT CASE WHEN to_regclass(quote_ident(c.relname)) = c.oid THEN c.relname "
                "ELSE n.nspname || '.' || c.relname END "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' "
                "AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', %s) ORDER BY 1",
                (SCHEMA,),
            )
            watched = {each.name for each in await self._publication.refresh()}
            return [TableStatus(n, n in watched, self._feed.changes_kept(n)) for (n,) in await rows.fetchall()]

    @property
    def cluster(self) -> Cluster | None:
        return None if self._node is None else self

    @property
    def generations(self) -> Generations:
        return self._generations

    def set_keeper(self, keeper: bool) -> None:
        self._consumer.set_keeper(keeper)

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return await self._messages.stored_at(places)

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        return await self._messages.with_messages(topics, after, until)

    async def announce(self, kind: str, payload: bytes) -> None:
        async with self._connections.use() as connection:
            await connection.execute(_ANNOUNCE, (f"{PREFIX}.{kind}", payload))

    def listen(self, heard: Callable[[str, bytes], None]) -> None:
        self._heard.append(heard)

    def _emitted(self, message: LogicalMessage) -> None:
        owner, _, kind = message.prefix.partition(".")
        if owner == PREFIX and kind:
            for heard in self._heard:
                heard(kind, bytes(message.content))

    async def keep(self, kind: str, key: str, value: str) -> None:
        announced = (f"{PREFIX}.kept.{kind}", msgspec.json.encode([key, value]))
        async with self._connections.use() as connection, connection.transaction():
            await connection.execute(_ANNOUNCE, announced)
            await connection.execute(
                f"INSERT INTO {SCHEMA}.kept VALUES(%s, %s, %s) "
                "ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value",
                (kind, key, value),
            )

    async def kept(self, kind: str) -> dict[str, str]:
        async with self._connections.use() as connection:
            rows = await connection.execute(f"SELECT key, value FROM {SCHEMA}.kept WHERE kind = %s", (kind,))
            return dict(await rows.fetchall())

    async def failed(self) -> BaseException:
        return await asyncio.shield(self._failure)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._messages.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._node is not None:
            with suppress(AerostackError):
                await self._epoch_table.unregister()
        await self._feed.close()
        await self._reading.close()
        await self._connections.close()

    async def status(self) -> DatabaseStatus:
        return await read_status(self._slot, self._consumer)

    async def is_recording(self) -> bool:
        return await self._slot.state() is not None

    async def clean_up(self) -> str:
        """Remove the slot first, because PostgreSQL retains its WAL for it.

        Raises Unavailable while a server runs, and InsufficientPrivilege with the statements that others have to
        run for the rest.
        """
        try:
            async with asyncio.timeout(EXIT_SECONDS):
                while await self._slot.active():  # noqa: ASYNC110 - no event reports it
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise Unavailable("A server runs on this database: stop it first, then clean up.") from None
        await self._slot.drop()
        left = await _left_over(self._publication.drop())
        if left := await self._publication.clear() + left:
            raise InsufficientPrivilege("Everything is removed except what belongs to other roles", left)
        return f"Stored messages are left in the schema {SCHEMA}; to remove both: DROP SCHEMA {SCHEMA} CASCADE;"

    async def _follow(self) -> None:
        """Start to consume the log, and wait until everything committed by now has been read."""
        self._start(self._consumer.run())
        began = asyncio.ensure_future(self._feed.go_live())
        await asyncio.wait((began, self._failure), return_when=asyncio.FIRST_COMPLETED)
        if self._failure.done():
            began.cancel()
            failure = self._failure.result()
            if isinstance(failure, DatabaseUnusable):
                raise failure
            raise DatabaseUnusable(f"Row changes cannot be received: {failure}.") from failure
        await began
        self._start(self._feed.poll_catalogs())
        if self._node is not None:
            self._start(self._stay_registered())
        self._start(self._retention_monitor.watch())

    async def _stay_registered(self) -> None:
        """Tell the other nodes that this one is live. It never ends."""
        while True:
            try:
                await self._consumer.register()
            except AerostackError as error:
                log.debug("this node cannot be registered: %s", error.message)
            await asyncio.sleep(REGISTER_SECONDS)

    def _unreachable(self) -> None:
        for each in (self._connections, self._reading):
            each.interrupt()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        with suppress(asyncio.CancelledError):
            self._died(task.exception() or RuntimeError("a task of the database ended"))

    def _died(self, error: BaseException) -> None:
        if not self._failure.done():
            self._failure.set_result(error)


def _generations(
    connections: Connections, cluster: str, own: str, messages: PostgresMessageStore
) -> PostgresGenerations:
    return PostgresGenerations(
        connections, cluster, own, messages.fence, lambda: messages.known_marks, messages.raised
    )


async def _left_over(work: Coroutine[Any, Any, None]) -> list[str]:
    """The statements that other roles have to run for what our role could not do."""
    try:
        await work
    except InsufficientPrivilege as error:
        return list(error.statements)
    return []
