"""The rights of one session, and the topics on which it uses them."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct, field

from aerostack_realtime.access.identity import Identity, IdentityKind
from aerostack_realtime.access.permissions import Permissions, Undecided
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.access.rules import Rules
from aerostack_realtime.access.verdicts import Action, Membership
from aerostack_realtime.channels.tables.memberships import Holder, Memberships
from aerostack_realtime.protocol import topics
from aerostack_realtime.protocol.errors import AerostackError, Forbidden, RateLimited, Unauthorized

_DOING: Final = {
    actions: actions
    for actions in (
        frozenset[Action](("subscribe",)),
        frozenset[Action](("presence",)),
        frozenset[Action](("subscribe", "presence")),
    )
}
"""The sets of actions that a place can have, one object for all places."""


class Guard(Struct):
    """The rules of this server and the memberships they ask for. `now` is in seconds."""

    rules: Rules
    memberships: Memberships
    now: Callable[[], float]
    _shared: dict[IdentityKind, Permissions] = field(default_factory=dict)

    def change(self, rules: Rules, memberships: Memberships) -> None:
        """Apply other rules, from now on. Permissions that were made before keep to theirs."""
        self.rules, self.memberships = rules, memberships
        self._shared.clear()

    def permissions(self, identity: Identity) -> Permissions:
        """The permissions of an identity; anonymous ones without an id share theirs."""
        if identity.user_id is not None or identity.claims:
            return Permissions(identity, self.rules, self.memberships.holds, self.now)
        shared = self._shared.get(identity.kind)
        if shared is None:
            shared = self._shared[identity.kind] = Permissions(
                identity, self.rules, self.memberships.holds, self.now
            )
        return shared


class _Place(Struct, gc=False):
    """A topic a session is on: by which membership, doing what."""

    topic: str
    member: Membership | None
    actions: frozenset[Action]


class Rights:
    """The rights of `holder`, which `become` gives to it. At most `limit` places."""

    __slots__ = ("_guard", "_holder", "_limit", "_permissions", "_places", "_published", "_written")

    def __init__(self, guard: Guard, holder: Holder, limit: int) -> None:
        self._guard = guard
        self._holder = holder
        self._limit = limit
        self._permissions: Permissions | None = None
        self._places: _Place | dict[str, _Place] | None = None
        """One place is kept as itself: a dict of one takes 184 bytes."""
        self._written: str | None = None
        self._published = ""
        """The topic of the last publish, as written and canonical, if the rules alone allow it: most clients
        publish to one topic only."""

    def become(self, identity: Identity) -> None:
        """Have the rights of `identity` from now on. What is held stays until `lost` is asked."""
        self._permissions = self._guard.permissions(identity)
        self._written = None

    @property
    def permissions(self) -> Permissions:
        if self._permissions is None:
            raise Unauthorized("Authenticate first: send an auth command, or connect with a token.")
        return self._permissions

    def require(self, topic: str, action: Action) -> None:
        """Raises Forbidden, Undecided, Unavailable."""
        permissions = self._permissions or self.permissions  # without a call for every publish
        permissions.check(topic, action)

    def remembers(self, written: str) -> bool:
        """Whether the last publish was to the topic, and the rules alone allow it."""
        return written == self._written

    def publishing(self, written: str, project: str) -> str:
        """The canonical form of a topic that a client publishes to. Raises InvalidTopic, and as `require`."""
        if written == self._written:
            return self._published
        topic = topics.canonical(written, project)
        self.require(topic, "publish")
        if self.permissions.is_settled(topic, "publish"):
            self._written, self._published = written, topic
        return topic

    def take(self, topic: str, action: Action) -> None:
        """Require it, and be on the topic by it from now on. Raises as `require`, and RateLimited."""
        member = self.permissions.check(topic, action)
        place = self._find(topic)
        if place is None:
            place = self._add(_Place(topic, member, frozenset()))
        place.actions = _DOING[place.actions | {action}]
        self._depend(topic, place, member)

    def release(self, topic: str, action: Action) -> None:
        """Stop using a right on the topic. Idempotent."""
        place = self._find(topic)
        if place is not None:
            place.actions -= {action}
            if not place.actions:
                self.leave(topic)

    def leave(self, topic: str) -> bool:
        """Be on the topic no more; whether it was."""
        place = self._find(topic)
        if place is None:
            return False
        if isinstance(self._places, dict):
            del self._places[topic]
        else:
            self._places = None
        if place.member is not None:
            self._guard.memberships.release(place.member, self._holder, topic)
        return True

    def leave_all(self) -> None:
        for place in self._all():
            self.leave(place.topic)

    def on(self, topic: str) -> bool:
        return self._find(topic) is not None

    def scope(self, table: str) -> Scope:
        return self.permissions.scope(table)

    def forget_memberships(self) -> None:
        """The memberships that places depend on are followed no more; `lost` finds those of now."""
        for place in self._all():
            place.member = None

    async def lost(self, before: Permissions) -> list[str]:
        """The places that the identity of now has no right to be on, or sees otherwise than that of before. Those
        it may stay on depend on the memberships of now."""
        found = []
        for place in self._all():
            topic = place.topic
            try:
                for action in place.actions:
                    await self.permissions.settle(topic, action)
                if (table := topics.table_of(topic)) is not None and before.scope(table) != self.scope(table):
                    raise Forbidden("The row rule selects other rows for the new token.")
                for action in place.actions:
                    if self._find(topic) is place:  # it may have been evicted meanwhile
                        self._depend(topic, place, self.permissions.check(topic, action))
            except (AerostackError, Undecided):
                found.append(topic)
        return found

    def _find(self, topic: str) -> _Place | None:
        places = self._places
        if isinstance(places, dict):
            return places.get(topic)
        return places if places is not None and places.topic == topic else None

    def _all(self) -> list[_Place]:
        places = self._places
        if places is None:
            return []
        return list(places.values()) if isinstance(places, dict) else [places]

    def _count(self) -> int:
        places = self._places
        return len(places) if isinstance(places, dict) else int(places is not None)

    def _add(self, place: _Place) -> _Place:
        """Be on one topic more. Raises RateLimited."""
        places = self._places
        if self._count() >= self._limit:
            raise RateLimited(f"A connection is on at most {self._limit} topics; unsubscribe from some first.")
        if places is None:
            self._places = place
        elif isinstance(places, dict):
            places[place.topic] = place
        else:
            self._places = {places.topic: places, place.topic: place}
        return place

    def _depend(self, topic: str, place: _Place, member: Membership | None) -> None:
        """Be on a topic by this membership, and by no other."""
        memberships = self._guard.memberships
        if place.member is not None and place.member != member:
            memberships.release(place.member, self._holder, topic)
        place.member = member
        if member is not None:
            memberships.hold(member, self._holder, topic)
