"""Stores messages by group commit, on a dedicated connection."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import psycopg
from psycopg import errors
from psycopg.pq.abc import PGresult

from aerostack_realtime.database.message_store import LicenceLost, NewMessage, Retention, Stored, StoredMessage
from aerostack_realtime.database.postgres.connection.dedicated import DedicatedConnection, bigint, exchange, texts
from aerostack_realtime.database.postgres.connection.errors import is_lost, translate
from aerostack_realtime.database.postgres.connection.pool import Connection, Connections
from aerostack_realtime.database.postgres.marks import (
    MARKS,
    RAISE_MARK,
    RAISE_NEXT_MARK,
    RESTORE_MARKS,
    RESTORED,
    Marks,
    announced_in,
)
from aerostack_realtime.database.postgres.messages import compaction, failures, streams
from aerostack_realtime.database.postgres.messages.stamps import Stamps
from aerostack_realtime.database.postgres.messages.table import (
    AFTER,
    HISTORY,
    MARKS_COLUMN,
    PRUNE,
    PRUNE_BY_AGE,
    TOPICS,
    WITH_MESSAGES,
    Key,
    Licence,
    Write,
    first_column,
    integer,
    marks_in,
    messages_in,
    stored_at,
    text,
    write_of,
)
from aerostack_realtime.database.postgres.messages.waiting import AnyWrite, Append, Outcome, Update
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Overloaded, ServerClosing, Unavailable

COMMIT_LIMIT = 1_000
"""Messages per transaction: larger groups are hardly cheaper, and their first message waits longer."""
COMMIT_BYTES = 8 << 20
"""Bytes of messages per transaction: two copies of them are in memory meanwhile."""
WAITING_LIMIT = 50_000
WAITING_BYTES = 64 << 20
"""Messages that may wait for a commit: some seconds of a slow disk without exhausting memory."""
COMMIT_SECONDS = 5.0
"""How long a commit may take, including reconnecting and finding out its outcome, before its messages fail: this,
or `silence_seconds` if that is less."""
READ_SECONDS = 10.0
RETRY_SECONDS = 0.1
"""Between two attempts to reach a database that was reachable a moment ago."""
COLLISIONS = 10
"""How often another node may use the same `created_at` before it is an error."""
PRUNE_GAP_SECONDS = 0.01

_INT64_MAX = 2**63 - 1

Result = TypeVar("Result")


class PostgresMessageStore:
    """Implements `MessageStore`. `now` gives ms since the Unix epoch; `died` is called when the task dies.
    `node` names this one in its cluster."""

    def __init__(
        self,
        connections: Connections,
        retention: Sequence[Retention],
        now: Callable[[], int],
        died: Callable[[BaseException], None],
        node: str | None = None,
    ) -> None:
        self._announced = text(announced_in(node))
        self._retention = [(topics.like(rule.pattern), rule) for rule in retention]
        self._stamps = Stamps(now)
        self._waiting: deque[AnyWrite] = deque()
        self._waiting_bytes = 0
        self._under_way = 0
        self._closed = False
        self._changed = asyncio.Event()
        self._commit_seconds = min(COMMIT_SECONDS, connections.silence_seconds)
        self._read_seconds = min(READ_SECONDS, connections.silence_seconds)
        self._writer = DedicatedConnection(connections)
        self._reader = DedicatedConnection(connections)
        self._down = False
        self._licence: Licence | None = None
        self.known_marks = Marks()
        """The highest marks that are known to be stored: a database that lacks them was restored from a backup."""
        self._task = asyncio.create_task(self._run(), name="aerostack-messages")
        self._task.add_done_callback(lambda task: _report(task, died))

    def append(self, message: NewMessage, done: Callable[[Stored | AerostackError], None]) -> None:
        self._put(Append(message, done))

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        self._put(Update(message, done))

    async def open_streams(self) -> list[StoredMessage]:
        return await self._retry(streams.open_streams)

    async def history(self, topic: str, limit: int, before: int | None = None) -> list[StoredMessage]:
        until = _INT64_MAX if before is None else max(-_INT64_MAX, min(before, _INT64_MAX))
        return messages_in(await self._read(HISTORY, text(topic), bigint(until), bigint(limit)))

    async def compacted(self, topic: str) -> int:
        return integer(await self._read(compaction.NEWEST, text(topic)), 0, 0)

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        known_marks = self.known_marks
        page = await self._read(AFTER, text(topic), *map(bigint, (position, until, limit)), self._announced)
        if marks_in(page, MARKS_COLUMN).lack(known_marks):
            raise Unavailable(RESTORED)
        return messages_in(page)

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        wanted = [(text(topic), position) for topic, position in places]
        return await self._retry(lambda connection: stored_at(connection, wanted))

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        wanted = [text(topic) for topic in topics]
        found = await self._read(WITH_MESSAGES, texts(wanted), bigint(after), bigint(until))
        return {topic.decode() for topic in first_column(found)}

    def fence(self, node: str, generation: int) -> None:
        """From now on store only while `node` has its licence for `generation`; without it messages fail with
        Unavailable."""
        self._licence = Licence(text(node), generation)

    def raised(self, marks: Marks) -> None:
        """These marks are stored, or higher ones."""
        self.known_marks = self.known_marks.raised(marks)

    async def prune(self, now: int) -> int:
        deleted = 0
        topic = b""
        while topics := first_column(await self._read(TOPICS, topic)):
            for topic in topics:
                while step := await self._prune_step(topic, now):
                    deleted += step
                    await asyncio.sleep(PRUNE_GAP_SECONDS)
        return deleted

    async def high_water(self) -> int:
        return (await self.marks()).stored

    async def marks(self) -> Marks:
        return marks_in(await self._read(MARKS, self._announced))

    async def raise_high_water(self, position: int) -> None:
        """As in the contract. Also raises Unavailable until subscribers know that the database was restored
        from a backup, because raising the mark would hide it."""
        for sql, known in (RAISE_NEXT_MARK, Marks(next=position)), (RAISE_MARK, Marks(stored=position)):
            raised = await self._read(sql, bigint(position), *map(bigint, self.known_marks), self._announced)
            if not raised.command_tuples:
                raise Unavailable(RESTORED)
            self.raised(known)

    async def restore_marks(self, marks: Marks) -> None:
        """Raise the marks of a database that was restored from a backup, once subscribers know it."""
        await self._read(RESTORE_MARKS, *map(bigint, marks), self._announced)

    async def close(self) -> None:
        """Store what was accepted, then close the connections. Idempotent."""
        self._closed = True
        self._changed.set()
        await asyncio.wait((self._task,))
        await self._writer.close()
        await self._reader.close()

    def _put(self, write: AnyWrite) -> None:
        self._check_open()
        if len(self._waiting) + self._under_way >= WAITING_LIMIT or self._waiting_bytes >= WAITING_BYTES:
            raise Overloaded("Too many messages are waiting to be stored. Try again in a moment.")
        self._waiting_bytes += len(memoryview(write.message.data))
        self._waiting.append(write)
        self._changed.set()

    def _check_open(self) -> None:
        if self._closed:
            raise ServerClosing

    # --- reading ---

    async def _read(self, sql: str, *params: bytes) -> PGresult:
        """Run a statement that may be run twice. Raises Unavailable."""
        return await self._retry(lambda connection: exchange(connection, sql, params))

    async def _retry(self, read: Callable[[Connection], Awaitable[Result]]) -> Result:
        """Run `read`, and once more if the connection breaks. Raises Unavailable."""
        self._check_open()
        try:
            try:
                async with self._reader.use(self._read_seconds) as connection:
                    return await read(connection)
            except psycopg.Error as error:
                if not is_lost(error):
                    raise
            async with self._reader.use(self._read_seconds) as connection:
                return await read(connection)
        except (psycopg.Error, OSError) as error:
            raise failures.unavailable(error) from error

    async def _prune_step(self, topic: bytes, now: int) -> int:
        """Delete some of the messages of a topic that its retention no longer keeps."""
        name = topic.decode()
        name = topics.without_project(name) or name
        rule = next((rule for pattern, rule in self._retention if pattern.fullmatch(name)), None)
        if rule is None:
            return 0
        last = -1
        if rule.max_age_seconds is not None:
            last = now - int(rule.max_age_seconds * 1000) - 1
        if rule.max_count is None:
            result = await self._read(PRUNE_BY_AGE, topic, bigint(last))
        else:
            result = await self._read(PRUNE, topic, bigint(last), bigint(rule.max_count))
        return result.command_tuples or 0

    # --- storing ---

    async def _run(self) -> None:
        while self._waiting or not self._closed:
            if not self._waiting:
                self._changed.clear()
                await self._changed.wait()
                continue
            writes = self._next_group()
            self._under_way = len(writes)
            outcomes = await self._store_all(writes)
            if any(isinstance(outcome, Unavailable) for outcome in outcomes):
                # Messages behind them would only wait longer for the same outcome.
                failure = failures.unsent(next(each for each in outcomes if isinstance(each, Unavailable)))
                while self._waiting:
                    rest = self._next_group()
                    writes += rest
                    outcomes += [failure] * len(rest)
            self._under_way = 0
            for write, outcome in zip(writes, outcomes, strict=True):
                write.answer(outcome)

    def _next_group(self) -> list[AnyWrite]:
        """The oldest waiting messages, as many as one transaction should hold."""
        taken: list[AnyWrite] = []
        size = 0
        while self._waiting and len(taken) < COMMIT_LIMIT and size < COMMIT_BYTES:
            taken.append(self._waiting.popleft())
            size += len(memoryview(taken[-1].message.data))
        self._waiting_bytes -= size
        return taken

    async def _store_all(self, writes: Sequence[AnyWrite]) -> list[Outcome | None]:
        """The outcome of each. Streams grow after the new messages are stored, their own openings among them."""
        appends = [write for write in writes if isinstance(write, Append)]
        stored = iter(await self._store(appends))
        grown = await self._grow([write for write in writes if isinstance(write, Update)])
        return [next(stored) if isinstance(write, Append) else grown for write in writes]

    async def _grow(self, updates: Sequence[Update]) -> AerostackError | None:
        """Store how far streams are; of several updates of one stream, the last."""
        newest = {(each.message.topic, each.message.user_id, each.message.id): each for each in updates}
        if not newest:
            return None
        writes = list(newest.values())
        try:
            async with asyncio.timeout(self._commit_seconds):
                missing = await self._persist_growth(writes)
                if missing:
                    await self._persist([write_of(message) for message in missing])
        except BadMessage as error:
            return error
        except (psycopg.Error, OSError, Unavailable) as error:
            self._down = not isinstance(error, LicenceLost)
            if any(write.is_sent for write in writes):
                return failures.unknown()
            return failures.unsent(failures.unavailable(error))
        return None

    async def _persist_growth(self, updates: Sequence[Update]) -> list[NewMessage]:
        while True:
            was_sent = updates[0].is_sent
            try:
                async with self._writer.use(self._commit_seconds) as connection:
                    self._down = False
                    _mark_sent(updates)
                    return await streams.update(connection, [each.message for each in updates], self._licence)
            except (psycopg.Error, Unavailable) as error:
                if not is_lost(error):
                    _mark_sent(updates, sent=was_sent)  # the answer is that nothing was stored
                if self._down or isinstance(error, LicenceLost) or not failures.transient(error):
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _store(self, appends: Sequence[Append]) -> list[Outcome]:
        """The outcome of each. The first message of a key is written, and its repeats get the same outcome."""
        writes: dict[Key, Write] = {}
        plan: list[tuple[Key, bool] | AerostackError] = []
        for append in appends:
            try:
                write = write_of(append.message)
            except BadMessage as error:
                plan.append(error)
                continue
            plan.append((write.key, write.key in writes))
            writes.setdefault(write.key, write)
        outcomes: dict[Key, Outcome] = {}
        for group in compaction.groups(writes.values()):
            outcomes |= await self._commit(group)
        return [
            entry if isinstance(entry, AerostackError) else _outcome(outcomes[entry[0]], repeats=entry[1])
            for entry in plan
        ]

    async def _commit(self, writes: Sequence[Write]) -> dict[Key, Outcome]:
        """Write in one transaction; if a message cannot be stored, in smaller ones without it."""
        if not writes:
            return {}
        try:
            async with asyncio.timeout(self._commit_seconds):
                return await self._persist(writes)
        except (errors.DataError, errors.ProgramLimitExceeded) as error:
            if len(writes) == 1:
                return {writes[0].key: translate(error)}
            middle = len(writes) // 2
            return await self._commit(writes[:middle]) | await self._commit(writes[middle:])
        except (psycopg.Error, OSError, Unavailable) as error:
            self._down = not isinstance(error, LicenceLost)
            unsent = failures.unsent(failures.unavailable(error))
            if self._licence is None:  # a single node repeats them
                self._stamps.keep(writes)
            return {write.key: failures.unknown() if write.is_sent else unsent for write in writes}

    async def _persist(self, writes: Sequence[Write]) -> dict[Key, Outcome]:
        """Write; after a broken connection, find out the outcome: the rows are recognized by position and time.

        Raises psycopg.Error, Unavailable.
        """
        outcomes: dict[Key, Outcome] = {}
        stamped = False
        collisions = 0
        while writes:
            try:
                async with self._writer.use(self._commit_seconds) as connection:
                    self._down = False
                    if not stamped:
                        await self._stamps.stamp(connection, writes)
                        stamped = True
                    _mark_sent(writes)
                    stored = await compaction.store(connection, writes, self._licence)
            except errors.UniqueViolation:  # of (topic, created_at): another node stores there, too
                collisions += 1
                if collisions > COLLISIONS:
                    raise
                _mark_sent(writes, sent=False)
                self._stamps.collided(writes)
                stamped = False
                continue
            except LicenceLost as error:
                return outcomes | dict.fromkeys((write.key for write in writes), error)
            except (psycopg.Error, Unavailable) as error:
                if isinstance(error, psycopg.Error) and not is_lost(error):
                    _mark_sent(writes, sent=False)  # the answer is that nothing was stored
                if self._down or not failures.transient(error):
                    raise
                await asyncio.sleep(RETRY_SECONDS)
                continue
            outcomes |= stored
            self._stamps.answered(writes)
            writes = [write for write in writes if write.key not in stored]  # pruned before it could be read
        return outcomes


def _outcome(outcome: Outcome, *, repeats: bool) -> Outcome:
    return Stored(outcome.message, duplicate=True) if repeats and isinstance(outcome, Stored) else outcome


def _mark_sent(writes: Sequence[Write | Update], *, sent: bool = True) -> None:
    for write in writes:
        write.is_sent = sent


def _report(task: asyncio.Task[None], died: Callable[[BaseException], None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        died(error)
