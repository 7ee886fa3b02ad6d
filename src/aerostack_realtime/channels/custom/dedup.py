"""Publishes that were accepted a short while ago, so that a repeat is answered and not delivered again."""

from typing import Final

from msgspec import Struct

WINDOW_US: Final = 120_000_000  # docs/protocol.md §5: two minutes
MAX_COUNT: Final = 500_000
"""Publishes remembered per generation; beyond, the window gets shorter rather than the memory larger."""

Key = tuple[str, str, str]
"""Topic, user id ("" for none), publish id: nobody can take another user's id from it."""


class Receipt(Struct, frozen=True, gc=False):
    """Where and when (ms) a publish was accepted."""

    cursor: str
    timestamp: int


class Dedup:
    """Receipts of at least the last two minutes, in two generations that take turns."""

    def __init__(self) -> None:
        self._young: dict[Key, Receipt] = {}
        self._old: dict[Key, Receipt] = {}
        self._turned = 0

    def find(self, key: Key) -> Receipt | None:
        return self._young.get(key) or self._old.get(key)

    def remember(self, key: Key, receipt: Receipt, now: int) -> None:
        """`now` is a position, in microseconds."""
        if now - self._turned > WINDOW_US or len(self._young) >= MAX_COUNT:
            self._old, self._young = self._young, {}
            self._turned = now
        self._young[key] = receipt
