"""Persisted messages by group commit, on a thread of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import apsw
from msgspec import Struct

from aerostack_realtime.database.message_store import NewMessage, Retention, Stored, StoredMessage, compacted_later
from aerostack_realtime.database.sqlite import changelog, message_table
from aerostack_realtime.database.sqlite.connection import transaction, translate
from aerostack_realtime.database.sqlite.files import DatabaseFile
from aerostack_realtime.database.sqlite.worker import Inbox, Worker
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, Overloaded, ServerClosing, Unavailable

COMMIT_LIMIT = 1_000
"""Messages per transaction: larger groups are hardly cheaper, and their first message waits longer."""
WAITING_LIMIT = 50_000
WAITING_BYTES = 64 << 20
"""Messages that may wait for a commit: a few seconds of a slow disk without exhausting memory."""
PRUNE_GAP_SECONDS = 0.01
REMEMBERED_TOPICS = 10_000
"""Topics whose last `created_at` is cached; others are read from the table."""

Outcome = Stored | AerostackError
_Outcome = Outcome | None
Result = TypeVar("Result")


class _Append(Struct, frozen=True, gc=False):
    message: NewMessage
    done: Callable[[Outcome], None]


class _Update(Struct, frozen=True, gc=False):
    message: StoredMessage
    done: Callable[[AerostackError | None], None]


_Write = _Append | _Update


class _Task(Struct, frozen=True):
    run: Callable[[apsw.Connection], None]
    failed: Callable[[AerostackError], None]


class _Read(Struct, frozen=True):
    topic: str
    position: int
    until: int
    limit: int
    answer: Answer[list[StoredMessage]]


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
        self._reads: list[_Read] = []
        """Those that were asked for in this iteration of the loop."""
        self._waiting = 0
        self._waiting_bytes = 0
        self._inbox: Inbox[_Write | _Task] = Inbox()
        self._thread = file.thread(busy_ms, self._inbox.rouse)
        self._worker = Worker("aerostack-messages", self._run, died)

    # --- on the loop ---

    def append(self, message: NewMessage, done: Callable[[Outcome], None]) -> None:
        self._put(_Append(message, done))

    def update(self, message: StoredMessage, done: Callable[[AerostackError | None], None]) -> None:
        self._put(_Update(message, done))

    async def open_streams(self) -> list[StoredMessage]:
        return await self._ask(message_table.open_streams)

    async def history(self, topic: str, limit: int, before: int | None = None) -> list[StoredMessage]:
        until = 2**63 - 1 if before is None else max(-(2**63), min(before, 2**63 - 1))

        return await self._ask(lambda connection: message_table.history(connection, topic, until, limit))

    async def after(self, topic: str, position: int, until: int, limit: int) -> list[StoredMessage]:
        if self._inbox.closed:
            raise ServerClosing
        answer = Answer[list[StoredMessage]]()
        if not self._reads:
            asyncio.get_running_loop().call_soon(self._read_all)
        self._reads.append(_Read(topic, position, until, limit, answer))
        return await answer

    async def compacted(self, topic: str) -> int:
        return await self._ask(lambda connection: message_table.compacted(connection, topic))

    async def prune(self, now: int) -> int:
        deleted = 0
        topic = ""
        while (following := await self._ask(partial(message_table.next_topic, after=topic))) is not None:
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

    def _read_all(self) -> None:
        """Read what was asked for in this iteration of the loop: a transaction, and a change of threads, cost more
        than a read."""
        reads, self._reads = self._reads, []

        def read(connection: apsw.Connection) -> None:
            known = self._file.known_mark
            with transaction(connection, "DEFERRED"):
                self._file.check_mark(changelog.high_water(connection), known)
                pages = [
                    message_table.after(connection, each.topic, each.position, each.until, each.limit)
                    for each in reads
                ]
            self._worker.post(done, pages)

        def done(pages: list[list[StoredMessage]]) -> None:
            for each, page in zip(reads, pages, strict=True):
                each.answer.done(page)

        def failed(error: AerostackError) -> None:
            for each in reads:
                each.answer.done(error)

        if not self._inbox.put(_Task(read, failed)):
            failed(ServerClosing())

    def _put(self, write: _Write) -> None:
        if self._inbox.closed:
            raise ServerClosing
        if self._waiting >= WAITING_LIMIT or self._waiting_bytes >= WAITING_BYTES:
            raise Overloaded("Too many messages are waiting to be stored. Try again in a moment.")
        self._waiting += 1
        self._waiting_bytes += len(memoryview(write.message.data))
        self._inbox.put(write)

    async def _ask(self, run: Callable[[apsw.Connection], Result]) -> Result:
        if self._inbox.closed:
            raise ServerClosing
        answer = Answer[Result]()
        self._inbox.put(_Task(lambda connection: self._worker.post(answer.done, run(connection)), answer.done))
        return await answer

    def _finish(self, outcomes: Sequence[tuple[_Write, _Outcome]]) -> None:
        for write, outcome in outcomes:
            self._waiting -= 1
            self._waiting_bytes -= len(memoryview(write.message.data))
            if isinstance(write, _Append):
                assert outcome is not None, "an append has an outcome"
                write.done(outcome)
            else:
                write.done(outcome if isinstance(outcome, AerostackError) else None)

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

    def _handle(self, items: Sequence[_Write | _Task]) -> None:
        writes: list[_Write] = []
        for item in items:
            if not isinstance(item, _Task):
                writes.append(item)
                continue
            self._store(writes)
            writes = []
            try:
                item.run(self._thread.connection())
            except (apsw.Error, AerostackError) as error:
                self._worker.post(item.failed, translate(error, self._file.path))
        self._store(writes)
        if not items:
            self._release_replaced_file()

    def _release_replaced_file(self) -> None:
        try:
            self._thread.connection()
        except (apsw.Error, AerostackError):
            self._thread.leave()

    def _store(self, writes: Sequence[_Write]) -> None:
        if not writes:
            return
        outcomes: list[tuple[_Write, _Outcome]]
        try:
            outcomes = list(zip(writes, self._commit(writes), strict=True))
        except Exception as error:
            if len(writes) > 1 and not isinstance(error, Unavailable):
                for write in writes:
                    self._store([write])
                return
            failure = error if isinstance(error, AerostackError) else translate(error, self._file.path)
            outcomes = [(write, failure) for write in writes]
        self._worker.post(self._finish, outcomes)

    def _commit(self, writes: Sequence[_Write]) -> list[_Outcome]:
        """One transaction. Raises Unavailable when nothing can be stored, another error for a bad message."""
        last: dict[str, int] = {}
        try:
            connection = self._thread.connection()
            with transaction(connection):
                outcomes = [self._write(connection, write, last) for write in writes]
        except apsw.SQLError as error:
            raise Unavailable(f"The message store is unavailable ({error}). Try again in a moment.") from error
        except apsw.Error as error:
            raise translate(error, self._file.path) from error
        if len(self._last) > REMEMBERED_TOPICS:
            self._last.clear()
        self._last.update(last)
        return outcomes

    def _write(self, connection: apsw.Connection, write: _Write, last: dict[str, int]) -> _Outcome:
        if isinstance(write, _Append):
            return self._insert(connection, write.message, last)
        message = write.message
        if not message_table.update(connection, message):
            missing = NewMessage(
                message.topic,
                message.id,
                message.user_id,
                message.event,
                message.data,
                message.position,
                stream=message.stream,
            )
            self._insert(connection, missing, last)
        return None

    def _insert(self, connection: apsw.Connection, message: NewMessage, last: dict[str, int]) -> Outcome:
        key = message.topic, message.user_id, message.id
        if message.compacts and message_table.is_compacted_later(connection, message):
            found = message_table.find(connection, *key)
            return compacted_later() if found is None else Stored(found, duplicate=True)
        previous = last.get(message.topic) or self._last.get(message.topic)
        if previous is None:
            previous = message_table.last_created_at(connection, message.topic)
        chosen = max(self._now(), message.position // 1000, previous + 1)
        created_at = message.created_at if message.created_at > previous else chosen
        if not message_table.insert(connection, message, created_at):
            found = message_table.find(connection, *key)
            assert found is not None, "its key is taken"
            return Stored(found, duplicate=True)
        if message.compacts:
            message_table.remove_compacted(connection, message)
        last[message.topic] = created_at
        stored = StoredMessage(
            message.topic,
            message.id,
            message.user_id,
            message.event,
            message.data,
            message.position,
            created_at,
            message.stream,
        )
        return Stored(stored, duplicate=False)

    def _prune_step(self, connection: apsw.Connection, topic: str, now: int) -> int:
        """Delete up to PRUNE_STEP messages of a topic that are beyond its retention."""
        name = topics.without_project(topic) or topic
        rule = next((rule for pattern, rule in self._retention if pattern.fullmatch(name)), None)
        if rule is None:
            return 0
        last = -1
        if rule.max_age_seconds is not None:
            last = now - int(rule.max_age_seconds * 1000) - 1
        if rule.max_count is not None:
            beyond = message_table.newest_beyond(connection, topic, rule.max_count)
            last = last if beyond is None else max(last, beyond)
        with transaction(connection):
            return message_table.prune(connection, topic, last)
