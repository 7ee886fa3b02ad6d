"""What happened in a run, as the checker needs it: plain data, recorded or invented.

A *place* is where an event stands: how many backups had been restored, which is called the epoch here, and the
position since then. Places of one channel can be compared.
"""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from msgspec import Struct, field

Kind = Literal[
    "lost", "duplicated", "reordered", "phantom", "unreported gap", "diverged", "flicker", "stuck", "crashed"
]
KINDS: tuple[Kind, ...] = (
    "lost",
    "duplicated",
    "reordered",
    "phantom",
    "unreported gap",
    "diverged",
    "flicker",
    "stuck",
    "crashed",
)


class Place(NamedTuple):
    """A position in an epoch."""

    epoch: int
    position: int


class Anomaly(Struct, frozen=True):
    """A broken promise: `where` names the subscriber and topic, `detail` the first event of `count`."""

    kind: Kind
    where: str
    detail: str
    count: int = 1


class Message(NamedTuple):
    """What identifies a published message: who published it (one life of a process), and its number there."""

    who: str
    number: int


class Handled(NamedTuple):
    """A subscriber's handlers have finished with an event; `what` is None for a gap."""

    place: Place
    what: "Message | Version | None"


class Version(NamedTuple):
    """What identifies a row change: `I`, `U` or `D`, the row, and the stamp of the version that an insert or
    update made, or that a delete removed. Stamps are never used twice."""

    operation: str
    row: int
    stamp: int


class Cell(NamedTuple):
    """One version of a row: its stamp, and its value in the filtered column."""

    stamp: int
    value: int


class RowChange(NamedTuple):
    """A committed change of a row; None where there is no row."""

    row: int
    before: Cell | None
    after: Cell | None


class TopicHistory(Struct):
    """One custom channel.

    `sent`: every message a publisher was about to send, and whether it was to be kept. `acknowledged`: with
    the place that the acknowledgement named. `handled`: by subscriber, from its `started` place on, up to the
    place where it `ended`.
    `is_clustered`: a message that was not acknowledged because its node died is sent again, through another node,
    after messages of the same publisher that were acknowledged meanwhile. `repeated`: those that were acknowledged
    when they were sent again, at the place of their first sending, whose acknowledgement was lost.
    `stored`: what the history call gives at the end, oldest first. `undone`: places between two such pairs
    were taken back by the restoration of a backup.
    """

    topic: str
    sent: dict[Message, bool] = field(default_factory=dict)
    acknowledged: dict[Message, Place] = field(default_factory=dict)
    repeated: set[Message] = field(default_factory=set)
    started: dict[str, Place] = field(default_factory=dict)
    ended: dict[str, Place] = field(default_factory=dict)
    handled: dict[str, list[Handled]] = field(default_factory=dict)
    stored: list[Message] | None = None
    undone: list[tuple[Place, Place]] = field(default_factory=list)
    is_clustered: bool = False

    def is_undone(self, place: Place) -> bool:
        return any(after < place < before for after, before in self.undone)


class Shown(NamedTuple):
    """The rows a subscriber sees: those whose filtered column is in the half-open range; None for all."""

    low: int
    high: int

    def holds(self, cell: Cell) -> bool:
        return self.low <= cell.value < self.high


class TableHistory(Struct):
    """The watched table.

    `committed`: the changes of each time between two restorations, in the order of their commits. `seams`: for
    each of these times, between which two of its changes (as indexes) the log may have been interrupted: what
    comes before the second may be missing for a subscriber that received a gap there. None given: there are none.
    `reached`: how many of its time's changes a gap leaves behind, by its place: as long as the server takes to see
    what befell the table, more may be missing than before the second, up to there.
    `kept`: for each of them but the last, how many of its changes the backup had that was restored then: a
    subscriber that had handled these and no more continues without a gap. None given: each subscriber gets one.
    `acknowledged`: stamps of acknowledged transactions, each of which made a version. `shown`: which rows
    each subscriber sees. `handled` is iterated over once for each subscriber. `states`: by subscriber, the rows
    it shows at the end and the rows there are.
    """

    committed: list[list[RowChange]] = field(default_factory=list)
    seams: list[list[tuple[int, int]]] = field(default_factory=list)
    reached: Callable[[Place], int] = lambda _: 0
    kept: list[int | None] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    shown: dict[str, Shown | None] = field(default_factory=dict)
    handled: dict[str, Iterable[Handled]] = field(default_factory=dict)
    states: dict[str, tuple[dict[str, object], dict[str, object]]] = field(default_factory=dict)
