"""How soon a node may begin a generation of the journal.

A failover or a restart of Redis brings another process, or a newer configuration of the Sentinels. However many
come in a row, a generation begins on each at once: waiting would be silence, and Redis and the Sentinels limit
their number themselves.

It is different where this node has been before, if nothing that it can see has changed. Then another node has
begun the journal on another Redis, so one of the two is wrong about the master; or somebody deleted the data. If
the cause stays, nodes would begin generations without end, and each is a gap for all subscribers. So these
beginnings become rarer the longer it lasts. The first pause also gives a node whose Sentinels are late time to
hear of the new master, instead of leading everybody back to the old one.
"""

from __future__ import annotations

from typing import Final

FIRST_SECONDS: Final = 1.0
"""The pause before this node contradicts another one for the first time; each further one is twice as long.
Sentinels hear of a failover from each other up to 2 seconds later."""
LONGEST_SECONDS: Final = 32.0
"""How long nodes may need to notice that a disagreement has been settled."""
FORGET_SECONDS: Final = 120.0
"""Without a repeated opening for this time, the next one counts as the first. Between two of the same node lie its
own longest pause and one of each other node that disagrees."""
DELETIONS: Final = 3
"""This many deletions cost no pause: FLUSHALL is a command that people give once."""
REMEMBERED: Final = 16
"""Processes that are known. More than two alternate only behind a load balancer."""


class Openings:
    """What one node knows about the generations that it began or joined. Times are in seconds on one clock.

    A server is a Redis process; `epoch` is that of the configuration by which the Sentinels name it, else 0.
    """

    def __init__(self) -> None:
        self._visited: dict[str, int] = {}
        """The epoch of the last visit, by process."""
        self._repeats = 0
        self._repeated_at = 0.0
        self._until: float | None = None
        """Until when the next repeated opening has to wait, once it was asked for."""

    def pause(self, server: str, epoch: int, now: float, *, deleted: bool) -> float:
        """For how long this node must not begin a generation there, 0 for at once. `deleted`: the newest
        generation is this process's own, and its data are gone."""
        if not self._is_repeat(server, epoch):
            return 0.0
        if self._until is None:
            self._until = now + self.length(now, deleted=deleted)
        return max(0.0, self._until - now)

    def length(self, now: float, *, deleted: bool) -> float:
        """Of the whole pause before the next repeated opening."""
        repeats = self._repeats if now - self._repeated_at < FORGET_SECONDS else 0
        if deleted and repeats < DELETIONS:
            return 0.0
        return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (repeats - DELETIONS if deleted else repeats))

    def begun(self, server: str, epoch: int, now: float) -> None:
        """This node has begun a generation there."""
        if self._is_repeat(server, epoch):
            if now - self._repeated_at >= FORGET_SECONDS:
                self._repeats = 0
            self._repeats += 1
            self._repeated_at = now
        self.joined(server, epoch)

    def joined(self, server: str, epoch: int) -> None:
        """The newest generation is there, as this node has found as well."""
        self._until = None
        self._visited.pop(server, None)
        self._visited[server] = epoch
        if len(self._visited) > REMEMBERED:
            del self._visited[next(iter(self._visited))]

    def _is_repeat(self, server: str, epoch: int) -> bool:
        visited = self._visited.get(server)
        return visited is not None and epoch <= visited
