"""The contract between the nodes of one service: what one node accepts, every node delivers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from aerostack_realtime.backplane.items import AnyItem
from aerostack_realtime.protocol.errors import AerostackError


class JournalUnusable(Exception):
    """The journal cannot be used as it is set up. The message says what is wrong and what to do."""


class Epochs(Protocol):
    """The histories that positions belong to: those of a journal or of a database."""

    @property
    def epoch(self) -> str:
        """What cursors of positions that are given now begin with."""

    def understands(self, epoch: str, position: int) -> bool:
        """Whether a position of an earlier `epoch` belongs to the past of this one."""


class JournalListener(Protocol):
    """The node's state machine. Every method is synchronous, runs on the event loop, and does not raise."""

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        """The next item of the journal, this node's own included.

        Every node gets the same items in the same order, each exactly once. `position` grows over all generations
        and restarts; `at` is the journal's time in µs since the Unix epoch and never goes back. The items of one
        node keep their order. `node` names the start of the node that appended it.
        """

    def began(self, since: int, until: int) -> None:
        """What follows may not continue what was handed over up to `since`; it continues after `until`.

        Called first of all with `since` 0 and the position after which the journal still has everything. Later:
        items in (`since`, `until`] were skipped, and those in (`until`, `since`] are not in the surviving journal.
        Nothing is ever skipped without this call. Items that this node appended and that have not entered are
        appended again by the journal itself, in their order; those that have entered are not. So an item of
        another node that this node got from the lost part may enter again.

        During the call, `epoch` is that of what follows, and all that follows has positions above `last`: items
        up to there may have entered on other nodes.
        """

    def cut_off(self) -> None:
        """The journal has been out of reach for a while: this node can neither append nor read."""

    def reconnected(self) -> None:
        """The journal is in reach again, and this node has read all of it."""

    def refused(self, items: Sequence[AnyItem], error: AerostackError) -> Collection[int]:
        """For a while the journal has not taken `items`: the newest that this node appended, in their order, none
        of which is in the journal.

        Returns the indexes of those that this node has refused to their publishers, with `error`: they never
        enter. The others wait.
        """


class Journal(Epochs, Protocol):
    """One totally ordered log per cluster. Engines: memory, redis, wal.

    A cursor of a custom channel is `<epoch>.<position>`.
    """

    @property
    def node(self) -> str:
        """This start of this node: unique over all nodes and starts."""

    def epoch_of(self, position: int) -> str:
        """What the cursors of a position began with when it was given, as far as that is known."""

    @property
    def last(self) -> int:
        """The position of the item that entered last; before the first, where this node began to read."""

    async def start(self, listener: JournalListener) -> None:
        """Connect, and hand over what the journal still holds, then what follows. Returns when `listener` has
        everything that was in the journal at the time of the call. Raises JournalUnusable."""

    async def run(self) -> None:
        """Work until cancelled. Raises when the journal cannot continue, which ends the process."""

    def append(self, item: AnyItem, *, alone: bool = False) -> None:
        """Put `item` into the journal. Returns at once; the item arrives through `entered`. With `alone` the
        caller appends nothing else in this step, so a quiet journal does not wait for its end.

        The memory engine calls `entered` inside this method. Raises Overloaded when too much waits to be appended
        or the journal has no room (which a Hello, Beat or Bye does not need), and Unavailable when the journal
        has been out of reach for 2 seconds; in both cases the item is not in the journal and never will be. What
        was taken and turns out to be refused for 2 seconds is offered to `refused`.
        """

    def defer(self, call: Callable[..., object], *args: Any) -> None:
        """Call it once all that has arrived at once has entered, at the latest at the end of this tick."""

    @property
    def size_floor(self) -> int:
        """The position below which the journal has to be trimmed to keep within its size; 0 while it has room.
        The next Beat announces at least this floor."""

    @property
    def figures(self) -> Mapping[str, float]:
        """Values of metrics by their names: how far this node is behind the journal in seconds, and what else the
        engine knows."""

    def trim(self, floor: int) -> None:
        """Positions below `floor` are needed by nobody: called after a Beat that announced it entered."""

    async def close(self) -> None:
        """Append what waits, as far as the journal is in reach, and disconnect."""


class Generation(Struct, frozen=True):
    """One life of a journal on one server process.

    `server` identifies the process (Redis: its run_id). Positions of this generation are at least `start`.
    """

    number: int
    server: str
    start: int


class Generations(Protocol):
    """The arbiter of a cluster's generations and of which nodes may commit. Implemented by the database.

    Every method raises Unavailable while the database is out of reach.
    """

    @property
    def cluster(self) -> str:
        """Identifies this arbiter: the same on all nodes of a cluster, another one in every other cluster."""

    async def current(self) -> Generation | None:
        """The newest generation; None before the first."""

    async def open(self, seen: Generation | None, server: str, start: int) -> Generation:
        """Begin the generation after `seen` on `server`; its positions are above all earlier ones, `start` and the
        high-water mark.

        Exactly one caller with the same `seen` succeeds; the others get the generation that the winner began. All
        licences end in the same transaction, which waits for commits under way.
        """

    async def raise_high_water(self, generation: Generation, position: int) -> bool:
        """Make the high-water mark at least `position`, durably; False, without effect, when `generation` is not
        the newest. A journal gives no position above a mark that was raised in its generation, so the positions of
        the next one are above all of them, also above those of a server that was left behind."""

    def understands(self, number: int, position: int) -> bool:
        """Whether `position` of generation `number` belongs to the past that the present generation continues."""

    def number_of(self, position: int) -> int | None:
        """The generation that gave a position, as far as this node has read; None for one before the first."""

    async def grant(self, node: str, generation: Generation) -> bool:
        """Give `node` the licence to commit persisted messages; False when `generation` is not the newest."""

    async def revoke(self, node: str) -> None:
        """End a node's licence. Returns after its commits under way have ended; it cannot commit any more."""
