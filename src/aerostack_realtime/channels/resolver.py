"""Dead nodes, as far as it takes the database: settle what they left behind, and join again after death."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Settle
from aerostack_realtime.channels.cluster import Cluster
from aerostack_realtime.channels.commits import Commits, settlement
from aerostack_realtime.channels.custom.holds import PendingEvent
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.channels.questions import Questions
from aerostack_realtime.protocol.errors import AerostackError, Unavailable

log = logging.getLogger(__name__)

RETRY_SECONDS: Final = 1.0
SETTLE: Final = "settle"
"""Asks all nodes to settle what has no answer to its commit: some node may reach the database."""


class Resolver:
    """Runs beside the replica. `commits` is None where a node is alone; `restore` takes over the stored streams
    that no node knows."""

    def __init__(
        self,
        *,
        journal: Journal,
        nodes: Nodes,
        publishing: Publishing,
        cluster: Cluster,
        questions: Questions,
        commits: Commits | None,
        store: LicensedStore,
        restore: Callable[[], Awaitable[None]],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._journal = journal
        self._nodes = nodes
        self._publishing = publishing
        self._cluster = cluster
        self._questions = questions
        self._commits = commits
        self._store = store
        self._restore = restore
        self._retry_seconds = retry_seconds
        self._wanted = asyncio.Event()
        self._doubtful: dict[str, frozenset[int]] = {}
        """By node, the positions of publishes whose commit has no answer."""
        publishing.lost_track = self.wake
        questions.handlers[SETTLE] = self._asked

    def wake(self) -> None:
        """A node joined, left or died."""
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        trouble = ""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                if not self._cluster.has_joined and not self._cluster.is_leaving:
                    self._cluster.join()
                if self._cluster.is_dead:
                    await self._rejoin()
                elif self._store.needs_licence:
                    await self._renew_licence()
                self._ask()
                await self._settle_doubtful()
                await self._settle_orphans()
                await self._restore()
                trouble = ""
            except AerostackError as error:
                if error.message != trouble:
                    log.warning("this node's part in the cluster waits, trying again: %s", error.message)
                trouble = error.message
                await asyncio.sleep(self._retry_seconds)
                self._wanted.set()

    async def _rejoin(self) -> None:
        """The others declared this node dead: join again, once nothing of its former life can be committed."""
        log.warning("the cluster has declared this node dead, because it was silent for too long; joining again")
        if self._commits is not None:
            self._store.suspend()
            await self._commits.revoke(self._journal.node)
            await self._renew_licence()
        self._cluster.join()

    async def take_licence(self) -> None:
        """Let this node commit persisted messages, in the journal's present generation.

        Raises Overloaded, Unavailable.
        """
        if self._commits is None:
            return
        epoch = self._journal.epoch
        self._cluster.greet()
        if not await self._commits.grant(self._journal.node) or epoch != self._journal.epoch:
            raise Unavailable("The journal has begun again.")
        self._store.granted()

    async def _renew_licence(self) -> None:
        """The licence has ended. What waits for the store is refused first: the journal may have lost it, or the
        others have decided about it."""
        await self._store.drained()
        await self.take_licence()

    def _ask(self) -> None:
        """Ask all nodes, this one included, to find out the result of commits that have no answer."""
        unknown = self._publishing.unknown
        if unknown:
            self._questions.ask(SETTLE, [self._journal.node, sorted(unknown)], lambda _: None)
            unknown.clear()

    def _asked(self, payload: bytes) -> None:
        node, positions = msgspec.json.decode(payload, type=tuple[str, frozenset[int]])
        self._doubtful[node] = self._doubtful.get(node, frozenset()) | positions
        self.wake()

    async def _settle_doubtful(self) -> None:
        """Find out what was stored of the commits that have no answer. Every node that was asked does it: one that
        does not reach the database needs the others, and what is settled twice is settled as it was."""
        for node, positions in list(self._doubtful.items()):
            held = self._publishing.orphans(node.__eq__)
            events = [each for each in held if each.position in positions]
            if events and self._commits is None:
                await asyncio.sleep(self._retry_seconds)
                for event in events:
                    self._publishing.store_again(event)
            elif events:
                if node == self._journal.node:
                    self._store.suspend()
                    self.wake()
                    await self._store.drained()
                await self._settle(node, events)
                log.warning("settled %d persisted publishes whose commit had no answer", len(events))
            if self._doubtful[node] is positions:
                del self._doubtful[node]

    async def _settle_orphans(self) -> None:
        """Find out what dead nodes had stored, and release everything that waits for it. One node does that; but
        of what came before a node joined, the others may have refused what it holds, so it does that itself."""
        if self._commits is None:
            return
        is_first = self._nodes.lowest() == self._journal.node
        orphans: dict[str, list[PendingEvent]] = {}
        for event in self._publishing.orphans(self._nodes.is_ended):
            if is_first or event.position <= self._cluster.joined_at:
                orphans.setdefault(event.node, []).append(event)
        for node, events in orphans.items():
            await self._settle(node, events)
            log.warning("settled %d persisted publishes that the dead node %s left behind", len(events), node)

    async def _settle(self, node: str, events: Sequence[PendingEvent]) -> None:
        """Settle publishes of a node by what is stored, once it cannot commit any more."""
        assert self._commits is not None, "only nodes of a cluster settle for each other"
        await self._commits.revoke(node)
        stored = await self._commits.stored_at([(event.topic, event.position) for event in events])
        self._journal.append(Settle(tuple(settlement(event, stored) for event in events)))
