"""The members of one channel: pure state that returns what each change means.

A member is one user, however many connections it has, on whatever nodes. Its state is the one tracked last by a
connection that still tracks. A connection can also be a member of its own, beside the one of its user.
"""

from collections.abc import Hashable
from itertools import islice

from msgspec import UNSET, Raw, Struct, UnsetType

from aerostack_realtime.protocol.messages import Member
from aerostack_realtime.protocol.presence import JOIN, LEAVE, UPDATE, Transition


class Change(Struct, frozen=True):
    """What a track or an untrack did: the event to send, whose it is, and the state to send with it.

    `connection_id` is set for a member that is a connection."""

    transition: Transition
    user_id: str
    state: Raw
    connection_id: str | UnsetType = UNSET


_Key = tuple[str, str | UnsetType]
"""A member: the user id, and the connection id if the member is a connection."""


class _Tracked(Struct, frozen=True, gc=False):
    state: bytes
    position: int


class _Present:
    __slots__ = ("connections", "since")

    def __init__(self, since: int) -> None:
        self.since = since
        self.connections: dict[Hashable, _Tracked] = {}

    @property
    def state(self) -> bytes:
        if len(self.connections) == 1:
            return next(iter(self.connections.values())).state
        return max(self.connections.values(), key=_position).state


class Presence:
    """The members of a channel, those who have been present longest first."""

    __slots__ = ("_members", "_sorted", "_tracking")

    def __init__(self) -> None:
        self._members: dict[_Key, _Present] = {}
        self._sorted = True
        self._tracking: dict[Hashable, _Key] = {}

    def __len__(self) -> int:
        return len(self._members)

    def track(
        self,
        connection: Hashable,
        user_id: str,
        state: bytes,
        now: int,
        position: int,
        since: int = 0,
        connection_id: str | UnsetType = UNSET,
    ) -> list[Change]:
        """Put `connection` of `user_id` (with `state`, JSON) among the members, with a `connection_id` as a member
        of its own.

        `now` is in ms; `position` orders the states of one member. `since`: the member joined then, which a node
        that starts learns from the others.
        """
        changes: list[Change] = []
        key = user_id, connection_id
        if self._tracking.get(connection, key) != key:
            changes = self.untrack(connection)
        self._tracking[connection] = key
        tracked = _Tracked(state, position)
        member = self._members.get(key)
        if member is None:
            member = self._members[key] = _Present(since or now)
            member.connections[connection] = tracked
            changes.append(Change(JOIN, user_id, Raw(state), connection_id))
            self._sorted = self._sorted and not since
            return changes
        if since and since < member.since:
            member.since = since
            self._sorted = False
        before = member.state
        member.connections[connection] = tracked
        if (after := member.state) != before:
            changes.append(Change(UPDATE, user_id, Raw(after), connection_id))
        return changes

    def untrack(self, connection: Hashable) -> list[Change]:
        """Take `connection` out; one that does not track changes nothing."""
        key = self._tracking.pop(connection, None)
        if key is None:
            return []
        member = self._members[key]
        user_id, connection_id = key
        before = member.state
        del member.connections[connection]
        if not member.connections:
            del self._members[key]
            return [Change(LEAVE, user_id, Raw(before), connection_id)]
        after = member.state
        return [] if after == before else [Change(UPDATE, user_id, Raw(after), connection_id)]

    def place(self, connection: Hashable) -> tuple[int, int]:
        """Since when (ms) the member of a connection is present, and the position of the connection's track; zeros
        for a connection that does not track."""
        key = self._tracking.get(connection)
        if key is None:
            return 0, 0
        member = self._members[key]
        return member.since, member.connections[connection].position

    def members(self, limit: int | None = None) -> list[Member]:
        """The members, or the `limit` of them who have been present longest."""
        if not self._sorted:
            self._members = dict(sorted(self._members.items(), key=_since))
            self._sorted = True
        shown = islice(self._members.items(), limit)
        return [
            Member(user_id, Raw(member.state), member.since, connection_id)
            for (user_id, connection_id), member in shown
        ]


def _position(tracked: _Tracked) -> int:
    return tracked.position


def _since(member: tuple[_Key, _Present]) -> tuple[int, str, str]:
    (user_id, connection_id), present = member
    return present.since, user_id, connection_id or ""
