"""A custom channel as this node hears it: its subscribers and its log."""

from collections.abc import Callable, Iterable

from aerostack_realtime.channels.custom.log import Log
from aerostack_realtime.channels.fanout.audience import Audience
from aerostack_realtime.channels.fanout.backlog import Policy
from aerostack_realtime.channels.fanout.subscriber import Subscriber


class CustomChannel:
    """A topic with a slash: events that clients and servers publish.

    `chat_audience` are the subscribers that use the legacy `chat` command, if there are any: they receive chat
    messages as frames of another type. Subscribers with a policy for slow consumers stay in `audience`, since
    the clients that send `chat` do not know policies.
    """

    def __init__(self, topic: str, audience: Callable[[], Audience], log: Log) -> None:
        self.topic = topic
        self.audience = audience()
        self.chat_audience: Audience | None = None
        self._new_audience = audience
        self.log = log
        self._subscribers: set[Subscriber] = set()

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

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
