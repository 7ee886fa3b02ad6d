"""The members of one channel as last reported to the user. No I/O, no clock.

The server may report a member twice (in the list of members after a reconnect, then in the replayed log) or not
at all (one that left while this client was disconnected). The user gets each difference once.
"""

from typing import Any, Final, NamedTuple

from aerostack_realtime.protocol.presence import JOIN, LEAVE, UPDATE

_ABSENT: Final = object()


class Transition(NamedTuple):
    """One difference to report: `event` is JOIN, UPDATE or LEAVE; `state` the new state, for LEAVE the last
    one."""

    event: str
    user_id: str
    state: Any


class Members:
    """The states of the present members by user id."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._states)

    def apply(self, event: str, user_id: str, state: Any) -> Transition | None:
        """Process an event about one member; returns the difference it makes, if any."""
        if event == LEAVE:
            known = self._states.pop(user_id, _ABSENT)
            return None if known is _ABSENT else Transition(LEAVE, user_id, state)
        known = self._states.get(user_id, _ABSENT)
        self._states[user_id] = state
        if known is _ABSENT:
            return Transition(JOIN, user_id, state)
        return Transition(UPDATE, user_id, state) if known != state else None

    def reconcile(self, present: dict[str, Any]) -> list[Transition]:
        """Process the full list of states by user id; returns the differences, leaves first."""
        gone = [Transition(LEAVE, user, state) for user, state in self._states.items() if user not in present]
        for leave in gone:
            del self._states[leave.user_id]
        entered = (self.apply(JOIN, user, state) for user, state in present.items())
        return gone + [transition for transition in entered if transition]

    def clear(self) -> None:
        """Forget all members without reporting it."""
        self._states.clear()
