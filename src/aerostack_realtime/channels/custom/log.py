"""The recent events of one custom channel, for clients that resume, and the cursors that they resume from.

A cursor is `<epoch>.<position>`, opaque to clients. One journal item can change several members of a channel, for
example when a node died. All of these events but the last carry `<epoch>.<position - 1>-<n>`: everything before
the item, and `n` events of it. So a client that was cut off in the middle of them resumes with the rest.
"""

from collections import deque
from collections.abc import Callable
from typing import ClassVar, Protocol

from msgspec import Struct

from aerostack_realtime.backplane.base import Epochs
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.custom.budget import ENTRY_BYTES, Budget
from aerostack_realtime.channels.custom.streams import Stream
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.protocol import frames

RAW_BYTES = 250
"""The memory of an event that is not encoded yet, beside its data: its item and strings, by `sys.getsizeof`."""


class SentEvent(Struct, frozen=True, gc=False):
    """An event of the channel that subscribers were sent, or would have been.

    `frame` is what they receive: one WebSocket frame, or several where one journal item changed several members
    (`presence`). The end of a stream is kept as its `stream` instead, because subscribers lack different parts of
    it. `size` is what counts against the bounds. `without` is the connection that does not receive it: its
    publisher, with `echo` off. `stored`: it is a persisted message, so that the store has it as well.
    """

    position: int
    frame: bytes
    presence: bool
    size: int
    stream: Stream | None = None
    without: str | None = None
    stored: bool = False
    timestamp: ClassVar[int] = 0
    item: ClassVar[None] = None


class UnheardEvent(Struct, frozen=True, gc=False):
    """An event that nobody on this node heard, as its journal item; `at` is the journal's time in µs.

    Most events of a large cluster are kept like this and never asked for, so it holds what is there already.
    """

    position: int
    size: int
    at: int
    item: Publish
    frame: ClassVar[bytes] = b""
    presence: ClassVar[bool] = False
    stream: ClassVar[None] = None

    @property
    def timestamp(self) -> int:
        return self.at // 1000

    @property
    def without(self) -> str | None:
        return self.item.without

    @property
    def stored(self) -> bool:
        return self.item.persist


Entry = SentEvent | UnheardEvent
"""What a log keeps."""


class Bounds(Struct, frozen=True):
    """How much a log keeps: events, bytes of their frames, and for how many µs."""

    count: int = 1_000
    bytes: int = 1024 * 1024
    age: int = 120_000_000


