"""Finds broken promises in a history. Pure: a history in, anomalies out.

The promises are those of docs/protocol.md §5. A subscriber that received a gap may lack ephemeral events up
to the next one it handled; it may lack persisted messages and row changes only where the gap stands between two
epochs, which is where a backup was restored, and row changes also where the log of changes itself was
interrupted: its slot dropped, the table replaced.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from tests.faults.history import (
    Anomaly,
    Handled,
    Kind,
    Message,
    Place,
    RowChange,
    Shown,
    TableHistory,
    TopicHistory,
    Version,
)

_BEGINNING = Place(-1, -1)
_END = Place(1 << 60, 0)


class _Findings:
    """Anomalies, counted by kind and place, each with its first example."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str], tuple[str, int]] = {}

    def add(self, kind: Kind, where: str, detail: str, count: int = 1) -> None:
        first, before = self._found.get((kind, where), (detail, 0))
        self._found[kind, where] = (first, before + count)

    def anomalies(self) -> list[Anomaly]:
        return [Anomaly(kind, where, *rest) for (kind, where), rest in self._found.items()]


class _Pardon(NamedTuple):
    """Places between these two may lack ephemeral events and, if `kept`, persisted ones: a backup was restored."""

    after: Place
    before: Place
    kept: bool


def check_topic(history: TopicHistory) -> list[Anomaly]:
    """What is wrong with a custom channel."""
    findings = _Findings()
    for name, handled in history.handled.items():
        where = f"{name} on {history.topic}"
        _check_sequence(findings, where, history, handled)
        _check_complete(findings, where, history, name, handled)
    _check_agreement(findings, history)
    if history.stored is not None:
        _check_stored(findings, history, history.stored)
    return findings.anomalies()


def _check_sequence(findings: _Findings, where: str, history: TopicHistory, handled: Sequence[Handled]) -> None:
    """Phantoms, repeats, cursors that go back, publishers whose messages change places."""
    seen: dict[Message, tuple[Place, int]] = {}
    newest: dict[str, int] = {}
    overtaken = _overtaken(history)
    last, gaps, replaying = _BEGINNING, 0, False
    for place, what in handled:
        if what is None:
            gaps += 1
            newest.clear()
            replaying = True
            continue
        assert isinstance(what, Message), "custom channels carry messages"
        kept = history.sent.get(what)
        if kept is None:
            findings.add("phantom", where, f"{what} was never published")
        if replaying and not kept:  # what is lost and sent again may follow what was stored and is replayed
            newest.clear()
            replaying = False
        if what in seen:
            before, gaps_before = seen[what]
            again = gaps > gaps_before and (not kept or before.epoch != place.epoch)
            sent_anew = again or (kept and history.is_undone(before))
            if not sent_anew:
                findings.add("duplicated", where, f"{what} at {before} and at {place}")
        elif what.number <= newest.get(what.who, -1) and not overtaken(what, newest[what.who]):
            findings.add("reordered", where, f"{what} after number {newest[what.who]}")
        if place <= last:
            findings.add("reordered", where, f"{what} at {place} after {last}")
        seen[what] = place, gaps
        newest[what.who] = max(what.number, newest.get(what.who, -1)) if history.is_clustered else what.number
        last = place


def _overtaken(history: TopicHistory) -> Callable[[Message, int], bool]:
    """Whether a message may come after a later one of its publisher: it was acknowledged after it, or the
    connection broke, both were sent again, and only the later one had been accepted before."""
    if not history.is_clustered:
        return lambda what, number: False
    order = {what: at for at, what in enumerate(history.acknowledged)}
    never = len(order)

    def overtaken(what: Message, number: int) -> bool:
        later = Message(what.who, number)
        return later in history.repeated or order.get(what, never) > order.get(later, never)

    return overtaken


def _pardons(history: TopicHistory, name: str, handled: Sequence[Handled]) -> Iterator[_Pardon]:
    """What the gaps that a subscriber received account for."""
    following = ephemeral = history.ended.get(name, _END)
    after_gaps: list[tuple[int, Place, Place]] = []
    for index in range(len(handled) - 1, -1, -1):
        place, what = handled[index]
        if what is None:
            after_gaps.append((index, following, ephemeral))
            continue
        following = place
        if isinstance(what, Message) and not history.sent.get(what):
            ephemeral = place
    last, done = history.started.get(name, _BEGINNING), 0
    for index, following, ephemeral in reversed(after_gaps):
        last = next((each.place for each in reversed(handled[done:index]) if each.what is not None), last)
        done = index
        restored = any(after < following and last < before for after, before in history.undone)
        if restored or following.epoch != last.epoch or handled[index].place.epoch > last.epoch:
            yield _Pardon(last, following, kept=True)
        yield _Pardon(last, ephemeral, kept=False)


