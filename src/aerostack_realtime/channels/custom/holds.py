"""Events that wait for a commit: a persisted one for its own, and later ones of its channel behind it.

A function of the journal: every node holds and releases the same events at the same items.
"""

from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from aerostack_realtime.backplane.items import Publish, Settlement
from aerostack_realtime.channels.custom.streams import Stream


class PendingEvent(Struct, gc=False):
    """An event in its place. `node` accepted it; `timestamp` is in ms since the Unix epoch.

    `item` is a publish. `stream` is set for the opening of a stream and, with `ends`, for its end. Without both
    the event is presence, and `frames` are ready to be sent. `is_undecided`: it has the id of a persisted publish
    before it, so whether it is a repeat is known only when that is settled.
    """

    topic: str
    position: int
    node: str
    timestamp: int
    settled: bool
    item: Publish | None = None
    frames: Sequence[bytes] = ()
    is_undecided: bool = False
    stream: Stream | None = None
    ends: bool = False


class HoldQueues:
    """The held events of all channels."""

    __slots__ = ("_unsettled", "dropped", "queues")

    def __init__(self) -> None:
        self.queues: dict[str, deque[PendingEvent]] = {}
        """By topic. A channel has a queue while an event of it waits for a commit: every later one waits too."""
        self.dropped: Callable[[int], None] = lambda _position: None
        """Called with the position of each event of a stream that is dropped without its Settle."""
        self._unsettled: dict[int, PendingEvent] = {}

    def reached(self, topic: str, position: int) -> int:
        """The position up to which a channel's events up to `position` are released."""
        queue = self.queues.get(topic)
        return position if queue is None else min(position, queue[0].position - 1)

    @property
    def oldest_unsettled(self) -> int | None:
        """The position of the oldest persisted publish that waits for its Settle."""
        return next(iter(self._unsettled), None)

    def hold(self, event: PendingEvent) -> None:
        """Keep an event in its place until it is settled and all events before it are released."""
        queue = self.queues.get(event.topic)
        if queue is None:
            queue = self.queues[event.topic] = deque()
        queue.append(event)
        if not event.settled:
            self._unsettled[event.position] = event

    def is_unsettled(self, position: int) -> bool:
        """Whether the event at a position waits for its Settle."""
        return position in self._unsettled

    def settle(self, settlement: Settlement) -> PendingEvent | None:
        """Settle the persisted publish at a position: a stored one may be released now, any other one is dropped.

        Returns it, or None when nothing is held there.
        """
        event = self._unsettled.pop(settlement.position, None)
        if event is None:
            return None
        if settlement.outcome == "stored":
            event.timestamp = settlement.created_at
            event.settled = True
        else:
            self.drop(event)
        return event

    def drop(self, event: PendingEvent) -> None:
        """Take out an event that is not to be delivered."""
        self.queues[event.topic].remove(event)

    def drop_stream(self, stream: Stream) -> None:
        """Take out the events of a stream that this node has lost."""
        for event in list(self.queues.get(stream.topic, ())):
            if event.stream is stream:
                self.drop(event)
                if self._unsettled.pop(event.position, None) is not None:
                    self.dropped(event.position)

    def release(self, topic: str) -> list[PendingEvent]:
        """The events of a channel that do not wait any more, in their order."""
        queue = self.queues.get(topic)
        if queue is None:
            return []
        released = []
        while queue and queue[0].settled:
            released.append(queue.popleft())
        if not queue:
            del self.queues[topic]
        return released

    def unsettled(self, of: Callable[[str], bool]) -> list[PendingEvent]:
        """The persisted publishes of certain nodes that wait for their Settle."""
        return [event for event in self._unsettled.values() if of(event.node)]

    def drop_after(self, position: int) -> list[PendingEvent]:
        """Drop the events after a position, and return them."""
        dropped = []
        for topic, queue in list(self.queues.items()):
            while queue and queue[-1].position > position:
                dropped.append(queue.pop())
                self._unsettled.pop(dropped[-1].position, None)
            if not queue:
                del self.queues[topic]
        return dropped
