"""Subscriptions that take several steps: watching a table, replaying missed events, reading a snapshot.

Long answers are sent in parts, each once the peer has taken most of the one before. A slow peer delays nobody
else and costs no more memory than any other. `CatchUp.subscribe` is a coroutine to be cancelled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.subscriptions import Subscriptions
from aerostack_realtime.channels.table_subscriptions import AT_ONCE_BYTES
from aerostack_realtime.database.base import NUMBERS, ChangeFeed, Database, Row, Selection
from aerostack_realtime.database.message_store import StoredMessage
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import BadMessage, InvalidFilter, TooLarge, Unavailable

PAGE: Final = 1_000
"""Stored messages that one step replays: reading them takes milliseconds, so it is faster than publishing."""
MAX_LIMIT: Final = 10_000
"""Rows of a snapshot with a `limit`, which is for lists on a screen, not for copies of tables."""

BEHIND_SECONDS: Final = 10.0
"""How long a client waits for a node that is behind the one that it comes from."""
BEHIND_STEP: Final = 0.02
_BEHIND: Final = "This node is behind the others; try again in a moment."


class _SnapshotOptions(Struct, forbid_unknown_fields=True):
    """`snapshot` of a subscribe command: true, or this."""

    limit: int | None = None
    order: str | None = None


_snapshot_options: Final = msgspec.json.Decoder(bool | _SnapshotOptions | None)


def takes_steps(command: messages.Subscribe, subscriptions: Subscriptions, changes: ChangeFeed) -> bool:
    """Whether a subscription (its topic canonical) needs a `CatchUp`. Raises BadMessage."""
    table = topics.table_of(command.topic)
    if table is None:
        if _options(command) is not None:
            raise BadMessage("A snapshot needs a table topic: a custom channel has history instead.")
        if waits(command, subscriptions):
            return True
        if command.history is not None and subscriptions.resumes(command):
            return False
        return command.history is not None or subscriptions.gap(command) is not None
    return command.since is not None or _options(command) is not None or not changes.watches(table)


def resumes_at_once(command: messages.Subscribe, subscriber: Subscriber, hub: Hub, epoch: str) -> bool:
    """Carry out a resume that takes steps at once, if what it needs was read for others just now. `epoch` is the
    database's. Returns whether it was carried out. Raises AerostackError."""
    if command.since is None or _options(command) is not None:
        return False
    subscriptions = hub.subscriptions
    if topics.table_of(command.topic) is not None:
        return subscriptions.resume_at_once(subscriber, command)
    if waits(command, subscriptions) or command.topic in subscriptions.of(subscriber):
        return False
    gap = subscriptions.gap(command)
    if gap is None or (command.history is not None and not subscriptions.is_known(command)):
        return False
    page = hub.shared_history.find(epoch, command.topic, gap.after, gap.until)
    if page is None or sum(len(memoryview(each.data)) for each in page) > AT_ONCE_BYTES:
        return False
    subscriptions.confirm(subscriber, command, recovered=False)
    command = subscriptions.send_stored(subscriber, command, page)
    command = replace(command, since=subscriptions.cursor_at(gap.until))
    subscriptions.subscribe(subscriber, command, confirmed=True)
    return True


def waits(command: messages.Subscribe, subscriptions: Subscriptions) -> bool:
    """Whether a command has to wait until its channel's subscribers, or this node, have what they lack."""
    return subscriptions.replay(command.topic) is not None or subscriptions.is_ahead(command)