class Log:
    """Events in the order they were sent, bounded by count, bytes and age, and by the budget of all logs.

    `start` is the position after which the log is complete: a client that has everything up to it misses
    nothing. `unrecorded` is the position after which the log and the message store together are.
    """

    __slots__ = (
        "_age",
        "_budget",
        "_bytes",
        "_entries",
        "_max_bytes",
        "_max_count",
        "_raw",
        "counters",
        "last",
        "queued",
        "start",
        "timed",
        "topic",
        "unrecorded",
    )

    def __init__(
        self,
        start: int,
        bounds: Bounds,
        budget: Budget,
        counters: ChannelCounters | None = None,
        topic: str = "",
    ) -> None:
        self.topic = topic
        self.counters = ChannelCounters() if counters is None else counters
        """Those of the channel's rule."""
        self.start = start
        self.unrecorded = start
        self.last = start
        self.queued = self.timed = False
        """The marks of the budget and of its expiry."""
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._raw = False
        self._max_count = bounds.count
        self._max_bytes = bounds.bytes
        self._age = bounds.age
        self._budget = budget

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """The bytes that count against the bounds."""
        return self._bytes

    @property
    def oldest(self) -> int:
        """The position of the oldest event; the log must not be empty."""
        return self._entries[0].position

    @property
    def due(self) -> int:
        """The position at which the oldest event becomes too old; the log must not be empty."""
        return self._entries[0].position + self._age

    def append(self, position: int, frame: bytes, *, presence: bool = False) -> None:
        """Keep an event whose frame is sent."""
        self.add(SentEvent(position, frame, presence, len(frame)))

    def append_item(self, position: int, at: int, item: Publish) -> None:
        """Keep an event that nobody on this node hears; `encode` makes its frame when somebody asks. `at` is the
        journal's time in µs."""
        size = len(item.data) + RAW_BYTES
        entries, budget = self._entries, self._budget
        kept, spent = self._bytes + size, budget.spent + ENTRY_BYTES + size
        self.counters.events += 1
        if (
            self._raw
            and position > self.last
            and 0 < len(entries) < self._max_count
            and kept <= self._max_bytes
            and spent <= budget.limit
        ):
            self.last = position
            entries.append(UnheardEvent(position, size, at, item))
            self._bytes = kept
            budget.spent = spent
        else:
            self._raw = True
            self.add(UnheardEvent(position, size, at, item))

    def append_stream(self, position: int, stream: Stream) -> None:
        """Keep a stream that has ended."""
        self.add(SentEvent(position, b"", False, stream.size + RAW_BYTES, stream))

    def add(self, entry: Entry) -> None:
        """Keep an event, and drop the oldest ones beyond the bounds.

        An event from before the log's start is not kept: it waited for its commit while the log was restarted.
        """
        position, entries, budget = entry.position, self._entries, self._budget
        if position <= self.last:
            self._assert_before_start(position)
            return
        self.last = position
        change = ENTRY_BYTES + entry.size
        kept, spent = self._bytes + entry.size, budget.spent + change
        if 0 < len(entries) < self._max_count and kept <= self._max_bytes and spent <= budget.limit:
            entries.append(entry)
            self._bytes = kept
            budget.spent = spent
            return
        first = not entries
        entries.append(entry)
        while len(entries) > self._max_count or kept > self._max_bytes:  # as `drop`, for a log that is full
            gone = entries.popleft()
            kept -= gone.size
            change -= ENTRY_BYTES + gone.size
            self.start = gone.position
            if not gone.stored:
                self.unrecorded = gone.position
        self._bytes = kept
        budget.spent += change
        if not entries:
            if not first:
                budget.emptied(self)
        elif first:
            budget.filled(self)
        if budget.spent > budget.limit:
            budget.make_room()

    def encode(self, frame_of: Callable[[int, int, Publish], bytes]) -> None:
        """Make the frames of all events that were kept as items. `frame_of` gets position, timestamp and item."""
        if not self._raw:
            return
        self._raw = False
        encoded: deque[Entry] = deque()
        for entry in self._entries:
            if entry.item is not None:
                frame = frame_of(entry.position, entry.timestamp, entry.item)
                change = len(frame) - entry.size
                self._bytes += change
                self._budget.spent += change
                item = entry.item
                entry = SentEvent(entry.position, frame, False, len(frame), None, item.without, item.persist)
            encoded.append(entry)
        self._entries = encoded
        while self._bytes > self._max_bytes:
            self.drop()
        self._budget.make_room()

    def rebound(self, bounds: Bounds) -> None:
        """Keep what these bounds allow, from now on."""
        self._max_count, self._max_bytes, self._age = bounds.count, bounds.bytes, bounds.age
        while len(self._entries) > self._max_count or self._bytes > self._max_bytes:
            self.drop()

    def expire(self, now: int) -> None:
        """Forget what is too old at the position `now`."""
        before = now - self._age
        while self._entries and self._entries[0].position < before:
            self.drop()

    def after(self, position: int, parts: int = 0) -> tuple[list[Entry], bool]:
        """The entries after `position`, and whether they are all that there ever were.

        `parts` is how many frames of the entry at the next position the client already has.
        """
        found = [entry for entry in self._entries if entry.position > position]
        if parts and found and found[0].position == position + 1:
            found[0] = _without_first(found[0], parts)
        return found, position >= self.start

    def compacted(self, until: int) -> None:
        """Persisted messages up to a position may be gone from the store."""
        self.unrecorded = max(self.unrecorded, until)

    def newest_stored(self, until: int) -> int:
        """The position of the newest persisted message up to `until` that this log knows; 0 if it knows none."""
        found = self.start if self.unrecorded < self.start <= until else 0
        for entry in self._entries:
            if entry.position > until:
                break
            if entry.stored:
                found = entry.position
        return found

    def drop(self) -> None:
        """Forget the oldest event."""
        entry = self._entries.popleft()
        self._bytes -= entry.size
        self.start = entry.position
        if not entry.stored:
            self.unrecorded = entry.position
        self._budget.spent -= ENTRY_BYTES + entry.size
        if not self._entries:
            self._budget.emptied(self)

    def _assert_before_start(self, position: int) -> None:
        assert position <= self.start, "positions of a channel only grow"

    def restart(self, position: int) -> None:
        """Forget everything: the log is complete only after `position` from now on."""
        while self._entries:
            self.drop()
        self.start = self.last = self.unrecorded = max(position, self.last)

    def lack(self, position: int) -> None:
        """An event up to a position is missing: the log is complete only after it."""
        while self._entries and self._entries[0].position <= position:
            self.drop()
        self.start = max(position, self.start)
        self.last = max(position, self.last)

    def remove(self, position: int) -> None:
        """Take out an event that turned out to repeat an earlier one."""
        kept = deque(entry for entry in self._entries if entry.position != position)
        removed = [entry for entry in self._entries if entry.position == position]
        self._entries = kept
        for entry in removed:
            self._bytes -= entry.size
            self._budget.spent -= ENTRY_BYTES + entry.size
            if not kept:
                self._budget.emptied(self)


