"""The journal of a cluster of one node: what is appended enters at once."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from aerostack_realtime.backplane.base import JournalListener
from aerostack_realtime.backplane.clock import HybridClock, mark_above
from aerostack_realtime.backplane.items import AnyItem
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0


class HighWater(Protocol):
    """Where the high-water mark of positions is stored: a message store. Both methods raise AerostackError."""

    async def high_water(self) -> int: ...

    async def raise_high_water(self, position: int) -> None: ...


class MemoryJournal:
    """Implements `Journal`. Nothing waits and nothing is kept: a restart begins an empty journal.

    Positions are those of a hybrid clock, whose high-water mark is kept in `store`; `now` is in µs since the Unix
    epoch. `epoch` and `understands` are the database's. An epoch that ended while this process runs, because a
    backup was restored into the open database, is still understood: positions come from one clock and the logs of
    channels are in memory, so nothing is delivered twice and no gap is reported without need.
    """

    def __init__(
        self,
        *,
        store: HighWater,
        now: Callable[[], int],
        epoch: Callable[[], str],
        understands: Callable[[str, int], bool],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.node = secrets.token_hex(8)
        self._store = store
        self._now = now
        self._epoch = epoch
        self._understands = understands
        self._newest = ""
        self._given: set[str] = set()
        self._retry_seconds = retry_seconds
        self._asked = asyncio.Event()
        self._mark = 0
        self._clock: HybridClock
        self._listener: JournalListener

    @property
    def epoch(self) -> str:
        epoch = self._epoch()
        if epoch is not self._newest:
            self._newest = epoch
            self._given.add(epoch)
        return epoch

    @property
    def last(self) -> int:
        return self._clock.last

    def understands(self, epoch: str, position: int) -> bool:
        return epoch in self._given or self._understands(epoch, position)

    async def start(self, listener: JournalListener) -> None:
        """As its contract says; raises AerostackError when the high-water mark cannot be read or stored."""
        found = await self._store.high_water()
        mark = mark_above(self._now(), found)
        await self._store.raise_high_water(mark)
        self._clock = HybridClock(self._now, found, mark, self._ask)
        self._listener = listener
        listener.began(0, found)

    async def run(self) -> None:
        """Keep the high-water mark ahead of the clock."""
        fails = False
        while True:
            await self._asked.wait()
            self._asked.clear()
            mark = self._mark
            try:
                await self._store.raise_high_water(mark)
            except AerostackError as error:
                level, fails = logging.DEBUG if fails else logging.WARNING, True
                log.log(level, "cannot store the high-water mark of positions, trying again: %s", error)
                await asyncio.sleep(self._retry_seconds)
                self._ask(mark)
            else:
                if fails:
                    log.warning("the high-water mark of positions is stored again")
                fails = False
                self._clock.reserved(mark)

    def append(self, item: AnyItem) -> None:
        clock = self._clock
        self._listener.entered(clock.next(), clock.at, self.node, item)

    @property
    def size_floor(self) -> int:
        return 0

    @property
    def figures(self) -> Mapping[str, float]:
        return {"journal_lag_seconds": 0.0}

    def trim(self, floor: int) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing waits."""

    def _ask(self, mark: int) -> None:
        self._mark = max(self._mark, mark)
        self._asked.set()
