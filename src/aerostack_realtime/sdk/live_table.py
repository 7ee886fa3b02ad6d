"""A live table: its rows as a mapping that follows every change."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from aerostack_realtime.protocol.errors import AerostackError, Internal, InvalidFilter, Unavailable
from aerostack_realtime.sdk.channel import Channel
from aerostack_realtime.sdk.payload import Part, Payload, RowChange
from aerostack_realtime.sdk.window import Row, Window

logger = logging.getLogger("aerostack_realtime.sdk")


class LiveTable(Mapping[Any, Row]):
    """The rows by key, in order. Get it from `RealtimeClient.table`; it is live inside `async with`.

        async with sdk.realtime.table("orders", filter={"status": "open"}, order="-total", limit=10) as orders:
            print(orders[7]["total"], len(orders))
            async for change in orders:
                print(change.operation, change.key, change.row)

    At every moment it is the table as of some commit, the newest that has reached this client. It continues across
    reconnects; after a gap it is loaded again, and the differences are reported as changes. Treat rows as
    read-only.
    """

    def __init__(self, channel: Channel, window: Window, key: str) -> None:
        self._channel = channel
        self._window = window
        self._key = key
        self._known: dict[Any, Row] = {}
        self._shown: dict[Any, Row] = {}
        self._parts: list[Row] = []
        self._loading = True
        self._loaded = asyncio.Event()
        self._callbacks: list[Callable[[RowChange], object]] = []
        self._watchers: set[asyncio.Queue[RowChange | None]] = set()
        self._error: AerostackError | None = None
        self._following: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<LiveTable {self._channel.topic!r} {len(self)} rows>"

    def __getitem__(self, key: Any) -> Row:
        return self._shown[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._window.shown(self._shown))

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def cursor(self) -> str | None:
        """The position of these rows in the table's log."""
        return self._channel.cursor

    async def __aenter__(self) -> Self:
        """Load the rows. Raises like `Channel.subscribe`."""
        assert self._following is None, "a live table is opened once"
        self._following = asyncio.create_task(self._follow(), name=f"table {self._channel.topic}")
        loaded = asyncio.create_task(self._loaded.wait())
        try:
            await asyncio.wait({self._following, loaded}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._close()
            raise
        finally:
            loaded.cancel()
        if not self._loaded.is_set():
            await self._close()
            raise self._error or Unavailable("The client was disconnected before the rows arrived.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def on_change(self, callback: Callable[[RowChange], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every change, once the rows include it. Returns a function that
        removes it."""
        self._callbacks.append(callback)

        def unregister() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unregister

    def __aiter__(self) -> AsyncIterator[RowChange]:
        """The changes from now on; the rows may be ahead of them. Ends with the block, and raises any other error
        that ends the subscription."""
        queue: asyncio.Queue[RowChange | None] = asyncio.Queue()
        self._watchers.add(queue)
        return self._changes(queue)

    async def _changes(self, queue: "asyncio.Queue[RowChange | None]") -> AsyncIterator[RowChange]:
        try:
            while (self._following is not None and not self._following.done()) or not queue.empty():
                change = await queue.get()
                if change is None:
                    break
                yield change
            if self._error is not None:
                raise self._error
        finally:
            self._watchers.discard(queue)

    # --- inside ------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        try:
            async for payload in self._channel:
                self._receive(payload)
        except AerostackError as error:
            self._error = error
        except Exception:
            logger.exception("The live table of %r failed", self._channel.topic)
            self._error = Internal("The live table failed because of a bug; its log has the details.")
        finally:
            for queue in self._watchers:
                queue.put_nowait(None)

    async def _close(self) -> None:
        await self._channel.unsubscribe()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def _receive(self, payload: Payload) -> None:
        if payload.type == "snapshot":
            self._load(payload.data)
        elif payload.operation is not None:
            self._apply(payload, self._key_of(payload.data))

    def _load(self, part: Part) -> None:
        self._parts = part.rows if part.first else self._parts + part.rows
        self._loading = not part.last
        if part.last:
            rows, self._parts = self._parts, []
            self._known = {self._key_of(row): row for row in rows}
            if len(self._known) < len(rows):
                raise InvalidFilter(
                    f"Several rows have the same {self._key!r}: pass as `key` a column that identifies rows, "
                    "such as "
                    "the primary key."
                )
            self._window.begin(self._known, part.numbers)
            self._show(set(self._shown) | set(self._known))
            self._loaded.set()

    def _key_of(self, row: Row) -> Any:
        if self._key not in row:
            raise InvalidFilter(
                f"The rows have no column {self._key!r}: pass as `key` the column that identifies a row."
            )
        return row[self._key]

    def _apply(self, payload: Payload, key: Any) -> None:
        before = key if payload.old is None else self._key_of(payload.old)
        # Two rows with one key: load the rows again, to see whether both still exist.
        again = key in self._known and (payload.operation == "INSERT" or before != key)
        if payload.operation == "DELETE" or not self._window.covers(key, payload.data):
            self._known.pop(before, None)
        elif before == key:
            self._known[key] = payload.data
        else:
            self._known.pop(before, None)
            self._known[key] = payload.data
        if self._loading:
            return
        if again or self._window.needs_more(len(self._known)):
            self._loading = True
            self._channel._reload()
            return
        self._show({before, key} if self._window.limit is None else set(self._shown) | set(self._known))

    def _show(self, touched: set[Any]) -> None:
        """Show the rows that are known now for the keys that changed, and report the differences."""
        shown = self._known.keys() if self._window.limit is None else set(self._window.shown(self._known))
        for key in touched:
            old = self._shown.get(key)
            new = self._known[key] if key in shown else None
            if new is None and old is not None:
                del self._shown[key]
                self._report(RowChange("DELETE", key, old))
            elif new is not None and old is None:
                self._shown[key] = new
                self._report(RowChange("INSERT", key, new))
            elif new is not None and old is not new:
                self._shown[key] = new
                if new != old:
                    self._report(RowChange("UPDATE", key, new))

    def _report(self, change: RowChange) -> None:
        for callback in list(self._callbacks):
            try:
                callback(change)
            except Exception:
                logger.exception("A callback of the live table of %r failed", self._channel.topic)
        for queue in self._watchers:
            queue.put_nowait(change)