def _check_complete(
    findings: _Findings, where: str, history: TopicHistory, name: str, handled: Sequence[Handled]
) -> None:
    """Every acknowledged message was handled, or a gap reported that it might be missing."""
    started = history.started.get(name, _BEGINNING)
    seen = {each.what for each in handled}
    pardons = list(_pardons(history, name, handled))
    for what, place in history.acknowledged.items():
        if what in seen or place <= started:
            continue
        kept = history.sent.get(what, False)
        if any(each.after < place < each.before and (each.kept or not kept) for each in pardons):
            continue
        findings.add("lost" if kept else "unreported gap", where, f"{what}, acknowledged at {place}")


def _check_agreement(findings: _Findings, history: TopicHistory) -> None:
    """One order for all: at a place there is one message, for every subscriber and for its publisher."""
    where = f"all on {history.topic}"
    at: dict[Place, Message] = {}
    kept_at: dict[tuple[int, Message], Place] = {}
    for what, place in history.acknowledged.items():
        if history.sent.get(what):
            kept_at[place.epoch, what] = place
    for handled in history.handled.values():
        for place, seen in handled:
            if not isinstance(seen, Message):
                continue
            if at.setdefault(place, seen) != seen:
                findings.add("reordered", where, f"{seen} and {at[place]} both at {place}")
            if kept_at.get((place.epoch, seen), place) != place and not history.is_undone(place):
                findings.add("reordered", where, f"{seen} at {place}, acknowledged at another")


def _check_stored(findings: _Findings, history: TopicHistory, stored: Sequence[Message]) -> None:
    """The history holds every acknowledged persisted message once, in order, and nothing nobody sent."""
    where = f"history of {history.topic}"
    seen: set[Message] = set()
    newest: dict[str, int] = {}
    overtaken = _overtaken(history)
    for what in stored:
        if what in seen:
            findings.add("duplicated", where, str(what))
        elif what.number <= newest.get(what.who, -1) and not overtaken(what, newest[what.who]):
            findings.add("reordered", where, f"{what} after number {newest[what.who]}")
        if not history.sent.get(what):
            findings.add("phantom", where, f"{what} was not published to be kept")
        seen.add(what)
        newest[what.who] = max(what.number, newest.get(what.who, -1)) if history.is_clustered else what.number
    for what, place in history.acknowledged.items():
        if history.sent.get(what) and what not in seen and not history.is_undone(place):
            findings.add("lost", where, f"{what}, acknowledged at {place}")


def check_table(history: TableHistory) -> list[Anomaly]:
    """What is wrong with the table's subscribers."""
    findings = _Findings()
    made = {change.after.stamp for epoch in history.committed for change in epoch if change.after}
    for stamp in history.acknowledged:
        if stamp not in made:
            findings.add("lost", "the table", f"transaction {stamp} was acknowledged and is not there")
    for name, handled in history.handled.items():
        shown = history.shown.get(name)
        expected = [list(_view(epoch, shown)) for epoch in history.committed]
        seams = [
            [(_count(epoch[:begin], shown), _count(epoch[:end], shown)) for begin, end in there]
            for epoch, there in zip(history.committed, history.seams or [[] for _ in expected], strict=True)
        ]
        kept = [
            None if count is None else _count(epoch[:count], shown)
            for epoch, count in zip(history.committed, history.kept, strict=False)
        ]
        reached = partial(_reached, history, shown)
        _Follower(findings, f"{name} on the table", expected, seams, kept, reached).follow(handled)
    for name, (has, should) in history.states.items():
        differing = {key for key in has.keys() | should.keys() if has.get(key) != should.get(key)}
        if differing:
            example = min(differing)
            detail = f"row {example} is {has.get(example)}, not {should.get(example)}"
            findings.add("diverged", f"{name}'s rows", detail, len(differing))
    return findings.anomalies()


def check_members(reported: Mapping[str, Mapping[str, object]], present: Mapping[str, object]) -> list[Anomaly]:
    """Whom each subscriber takes for present at the end, by the events that it received."""
    findings = _Findings()
    for name, has in reported.items():
        differing = {each for each in has.keys() | present.keys() if has.get(each) != present.get(each)}
        if differing:
            example = min(differing)
            detail = f"{example} is {has.get(example, 'away')}, not {present.get(example, 'away')}"
            findings.add("diverged", f"{name}'s members", detail, len(differing))
    return findings.anomalies()