def _without_first(entry: Entry, parts: int) -> Entry:
    frame = entry.frame
    for _ in range(parts):
        frame = frame[frames.size(frame) :]
    return SentEvent(entry.position, frame, entry.presence, entry.size)


class JournalEpochs(Epochs, Protocol):
    """The part of a journal that cursors are made of."""

    def epoch_of(self, position: int) -> str: ...


class Cursors:
    """`epochs` is the journal."""

    def __init__(self, epochs: JournalEpochs) -> None:
        self._epochs = epochs

    @property
    def epoch(self) -> str:
        """What the cursors of events that are delivered for the first time begin with."""
        return self._epochs.epoch

    def epoch_of(self, position: int) -> str:
        """What the cursor of an event begins with; see `of`."""
        return self._epochs.epoch_of(position)

    def at(self, position: int) -> str:
        return f"{self._epochs.epoch}.{position}"

    def of(self, position: int) -> str:
        """The cursor that an event had when it was delivered, which may have been in an earlier epoch: clients
        recognise repeats by it."""
        return f"{self._epochs.epoch_of(position)}.{position}"

    def of_part(self, position: int, part: int, parts: int) -> str:
        """The cursor of event number `part`, counted from 1, of the `parts` events that one item caused."""
        return self.at(position) if part == parts else f"{self.at(position - 1)}-{part}"

    def position(self, cursor: str) -> int:
        """The position that a cursor names; -1, before everything, for a cursor of another journal."""
        return self.place(cursor)[0]

    def place(self, cursor: str) -> tuple[int, int]:
        """The position that a cursor names, and how many events of the next item its client has."""
        epoch, _, place = cursor.rpartition(".")
        written, _, parts = place.partition("-")
        if not _is_number(written):
            return -1, 0
        position = int(written)
        if epoch != self._epochs.epoch and not self._epochs.understands(epoch, position):
            return -1, 0
        return position, int(parts) if _is_number(parts) else 0


def _is_number(text: str) -> bool:
    return len(text) < 20 and text.isascii() and text.isdecimal()
