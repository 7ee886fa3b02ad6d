"""The topics that each connection is subscribed to."""

from collections.abc import Collection

from aerostack_realtime.channels.fanout.subscriber import Subscriber


class JoinedTopics:
    """Most connections have one topic. It is kept as itself, since a set takes 216 bytes."""

    def __init__(self) -> None:
        self._topics: dict[Subscriber, str | set[str] | None] = {}
        self.total = 0
        """How many topics all connections have together."""

    def __contains__(self, subscriber: Subscriber) -> bool:
        return subscriber in self._topics

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there, without a topic."""
        self._topics[subscriber] = None

    def leave(self, subscriber: Subscriber) -> Collection[str]:
        """A connection is gone. Returns the topics that it had."""
        topics = _all(self._topics.pop(subscriber, None))
        self.total -= len(topics)
        return topics

    def of(self, subscriber: Subscriber) -> Collection[str]:
        """The topics of a connection; none if it is not there."""
        return _all(self._topics.get(subscriber))

    def add(self, subscriber: Subscriber, topic: str) -> None:
        """Add a topic of a connection that is there."""
        known = self._topics[subscriber]
        if topic in _all(known):
            return
        self.total += 1
        if known is None:
            self._topics[subscriber] = topic
        elif isinstance(known, set):
            known.add(topic)
        else:
            self._topics[subscriber] = {known, topic}

    def discard(self, subscriber: Subscriber, topic: str) -> None:
        """Remove a topic of a connection that is there. Idempotent."""
        known = self._topics[subscriber]
        if topic not in _all(known):
            return
        self.total -= 1
        if isinstance(known, set):
            known.discard(topic)
        else:
            self._topics[subscriber] = None


def _all(topics: str | set[str] | None) -> Collection[str]:
    if topics is None:
        return ()
    return topics if isinstance(topics, set) else (topics,)
