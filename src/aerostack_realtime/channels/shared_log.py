"""Parts of tables' logs that clients which resume have in common: each is read once, and encoded once for a view.

After a restart thousands of clients resume from the same change, or from one of a few. What was read for the first
of them serves the others, also if they begin at another change in it. A part stays the end of the log until a
change of its table is delivered; until then a client can resume from it at once, without reading anything. What is
read after that extends the part.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct, field

from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.channels.tables.views import View, ViewDefinition
from aerostack_realtime.database.base import Change, ChangeFeed, Replay, Row
from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError

MOST_BYTES: Final = 8 << 20
"""Of all parts that are kept, with their frames."""
PART_CHANGES: Final = 1_000
PART_BYTES: Final = 1 << 20
"""A part is not extended beyond these: a client is sent a section of it at once."""
PLACE_BYTES: Final = 250
"""Memory of a place: its key, its value, and the cursor."""
CHANGE_BYTES: Final = 600
"""Memory of a change beside its texts."""
LONGEST_CHAIN: Final = 16
"""Parts that are followed to the end of a log at once."""
IDLE_SWEEPS: Final = 10
"""Seconds after which parts that nobody uses are dropped."""

Found = Callable[["Section"], None]
Failed = Callable[[AerostackError], None]


class _Frames(Struct):
    """The frames of a part's changes `first` to `until` (exclusive) for one view, each with its change's number,
    and joined by the number with which they begin."""

    first: int
    until: int
    frames: list[tuple[int, bytes]] = field(default_factory=list)
    joined: dict[int, bytes] = field(default_factory=dict)


class LogPart(Struct, eq=False):
    """A part of a table's log, up to `cursor`. `is_end`: no change of the table was delivered since it was read.
    `is_kept`: others can find it. `size` is its memory in bytes, of which its frames take `frame_bytes`."""

    table: str
    changes: list[Change]
    cursor: str
    is_end: bool
    is_kept: bool = True
    size: int = 0
    frame_bytes: int = 0
    places: list[str] = field(default_factory=list)
    frames: dict[tuple[str, ViewDefinition], _Frames] = field(default_factory=dict)


class Section(Struct, frozen=True):
    """What follows a cursor in a part: its changes from number `first` on. `recovered` is False when changes are
    missing before them."""

    part: LogPart
    first: int
    recovered: bool


class SharedLog:
    """The parts that were read last, about `most` bytes of them, and the reads that are under way."""

    def __init__(self, changes: ChangeFeed, most: int = MOST_BYTES) -> None:
        self._changes = changes
        self._most = most
        self._size = 0
        self._idle = 0
        self._parts: deque[LogPart] = deque()
        self._places: dict[tuple[str, str], Section] = {}
        self._followed: dict[tuple[str, str], LogPart] = {}
        """The parts by the cursors at which they end."""
        self._ends: dict[str, list[LogPart]] = {}
        """The parts that are the end of a table's log, by table."""
        self._reads: dict[tuple[str, str], list[tuple[Found, Failed]]] = {}

    # --- for clients that resume -------------------------------------------------------------------------

    def read(self, table: str, since: str, then: Found, failed: Failed) -> None:
        """Call `then` with the section after a cursor, at once if it was read before. If its part is the end of
        the log, the next change that is delivered follows it, as long as `then` does not wait. Otherwise call this
        again with the part's cursor."""
        self._idle = 0
        section = self._places.get((table, since))
        if section is not None:
            then(section)
            return
        waiting = self._reads.get((table, since))
        if waiting is not None:
            waiting.append((then, failed))
            return
        waiting = self._reads[table, since] = [(then, failed)]

        def read(replay: Replay) -> None:
            is_current = self._ended(table, since, waiting)
            section = self._add(table, since, replay) if is_current else _unshared(table, replay)
            for each, _ in waiting:
                each(section)

        def not_read(error: AerostackError) -> None:
            self._ended(table, since, waiting)
            for _, each in waiting:
                each(error)

        self._changes.replay(table, since, read, not_read)

    def to_the_end(self, table: str, since: str) -> list[Section] | None:
        """The sections from a cursor to the end of the log, if all of it was read before and nothing is missing
        between them."""
        sections: list[Section] = []
        while len(sections) < LONGEST_CHAIN:
            section = self._places.get((table, since))
            if section is None or (sections and not section.recovered):
                return None
            sections.append(section)
            if section.part.is_end:
                self._idle = 0
                return sections
            since = section.part.cursor
        return None

    def frames(self, section: Section, channel: TableChannel, view: View) -> bytes:
        """The frames of a section as a view shows it. Raises RuleFailed, if a rule fails on one of its rows."""
        part, first, until = section.part, section.first, len(section.part.changes)
        if first == until:
            return b""
        key = (channel.topic, view.definition)
        known = part.frames.get(key)
        if known is None:
            known = _Frames(until, until)
        elif known.until == until and (data := known.joined.get(first)) is not None:
            return data
        before = channel.numbered(part.changes[first : known.first], view, first)
        after = channel.numbered(part.changes[known.until :], view, known.until)
        if after:
            known.joined.clear()
        known.frames = [*before, *known.frames, *after]
        known.first, known.until = min(first, known.first), until
        known.joined[first] = data = b"".join([frame for number, frame in known.frames if number >= first])
        part.frames[key] = known
        self._grow(part, PLACE_BYTES + len(data) + sum(len(frame) for _, frame in (*before, *after)), frames=True)
        return data

    # --- what happens to the log -------------------------------------------------------------------------

    def changed(self, table: str) -> None:
        """Changes of a table are delivered now."""
        for part in self._ends.pop(table, ()):
            part.is_end = False
            end = self._places.get((table, part.cursor))
            if end is not None and end.part is part:
                del self._places[table, part.cursor]  # what follows it has to be read

    def interrupted(self, table: str) -> None:
        """A table's log was interrupted: what was read before serves nobody else, nor what is being read."""
        for key in [each for each in self._reads if each[0] == table]:
            del self._reads[key]
        for part in [each for each in self._parts if each.table == table]:
            self._parts.remove(part)
            self._forget(part)

    def sweep(self) -> None:
        """Drop the parts after a while in which nobody used them. Call it once a second."""
        self._idle += 1
        if self._idle > IDLE_SWEEPS:
            while self._parts:
                self._forget(self._parts.popleft())

    # --- inside ------------------------------------------------------------------------------------------

    def _ended(self, table: str, since: str, waiting: list[tuple[Found, Failed]]) -> bool:
        """A read has ended; whether its table was not interrupted meanwhile."""
        is_current = self._reads.get((table, since)) is waiting
        if is_current:
            del self._reads[table, since]
        return is_current

    def _add(self, table: str, since: str, replay: Replay) -> Section:
        section = self._same(table, replay) or self._extended(table, since, replay)
        if section is None:
            section = _unshared(table, replay)
            section.part.is_kept = True
            self._parts.append(section.part)
            self._take(section.part, 0, replay)
        self._place(since, section)
        self._make_room()
        return section

    def _same(self, table: str, replay: Replay) -> Section | None:
        """Where a part has what was read again, since it was read from another cursor."""
        first = replay.changes[0].cursor if replay.changes else replay.cursor
        known = self._places.get((table, first))
        if known is None or replay.more or not known.part.is_end:
            return None
        number = known.first - 1 if replay.changes else known.first
        is_same = number >= 0 and len(known.part.changes) - number == len(replay.changes)
        return Section(known.part, number, replay.recovered) if is_same else None

    def _extended(self, table: str, since: str, replay: Replay) -> Section | None:
        """The part that ended where this was read, with it at its end."""
        part = self._followed.get((table, since))
        if part is None or not replay.recovered or part.is_end:
            return None
        first = len(part.changes)
        size = part.size - part.frame_bytes + sum(map(_size, replay.changes))
        if first + len(replay.changes) > PART_CHANGES or size > PART_BYTES:
            return None
        del self._followed[table, since]
        part.changes.extend(replay.changes)
        part.cursor, part.is_end = replay.cursor, not replay.more
        self._take(part, first, replay)
        return Section(part, first, recovered=True)

    def _take(self, part: LogPart, first: int, replay: Replay) -> None:
        """A part has what was read from number `first` on."""
        self._grow(part, PLACE_BYTES + sum(map(_size, replay.changes)))
        self._followed[part.table, part.cursor] = part
        if part.is_end:
            self._ends.setdefault(part.table, []).append(part)
        if not replay.recovered:
            return
        for number, change in enumerate(replay.changes, first + 1):
            if part.is_end or change.cursor != part.cursor:
                self._place(change.cursor, Section(part, number, recovered=True))
        if part.is_end:
            self._place(part.cursor, Section(part, len(part.changes), recovered=True))

    def _place(self, cursor: str, section: Section) -> None:
        self._places[section.part.table, cursor] = section
        section.part.places.append(cursor)
        self._grow(section.part, PLACE_BYTES)

    def _grow(self, part: LogPart, size: int, *, frames: bool = False) -> None:
        if not part.is_kept:
            return
        part.size += size
        self._size += size
        if frames:
            part.frame_bytes += size
            if part.frame_bytes > self._most // 2:  # each client has a view of its own
                self._size -= part.frame_bytes
                part.size -= part.frame_bytes
                part.frame_bytes = 0
                part.frames.clear()
            self._make_room()

    def _make_room(self) -> None:
        while self._size > self._most:
            self._forget(self._parts.popleft())

    def _forget(self, part: LogPart) -> None:
        part.is_kept = False
        self._size -= part.size
        if part.is_end:
            self._ends[part.table].remove(part)
        if self._followed.get((part.table, part.cursor)) is part:
            del self._followed[part.table, part.cursor]
        for cursor in part.places:
            place = (part.table, cursor)
            if place in self._places and self._places[place].part is part:
                del self._places[place]


def _unshared(table: str, replay: Replay) -> Section:
    """What was read, for those alone who waited for it."""
    part = LogPart(table, list(replay.changes), replay.cursor, not replay.more, is_kept=False)
    return Section(part, 0, replay.recovered)


def _size(change: Change) -> int:
    """About how much memory a change takes."""
    return CHANGE_BYTES + _texts(change.data) + (0 if change.old is None else _texts(change.old))


def _texts(row: Row) -> int:
    return sum(_length(value) for value in row.values())


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    return len(messages.encode(value)) if isinstance(value, dict | list) else 0
