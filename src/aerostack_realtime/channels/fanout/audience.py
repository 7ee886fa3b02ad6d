"""Fan-out: the subscribers that receive the same bytes, and one shared buffer per loop tick.

The whole cost of a delivery is in `Audience.flush`: no `await`, no task, no queue and no encoding per
subscriber. docs/performance.md has the figures.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct

from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.slow_consumers import SlowConsumers
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.protocol.deflate import compressed
from aerostack_realtime.records import ConnectionRecords


class Behind(Struct, eq=False):
    """A subscriber that left live delivery: whether it hears presence, and the frames since then that are not for
    it."""

    presence: bool
    withheld: list[bytes] = []


Writers = tuple[Callable[[bytes], None], Callable[[], int]]
"""How a subscriber is written to, and how much waits for it."""
FellBehind = Callable[["Audience", Subscriber, Behind, Sequence[bytes]], bool]
"""Called when a subscriber leaves live delivery after these frames. Returns whether a log will serve the frames
that follow them; otherwise the subscriber is closed as too slow."""


class Audience:
    """Subscribers of one stream of frames.

    `defer` is called with the audience when its buffer gets its first frame: the owner of the audience flushes it
    at the end of the tick. Subscribers with a policy of their own are kept apart, whether they are slow or not;
    `lag` is called when the first of them is. `counters` are those of the channel's rule. Any other subscriber for
    which more than `live_limit` bytes wait leaves live delivery if `fell_behind` accepts it, until it is added
    again; it is `limit` unless a log that forgets nothing serves those who leave.
    `records` learn which subscribers with a policy are slow.

    An audience that `notes_events` keeps the sizes of its channel's events. Everyone in live delivery with
    presence is sent them, so `count` multiplies them by that number: when it changes, and when the counters are
    read. All other audiences count when they are flushed.
    """

    __slots__ = (
        "_behind",
        "_compressed",
        "_defer",
        "_fell_behind",
        "_frames",
        "_lag",
        "_limit",
        "_live_limit",
        "_noted",
        "_presence",
        "_records",
        "_slow",
        "_with_presence",
        "_withheld",
        "_without_presence",
        "counters",
        "notes_events",
    )

    def __init__(
        self,
        defer: "Callable[[Audience], None]",
        limit: int,
        lag: Callable[[SlowConsumers], None],
        counters: ChannelCounters | None = None,
        fell_behind: FellBehind | None = None,
        records: ConnectionRecords | None = None,
        live_limit: int | None = None,
    ) -> None:
        self._behind: dict[Subscriber, Behind] = {}
        self._fell_behind = fell_behind
        self.counters = ChannelCounters() if counters is None else counters
        self._records = records
        self._defer = defer
        self._lag = lag
        self._limit = limit
        self._live_limit = limit if live_limit is None else live_limit
        self._with_presence: dict[Subscriber, Writers] = {}
        self._compressed: dict[Subscriber, Writers] = {}
        """Those with presence that negotiated compression."""
        self._without_presence: set[Subscriber] = set()
        self._slow: SlowConsumers | None = None
        self._frames: list[bytes] = []
        self.notes_events = False
        self._noted: list[int] | None = None
        """The sizes of the frames of events since the last `count`, if there were any."""
        self._presence: list[int] = []
        self._withheld: dict[Subscriber, list[int]] = {}

    def __len__(self) -> int:
        loud = len(self._with_presence) + len(self._compressed)
        return loud + len(self._without_presence) + len(self._slow or ()) + len(self._behind)

    def add(self, subscriber: Subscriber, *, presence: bool, policy: Policy | None = None) -> None:
        """Send what is appended from now on to `subscriber`, and nothing that was appended before."""
        self.flush()
        self.remove(subscriber)
        if policy is not None:
            if self._slow is None:
                self._slow = SlowConsumers(self._lag, self._limit, self.counters, self._records)
            self._slow.add(subscriber, policy, presence=presence)
        elif presence and subscriber.write_shared is not None:
            self._compressed[subscriber] = (subscriber.write_shared, subscriber.buffered)
        elif presence:
            self.count()
            self._with_presence[subscriber] = (subscriber.write, subscriber.buffered)
        else:
            self._without_presence.add(subscriber)

    def remove(self, subscriber: Subscriber) -> None:
        """Send nothing more to `subscriber`, not even what waits for the end of the tick."""
        if subscriber in self._with_presence:
            self.count()
            if self.notes_events and self._frames:  # it is not sent these, which are counted
                self.counters.deliveries -= len(self._frames)
                self.counters.bytes -= sum(map(len, self._frames))
            del self._with_presence[subscriber]
        self._compressed.pop(subscriber, None)
        self._without_presence.discard(subscriber)
        self._withheld.pop(subscriber, None)
        self._behind.pop(subscriber, None)
        if self._slow is not None:
            self._slow.remove(subscriber)
            if not len(self._slow):
                self._slow = None

    def hears_presence(self, subscriber: Subscriber) -> bool | None:
        """Whether a subscriber receives presence; None unless it is in live delivery without a policy."""
        if subscriber in self._with_presence or subscriber in self._compressed:
            return True
        return False if subscriber in self._without_presence else None

    def is_behind(self, subscriber: Subscriber, behind: Behind) -> bool:
        """Whether a subscriber has neither left nor returned to live delivery since it fell behind."""
        return self._behind.get(subscriber) is behind

    def append(
        self,
        frame: bytes,
        presence: bool = False,
        without: Subscriber | None = None,
        event_size: int | None = None,
    ) -> None:
        """Send a frame at the end of the tick to all but `without`; `presence` not to the quiet ones. `event_size`
        is its size if it is to be counted as an event of the channel, whose audience notes events."""
        if event_size is not None:
            noted = self._noted
            if noted is None:
                noted = self._noted = []
                self.counters.noting.append(self)
            noted.append(event_size)
        elif self.notes_events:
            everyone = len(self._with_presence)
            self.counters.deliveries += everyone
            self.counters.bytes += len(frame) * everyone
        frames = self._frames
        if not frames:
            if not (self._with_presence or self._compressed or self._without_presence or self._slow is not None):
                if without is not None:
                    self._withhold(without, frame)
                return
            self._defer(self)
        if presence:
            self._presence.append(len(frames))
        if without is not None:
            self._withheld.setdefault(without, []).append(len(frames))
            self._withhold(without, frame)
        frames.append(frame)

    def flush(self) -> None:
        """Write the buffer to every subscriber."""
        frames = self._frames
        if not frames:
            return
        self._frames = []
        chunk = frames[0] if len(frames) == 1 else b"".join(frames)
        if not self.notes_events:
            everyone = len(self._with_presence)
            self.counters.deliveries += len(frames) * everyone
            self.counters.bytes += len(chunk) * everyone
        shared = chunk
        if self._compressed:
            shared = compressed(chunk)
            self.counters.deliveries += len(frames) * len(self._compressed)
            self.counters.bytes += len(shared) * len(self._compressed)
        if self._presence or self._withheld or self._without_presence or self._slow is not None:
            self._write_to_each(frames, chunk, shared)
            return
        slow: list[Subscriber] = []
        self._write_to_all(self._with_presence, chunk, slow)
        if self._compressed:
            self._write_to_all(self._compressed, shared, slow)
        if slow:
            self._leave_live(slow, frames, chunk, [], {})

    def count(self) -> None:
        """Count the events that were noted."""
        if self._noted is not None:
            noted, self._noted = self._noted, None
            counters, everyone = self.counters, len(self._with_presence)
            counters.events += len(noted)
            counters.deliveries += len(noted) * everyone
            counters.bytes += sum(noted) * everyone

    def _write_to_each(self, frames: list[bytes], chunk: bytes, shared: bytes) -> None:
        """Write the buffer, `shared` when it is compressed, where subscribers receive different parts of it."""
        withheld, self._withheld = self._withheld, {}
        presence, self._presence = self._presence, []
        self._count_others(len(frames), len(presence), sum(map(len, withheld.values())))
        slow: list[Subscriber] = []
        limit = self._live_limit
        if not withheld:
            self._write_to_all(self._with_presence, chunk, slow)
            self._write_to_all(self._compressed, shared, slow)
        else:
            for subscriber in (*self._with_presence, *self._compressed):
                _write(subscriber, _chunk(frames, chunk, withheld.get(subscriber, ())), limit, slow)
        if self._without_presence:
            spoken = _chunk(frames, chunk, presence)
            self.counters.bytes += len(spoken) * len(self._without_presence)
            for subscriber in self._without_presence:
                own = withheld.get(subscriber)
                part = spoken if own is None else _chunk(frames, chunk, {*own, *presence})
                _write(subscriber, part, limit, slow)
        if self._slow is not None:
            lost: list[Subscriber] = []
            self._slow.write(frames, chunk, presence, withheld, lost)
            for subscriber in lost:
                subscriber.overflow()
        if slow:
            self._leave_live(slow, frames, chunk, presence, withheld)

    def _withhold(self, subscriber: Subscriber, frame: bytes) -> None:
        behind = self._behind.get(subscriber)
        if behind is not None:
            behind.withheld.append(frame)

    def _leave_live(
        self,
        slow: Sequence[Subscriber],
        frames: list[bytes],
        chunk: bytes,
        presence: list[int],
        withheld: Mapping[Subscriber, Collection[int]],
    ) -> None:
        """Send slow subscribers this buffer as their last, so that the log continues after its last frame."""
        self.counters.slow_resume += len(slow)
        for subscriber in slow:
            behind = Behind(self.hears_presence(subscriber) is True)
            left_out = {*(() if behind.presence else presence), *withheld.get(subscriber, ())}
            self.remove(subscriber)
            if self._fell_behind is None or not self._fell_behind(self, subscriber, behind, frames):
                subscriber.overflow()
                continue
            self._behind[subscriber] = behind
            if part := _chunk(frames, chunk, left_out):
                try_write(subscriber, part)

    def _count_others(self, frames: int, presence: int, withheld: int) -> None:
        """Count the deliveries that differ from `frames` to each subscriber with presence."""
        counters, slow = self.counters, len(self._slow or ())
        counters.deliveries += (frames - presence) * len(self._without_presence) + frames * slow - withheld
        if presence:
            hearing = presence * (len(self._with_presence) + len(self._compressed) + slow)
            counters.deliveries -= hearing
            counters.presence_deliveries += hearing

    def _write_to_all(self, targets: Mapping[Subscriber, Writers], chunk: bytes, slow: list[Subscriber]) -> None:
        """The fan-out loop. A lost connection raises and is skipped: a `try` that catches nothing is free since
        Python 3.11."""
        limit = self._live_limit
        for subscriber, (write, buffered) in targets.items():
            if buffered() > limit:
                slow.append(subscriber)
                continue
            try:  # noqa: SIM105 - suppress() costs more than the rest of this
                write(chunk)
            except RuntimeError:
                pass


def _chunk(frames: list[bytes], chunk: bytes, left_out: Collection[int]) -> bytes:
    if not left_out:
        return chunk
    return b"".join(frame for index, frame in enumerate(frames) if index not in left_out)


def _write(subscriber: Subscriber, part: bytes, limit: int, slow: list[Subscriber]) -> None:
    if subscriber.buffered() > limit:
        slow.append(subscriber)
    elif part:
        try_write(subscriber, part)
