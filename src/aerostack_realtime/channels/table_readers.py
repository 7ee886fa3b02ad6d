"""Slow readers of tables: each gets the log in parts, as its client takes them, from time that nobody else needs.

A turn serves few readers, in the order in which they became ready, and bounds what it writes. After each turn the
loop's other tasks run. If these took long, live delivery and commands need the time, and the next turn follows
only after a pause that leaves the readers a small share. It is never nothing, because databases do not keep their
logs forever. Turns are short meanwhile, because a reply waits for one of them beside a turn of live changes.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from aerostack_realtime.access.rows import RuleFailed
from aerostack_realtime.channels.fanout.slow_consumers import CHECK_SECONDS
from aerostack_realtime.channels.fanout.subscriber import try_write
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.shared_parts import SharedParts
from aerostack_realtime.channels.store_reading import RETRY_SECONDS, Reader
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.database.base import ChangeFeed, Replay
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import AerostackError, NotFound

PART_CHANGES: Final = 128
"""Changes of a part: reading and encoding them takes about a millisecond of the loop."""
BUSY_CHANGES: Final = 32
"""Changes of a part while the loop has other work."""
TURN_BYTES: Final = 256 * 1024
"""What a turn writes, to within one part: about half a millisecond."""
BUSY_BYTES: Final = 64 * 1024
"""What a turn writes while the loop has other work."""
BUSY_SECONDS: Final = 0.25
"""CPU time of the loop for which turns stay short after it had other work: a bulk write comes in transactions, and
a long turn between two of them would delay the next one."""
SERVE_BYTES: Final = 512
"""What serving a reader costs besides, as bytes."""
SHARED_BYTES: Final = 8 << 20
"""Parts that are kept for the readers that follow."""
FAR_CHANGES: Final = 20_000
"""How much of a distant log one reader is given before the next one: beginning to read there is expensive."""
ROOM_SHARE: Final = 16
"""A reader gets the next part when at most this part of its buffer's limit waits for its client."""
IDLE_SECONDS: Final = 0.0005
"""Two iterations of the event loop without any work take about a tenth of it, as CPU time."""
BUSY_SHARE: Final = 1 / 16
"""Of the time, while the loop has other work."""
LONGEST_PAUSE_SECONDS: Final = 0.05
"""Whatever a turn took: a part may be one very large row."""


def pause_after(worked: float, others: float, *, reading: bool) -> float:
    """How many seconds to pause after a turn that took `worked` seconds and two iterations of the loop that then
    took `others`. `reading`: a thread reads live changes, and waits for the interpreter while the loop works."""
    if others <= IDLE_SECONDS and not reading:
        return 0.0
    return min(worked * (1 / BUSY_SHARE - 1), LONGEST_PAUSE_SECONDS)


