"""Digests of a node's state, by which nodes notice that they diverge.

All nodes see the same beats. At each one a node notes a digest of what happened since the beat before; ten
seconds later its own beat carries it, and every other node compares.
"""

import logging
from collections import deque
from typing import Final
from zlib import crc32

log = logging.getLogger(__name__)

DELAY_US: Final = 10_000_000
"""How old the digest in a beat is: every node that is not far behind has noted its own by then."""
KEPT_US: Final = 60_000_000


class Digests:
    """`mismatches` counts the beats of other nodes that did not agree."""

    def __init__(self) -> None:
        self.mismatches = 0
        self._noted: dict[int, int] = {}
        self._order: deque[tuple[int, int]] = deque()
        self._ready = False

    def restart(self) -> None:
        """What is noted up to the next beat is incomplete."""
        self._noted.clear()
        self._order.clear()
        self._ready = False

    def note(self, position: int, at: int, delivered: int, members: int, nodes: str) -> None:
        """Note the state at a beat: `delivered` sums the positions of the events since the beat before."""
        if not self._ready:
            self._ready = True
            return
        self._noted[position] = crc32(f"{delivered}:{members}:{nodes}".encode())
        self._order.append((at, position))
        while self._order[0][0] < at - KEPT_US:
            del self._noted[self._order.popleft()[1]]

    def newest(self, at: int) -> tuple[int, int]:
        """The digest to announce at `at`, and its position; zeros when there is none yet."""
        found = 0
        for noted, position in self._order:
            if noted > at - DELAY_US:
                break
            found = position
        return self._noted.get(found, 0), found

    def compare(self, node: str, position: int, digest: int) -> None:
        """Compare the digest that another node announced with this node's own."""
        own = self._noted.get(position)
        if own is None or own == digest:
            return
        self.mismatches += 1
        log.error(
            "node %s and this node disagree about the custom channels at position %d: restart this node, and "
            "report this as a bug",
            node,
            position,
        )
