"""The journal of a cluster of one node, and the clock that gives its positions: what is appended enters at once.

Source of the clock: Kulkarni et al., "Logical Physical Clocks", 2014. One number is enough here, since one server
gives all positions, in µs since the Unix epoch.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aerostack_realtime.backplane.base import Epochs, JournalListener
from aerostack_realtime.backplane.items import AnyItem
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
RESERVE_US: Final = 10_000_000
"""How far ahead of the clock the high-water mark is kept: it is raised about every five seconds."""
HEADROOM_US: Final = RESERVE_US // 10
"""Headroom below the stored mark: the positions that are still available by increment when the wall clock reaches
the mark first."""


def mark_above(now: int, last: int) -> int:
    """A mark for positions that follow the clock from `now` on, and are above `last`: as little as that takes, so
    that a server that starts again and again does not run ahead of its clock."""
    return max(now + RESERVE_US, last + HEADROOM_US)


class HybridClock:
    """Strictly increasing positions that follow the wall clock and never go back, also across restarts.

    `last` is the high-water mark that the last run left, `mark` the one stored for this run. No position is
    above the stored mark, so a server that starts above the mark it finds is above everything that was handed
    out before, whatever the wall clock says. `reserve` is called with the next mark when half of the reserve
    is used; when that mark is stored, call `reserved`. A wall clock that jumps beyond the mark is followed as
    soon as the mark is; until then, and while no mark can be stored, positions count up by one, which HEADROOM_US
    has room for, and `timestamp` is ahead of them.
    """

    def __init__(self, now: Callable[[], int], last: int, mark: int, reserve: Callable[[int], None]) -> None:
        self._now = now
        self.at = last
        """The time of the newest position, in µs since the Unix epoch. It never goes back."""
        self._last = last
        self._reserve = reserve
        self._asked = mark
        self._mark = mark
        self._compute_bounds()

    @property
    def last(self) -> int:
        """The newest position; before the first, the mark of the last run."""
        return self._last

    @property
    def timestamp(self) -> int:
        """When the newest position was handed out, in ms since the Unix epoch."""
        return self.at // 1000

    def next(self) -> int:
        now = self._now()
        last = self._last
        if now > self._wall_bound or last > self._count_bound:
            self._asked = mark_above(now, last)
            self._compute_bounds()
            self._reserve(self._asked)
        if last < now <= self._highest_wall:
            self._last = now
            if now > self.at:
                self.at = now
            return now
        self._last = position = last + 1
        self.at = max(self.at, now, position)
        return position

    def reserved(self, mark: int) -> None:
        """`mark` is durable from now on."""
        self._mark = max(self._mark, mark)
        self._compute_bounds()

    def _compute_bounds(self) -> None:
        """What `next` compares with; it runs for every event."""
        self._highest_wall = self._mark - HEADROOM_US
        """The wall clock is followed up to here."""
        self._wall_bound = self._asked - RESERVE_US // 2
        """The wall clock beyond which the next mark is asked for."""
        self._count_bound = self._asked - HEADROOM_US // 2
        """The newest position beyond which it is asked for, too."""


class HighWater(Protocol):
    """Where the high-water mark of positions is stored: a message store. Both methods raise AerostackError."""

    async def high_water(self) -> int: ...

    async def raise_high_water(self, position: int) -> None: ...


class MemoryJournal:
    """Implements `Journal`. Nothing waits and nothing is kept: a restart begins an empty journal.

    Positions are those of a hybrid clock, whose high-water mark is kept in `store`; `now` is in µs since the Unix
    epoch. `epochs` are the database's. An epoch that ended while this process runs, because a
    backup was restored into the open database, is still understood: positions come from one clock and the logs of
    channels are in memory, so nothing is delivered twice and no gap is reported without need.
    """

    def __init__(
        self,
        *,
        store: HighWater,
        now: Callable[[], int],
        epochs: Epochs,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.node = secrets.token_hex(8)
        self._store = store
        self._now = now
        self._epochs = epochs
        self._newest = ""
        self._given: set[str] = set()
        self._retry_seconds = retry_seconds
        self._asked = asyncio.Event()
        self._mark = 0
        self.clock: HybridClock
        """What gives the positions, once it has started."""
        self._listener: JournalListener

    @property
    def epoch(self) -> str:
        epoch = self._epochs.epoch
        if epoch is not self._newest:
            self._newest = epoch
            self._given.add(epoch)
        return epoch

    @property
    def last(self) -> int:
        return self.clock.last

    def epoch_of(self, position: int) -> str:  # noqa: ARG002 (a restored database has other positions)
        return self.epoch

    def understands(self, epoch: str, position: int) -> bool:
        return epoch in self._given or self._epochs.understands(epoch, position)

    async def start(self, listener: JournalListener) -> None:
        """As its contract says; raises AerostackError when the high-water mark cannot be read or stored."""
        found = await self._store.high_water()
        mark = mark_above(self._now(), found)
        await self._store.raise_high_water(mark)
        self.clock = HybridClock(self._now, found, mark, self._ask)
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
                self.clock.reserved(mark)

    def append(self, item: AnyItem, *, alone: bool = False) -> None:  # noqa: ARG002  (nothing waits here)
        clock = self.clock
        self._listener.entered(clock.next(), clock.at, self.node, item)

    def defer(self, call: Callable[..., object], *args: Any) -> None:
        asyncio.get_running_loop().call_soon(call, *args)

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
