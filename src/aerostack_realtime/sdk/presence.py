"""The members of one channel as its user was last told of them. No I/O, no clock.

The server may tell the same twice (a snapshot of members after a reconnect, then the log of what was missed)
or not at all (a member that left while this client was away). What the user hears is neither: each difference
once.
"""

from typing import Any, Final, NamedTuple

JOIN: Final = "presence:join"
UPDATE: Final = "presence:update"
LEAVE: Final = "presence:leave"
EVENTS: Final = frozenset({JOIN, UPDATE, LEAVE})

_ABSENT: Final = object()


class Transition(NamedTuple):
    """One difference to tell: `event` is JOIN, UPDATE or LEAVE; `state` the new one, or at LEAVE the last."""

    event: str
    user_id: str
    state: Any


class Members:
    """Who is present, by user id."""

    def __init__(self) -> None:
        self._states: dict[str, Any] = {}

    def __len__(self) -> int:
        return len(self._states)

    def apply(self, event: str, user_id: str, state: Any) -> Transition | None:
        """Take in what the server said of one member; the difference it makes, if any."""
        if event == LEAVE:
            known = self._states.pop(user_id, _ABSENT)
            return None if known is _ABSENT else Transition(LEAVE, user_id, state)
        known = self._states.get(user_id, _ABSENT)
        self._states[user_id] = state
        if known is _ABSENT:
            return Transition(JOIN, user_id, state)
        return Transition(UPDATE, user_id, state) if known != state else None

    def reconcile(self, present: dict[str, Any]) -> list[Transition]:
        """Take in the full list of states by user id; the differences, leaves first."""
        gone = [Transition(LEAVE, user, state) for user, state in self._states.items() if user not in present]
        for leave in gone:
            del self._states[leave.user_id]
        told = (self.apply(JOIN, user, state) for user, state in present.items())
        return gone + [transition for transition in told if transition]

    def clear(self) -> None:
        """Forget everyone without telling."""
        self._states.clear()
