"""Who is present on one channel: pure state, which says what became of it.

A member is one user, however many connections it has. Its state is the one tracked last by a connection
that still tracks.
"""

from collections.abc import Hashable
from itertools import islice
from typing import Literal

from msgspec import Raw, Struct

from aerostack_realtime.protocol.messages import Member

Transition = Literal["presence:join", "presence:update", "presence:leave"]


class Change(Struct, frozen=True):
    """What a track or an untrack did: the event to send, whose it is, and the state to send with it."""

    transition: Transition
    user_id: str
    state: Raw


class _Present:
    __slots__ = ("since", "states")

    def __init__(self, since: int) -> None:
        self.since = since
        self.states: dict[Hashable, bytes] = {}  # by connection, the one tracked last at the end


class Presence:
    """The members of a channel, in the order they joined."""

    __slots__ = ("_members", "_tracking")

    def __init__(self) -> None:
        self._members: dict[str, _Present] = {}
        self._tracking: dict[Hashable, str] = {}

    def __len__(self) -> int:
        return len(self._members)

    def track(self, connection: Hashable, user_id: str, state: bytes, now: int) -> list[Change]:
        """Put `connection` of `user_id` (with `state`, JSON) among the members; `now` in ms."""
        changes: list[Change] = []
        if self._tracking.get(connection, user_id) != user_id:
            changes = self.untrack(connection)
        member = self._members.get(user_id)
        if member is None:
            member = self._members[user_id] = _Present(now)
            changes.append(Change("presence:join", user_id, Raw(state)))
        elif _state(member) != state:
            changes.append(Change("presence:update", user_id, Raw(state)))
        member.states.pop(connection, None)
        member.states[connection] = state
        self._tracking[connection] = user_id
        return changes

    def untrack(self, connection: Hashable) -> list[Change]:
        """Take `connection` out; a connection that does not track is no one."""
        user_id = self._tracking.pop(connection, None)
        if user_id is None:
            return []
        member = self._members[user_id]
        before = _state(member)
        del member.states[connection]
        if not member.states:
            del self._members[user_id]
            return [Change("presence:leave", user_id, Raw(before))]
        after = _state(member)
        return [] if after == before else [Change("presence:update", user_id, Raw(after))]

    def members(self, limit: int | None = None) -> list[Member]:
        """Those who are there, or the `limit` of them who have been there longest."""
        shown = islice(self._members.items(), limit)
        return [Member(user_id, Raw(_state(member)), member.since) for user_id, member in shown]


def _state(member: _Present) -> bytes:
    return next(reversed(member.states.values()))
