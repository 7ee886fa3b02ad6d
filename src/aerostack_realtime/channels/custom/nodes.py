"""The nodes of the cluster: which are alive. A function of the journal, so all nodes agree at each item.

A node is alive by its beats. Time is counted only while the journal moves: each step between two beats counts at
most one second, so an outage of the journal ends no node.
"""

from typing import Final

from msgspec import Struct

DEAD_US: Final = 5_000_000
"""Active time without a beat after which a node is dead."""
STEP_US: Final = 1_000_000
"""Beats come once a second; a longer step between two of them is an outage."""
_REMEMBERED: Final = 1_000
"""Ended nodes that are remembered, so that what they appended late is not taken for a new node's."""


class NodeStatus(Struct, gc=False):
    """A live node. `name` and `version` are empty until its Hello; `leaving` after its Bye."""

    node: str
    seen: int
    name: str = ""
    version: str = ""
    connections: int = 0
    lag_us: int = 0
    greeted: bool = False
    leaving: bool = False


class Nodes:
    """The live nodes by their ids."""

    def __init__(self) -> None:
        self._alive: dict[str, NodeStatus] = {}
        self._ended: dict[str, None] = {}
        self._active = 0
        self._at = 0

    def alive(self, node: str) -> bool:
        """Whether a node is alive; one that this node has not heard of yet becomes so."""
        if node in self._alive:
            return True
        if node in self._ended:
            return False
        self._alive[node] = NodeStatus(node, self._active)
        return True

    def is_ended(self, node: str) -> bool:
        return node in self._ended

    def is_named(self, node: str) -> bool:
        """Whether a live node's Hello has entered since this node reads."""
        status = self._alive.get(node)
        return status is not None and status.greeted

    def hello(self, node: str, name: str, version: str) -> None:
        """A node joins, or joins again after it was declared dead."""
        self._ended.pop(node, None)
        status = self._alive[node] = NodeStatus(node, self._active)
        status.name, status.version, status.greeted = name, version, True

    def bye(self, node: str) -> None:
        """A node leaves; it stays known until it is dead, because its clients may reconnect elsewhere."""
        if node in self._alive:
            self._alive[node].leaving = True

    def beat(self, node: str, at: int, connections: int, lag_us: int) -> list[str]:
        """A node gives a sign of life at the journal's time `at` (µs).

        Returns the nodes that are dead from this item on, in one order on all nodes.
        """
        if self._at:
            self._active += min(max(at - self._at, 0), STEP_US)
        self._at = at
        if self.alive(node):
            status = self._alive[node]
            status.seen, status.connections, status.lag_us = self._active, connections, lag_us
        dead = sorted(each.node for each in self._alive.values() if self._active - each.seen > DEAD_US)
        for each in dead:
            del self._alive[each]
            self._ended[each] = None
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        return dead

    def present(self) -> list[NodeStatus]:
        """The nodes that are alive and stay, by id."""
        return sorted((each for each in self._alive.values() if not each.leaving), key=lambda each: each.node)

    def lowest(self) -> str | None:
        """The node that does what exactly one has to do."""
        return min((each.node for each in self._alive.values() if not each.leaving), default=None)