class CatchUp:
    """Carries out one subscription that takes more than one step.

    `drain` waits until the peer has taken most of what was written to it. A snapshot may take `seconds` (0: any
    time).
    """

    __slots__ = (
        "_counters",
        "_database",
        "_drain",
        "_hub",
        "_seconds",
        "_subscriber",
        "_subscriptions",
        "sends_rows",
    )

    def __init__(
        self,
        subscriber: Subscriber,
        hub: Hub,
        database: Database,
        drain: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> None:
        self._subscriber = subscriber
        self._subscriptions = hub.subscriptions
        self._hub = hub
        self._counters = hub.counters
        self._database = database
        self._drain = drain
        self._seconds = seconds
        self.sends_rows = False
        """Whether the rows of a snapshot are being sent: its command is answered, so it may end early."""

    async def subscribe(self, command: messages.Subscribe, *, stored: bool = True) -> None:
        """Subscribe, in as many steps as it takes; `stored`: with the messages of a custom channel that its log no
        longer has. Raises AerostackError.

        When it is cancelled, the peer is not subscribed, and it receives nothing more of what was being sent.
        """
        table = topics.table_of(command.topic)
        if table is None:
            await self._custom(command, stored=stored)
            return
        if not self._database.changes.watches(table):
            await asyncio.shield(self._database.changes.watch(table))
        options = _options(command)
        if options is not None:
            await self._snapshot(command, table, options)
        elif command.since is not None:
            await self._resume(command, command.since, confirmed=False)
        else:
            self._subscriptions.subscribe(self._subscriber, command)

    async def _custom(self, command: messages.Subscribe, *, stored: bool) -> None:
        """Send the persisted messages that the channel's log no longer has, then continue with the log. A backup
        that is restored meanwhile is another gap."""
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        confirmed, epoch = False, ""
        await self._replayed(command)
        if stored and command.history is not None and not self._subscriptions.is_known(command):
            command, confirmed, epoch = await self._history(command), True, self._database.epoch
            await self._replayed(command)
        while stored and (gap := self._subscriptions.gap(command)) is not None:
            if epoch != self._database.epoch:
                self._subscriptions.confirm(self._subscriber, command, recovered=False)
                confirmed, epoch = True, self._database.epoch
            began = perf_counter()
            page = await self._hub.shared_history.after(epoch, command.topic, gap.after, gap.until, PAGE)
            self._counters.history_pages.observe(perf_counter() - began)
            command = self._subscriptions.send_stored(self._subscriber, command, page)
            reached = page[-1].position if len(page) == PAGE else gap.until
            command = replace(command, since=self._subscriptions.cursor_at(reached))
            await self._drain()
            await self._replayed(command)
        self._subscriptions.subscribe(self._subscriber, command, confirmed=confirmed)

    async def _replayed(self, command: messages.Subscribe) -> None:
        """Wait until the channel's subscribers have what they lack since the journal began again, and until this
        node has delivered what the client has from another one. Raises Unavailable."""
        for _ in range(round(BEHIND_SECONDS / BEHIND_STEP)):
            if not self._subscriptions.is_ahead(command):
                break
            await asyncio.sleep(BEHIND_STEP)
        else:
            raise Unavailable(_BEHIND)
        while (replay := self._subscriptions.replay(command.topic)) is not None:
            await replay.done.wait()

    async def _history(self, command: messages.Subscribe) -> messages.Subscribe:
        """Answer, and send the persisted messages that the command asks for. Returns the command that continues
        after them."""
        topic, recovered = command.topic, None if command.since is None else False
        until, page, position = self._subscriptions.delivered(topic), list[StoredMessage](), -1
        count: int | UnsetType = UNSET
        if command.history != "all":
            page = await self._newest(topic, command.history or 0, until)
            position = _place(page[0]) - 1 if page else until
            count = len(page)
        command = replace(command, since=self._subscriptions.cursor_at(max(position, 0)))
        self._subscriptions.confirm(self._subscriber, command, recovered=recovered, history=count)
        command = self._subscriptions.send_stored(self._subscriber, command, page)
        more, sent = command.history == "all", 0
        while more:
            await self._drain()
            page = await asyncio.shield(self._database.messages.after(topic, position, until, PAGE))
            command = self._subscriptions.send_stored(self._subscriber, command, page)
            sent += len(page)
            more = len(page) == PAGE
            position = page[-1].position if page else until
        if command.history == "all":
            await self._delivered(topic, await self._database.messages.compacted(topic))
        await self._drain()
        self._hub.opened(topic, sent)
        return replace(command, since=self._subscriptions.cursor_at(until))

    async def _newest(self, topic: str, count: int, until: int) -> list[StoredMessage]:
        """The newest stored messages that were delivered up to a position, oldest first. Open streams are left
        out: they come as far as they are, from memory."""
        limit = count
        while True:
            newest = await asyncio.shield(self._database.messages.history(topic, limit))
            delivered = [each for each in newest if 0 < _place(each) <= until]
            if len(delivered) >= count or len(newest) < limit:
                return sorted(delivered[:count], key=_place)
            limit += count - len(delivered)

    async def _delivered(self, topic: str, compaction: int) -> None:
        """Wait until the log has a compaction that is stored: what it replaced can be read no more. Raises
        Unavailable."""
        for _ in range(round(BEHIND_SECONDS / BEHIND_STEP)):
            if self._subscriptions.delivered(topic) >= compaction:
                return
            await asyncio.sleep(BEHIND_STEP)
        raise Unavailable(_BEHIND)

    async def _snapshot(self, command: messages.Subscribe, table: str, options: _SnapshotOptions) -> None:
        selection, shown = self._selection(command, table, options)
        column_types = self._database.changes.column_types(table)
        numbers = [column for column in shown if column_types.get(column) in NUMBERS]
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        began = perf_counter()
        try:
            async with asyncio.timeout(self._seconds or None):
                cursor, rest = await self._read(command, table, selection, shown, numbers)
                command = replace(command, since=cursor)
                await self._rows(command, cursor, rest, shown, numbers, last=True)
        except TimeoutError:
            raise TooLarge(
                f"The snapshot timed out after {self._seconds:g} s. Add a filter or a limit, read faster, or "
                "raise snapshot_seconds."
            ) from None
        finally:
            self.sends_rows = False
        self._counters.snapshots.observe(perf_counter() - began)
        await self._resume(command, cursor, confirmed=True)

    async def _read(
        self,
        command: messages.Subscribe,
        table: str,
        selection: Selection,
        shown: Sequence[str],
        numbers: list[str],
    ) -> tuple[str, list[Row]]:
        """Send all rows but the last ones, which are returned with their cursor: the transaction has ended."""
        async with self._database.snapshot(table, selection) as snapshot:
            command = replace(command, since=snapshot.cursor)
            self._subscriptions.confirm(self._subscriber, command, recovered=None)
            self.sends_rows = True
            waiting: list[Row] = []
            async for rows in snapshot:
                if rows and waiting:
                    await self._rows(command, snapshot.cursor, waiting, shown, numbers, last=False)
                    await self._drain()
                waiting = rows or waiting
            return snapshot.cursor, waiting

    def _selection(
        self, command: messages.Subscribe, table: str, options: _SnapshotOptions
    ) -> tuple[Selection, Sequence[str]]:
        if options.limit is not None and not 1 <= options.limit <= MAX_LIMIT:
            raise BadMessage(f"The limit of a snapshot is 1 to {MAX_LIMIT}; without one it holds all rows.")
        selection, shown = self._subscriptions.selection(self._subscriber, command, table)
        order = None
        if options.order is not None:
            column = options.order.removeprefix("-")
            if column not in shown:
                raise InvalidFilter(f"The table has no column {column[:80]!r} to order by.")
            order = (column, options.order.startswith("-"))
        return replace(selection, order=order, limit=options.limit), shown

    async def _rows(
        self,
        command: messages.Subscribe,
        cursor: str,
        rows: list[Row],
        shown: Sequence[str],
        numbers: list[str],
        *,
        last: bool,
    ) -> None:
        """Send rows, in as many frames as their size needs. Raises TooLarge for a row that fits into no frame."""
        part: list[Raw] = []
        size, largest = 0, self._subscriptions.largest
        for row in rows:
            encoded = messages.encode({column: row.get(column) for column in shown})
            if len(encoded) > largest:
                raise TooLarge(
                    f"A row of this table is larger than {largest} bytes: exclude it by a filter, hide its large "
                    "columns by a rule, or raise buffer_bytes."
                )
            if part and size + len(encoded) > largest:
                self._send_rows(command, cursor, part, numbers, last=False)
                await self._drain()
                part, size = [], 0
            part.append(Raw(encoded))
            size += len(encoded)
        self._send_rows(command, cursor, part, numbers, last=last)

    def _send_rows(
        self, command: messages.Subscribe, cursor: str, rows: list[Raw], numbers: list[str], *, last: bool
    ) -> None:
        self._subscriptions.send(
            self._subscriber,
            messages.Snapshot(command.topic, rows, cursor, last, command.id, numbers or UNSET),
        )

    async def _resume(self, command: messages.Subscribe, since: str, *, confirmed: bool) -> None:
        """Send a table's log after a cursor, part by part, and continue with live changes."""
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        following: str | None = since
        while following is not None:
            part = Answer[str | None]()
            self._subscriptions.resume(self._subscriber, command, following, part, confirmed=confirmed)
            following = await part
            confirmed = True
            await self._drain()


def _place(message: StoredMessage) -> int:
    """The position at which a stored message was delivered; 0 for a stream that has not ended."""
    return message.position if message.stream is None else message.stream.ended


def _options(command: messages.Subscribe) -> _SnapshotOptions | None:
    """The snapshot that a command asks for. Raises BadMessage."""
    try:
        asked = _snapshot_options.decode(command.snapshot)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f'snapshot is true or {{"limit", "order"}}: {invalid}.') from None
    if isinstance(asked, _SnapshotOptions):
        return asked
    return _SnapshotOptions() if asked else None
