"""The change feed on the loop: state that follows the order of the log, and the thread that reads it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from aerostack_realtime.database.base import Change, ChangeListener, ColumnType, Replay
from aerostack_realtime.database.sqlite.changelog import Watch
from aerostack_realtime.database.sqlite.files import DatabaseFile
from aerostack_realtime.database.sqlite.paced_calls import PacedCalls
from aerostack_realtime.database.sqlite.reader import BATCH_ROWS, Limits, LogReader
from aerostack_realtime.database.sqlite.worker import Worker
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, NotFound


class SqliteChangeFeed:
    """Implements `ChangeFeed` by triggers and one log table."""

    def __init__(
        self,
        file: DatabaseFile,
        listener: ChangeListener,
        limits: Limits,
        now: Callable[[], int],
        died: Callable[[BaseException], None],
    ) -> None:
        self._listener = listener
        self._watches: dict[str, Watch] = {}
        self._position = 0
        self._started = asyncio.Event()
        self.epoch = ""
        calls = PacedCalls(asyncio.get_running_loop(), BATCH_ROWS)
        self._reader = LogReader(file, self, limits, calls, now)
        self._worker = Worker("aerostack-changes", self._reader.main, died)

    # --- ChangeFeed ---

    async def watch(self, table: str) -> None:
        if not self.watches(table):
            await self._ask(lambda done: self._reader.watch(table, done))

    async def unwatch(self, table: str) -> None:
        await self._ask(lambda done: self._reader.unwatch(table, done))

    def watches(self, table: str) -> bool:
        watch = self._watches.get(table)
        return watch is not None and watch.layout is not None

    def columns(self, table: str) -> Sequence[str]:
        watch = self._watches.get(table)
        if watch is None or watch.layout is None:
            raise NotFound(f"{table!r} is not watched, or gone. Subscribe again.")
        return watch.layout.columns

    def column_types(self, table: str) -> Mapping[str, ColumnType]:  # noqa: ARG002 - none has any
        return {}  # a column may hold values of any type, also text that looks like a number

    @property
    def position(self) -> int:
        """The position after the last change that was delivered."""
        return self._position

    def cursor(self, table: str) -> str:
        watch = self._watches.get(table)
        return f"{self.epoch}.{max(self._position, watch.start if watch else 0)}"

    def replay(
        self,
        table: str,
        since: str,
        then: Callable[[Replay], None],
        failed: Callable[[AerostackError], None],
        most: int | None = None,
    ) -> None:
        rows = BATCH_ROWS if most is None else min(most, BATCH_ROWS)
        self._reader.submit(lambda: self._reader.replay(table, since, then, rows), failed)

    def wake(self) -> None:
        self._reader.rouse()

    def is_behind(self) -> bool:
        return self._reader.is_behind

    # --- from the thread, in the order of the log ---

    def began(self, epoch: str, position: int, watches: Sequence[Watch]) -> None:
        self.epoch = epoch
        self._position = position
        self._watches = {watch.table: watch for watch in watches}
        self._started.set()

    def watching(self, watch: Watch) -> None:
        self._watches[watch.table] = watch

    def unwatched(self, table: str) -> None:
        self._watches.pop(table, None)

    def delivered(self, changes: Sequence[Change], position: int) -> None:
        self._position = position
        if changes:
            self._listener.changed(changes)

    def interrupted(self, watch: Watch, position: int) -> None:
        self._watches[watch.table] = watch
        self._position = max(self._position, position)
        self._listener.interrupted(watch.table, f"{self.epoch}.{position}", watch.layout is not None)

    # --- life ---

    async def started(self) -> None:
        """Wait until the thread has found its place in the log."""
        await self._started.wait()

    async def close(self) -> None:
        self._reader.stop()
        await self._worker.ended()

    async def _ask(self, run: Callable[[Callable[[], None]], None]) -> None:
        answer = Answer[None]()
        self._reader.submit(lambda: run(partial(answer.done, None)), answer.done)
        await answer
