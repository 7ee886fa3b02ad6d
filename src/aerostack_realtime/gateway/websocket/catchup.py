"""Subscriptions that have to wait: for a table to be watched, for what was missed, for the rows of a snapshot.

What is long is sent in parts, each when the peer has taken most of the one before, so that a slow peer holds
up nobody and costs no more memory than any other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, Struct
from msgspec.structs import replace

from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.database.base import NUMBERS, Database, Row, Selection
from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, InvalidFilter, TooLarge

PAGE: Final = 1_000
"""Stored messages read at once for one who comes back: some milliseconds, so that it outruns who publishes."""
MAX_LIMIT: Final = 10_000
"""Rows of a snapshot with a `limit`: a list that is shown, not a table that is copied."""


class _Wanted(Struct, forbid_unknown_fields=True):
    """`snapshot` of a subscribe command: true, or this."""

    limit: int | None = None
    order: str | None = None


class CatchUp:
    """Carries out one peer's subscriptions that take more than one step.

    `drain` waits until the peer has taken most of what was written to it; `gone` tells that it will not, and
    `stop` is called when that becomes so. A snapshot has `seconds` (0: any time).
    """

    __slots__ = (
        "_database",
        "_drain",
        "_gone",
        "_reading",
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
        gone: Callable[[], bool],
        seconds: float,
    ) -> None:
        self._subscriber = subscriber
        self._subscriptions = hub.subscriptions
        self._database = database
        self._drain = drain
        self._gone = gone
        self._seconds = seconds
        self._reading: asyncio.Timeout | None = None
        self.sends_rows = False
        """Whether the rows of a snapshot are being sent: its command is answered, and they may end early."""

    def needed(self, command: messages.Subscribe) -> bool:
        """Whether a command (its topic canonical) has to wait for anything. Raises BadMessage."""
        table = topics.table_of(command.topic)
        if table is None:
            if _wanted(command) is not None:
                raise BadMessage("A snapshot needs a table topic: a custom channel has history instead.")
            return self._subscriptions.gap(command) is not None
        return (
            command.since is not None or _wanted(command) is not None or not self._database.changes.watches(table)
        )

    def stop(self) -> None:
        """End the reading of a snapshot, if there is one, also while the database sorts its rows."""
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(asyncio.get_running_loop().time())

    async def subscribe(self, command: messages.Subscribe) -> None:
        """Subscribe, in as many steps as it takes. Raises AerostackError."""
        table = topics.table_of(command.topic)
        if table is None:
            await self._custom(command)
            return
        await self._database.changes.watch(table)
        if self._gone():
            return
        wanted = _wanted(command)
        if wanted is not None:
            await self._snapshot(command, table, wanted)
        elif command.since is not None:
            await self._resume(command, command.since, told=False)
        else:
            self._subscriptions.subscribe(self._subscriber, command)

    async def _custom(self, command: messages.Subscribe) -> None:
        """Send the persisted messages that the channel's log no longer has, then go over into it. A backup that is
        restored meanwhile is a gap of its own."""
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        told, epoch = False, ""
        while (gap := self._subscriptions.gap(command)) is not None and not self._gone():
            if epoch != self._database.epoch:
                self._subscriptions.tell(self._subscriber, command, recovered=False)
                told, epoch = True, self._database.epoch
            page = await self._database.messages.after(command.topic, gap.after, gap.until, PAGE)
            if self._gone():
                return
            self._subscriptions.send_stored(self._subscriber, page)
            reached = page[-1].position if len(page) == PAGE else gap.until
            command = replace(command, since=self._subscriptions.cursor_at(reached))
            await self._drain()
        if not self._gone():
            self._subscriptions.subscribe(self._subscriber, command, told=told)

    async def _snapshot(self, command: messages.Subscribe, table: str, wanted: _Wanted) -> None:
        selection, shown = self._selection(command, table, wanted)
        column_types = self._database.changes.column_types(table)
        numbers = [column for column in shown if column_types.get(column) in NUMBERS]
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        try:
            async with asyncio.timeout(self._seconds or None) as self._reading:
                cursor, rest = await self._read(command, table, selection, shown, numbers)
        except TimeoutError:
            if self._gone():
                return
            raise TooLarge(
                f"The rows were not read and taken within {self._seconds:g} s: narrow them by a filter, ask for "
                "the first ones by a limit, read faster, or raise snapshot_seconds."
            ) from None
        finally:
            self._reading = None
            self.sends_rows = False
        if not self._gone():
            command = replace(command, since=cursor)
            await self._rows(command, cursor, rest, shown, numbers, last=True)
            await self._resume(command, cursor, told=True)

    async def _read(
        self,
        command: messages.Subscribe,
        table: str,
        selection: Selection,
        shown: Sequence[str],
        numbers: list[str],
    ) -> tuple[str, list[Row]]:
        """Send all rows but the last ones, which are returned with where they stand: the transaction is over."""
        async with self._database.snapshot(table, selection) as snapshot:
            command = replace(command, since=snapshot.cursor)
            self._subscriptions.tell(self._subscriber, command, recovered=None)
            self.sends_rows = True
            waiting: list[Row] = []
            async for rows in snapshot:
                if self._gone():
                    break
                if rows and waiting:
                    await self._rows(command, snapshot.cursor, waiting, shown, numbers, last=False)
                    await self._drain()
                waiting = rows or waiting
            return snapshot.cursor, waiting

    def _selection(
        self, command: messages.Subscribe, table: str, wanted: _Wanted
    ) -> tuple[Selection, Sequence[str]]:
        if wanted.limit is not None and not 1 <= wanted.limit <= MAX_LIMIT:
            raise BadMessage(f"The limit of a snapshot is 1 to {MAX_LIMIT}; without one it holds all rows.")
        selection, shown = self._subscriptions.selection(self._subscriber, command, table)
        order = None
        if wanted.order is not None:
            column = wanted.order.removeprefix("-")
            if column not in shown:
                raise InvalidFilter(f"The table has no column {column[:80]!r} to order by.")
            order = (column, wanted.order.startswith("-"))
        return replace(selection, order=order, limit=wanted.limit), shown

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
        """Send rows, in as many frames as their size asks for. Raises TooLarge for a row that fits in none."""
        part: list[Raw] = []
        size, largest = 0, self._subscriptions.largest
        for row in rows:
            encoded = messages.encode({column: row.get(column) for column in shown})
            if len(encoded) > largest:
                raise TooLarge(
                    f"A row of this table is larger than {largest} bytes: leave it out by a filter, or its large "
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
        if not self._gone():
            self._subscriptions.send(
                self._subscriber,
                messages.Snapshot(command.topic, rows, cursor, last, command.id, numbers or UNSET),
            )

    async def _resume(self, command: messages.Subscribe, since: str, *, told: bool) -> None:
        """Send a table's log after a cursor, part by part, and go over into live changes."""
        self._subscriptions.unsubscribe(self._subscriber, command.topic)
        following: str | None = since
        while following is not None and not self._gone():
            part: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

            def done(outcome: str | AerostackError | None, part: asyncio.Future[str | None] = part) -> None:
                if part.done():
                    return
                if isinstance(outcome, AerostackError):
                    part.set_exception(outcome)
                else:
                    part.set_result(outcome)

            self._subscriptions.resume(self._subscriber, command, following, done, told=told)
            following = await part
            told = True
            await self._drain()


def _wanted(command: messages.Subscribe) -> _Wanted | None:
    """What snapshot a command asks for. Raises BadMessage."""
    try:
        asked: Any = msgspec.json.decode(command.snapshot, type=bool | _Wanted | None)
    except msgspec.ValidationError as invalid:
        raise BadMessage(f'snapshot is true or {{"limit", "order"}}: {invalid}.') from None
    if isinstance(asked, _Wanted):
        return asked
    return _Wanted() if asked else None
