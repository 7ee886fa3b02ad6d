"""The members of one channel as last reported to the user. No I/O, no clock.

The server may report a member twice (in the list of members after a reconnect, then in the replayed log) or not
at all (one that left while this client was disconnected). The user gets each difference once.
"""

from typing import Any, Final, NamedTuple

from aerostack_realtime.protocol.presence import JOIN, LEAVE, UPDATE

Key = tuple[str, str | None]
"""A member: the user id, and the connection id if the member is a connection."""

_ABSENT: Final = object()


class Transition(NamedTuple):
    """One difference to report: `event` is JOIN, UPDATE or LEAVE; `state` the new state, for LEAVE the last
    one."""

    event: str
    member: Key
    state: Any


class Members:
    """The states of the present members."""

    def __init__(self) -> None:
        self._states: dict[Key, Any] = {}

    def __len__(self) -> int:
        return len(self._states)

    def apply(self, event: str, member: Key, state: Any) -> Transition | None:
        """Process an event about one member; returns the difference it makes, if any."""
        if event == LEAVE:
            known = self._states.pop(member, _ABSENT)
            return None if known is _ABSENT else Transition(LEAVE, member, state)
        known = self._states.get(member, _ABSENT)
        self._states[member] = state
        if known is _ABSENT:
            return Transition(JOIN, member, state)
        return Transition(UPDATE, member, state) if known != state else None

    def reconcile(self, present: dict[Key, Any]) -> list[Transition]:
        """Process the full list of states; returns the differences, leaves first."""
        gone = [Transition(LEAVE, key, state) for key, state in self._states.items() if key not in present]
        for leave in gone:
            del self._states[leave.member]
        entered = (self.apply(JOIN, key, state) for key, state in present.items())
        return gone + [transition for transition in entered if transition]

    def clear(self) -> None:
        """Forget all members without reporting it."""
        self._states.clear()
