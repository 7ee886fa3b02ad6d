"""The right of nodes to store messages, and what the database says about the messages that nodes stored."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from aerostack_realtime.backplane.items import Settlement
from aerostack_realtime.channels.custom.holds import PendingEvent


class Commits(Protocol):
    """The right of nodes to commit persisted messages. Every method raises Unavailable."""

    async def grant(self, node: str) -> bool:
        """Let `node` commit; False when the journal has begun again meanwhile."""

    async def revoke(self, node: str) -> None:
        """End that. Returns after the commits of `node` under way have ended; it cannot commit any more."""

    async def stored_at(self, places: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], int]:
        """Which of these topics and positions hold a stored message, each with its `created_at`."""

    async def with_messages(self, topics: Sequence[str], after: int, until: int) -> set[str]:
        """Which of these topics have stored messages after one position and up to another."""


def settlement(event: PendingEvent, stored: Mapping[tuple[str, int], int]) -> Settlement:
    """The result of a publish, by what is stored."""
    created_at = stored.get((event.topic, event.position))
    if created_at is None:
        return Settlement(event.position, "refused")
    return Settlement(event.position, "stored", created_at)
