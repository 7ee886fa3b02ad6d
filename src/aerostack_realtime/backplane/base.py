"""The contract between the nodes of one service: what one node accepts, every node delivers."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Raw, Struct


class Accepted(Struct, frozen=True, gc=False):
    """An event that its channel has accepted, with its place in the channel's order.

    `timestamp` is in ms since the Unix epoch. `without` is the connection that shall not receive it (a
    publisher that asked for no echo).
    """

    topic: str
    event: str
    data: Raw
    user_id: str | None
    id: str
    timestamp: int
    position: int
    presence: bool = False
    without: str | None = None


Deliver = Callable[[Accepted], None]
"""Hands an event to the hub of this node. Synchronous; it neither raises nor waits."""


class Backplane(Protocol):
    """Order: per topic every node delivers in the same order, each event once, the sender's node included."""

    def publish(self, event: Accepted) -> None:
        """Give an event to every node. Returns at once."""
