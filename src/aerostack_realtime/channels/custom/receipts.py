"""Publishes that were accepted a short while ago, so that a repeat is answered and not delivered again.

A function of the journal: every node keeps the same receipts, and forgets them by the floor that a Beat
announces, or when the journal lost what they were noted by.
"""

from itertools import islice
from typing import Final

from msgspec import Struct

WINDOW_US: Final = 120_000_000  # docs/protocol.md §5: two minutes
MAX_COUNT: Final = 1_000_000
"""Publishes that are remembered; beyond, the window gets shorter rather than the memory larger."""

Key = tuple[str, str, str]
"""Topic, user id ("" for none), publish id: no client can use up another user's id."""


class Receipt(Struct, frozen=True, gc=False):
    """Where and when (ms since the Unix epoch) a publish was accepted.

    `noted` is the position of the item by which that was certain: of the publish itself, or of its Settle.
    """

    position: int
    timestamp: int
    noted: int


class Receipts:
    """The receipts from `floor` on."""

    def __init__(self) -> None:
        self.floor = 0
        self._receipts: dict[Key, Receipt] = {}

    def __len__(self) -> int:
        return len(self._receipts)

    def find(self, key: Key) -> Receipt | None:
        receipt = self._receipts.get(key)
        return receipt if receipt is not None and receipt.noted >= self.floor else None

    def remember(self, key: Key, receipt: Receipt) -> None:
        self._receipts[key] = receipt

    def forget_above(self, position: int) -> None:
        """Forget the receipts that were noted after `position`: the journal lost what they were noted by."""
        gone = [key for key, receipt in self._receipts.items() if receipt.noted > position]
        for key in gone:
            del self._receipts[key]

    def forget_below(self, floor: int) -> None:
        """Forget the receipts that were noted below `floor`. A floor never goes down."""
        if floor <= self.floor:
            return
        self.floor = floor
        gone = []
        for key, receipt in self._receipts.items():
            if receipt.noted >= floor:
                break
            gone.append(key)
        for key in gone:
            del self._receipts[key]

    def floor_for(self, count: int = MAX_COUNT) -> int:
        """The floor that leaves at most about `count` receipts."""
        excess = len(self._receipts) - count
        if excess <= 0:
            return 0
        return next(islice(self._receipts.values(), excess, None)).noted