class _Lane:
    """Readers in the order in which they are served, each for at most `changes`. One part is read at a time."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.queue: deque[Reader] = deque()
        self.is_active = False
        self.began = 0.0
        self.worked = 0.0
        self.part = PART_CHANGES
        """How many changes the current turn reads at once."""


class TableReaders:
    """`soon` calls a function in the next iteration of the loop, `later` after a delay in seconds, `limit` is how
    many bytes may wait for a subscriber, and `rejoin` adds a reader to live delivery. `clock` is the CPU time of
    the loop's thread, so that other processes do not count.

    Those whose part of the log is expensive to read wait in a lane of their own, so that they do not delay others.
    """

    def __init__(
        self,
        *,
        registry: Registry,
        changes: ChangeFeed,
        soon: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        clock: Callable[[], float],
        limit: int,
        rejoin: Callable[[Reader, TableChannel], None],
    ) -> None:
        self._registry = registry
        self._changes = changes
        self._soon = soon
        self._later = later
        self._clock = clock
        self._room = limit // ROOM_SHARE
        self._rejoin = rejoin
        self._parts = SharedParts(SHARED_BYTES)
        self._busy_until = 0.0
        """Turns are short until then, because the loop had other work."""
        self._near = _Lane(BUSY_CHANGES)
        self._far = _Lane(FAR_CHANGES)

    def look(self, reader: Reader) -> None:
        """Queue a reader if its client has taken most of what was sent to it."""
        if not reader.busy and reader.subscriber.buffered() <= self._room:
            reader.busy = True
            (self._far if reader.is_far else self._near).queue.append(reader)

    def serve(self) -> None:
        """Begin to serve the readers in the queues."""
        for lane in (self._near, self._far):
            if lane.queue and not lane.is_active:
                lane.is_active = True
                self._turn(lane)

    def clear(self) -> None:
        """Keep nothing: no reader is left."""
        self._parts.clear()

    def _turn(self, lane: _Lane) -> None:
        lane.began = self._clock()
        lane.part, room = PART_CHANGES, TURN_BYTES
        if lane.began < self._busy_until:
            lane.part, room = BUSY_CHANGES, BUSY_BYTES
        while lane.queue and room > 0:
            reader = lane.queue.popleft()
            channel = self._channel(reader)
            if channel is None:
                continue
            found = self._parts.find(channel.view(reader.subscriber), reader.cursor)
            if found is None:
                lane.worked = self._clock() - lane.began
                then, failed = partial(self._read, lane, reader), partial(self._failed, lane, reader)
                self._changes.replay(channel.table, reader.cursor, then, failed, lane.part)
                return
            data, reader.cursor = found
            self._write(reader, channel, data)
            reader.taken += lane.part
            self._queue(reader)
            room -= len(data) + SERVE_BYTES
        self._pause(lane, self._clock() - lane.began)

    def _channel(self, reader: Reader) -> TableChannel | None:
        """The table of a reader that is still behind."""
        channel = self._registry.find(reader.topic) if reader.is_waiting else None
        return channel if isinstance(channel, TableChannel) else None

    def _read(self, lane: _Lane, reader: Reader, replay: Replay) -> None:
        began = self._clock()
        channel = self._channel(reader)
        if channel is not None:
            self._serve(reader, channel, replay)
            reader.is_far = not replay.recent
            reader.taken += lane.part  # also where it has fewer: it was as much work to look
            self._queue(reader)
        # Reading takes about as long, on the loop or on a thread that takes the interpreter from it.
        self._pause(lane, lane.worked + 2 * (self._clock() - began))

    def _serve(self, reader: Reader, channel: TableChannel, replay: Replay) -> None:
        if not replay.recovered:
            reader.lose()
            return
        view = channel.view(reader.subscriber)
        try:
            missed = channel.replayed(replay.changes, view)
        except RuleFailed as failure:
            reader.subscriber.deny(reader.topic, failure)
            return
        data = self._parts.add(view, reader.cursor, missed, replay.cursor)
        reader.cursor = replay.cursor
        if not replay.more:
            self._rejoin(reader, channel)
        self._write(reader, channel, data)

    def _write(self, reader: Reader, channel: TableChannel, data: bytes) -> None:
        channel.counters.bytes += len(data)
        if data:
            try_write(reader.subscriber, data)

    def _queue(self, reader: Reader) -> None:
        """Queue a reader again, behind the others, or leave it to `look`."""
        if not reader.is_waiting or reader.subscriber.buffered() > self._room:
            reader.busy, reader.taken = False, 0
            return
        lane = self._far if reader.is_far else self._near
        if reader.taken < lane.changes:
            lane.queue.appendleft(reader)
        else:
            reader.taken = 0
            lane.queue.append(reader)

    def _pause(self, lane: _Lane, worked: float) -> None:
        """Let the loop's other tasks run, and measure how long these take."""
        began = self._clock()

        def measured() -> None:
            self._paused(lane, worked, self._clock() - began)

        def once() -> None:
            self._soon(measured)

        self._soon(once)

    def _paused(self, lane: _Lane, worked: float, others: float) -> None:
        pause = pause_after(worked, others, reading=self._changes.is_behind())
        if pause:
            self._busy_until = self._clock() + BUSY_SECONDS
            self._later(pause, partial(self._continue, lane))
        else:
            self._continue(lane)

    def _continue(self, lane: _Lane) -> None:
        lane.is_active = bool(lane.queue)
        if lane.is_active:
            self._turn(lane)
        self.serve()

    def _failed(self, lane: _Lane, reader: Reader, error: AerostackError) -> None:
        channel = self._channel(reader)
        if isinstance(error, NotFound) and channel is not None:
            # As for live subscribers of a table that is dropped: they hear of its return.
            self._rejoin(reader, channel)
            try_write(reader.subscriber, frames.encode(messages.Error.of(error, topic=reader.topic)))

        def retry() -> None:
            reader.busy = False

        self._later(RETRY_SECONDS, retry)
        self._later(CHECK_SECONDS, partial(self._continue, lane))
