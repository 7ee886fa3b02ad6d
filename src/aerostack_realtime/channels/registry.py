"""Every channel of this node by its topic, the logs of custom channels, and the flush at the end of a tick."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.log import Log
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.custom.streams import Stream
from aerostack_realtime.channels.fanout.audience import Audience, FellBehind
from aerostack_realtime.channels.fanout.slow_consumers import CHECK_SECONDS, SlowConsumers
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.coalescing import Deferred
from aerostack_realtime.counters import ChannelCounters
from aerostack_realtime.protocol.frames import LARGEST_ROWS
from aerostack_realtime.records import ConnectionRecords

TABLE_SHARE: Final = 16
"""A subscriber leaves the live delivery of a table when a sixteenth of the limit waits for it: the log has the
rest, and costs no memory. What waits is written at once when the client reads, however busy the server is."""


class Registry:
    """A channel exists while somebody on this node is subscribed to it; its log, while it holds anything.

    `defer` runs a callable after the current tick, `later` one after a delay in seconds; `buffer_limit` is
    how many bytes may wait for a subscriber before it is too slow; `logs` makes the logs of channels. `largest`
    is how many bytes of rows a frame may have: more than may wait for a subscriber would never reach one whose
    network is slow.
    """

    def __init__(
        self,
        defer: Callable[[Deferred], object],
        later: Callable[[float, Callable[[], None]], object],
        buffer_limit: int,
        logs: Logs,
        records: ConnectionRecords,
    ) -> None:
        self._defer = defer
        self._later = later
        self.largest = min(buffer_limit, LARGEST_ROWS)
        self._buffer_limit = buffer_limit
        self._new_logs = logs
        self._records = records
        self._forgotten = 0
        self.fell_behind: FellBehind | None = None
        """What serves subscribers that leave live delivery, see Audience."""
        self.heard: dict[str, CustomChannel] = {}
        """The custom channels with subscribers on this node."""
        self.streams: dict[str, dict[str, Stream]] = {}
        """The streams whose opening was delivered and whose end was not, by topic and id."""
        self._growing: list[CustomChannel] = []
        self.logs: dict[str, Log] = {}
        """Those that exist, by topic; `log` makes others."""
        self._made: list[str] = []
        """The topics of the logs made since the last `expire`: one whose event was not kept stays empty."""
        self._tables: dict[str, TableChannel] = {}
        self._by_table: dict[str, TableChannel] = {}
        self._dirty: list[Audience] = []
        self._lagging: set[SlowConsumers] = set()

    def __iter__(self) -> Iterator[CustomChannel | TableChannel]:
        yield from list(self.heard.values())
        yield from list(self._tables.values())

    def find(self, topic: str) -> CustomChannel | TableChannel | None:
        return self.heard.get(topic) or self._tables.get(topic)

    @property
    def tables(self) -> int:
        """How many table channels have subscribers."""
        return len(self._tables)

    def of_table(self, table: str) -> TableChannel | None:
        return self._by_table.get(table)

    def topics(self) -> set[str]:
        """Every topic with subscribers or events on this node."""
        return {*self.heard, *self.logs, *self._tables}

    def log_start(self, topic: str) -> int:
        """The position after which a custom channel's log is, or would be, complete."""
        log = self.logs.get(topic)
        return self._forgotten if log is None else log.start

    def log_end(self, topic: str) -> int:
        """The position of the last event of a custom channel, or one after it."""
        log = self.logs.get(topic)
        return self._forgotten if log is None else log.last

    def log(self, topic: str) -> Log:
        """The log of a custom channel, a new one when there is none."""
        log = self.logs.get(topic)
        if log is None:
            log = self.logs[topic] = self._new_logs.log(topic, self._forgotten)
            self._made.append(topic)
        return log

    def custom(self, topic: str) -> CustomChannel:
        """A custom channel for somebody who is about to subscribe; call `tidy` if nobody does."""
        channel = self.heard.get(topic)
        if channel is None:
            log = self.log(topic)
            channel = self.heard[topic] = CustomChannel(topic, partial(self._audience, log.counters), log)
        return channel

    def table(self, topic: str, table: str) -> TableChannel:
        channel = self._tables.get(topic)
        if channel is None:
            counters = self._new_logs.counters.channel(topic, "change")
            audience = partial(self._audience, counters, self._buffer_limit // TABLE_SHARE)
            channel = TableChannel(topic, table, audience, self.largest, counters)
            self._tables[topic] = self._by_table[table] = channel
        return channel

    def tidy(self, channel: CustomChannel | TableChannel) -> None:
        """Remove a channel without subscribers. Idempotent."""
        if channel.subscribers or self.find(channel.topic) is not channel:
            return
        if isinstance(channel, CustomChannel):
            del self.heard[channel.topic]
            self._tidy_log(channel.topic, channel.log)
        else:
            del self._tables[channel.topic]
            del self._by_table[channel.table]

    def rebound(self) -> None:
        """Apply the bounds and rules that hold now to the logs that exist."""
        for topic, log in list(self.logs.items()):
            log.rebound(self._new_logs.bounds(topic))
            log.counters = self._new_logs.counters.channel(topic, "event")
            self._tidy_log(topic, log)
        self._new_logs.ages_changed()
        for channel in self:
            counters = self._new_logs.counters.channel(
                channel.topic, "event" if isinstance(channel, CustomChannel) else "change"
            )
            for audience in channel.audiences():
                audience.count()
                audience.counters = counters

    def expire(self, now: int) -> None:
        """Forget the events that are too old at a position, and the logs that are empty without them."""
        made, self._made = self._made, []
        for topic in self._new_logs.expire(now).union(made):
            log = self.logs.get(topic)
            if log is not None:
                self._tidy_log(topic, log)

    def restart_logs(self, position: int) -> None:
        """Forget every event: the logs of all custom channels are complete only after `position`."""
        self._forgotten = max(self._forgotten, position)
        for topic, log in list(self.logs.items()):
            log.restart(self._forgotten)
            self._tidy_log(topic, log)

    def journal_began(self) -> None:
        """Record that the journal began again, which is a gap for every subscriber of a custom channel."""
        self._records.interrupted("", "", True)

    def grown(self, channel: CustomChannel) -> None:
        """Pieces of a stream wait in a channel for the end of the tick."""
        if not self._growing and not self._dirty:
            self._defer(self.flush)
        self._growing.append(channel)

    @property
    def has_unwritten(self) -> bool:
        """Whether a buffer holds anything."""
        return bool(self._dirty or self._growing)

    def flush(self) -> int:
        """Write every buffer. Returns to how many audiences."""
        if self._growing:
            for channel in self._growing:
                channel.send_pieces()
            self._growing = []
        dirty, self._dirty = self._dirty, []
        for audience in dirty:
            audience.flush()
        return len(dirty)

    def _tidy_log(self, topic: str, log: Log) -> None:
        if not len(log) and topic not in self.heard:
            self._forgotten = max(self._forgotten, log.last)
            del self.logs[topic]

    def _audience(self, counters: ChannelCounters, live_limit: int | None = None) -> Audience:
        return Audience(
            self._touch, self._buffer_limit, self._lag, counters, self.fell_behind, self._records, live_limit
        )

    def _touch(self, audience: Audience) -> None:
        if not self._dirty and not self._growing:
            self._defer(self.flush)
        self._dirty.append(audience)

    def _lag(self, consumers: SlowConsumers) -> None:
        if not self._lagging:
            self._later(CHECK_SECONDS, self._check_slow_consumers)
        self._lagging.add(consumers)

    def _check_slow_consumers(self) -> None:
        self._lagging = {each for each in self._lagging if each.check()}
        if self._lagging:
            self._later(CHECK_SECONDS, self._check_slow_consumers)
