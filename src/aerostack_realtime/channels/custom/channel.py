"""A custom channel: its subscribers, its members, and the order in which its events are sent."""

import logging
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from aerostack_realtime.backplane.base import Accepted
from aerostack_realtime.channels.custom.log import Log
from aerostack_realtime.channels.custom.presence import Presence
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber

log = logging.getLogger(__name__)


class PendingEvent(Struct):
    """An accepted event that waits for a commit: its own, or that of one accepted before it."""

    event: Accepted
    settled: bool


class CustomChannel:
    """A topic with a slash: events that clients and servers publish.

    Events are sent in the order they were accepted. A persisted one waits for its commit, and what was
    accepted after it waits with it.

    `chat_audience` are the subscribers that use the legacy `chat` command, if there are any: they receive chat
    messages as frames of another type. Subscribers with a policy for slow consumers stay in `audience`, since
    the clients that send `chat` do not know policies.
    """

    def __init__(self, topic: str, audience: Callable[[], Audience], log: Log) -> None:
        self.topic = topic
        self.presence = Presence()
        self.audience = audience()
        self.chat_audience: Audience | None = None
        self._new_audience = audience
        self.log = log
        self._held: deque[PendingEvent] = deque()
        self._subscribers: set[Subscriber] = set()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    @property
    def members(self) -> int:
        return len(self.presence)

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost with it."""
        return not (self._subscribers or self.members or self._held or len(self.log))

    def audiences(self) -> Iterable[Audience]:
        return (self.audience,) if self.chat_audience is None else (self.audience, self.chat_audience)

    def add(
        self, subscriber: Subscriber, policy: Policy | None, *, presence: bool, uses_chat: bool = False
    ) -> None:
        self._subscribers.add(subscriber)
        self.audience.add(subscriber, presence=presence, policy=policy)
        if uses_chat:
            self.use_chat(subscriber)

    def use_chat(self, subscriber: Subscriber) -> None:
        """Move a subscriber to the audience of `chat`, on the same terms."""
        presence = self.audience.hears_presence(subscriber)
        if presence is not None:
            self.audience.flush()
            self.audience.remove(subscriber)
            if self.chat_audience is None:
                self.chat_audience = self._new_audience()
            self.chat_audience.add(subscriber, presence=presence)

    def remove(self, subscriber: Subscriber) -> bool:
        if subscriber not in self._subscribers:
            return False
        self._subscribers.discard(subscriber)
        self.audience.remove(subscriber)
        if self.chat_audience is not None:
            self.chat_audience.remove(subscriber)
            if not len(self.chat_audience):
                self.chat_audience = None
        return True

    @property
    def holds(self) -> bool:
        """Whether an accepted event waits for a commit, so that every later one waits too."""
        return bool(self._held)

    def hold(self, event: Accepted, *, settled: bool) -> PendingEvent:
        """Keep an event in its place until it is settled and all before it are gone."""
        held = PendingEvent(event, settled)
        self._held.append(held)
        return held

    def drop(self, held: PendingEvent) -> None:
        """Take out an event whose commit failed, or which was there before."""
        self._held.remove(held)

    def release(self) -> list[Accepted]:
        """The events that wait for nothing any more, in order."""
        released = []
        while self._held and self._held[0].settled:
            released.append(self._held.popleft().event)
        return released
