"""What the connections of this node ask of presence: to be a member, to be none any more, and who is one."""

from contextlib import suppress
from typing import Any

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Track, Untrack
from aerostack_realtime.channels.cluster import Cluster
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.channels.replica import Replica
from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.protocol.messages import Member, encode


class PresenceCommands:
    """`limit` is how many members of a channel are shown. All topics are canonical."""

    def __init__(self, replica: Replica, cluster: Cluster, journal: Journal, cursors: Cursors, limit: int) -> None:
        self._replica = replica
        self._cluster = cluster
        self._journal = journal
        self._cursors = cursors
        self._limit = limit
        self._tracking: dict[Subscriber, set[str]] = {}

    def track(
        self,
        subscriber: Subscriber,
        topic: str,
        user_id: str,
        state: dict[str, Any],
        done: Done | None = None,
        *,
        own_member: bool = False,
    ) -> None:
        """Announce `subscriber` as a connection of a custom channel's member `user_id`, or as its `own_member`.

        `done` is called when every later event follows it. Raises Overloaded, Unavailable.
        """
        tracking = self._tracking.setdefault(subscriber, set())
        known = topic in tracking
        tracking.add(topic)
        try:
            item = Track(topic, subscriber.connection_id, user_id, encode(state), own_member)
            self._append(item, done)
        except AerostackError:
            if not known:
                tracking.discard(topic)
            raise

    def untrack(self, subscriber: Subscriber, topic: str, done: Done | None = None) -> None:
        """Remove `subscriber` from the members; one that is not tracked changes nothing. Raises as `track`."""
        tracking = self._tracking.get(subscriber, set())
        if topic not in tracking:
            if done is not None:
                done(Outcome(self._cursors.at(self._journal.last), 0))
            return
        tracking.discard(topic)
        if not tracking:
            self._tracking.pop(subscriber, None)
        self._append(Untrack(topic, subscriber.connection_id), done)

    def members(self, topic: str) -> list[Member]:
        return self._cluster.members.of(topic, self._limit)

    def gone(self, subscriber: Subscriber) -> None:
        """A connection is gone, and with it its presence."""
        for topic in self._tracking.pop(subscriber, ()):
            if not self._cluster.is_leaving:
                with suppress(AerostackError):  # a roster follows
                    self._append(Untrack(topic, subscriber.connection_id), None)

    def _append(self, item: Track | Untrack, done: Done | None) -> None:
        self._cluster.append(item, lambda item: self._replica.append(item, done))
