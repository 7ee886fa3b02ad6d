"""The members of all channels, by the node and the connection that make them. A function of the journal."""

from collections.abc import Iterable
from zlib import crc32

from msgspec import UNSET

from aerostack_realtime.backplane.items import RosterEntry, Track
from aerostack_realtime.channels.custom.presence import Change, Presence
from aerostack_realtime.protocol.messages import Member

Changes = dict[str, list[Change]]
"""What changed, by topic, in order."""


class Members:
    """The members of all channels of the cluster. `digest` differs between nodes that disagree."""

    __slots__ = ("_by_node", "_channels", "digest")

    def __init__(self) -> None:
        self._channels: dict[str, Presence] = {}
        self._by_node: dict[str, dict[tuple[str, str], None]] = {}
        self.digest = 0

    def track(self, node: str, item: Track, now: int, position: int) -> list[Change]:
        """A connection of `node` is a member; `now` is in ms."""
        return self._track(node, item, now=now, position=position, since=0)

    def untrack(self, node: str, topic: str, connection: str) -> list[Change]:
        """A connection of `node` is no longer a member; one that is not changes nothing."""
        known = self._by_node.get(node, {})
        if (topic, connection) not in known:
            return []
        del known[topic, connection]
        if not known:
            del self._by_node[node]
        presence = self._channels[topic]
        changes = presence.untrack((node, connection))
        self._mark(node, topic, connection)
        if not presence:
            del self._channels[topic]
        return changes

    def lapse(self, node: str) -> Changes:
        """All connections of `node` are gone."""
        changes: Changes = {}
        for topic, connection in list(self._by_node.get(node, ())):
            changes.setdefault(topic, []).extend(self.untrack(node, topic, connection))
        return changes

    def replace(self, node: str, roster: Iterable[RosterEntry], now: int, position: int) -> Changes:
        """The connections of `node` are exactly these; only the differences are returned."""
        changes: Changes = {}
        present = {(entry.topic, entry.connection): entry for entry in roster}
        for (topic, connection), entry in present.items():
            since, tracked = self.place(node, topic, connection)
            changed = self._track(
                node,
                entry,
                now=now,
                position=entry.position or tracked or position,
                since=entry.since or since or now,
            )
            changes.setdefault(topic, []).extend(changed)
        for topic, connection in [each for each in self._by_node.get(node, ()) if each not in present]:
            changes.setdefault(topic, []).extend(self.untrack(node, topic, connection))
        return changes

    def place(self, node: str, topic: str, connection: str) -> tuple[int, int]:
        """As `Presence.place`."""
        presence = self._channels.get(topic)
        return (0, 0) if presence is None else presence.place((node, connection))

    def nodes(self) -> list[str]:
        """The nodes whose connections are members."""
        return list(self._by_node)

    def count(self, topic: str) -> int:
        presence = self._channels.get(topic)
        return 0 if presence is None else len(presence)

    def of(self, topic: str, limit: int | None = None) -> list[Member]:
        """The members of a channel, or the `limit` of them who have been present longest."""
        presence = self._channels.get(topic)
        return [] if presence is None else presence.members(limit)

    def topics(self) -> list[str]:
        """The channels that somebody is present on."""
        return list(self._channels)

    def _track(
        self, node: str, tracked: Track | RosterEntry, *, now: int, position: int, since: int
    ) -> list[Change]:
        topic, connection = tracked.topic, tracked.connection
        presence = self._channels.get(topic)
        if presence is None:
            presence = self._channels[topic] = Presence()
        known = self._by_node.setdefault(node, {})
        if (topic, connection) not in known:
            known[topic, connection] = None
            self._mark(node, topic, connection)
        connection_id = connection if tracked.own_member else UNSET
        return presence.track(
            (node, connection), tracked.user_id, tracked.state, now, position, since, connection_id
        )

    def _mark(self, node: str, topic: str, connection: str) -> None:
        self.digest ^= crc32(f"{node}\n{topic}\n{connection}".encode())
