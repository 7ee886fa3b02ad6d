"""Subscribers that asked to stay when they are slow, apart from those that fan-out is made for.

While the peer takes what it is sent, they cost what the others cost. While it does not, each keeps a backlog,
and the owner of the audience checks those few by a timer: none of them has a task.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from msgspec import Struct

from aerostack_realtime.channels.fanout.backlog import Backlog, Item, Policy, read
from aerostack_realtime.channels.fanout.subscriber import Subscriber, try_write
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.records import ConnectionRecords

DRAINED_BYTES: Final = 16 * 1024
"""A peer with less than this in its transport has caught up: at 1 Mbit/s it is an eighth of a second behind."""
CHECK_SECONDS: Final = 0.02
"""How often those with a backlog are checked: about once per frame of a screen."""
DROP_SHARE: Final = 4
"""Events are dropped from a quarter of the buffer's limit on: a burst that a quick peer is about to take is
not dropped, and the peer's replies still find room."""


class _Place(Struct):
    """One subscriber: from how many bytes in its transport on it is slow, and what waits for it."""

    policy: Policy
    presence: bool
    behind: int
    backlog: Backlog


class SlowConsumers:
    """The subscribers of one audience with a policy of their own.

    `lag` is called when the first of them gets a backlog: call `check` every CHECK_SECONDS from then on, until it
    says that there is none. `limit` is how many bytes a backlog may have; beyond, its subscriber is too slow.
    """

    __slots__ = ("_counters", "_lag", "_limit", "_places", "_records", "_waiting")

    def __init__(
        self,
        lag: "Callable[[SlowConsumers], None]",
        limit: int,
        counters: ChannelCounters,
        records: ConnectionRecords | None = None,
    ) -> None:
        self._counters = counters
        self._records = records
        self._lag = lag
        self._limit = limit
        self._places: dict[Subscriber, _Place] = {}
        self._waiting: dict[Subscriber, Backlog] = {}

    def __len__(self) -> int:
        return len(self._places)

    def add(self, subscriber: Subscriber, policy: Policy, *, presence: bool) -> None:
        behind = DRAINED_BYTES if policy.slow == "latest" else max(DRAINED_BYTES, self._limit // DROP_SHARE)
        self._places[subscriber] = _Place(policy, presence, behind, Backlog(policy))

    def remove(self, subscriber: Subscriber) -> None:
        self._places.pop(subscriber, None)
        self._waiting.pop(subscriber, None)

    def write(
        self,
        frames: Sequence[bytes],
        chunk: bytes,
        presence: Collection[int],
        withheld: Mapping[Subscriber, Collection[int]],
        slow: list[Subscriber],
    ) -> None:
        """Send the frames of a tick, joined in `chunk`, to everyone: `presence` (by index) not to the quiet,
        `withheld` not to whom they are withheld from. Those too slow for a backlog are added to `slow`.
        """
        read_by_key: dict[tuple[str, ...], list[Item]] = {}
        for subscriber, place in self._places.items():
            left_out = {*(() if place.presence else presence), *withheld.get(subscriber, ())}
            waits = subscriber in self._waiting
            if subscriber.buffered() <= (DRAINED_BYTES if waits else place.behind):
                own = b"".join(each for index, each in enumerate(frames) if index not in left_out)
                before = self._give(subscriber, self._waiting.pop(subscriber)) if waits else b""
                if data := before + (own if left_out else chunk):
                    self._counters.bytes += len(data)
                    try_write(subscriber, data)
                continue
            items = read_by_key.get(place.policy.key)
            if items is None:
                items = read_by_key[place.policy.key] = [read(each, place.policy.key) for each in frames]
            for index, item in enumerate(items):
                if index not in left_out:
                    place.backlog.take(item)
            if place.backlog and not waits:
                self._wait(subscriber, place, items[0])
            if place.backlog.size > self._limit:
                slow.append(subscriber)

    def check(self) -> bool:
        """Send the backlogs of those whose peer has caught up; whether some are left."""
        for subscriber, backlog in list(self._waiting.items()):
            if subscriber.buffered() <= DRAINED_BYTES:
                del self._waiting[subscriber]
                if data := self._give(subscriber, backlog):
                    self._counters.bytes += len(data)
                    try_write(subscriber, data)
        return bool(self._waiting)

    def _give(self, subscriber: Subscriber, backlog: Backlog) -> bytes:
        if self._records is not None:
            self._records.note(
                subscriber.connection_id,
                "caught_up",
                backlog.topic,
                cursor=backlog.cursor,
                slow=backlog.policy.slow,
                count=backlog.dropped,
            )
        self._counters.dropped += backlog.drops
        return backlog.give()

    def _wait(self, subscriber: Subscriber, place: _Place, first: Item) -> None:
        if self._records is not None:
            self._records.note(
                subscriber.connection_id,
                "slow",
                place.backlog.topic,
                cursor=getattr(first.message, "cursor", ""),
                slow=place.policy.slow,
            )
        if place.policy.slow == "latest":
            self._counters.slow_latest += 1
        else:
            self._counters.slow_drop += 1
        if not self._waiting:
            self._lag(self)
        self._waiting[subscriber] = place.backlog