def _view(changes: Iterable[RowChange], shown: Shown | None) -> Iterator[Version]:
    """The changes as a filtered subscriber sees them: rows enter by INSERT and leave by DELETE."""
    for row, before, after in changes:
        was = before is not None and (shown is None or shown.holds(before))
        if after is not None and (shown is None or shown.holds(after)):
            yield Version("U" if was else "I", row, after.stamp)
        elif was and before is not None:
            yield Version("D", row, before.stamp)


def _reached(history: TableHistory, shown: Shown | None, gap: Place) -> int:
    """How many of the changes that a subscriber sees a gap leaves behind."""
    return _count(history.committed[gap.epoch][: history.reached(gap)], shown)


def _count(changes: Iterable[RowChange], shown: Shown | None) -> int:
    return sum(1 for _ in _view(changes, shown))


class _Follower:
    """Follows what one subscriber handled along what it should have handled; `seams` and `kept` are indexes into
    that."""

    def __init__(
        self,
        findings: _Findings,
        where: str,
        expected: list[list[Version]],
        seams: list[list[tuple[int, int]]],
        kept: list[int | None],
        reached: Callable[[Place], int],
    ) -> None:
        self._findings = findings
        self._where = where
        self._expected = expected
        self._seams = seams
        self._kept = kept
        self._reached = reached
        self._indexes: dict[int, dict[Version, int]] = {}
        self._epoch = 0
        self._next = 0
        self._reported: Place | None = None
        """Where the gap ends that was reported last."""

    def follow(self, handled: Iterable[Handled]) -> None:
        last: Place | None = None
        for place, what in handled:
            if what is None:
                self._reported = place
                continue
            assert isinstance(what, Version), "tables carry row changes"
            if last is not None and place <= last:
                self._findings.add("reordered", self._where, f"{what} at {place} after {last}")
            self._take(what, moved=last is not None and place.epoch != last.epoch)
            last = place
            self._reported = None
        if self._epoch < len(self._expected) - 1 and not self._reported and any(self._expected[self._epoch + 1 :]):
            self._findings.add("unreported gap", self._where, "a backup was restored, and it was never reported")
        elif self._epoch == len(self._expected) - 1:
            self._lose(len(self._expected[self._epoch]))

    def _take(self, what: Version, *, moved: bool) -> None:
        """`moved`: its cursor is of another epoch than the one before."""
        if self._is_next(what) and not (moved and self._reported):
            self._next += 1
            return
        here = self._index(self._epoch).get(what)
        later = self._later(what)
        if later is not None and (here is None or (moved and self._reported)):
            if not (self._reported or self._has_what_was_kept(later)):
                missing = f"from {self._wanted()} to {what}, over a restored backup"
                self._findings.add("unreported gap", self._where, missing)
            self._epoch, self._next = later
            self._next += 1
        elif here is None:
            earlier = any(what in self._index(epoch) for epoch in range(self._epoch))
            self._findings.add("reordered" if earlier else "phantom", self._where, str(what))
        elif here < self._next:
            self._findings.add("duplicated", self._where, f"{what}, {self._next - here} changes later")
        else:
            if not self._is_told(here):
                self._lose(here)
            self._next = here + 1

    def _is_told(self, here: int) -> bool:
        """Whether what is missing up to here is in a gap over a place where the log was interrupted."""
        gap = self._reported
        if gap is None:
            return False
        for begin, end in self._seams[self._epoch]:
            if begin <= here <= end:
                return True
            if begin <= here and self._next <= end and gap.epoch == self._epoch and here <= self._reached(gap):
                return True
        return False

    def _is_next(self, what: Version) -> bool:
        expected = self._expected[self._epoch]
        return self._next < len(expected) and expected[self._next] == what

    def _later(self, what: Version) -> tuple[int, int] | None:
        for epoch in range(self._epoch + 1, len(self._expected)):
            if what in self._index(epoch):
                return epoch, self._index(epoch)[what]
        return None

    def _has_what_was_kept(self, later: tuple[int, int]) -> bool:
        """Whether nothing was missed between here and there, and nothing handled that was undone."""
        epoch, here = self._epoch, self._next
        while epoch < later[0]:
            if epoch >= len(self._kept) or self._kept[epoch] != here:
                return False
            epoch, here = epoch + 1, 0
        return here == later[1]

    def _index(self, epoch: int) -> dict[Version, int]:
        """Where each change stands in an epoch; made when something is not where it should be."""
        if epoch not in self._indexes:
            self._indexes[epoch] = {version: at for at, version in enumerate(self._expected[epoch])}
        return self._indexes[epoch]

    def _wanted(self) -> str:
        expected = self._expected[self._epoch]
        return str(expected[self._next]) if self._next < len(expected) else "the end"

    def _lose(self, until: int) -> None:
        if until > self._next:
            self._findings.add("lost", self._where, self._wanted(), until - self._next)
