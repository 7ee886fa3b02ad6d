"""Reads what a run recorded into histories for the checker."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from tests.faults.child import TABLE, TOPICS
from tests.faults.decoded import INDEX_BITS
from tests.faults.history import (
    Cell,
    Handled,
    Message,
    Place,
    RowChange,
    Shown,
    TableHistory,
    TopicHistory,
    Version,
)
from tests.faults.journal import records
from tests.faults.plan import PUBLISHERS, SUBSCRIBERS, WRITERS

LIVE_SHOWN = Shown(3, 7)
SHOWN: dict[str, Shown | None] = {"sub-all": None, "sub-some": Shown(3, 7), "sub-node": None}
"""The rows that each subscriber sees."""


GENERATION_DIGITS = 5
"""A cluster's cursors of custom channels begin with the number of a generation of the journal: positions grow over
all generations, and nobody restores a cluster's backup."""


class Epochs:
    """To which time between two restorations each epoch of the run belongs.

    `noted`: the epochs as the suite learnt of them, each with how often a backup had been restored by then, and
    how often with the server stopped: one that runs continues with its clock, so the positions of custom
    channels continue, too. The first note counts.
    """

    def __init__(self, noted: Iterable[Sequence[str]]) -> None:
        self._restored: dict[str, tuple[int, int]] = {}
        for epoch, restored, stopped in noted:
            self._restored.setdefault(epoch, (int(restored), int(stopped)))

    def on_topic(self, cursor: str) -> Place:
        """The place of a custom channel's cursor, `<epoch>.<position>`. Raises UnknownEpoch."""
        epoch, _, position = cursor.partition(".")
        return Place(self._of(epoch)[1], int(position))

    def on_table(self, cursor: str) -> Place:
        """The place of a table's: as above, or PostgreSQL's `<epoch>.<place in the log, hexadecimal>.<index>`."""
        epoch, _, position = cursor.partition(".")
        lsn, dot, index = position.partition(".")
        place = (int(lsn, 16) << INDEX_BITS) + int(index.partition(".")[0]) if dot else int(position)
        return Place(self._of(epoch)[0], place)

    def _of(self, epoch: str) -> tuple[int, int]:
        if len(epoch) <= GENERATION_DIGITS and epoch.isdecimal():
            return 0, 0
        try:
            return self._restored[epoch]
        except KeyError:
            raise UnknownEpoch(epoch) from None


class UnknownEpoch(Exception):
    """An epoch that no restoration and no start has begun."""


class Records:
    """The files of one run."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.epochs = Epochs(records(place / "epochs"))

    def topic(self, name: str) -> TopicHistory:
        """One custom channel's part, without its stored messages."""
        history = TopicHistory(TOPICS[name])
        for publisher in PUBLISHERS:
            for kind, topic, who, number, *rest in records(self._place / f"{publisher}.published"):
                if topic != name:
                    continue
                if kind == "P":
                    history.sent[Message(who, int(number))] = rest[0] == "1"
                elif kind == "A":
                    history.acknowledged[Message(who, int(number))] = self.epochs.on_topic(rest[0])
                    if rest[1:] == ["1"]:
                        history.repeated.add(Message(who, int(number)))
        for subscriber in SUBSCRIBERS:
            if subscriber == "live":
                continue
            handled = history.handled[subscriber] = []
            for kind, cursor, *rest in self._handled(subscriber, name):
                place = self.epochs.on_topic(cursor)
                if kind == "X":
                    history.ended[subscriber] = place
                elif kind == "S":
                    history.started[subscriber] = place
                elif kind == "G":
                    handled.append(Handled(place, None))
                elif kind == "E":
                    handled.append(Handled(place, Message(rest[0], int(rest[1]))))
        for _, after, before, topic in records(self._place / "restorations"):
            if topic == f"{TOPICS[name]}/default":
                history.undone.append((self.epochs.on_topic(after), self.epochs.on_topic(before)))
        return history

    def table(self) -> TableHistory:
        """The table's part, without the final states."""
        history = TableHistory()
        number = 0
        numbers: list[list[int]] = []

        def reached(place: Place) -> int:
            """A cursor names where the commit begins in the log, the truth where it ends."""
            lsn, index = divmod(place.position, 1 << INDEX_BITS)
            return bisect_left(numbers[place.epoch], (lsn << INDEX_BITS) + 1) + index

        history.reached = reached
        while (path := self._place / f"truth.{number}").exists():
            numbered = list(_truth(path))
            numbers.append([place for place, _ in numbered])
            history.committed.append([change for _, change in numbered])
            history.seams.append(
                [
                    (
                        bisect_left(numbered, int(begin), key=itemgetter(0)),
                        bisect_left(numbered, int(end), key=itemgetter(0)),
                    )
                    for begin, end in records(self._place / f"seams.{number}")
                ]
            )
            kept = next(records(self._place / f"kept.{number}"), None)
            history.kept.append(None if kept is None else bisect_left(numbered, int(kept[0]), key=itemgetter(0)))
            number += 1
        for writer in WRITERS:
            history.acknowledged += [
                int(stamp) for kind, stamp in records(self._place / f"{writer}.written") if kind == "C"
            ]
        for subscriber, shown in SHOWN.items():
            history.shown[subscriber] = shown
            history.handled[subscriber] = _Changes(self, subscriber)
        return history

    def acknowledged_changes(self, history: TableHistory) -> int:
        """How many row changes the acknowledged transactions made."""
        stamps = set(history.acknowledged)
        stamps |= {stamp + 1 for stamp in stamps}
        removing = 0
        made = 0
        for epoch in history.committed:
            for change in epoch:
                if change.after is None:
                    removing += 1
                elif change.after.stamp in stamps:
                    made += 1
        return made + removing

    def handled_changes(self) -> int:
        """How many records all subscribers made of the table, counted as lines."""
        return sum((self._place / f"{name}.{TABLE}.handled").read_bytes().count(b"\n") for name in SHOWN)

    def changes(self, subscriber: str) -> Iterator[Handled]:
        """What a subscriber handled of the table."""
        for kind, cursor, *rest in self._handled(subscriber, TABLE):
            if kind == "G":
                yield Handled(self.epochs.on_table(cursor), None)
            elif kind in "RX":
                version = Version(rest[0], int(rest[1]), int(rest[2]))
                yield Handled(self.epochs.on_table(cursor), version)

    def _handled(self, subscriber: str, name: str) -> Iterator[list[str]]:
        return records(self._place / f"{subscriber}.{name}.handled")


class _Changes:
    """What a subscriber handled of the table, read from its file whenever it is iterated over."""

    def __init__(self, run: Records, subscriber: str) -> None:
        self._run = run
        self._subscriber = subscriber

    def __iter__(self) -> Iterator[Handled]:
        return self._run.changes(self._subscriber)


def _truth(path: Path) -> Iterator[tuple[int, RowChange]]:
    """The changes with their numbers, which only grow."""
    last = 0
    for fields in records(path):
        seq, row, old_n, old_grp, new_n, new_grp = (None if each == "-" else int(each) for each in fields)
        assert seq is not None
        assert row is not None
        if seq <= last:  # written down twice: the transaction that would have removed it failed
            continue
        last = seq
        yield seq, RowChange(row, _cell(old_n, old_grp), _cell(new_n, new_grp))


def _cell(stamp: int | None, value: int | None) -> Cell | None:
    return None if stamp is None or value is None else Cell(stamp, value)
