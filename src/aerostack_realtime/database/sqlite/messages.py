"""Persisted messages by group commit, on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import apsw
from msgspec import Raw, Struct

from aerostack_realtime.database.base import NewMessage, Retention, Stored, StoredMessage
from aerostack_realtime.database.sqlite import changelog
from aerostack_realtime.database.sqlite.connection import transaction, translate
from aerostack_realtime.database.sqlite.files import DatabaseFile
from aerostack_realtime.database.sqlite.schema import PREFIX
from aerostack_realtime.database.sqlite.worker import Inbox, Worker
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, Unavailable

MESSAGES = f"{PREFIX}messages"

COMMIT_LIMIT = 1_000
"""Messages per transaction: larger groups are hardly cheaper, and their first message waits longer."""
WAITING_LIMIT = 50_000
WAITING_BYTES = 64 << 20
"""Messages that may wait for a commit: a few seconds of a slow disk without exhausting memory."""
PRUNE_STEP = 1_000
PRUNE_GAP_SECONDS = 0.01
REMEMBERED_TOPICS = 10_000
"""Topics whose last `created_at` is cached; others are read from the table."""

_LAYOUT = f"""
CREATE TABLE IF NOT EXISTS {MESSAGES}(
  topic TEXT NOT NULL, created_at INTEGER NOT NULL, position INTEGER NOT NULL,
  id TEXT NOT NULL, user_id TEXT NOT NULL, event TEXT NOT NULL, data BLOB NOT NULL,
  PRIMARY KEY(topic, created_at)) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS {MESSAGES}_by_id ON {MESSAGES}(topic, user_id, id);
