"""A journal that several nodes share in a test, and what it may do to them."""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from aerostack_realtime.backplane.base import JournalListener
from aerostack_realtime.backplane.items import OPTIONAL, AnyItem
from aerostack_realtime.protocol.errors import AerostackError

SECOND = 1_000_000
START = 1_000 * SECOND


class Entry(Struct, frozen=True):
    """An item as it stands in the journal."""

    position: int
    at: int
    node: str
    item: AnyItem


class Opening(Struct, frozen=True):
    """Where a generation begins, and the last position that survived until then."""

    position: int
    until: int


class SharedLog:
    """The log of a cluster, and its clock (µs). `repeats` is a planted bug: every append is written twice."""

    def __init__(self, *, repeats: bool = False) -> None:
        self.now = START
        self.start = START
        self.entries: list[Entry] = []
        self.floor = 0
        self.openings = [Opening(START, START)]
        self._repeats = repeats

    @property
    def last(self) -> int:
        return max(self.entries[-1].position if self.entries else self.start, self.openings[-1].position)

    @property
    def epoch(self) -> str:
        return self.epoch_of(self.last)

    def epoch_of(self, position: int) -> str:
        return str(max(1, sum(each.position <= position for each in self.openings)))

    def append(self, node: str, item: AnyItem) -> None:
        for _ in range(1 + self._repeats):
            position = max(self.now, self.last + 1)
            self.entries.append(Entry(position, position, node, item))

    def trim(self, floor: int) -> None:
        """Forget what is below a floor, as an engine does."""
        kept = [entry for entry in self.entries if entry.position >= floor]
        if len(kept) < len(self.entries):
            self.start = self.entries[len(self.entries) - len(kept) - 1].position
            self.entries = kept

    def lose(self, count: int) -> list[Entry]:
        """Forget the newest entries, which are returned."""
        kept = len(self.entries) - count
        lost, self.entries = self.entries[kept:], self.entries[:kept]
        return lost

    def begin(self, above: int) -> None:
        """Begin the next generation, above a position."""
        self.now += SECOND
        until = self.entries[-1].position if self.entries else self.start
        self.openings.append(Opening(max(self.now, self.last + 1, above + 1), until))


class SharedJournal:
    """One node's journal on the shared log: `flush` appends what waits, `read` lets items enter.

    A node of the `previous` version neither writes nor reads optional items."""

    def __init__(self, log: SharedLog, node: str, *, previous: bool = False) -> None:
        self._unknown = OPTIONAL if previous else ()
        self.node = node
        self.log = log
        self.last = 0
        self.waiting: list[AnyItem] = []
        self.refusal: AerostackError | None = None
        self.size_floor = 0
        self.figures: Mapping[str, float] = {}
        self.listener: JournalListener

    @property
    def epoch(self) -> str:
        return self.log.epoch_of(self.last)

    def epoch_of(self, position: int) -> str:
        return self.log.epoch_of(position)

    def understands(self, epoch: str, position: int) -> bool:
        return self.log.epoch_of(position) == epoch

    async def start(self, listener: JournalListener) -> None:
        self.listener = listener
        self.last = self.log.start
        listener.began(0, self.log.start)
        self.read()

    async def run(self) -> None:
        """A test moves it by hand."""

    def append(self, item: AnyItem, *, alone: bool = False) -> None:
        if self.refusal is not None:
            raise self.refusal
        if not isinstance(item, self._unknown):
            self.waiting.append(item)

    def defer(self, call: Callable[..., object], *args: Any) -> None:
        raise AssertionError("only a server asks for it")

    def flush(self) -> None:
        waiting, self.waiting = self.waiting, []
        for item in waiting:
            self.log.append(self.node, item)

    def read(self, count: int | None = None) -> int:
        """Let up to `count` items enter; how many did, beginnings of generations included."""
        if self.last < self.log.start:
            since, self.last = self.last, self.log.start
            self.listener.began(since, self.last)
        steps: list[Entry | Opening] = [each for each in self.log.entries if each.position > self.last]
        steps += [each for each in self.log.openings if each.position > self.last]
        following = sorted(steps, key=lambda each: each.position)[:count]
        for each in following:
            since, self.last = self.last, each.position
            if isinstance(each, Entry) and isinstance(each.item, self._unknown):
                continue
            if isinstance(each, Entry):
                self.listener.entered(each.position, each.at, each.node, each.item)
            else:
                self.listener.began(since, each.until)
        return len(following)

    def trim(self, floor: int) -> None:
        """The test trims the log, to this floor at most."""
        self.log.floor = max(self.log.floor, floor)

    async def close(self) -> None:
        """Nothing is open."""
