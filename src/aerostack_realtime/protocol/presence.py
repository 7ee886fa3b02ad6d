"""The events that say how the members of a channel change."""

from typing import Final, Literal

PREFIX: Final = "presence:"
"""Names that begin with it are the server's own."""
JOIN: Final = "presence:join"
UPDATE: Final = "presence:update"
LEAVE: Final = "presence:leave"
EVENTS: Final = frozenset({JOIN, UPDATE, LEAVE})

Transition = Literal["presence:join", "presence:update", "presence:leave"]