"""
_INSERT = f"""INSERT INTO {MESSAGES}(topic, created_at, position, id, user_id, event, data)
  VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(topic, user_id, id) DO NOTHING"""
_COLUMNS = "topic, id, user_id, event, data, position, created_at"

Outcome = Stored | AerostackError
Result = TypeVar("Result")


def lay_out(connection: apsw.Connection) -> None:
    """Create the table of messages if it is missing."""
    connection.execute(_LAYOUT)


class _Append(Struct, frozen=True, gc=False):
    message: NewMessage
    done: Callable[[Outcome], None]


class _Task(Struct, frozen=True):
    run: Callable[[apsw.Connection], None]
    failed: Callable[[AerostackError], None]


class SqliteMessageStore:
    """Implements `MessageStore`. `now` gives ms since the Unix epoch."""

    def __init__(
        self,
        file: DatabaseFile,
        retention: Sequence[Retention],
        busy_ms: int,
        now: Callable[[], int],
        died: Callable[[BaseException], None],
    ) -> None:
        self._file = file
        self._retention = [(topics.like(rule.pattern), rule) for rule in retention]
        self._now = now
        self._last: dict[str, int] = {}
        self._waiting = 0
        self._waiting_bytes = 0
        self._inbox: Inbox[_Append | _Task] = Inbox()
        self._thread = file.thread(busy_ms, self._inbox.rouse)
        self._worker = Worker("aerostack-messages", self._run, died)

    # --- on the loop ---

    def append(self, message: NewMessage, done: Callable[[Outcome], None]) -> None:
        if self._inbox.closed:
            raise Unavailable("The server is closing. Try again after its restart.")
        if self._waiting >= WAITING_LIMIT or self._waiting_bytes >= WAITING_BYTES:
            raise Overloaded("Too many messages are waiting to be stored. Try again in a moment.")
        self._waiting += 1
        self._waiting_bytes += len(memoryview(message.data))
        self._inbox.put(_Append(message, done))

    async def history(self, topic: str, limit: int, before: int | None = None) -> list[StoredMessage]:
        until = 2**63 - 1 if before is None else max(-(2**63), min(before, 2**63 - 1))

        def read(connection: apsw.Connection) -> list[StoredMessage]:
            rows = connection.execute(
                f"SELECT {_COLUMNS} FROM {MESSAGES} WHERE topic = ? AND created_at < ? "
                "ORDER BY created_at DESC LIMIT ?",
                (topic, until, limit),
            )
            return [_stored(row) for row in rows]

        return await self._ask(read)

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        def read(connection: apsw.Connection) -> list[StoredMessage]:
            known = self._file.known_mark
            with transaction(connection, "DEFERRED"):
                self._file.check_mark(changelog.high_water(connection), known)
                rows = connection.execute(  # created_at is never below its position's millisecond
                    f"SELECT {_COLUMNS} FROM {MESSAGES} WHERE topic = ? AND created_at >= ? AND position > ? "
                    "AND position <= ? ORDER BY created_at LIMIT ?",
                    (topic, position // 1000, position, until, limit),
                )
                return [_stored(row) for row in rows]

        return await self._ask(read)

    async def prune(self, now: int) -> int:
        deleted = 0
        topic = ""
        while (following := await self._ask(partial(_next_topic, after=topic))) is not None:
            topic = following
            while step := await self._ask(partial(self._prune_step, topic=topic, now=now)):
                deleted += step
                await asyncio.sleep(PRUNE_GAP_SECONDS)
        return deleted

    async def high_water(self) -> int:
        return await self._ask(changelog.high_water)

    async def raise_high_water(self, position: int) -> None:
        """See the contract. Also raises Unavailable while subscribers have not yet been notified that the database
        was restored from a backup."""

        def raise_it(connection: apsw.Connection) -> None:
            known = self._file.known_mark
            with transaction(connection):
                self._file.check_mark(changelog.high_water(connection), known)
                changelog.raise_high_water(connection, position)
            self._file.known_mark = max(position, known)
            self._file.write_mark(position)

        await self._ask(raise_it)

    async def close(self) -> None:
        """Commit all accepted messages, then end the thread."""
        self._inbox.close()
        await self._worker.ended()

    async def _ask(self, run: Callable[[apsw.Connection], Result]) -> Result:
        if self._inbox.closed:
            raise Unavailable("The server is closing. Try again after its restart.")
        answer: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def resolve(result: Result) -> None:
            if not answer.done():
                answer.set_result(result)

        def failed(error: AerostackError) -> None:
            if not answer.done():
                answer.set_exception(error)

        self._inbox.put(_Task(lambda connection: self._worker.post(resolve, run(connection)), failed))
        return await answer

    def _finish(self, outcomes: Sequence[tuple[_Append, Outcome]]) -> None:
        for append, outcome in outcomes:
            self._waiting -= 1
            self._waiting_bytes -= len(memoryview(append.message.data))
            append.done(outcome)

    # --- on the thread ---

    def _run(self) -> None:
        try:
            while True:
                closed = self._inbox.closed
                items = self._inbox.take(limit=COMMIT_LIMIT)
                if closed and not items:
                    return
                self._handle(items)
        finally:
            self._thread.leave()

    def _handle(self, items: Sequence[_Append | _Task]) -> None:
        appends: list[_Append] = []
        for item in items:
            if isinstance(item, _Append):
                appends.append(item)
                continue
            self._store(appends)
            appends = []
            try:
                item.run(self._thread.connection())
            except (apsw.Error, AerostackError) as error:
                self._worker.post(item.failed, translate(error, self._file.path))
        self._store(appends)
        if not items:
            self._release_replaced_file()

    def _release_replaced_file(self) -> None:
        try:
            self._thread.connection()
        except (apsw.Error, AerostackError):
            self._thread.leave()

    def _store(self, appends: Sequence[_Append]) -> None:
        if not appends:
            return
        outcomes: list[tuple[_Append, Outcome]]
        try:
            outcomes = list(zip(appends, self._commit(appends), strict=True))
        except Exception as error:
            if len(appends) > 1 and not isinstance(error, Unavailable):
                for append in appends:
                    self._store([append])
                return
            failure = error if isinstance(error, AerostackError) else translate(error, self._file.path)
            outcomes = [(append, failure) for append in appends]
        self._worker.post(self._finish, outcomes)

    def _commit(self, appends: Sequence[_Append]) -> list[Stored]:
        """One transaction. Raises Unavailable when nothing can be stored, another error for a bad message."""
        last: dict[str, int] = {}
        try:
            connection = self._thread.connection()
            with transaction(connection):
                outcomes = [self._insert(connection, append.message, last) for append in appends]
        except apsw.SQLError as error:
            raise Unavailable(f"The message store is unavailable ({error}). Try again in a moment.") from error
        except apsw.Error as error:
            raise translate(error, self._file.path) from error
        if len(self._last) > REMEMBERED_TOPICS:
            self._last.clear()
        self._last.update(last)
        return outcomes

    def _insert(self, connection: apsw.Connection, message: NewMessage, last: dict[str, int]) -> Stored:
        previous = last.get(message.topic) or self._last.get(message.topic)
        if previous is None:
            previous = (
                changelog.number(
                    connection, f"SELECT max(created_at) FROM {MESSAGES} WHERE topic = ?", message.topic
                )
                or 0
            )
        chosen = max(self._now(), message.position // 1000, previous + 1)
        created_at = message.created_at if message.created_at > previous else chosen
        key = (message.topic, message.user_id, message.id)
        connection.execute(
            _INSERT,
            (
                message.topic,
                created_at,
                message.position,
                message.id,
                message.user_id,
                message.event,
                bytes(message.data),
            ),
        )
        if connection.changes() == 0:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM {MESSAGES} WHERE topic = ? AND user_id = ? AND id = ?", key
            ).fetchall()
            return Stored(_stored(found[0]), duplicate=True)
        last[message.topic] = created_at
        stored = StoredMessage(
            message.topic,
            message.id,
            message.user_id,
            message.event,
            message.data,
            message.position,
            created_at,
        )
        return Stored(stored, duplicate=False)

    def _prune_step(self, connection: apsw.Connection, topic: str, now: int) -> int:
        """Delete up to PRUNE_STEP messages of a topic that are beyond its retention."""
        name = topic.rpartition("/")[0] or topic
        rule = next((rule for pattern, rule in self._retention if pattern.fullmatch(name)), None)
        if rule is None:
            return 0
        last = -1
        if rule.max_age_seconds is not None:
            last = now - int(rule.max_age_seconds * 1000) - 1
        if rule.max_count is not None:
            beyond = changelog.number(
                connection,
                f"SELECT created_at FROM {MESSAGES} WHERE topic = ? ORDER BY created_at DESC LIMIT 1 OFFSET ?",
                topic,
                rule.max_count,
            )
            last = last if beyond is None else max(last, beyond)
        with transaction(connection):
            connection.execute(
                f"DELETE FROM {MESSAGES} WHERE topic = ?1 AND created_at <= ?2 AND created_at <= "
                f"(SELECT max(created_at) FROM (SELECT created_at FROM {MESSAGES} WHERE topic = ?1 "
                f"ORDER BY created_at LIMIT {PRUNE_STEP}))",
                (topic, last),
            )
            return connection.changes()


def _stored(row: Sequence[apsw.SQLiteValue]) -> StoredMessage:
    topic, identifier, user, event, data, position, created_at = row
    return StoredMessage(
        str(topic),
        str(identifier),
        str(user),
        str(event),
        Raw(data),  # type: ignore[arg-type]
        int(position),  # type: ignore[arg-type]
        int(created_at),  # type: ignore[arg-type]
    )


def _next_topic(connection: apsw.Connection, after: str) -> str | None:
    row = connection.execute(f"SELECT min(topic) FROM {MESSAGES} WHERE topic > ?", (after,)).fetchone()
    return None if row is None or row[0] is None else str(row[0])
