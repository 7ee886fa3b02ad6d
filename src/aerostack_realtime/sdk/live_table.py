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


class Table(Mapping[Any, Row]):
    """The rows by key, in order. Get it from `RealtimeClient.table`; it is live inside `async with`.

        async with sdk.realtime.table("orders", filter={"status": "open"}, order="-total", limit=10) as orders:
            print(orders[7]["total"], len(orders))
            async for change in orders:
                print(change.operation, change.key, change.row)

    At every moment it is the table as it was after some commit, the newest this client has heard of. It goes on
    over reconnects; after a gap it is loaded again, and what that changed is told as changes. Treat rows as
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
        return f"<Table {self._channel.topic!r} {len(self)} rows>"

    def __getitem__(self, key: Any) -> Row:
        return self._shown[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._window.shown(self._shown))

    def __len__(self) -> int:
        return len(self._shown)

    @property
    def cursor(self) -> str | None:
        """Where in the table's log these rows stand."""
        return self._channel.cursor

    async def __aenter__(self) -> Self:
        """Load the rows. Raises as `Channel.subscribe`."""
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
            raise self._error or Unavailable("The client was disconnected before the rows were here.")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    def on_change(self, callback: Callable[[RowChange], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every change, when the rows show it. Returns what ends that."""
        self._callbacks.append(callback)

        def unregister() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unregister

    def __aiter__(self) -> AsyncIterator[RowChange]:
        """The changes from now on. The rows may be ahead of them. Ends with the block; raises what ends the
        subscription otherwise."""
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
                self._take(payload)
        except AerostackError as error:
            self._error = error
        except Exception:
            logger.exception("The live table of %r failed", self._channel.topic)
            self._error = Internal("The live table failed by a fault of the client; its log has the details.")
        finally:
            for queue in self._watchers:
                queue.put_nowait(None)

    async def _close(self) -> None:
        await self._channel.unsubscribe()
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])

    def _take(self, payload: Payload) -> None:
        if payload.type == "snapshot":
            self._load(payload.data)
        elif payload.operation is not None:
            self._apply(payload, self._name(payload.data))

    def _load(self, part: Part) -> None:
        self._parts = part.rows if part.first else self._parts + part.rows
        self._loading = not part.last
        if part.last:
            rows, self._parts = self._parts, []
            self._known = {self._name(row): row for row in rows}
            if len(self._known) < len(rows):
                raise InvalidFilter(
                    f"Rows have the same {self._key!r}: say with `key` which column tells them apart. A table "
                    "without a primary key may have none: give it one."
                )
            self._window.begin(self._known, part.numbers)
            self._show(set(self._shown) | set(self._known))
            self._loaded.set()

    def _name(self, row: Row) -> Any:
        if self._key not in row:
            raise InvalidFilter(
                f"The rows have no column {self._key!r}: say with `key` which one tells them apart."
            )
        return row[self._key]

    def _apply(self, payload: Payload, key: Any) -> None:
        before = key if payload.old is None else self._name(payload.old)
        # A row of the name of another one: the rows, loaded again, tell whether it still is.
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
            self._channel.reload()
            return
        self._show({before, key} if self._window.limit is None else set(self._shown) | set(self._known))

    def _show(self, touched: set[Any]) -> None:
        """Show what is known now of these keys, which are all that have changed, and tell what that changes."""
        shown = self._known.keys() if self._window.limit is None else set(self._window.shown(self._known))
        for key in touched:
            old = self._shown.get(key)
            new = self._known[key] if key in shown else None
            if new is None and old is not None:
                del self._shown[key]
                self._tell(RowChange("DELETE", key, old))
            elif new is not None and old is None:
                self._shown[key] = new
                self._tell(RowChange("INSERT", key, new))
            elif new is not None and old is not new:
                self._shown[key] = new
                if new != old:
                    self._tell(RowChange("UPDATE", key, new))

    def _tell(self, change: RowChange) -> None:
        for callback in list(self._callbacks):
            try:
                callback(change)
            except Exception:
                logger.exception("A callback of the live table of %r failed", self._channel.topic)
        for queue in self._watchers:
            queue.put_nowait(change)
