"""Every channel of this node by its topic, the flush of their buffers at the end of a tick, and the look in on
the laggards."""

from collections.abc import Callable, Iterator

from aerostack_realtime.channels.custom.channel import CustomChannel
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.slow_consumers import LOOK_SECONDS, SlowConsumers
from aerostack_realtime.channels.tables.channel import TableChannel
from aerostack_realtime.protocol.frames import LARGEST_ROWS


class Registry:
    """Channels are made when they are first used, and let go of when nothing would be lost with them.

    `defer` runs a callable once the current tick has ended, `later` one in so many seconds; `buffer_limit` is
    how many bytes may wait for a subscriber before it is too slow; `logs` makes the logs of channels; `start` is
    the position before everything this node knows. `largest` is how many bytes of rows a frame may have: more
    than may wait for a subscriber would never reach one whose network takes its time.
    """

    def __init__(
        self,
        defer: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        buffer_limit: int,
        logs: Logs,
        start: int,
    ) -> None:
        self._defer = defer
        self._later = later
        self.largest = min(buffer_limit, LARGEST_ROWS)
        self._buffer_limit = buffer_limit
        self._logs = logs
        self._forgotten = start
        self._custom: dict[str, CustomChannel] = {}
        self._tables: dict[str, TableChannel] = {}
        self._by_table: dict[str, TableChannel] = {}
        self._dirty: list[Audience] = []
        self._lagging: set[SlowConsumers] = set()

    def __iter__(self) -> Iterator[CustomChannel | TableChannel]:
        yield from list(self._custom.values())
        yield from list(self._tables.values())

    def find(self, topic: str) -> CustomChannel | TableChannel | None:
        return self._custom.get(topic) or self._tables.get(topic)

    def of_table(self, table: str) -> TableChannel | None:
        return self._by_table.get(table)

    def log_start(self, topic: str) -> int:
        """The position after which a custom channel's log is, or would be, complete."""
        channel = self._custom.get(topic)
        return self._forgotten if channel is None else channel.log.start

    def custom(self, topic: str) -> CustomChannel:
        channel = self._custom.get(topic)
        if channel is None:
            log = self._logs.log(topic, self._forgotten)
            channel = self._custom[topic] = CustomChannel(topic, self._audience, log)
        return channel

    def table(self, topic: str, table: str) -> TableChannel:
        channel = self._tables.get(topic)
        if channel is None:
            channel = TableChannel(topic, table, self._audience, self.largest)
            self._tables[topic] = self._by_table[table] = channel
        return channel

    def tidy(self, channel: CustomChannel | TableChannel) -> None:
        """Let go of a channel that is idle. Idempotent."""
        if not channel.idle or self.find(channel.topic) is not channel:
            return
        if isinstance(channel, CustomChannel):
            self._forgotten = max(self._forgotten, channel.log.last)
            del self._custom[channel.topic]
        else:
            del self._tables[channel.topic]
            del self._by_table[channel.table]

    def expire(self, now: int) -> None:
        """Forget the events that are too old at a position, and the channels that are idle without them."""
        for channel in list(self._custom.values()):
            channel.log.expire(now)
            self.tidy(channel)

    def flush(self) -> None:
        """Write every buffer."""
        dirty, self._dirty = self._dirty, []
        for audience in dirty:
            audience.flush()

    def _audience(self) -> Audience:
        return Audience(self._touch, self._buffer_limit, self._lag)

    def _touch(self, audience: Audience) -> None:
        if not self._dirty:
            self._defer(self.flush)
        self._dirty.append(audience)

    def _lag(self, laggards: SlowConsumers) -> None:
        if not self._lagging:
            self._later(LOOK_SECONDS, self._look)
        self._lagging.add(laggards)

    def _look(self) -> None:
        self._lagging = {each for each in self._lagging if each.look()}
        if self._lagging:
            self._later(LOOK_SECONDS, self._look)
