"""The hub: every channel of this node, and what happens to each command.

Synchronous but for `start`: no method waits, so between a decision and its record nothing else can happen.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Raw

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.cluster import Cluster, NodeInfo
from aerostack_realtime.channels.commits import Commits
from aerostack_realtime.channels.counts import ChannelCounts, ChannelStatus
from aerostack_realtime.channels.custom.holds import HoldQueues
from aerostack_realtime.channels.custom.log import Bounds, Cursors
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.custom.nodes import Nodes, NodeStatus
from aerostack_realtime.channels.delivery import CHAT_MESSAGE as CHAT_MESSAGE
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.inspection import Inspection
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.outcome import Done, PublishTracing
from aerostack_realtime.channels.outcome import Outcome as Outcome
from aerostack_realtime.channels.presence_commands import PresenceCommands
from aerostack_realtime.channels.publishing import DocumentListener, Publishing, check_event
from aerostack_realtime.channels.questions import Collected, Handler, Questions
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.replays import Replays
from aerostack_realtime.channels.replica import Replica
from aerostack_realtime.channels.resolver import RETRY_SECONDS, Resolver
from aerostack_realtime.channels.slow_readers import SlowReaders
from aerostack_realtime.channels.stream_commands import StreamCommands
from aerostack_realtime.channels.streaming import DEFAULT_LIMITS, Streaming, StreamLimits
from aerostack_realtime.channels.subscriptions import Subscriptions
from aerostack_realtime.channels.totals import Totals, totals
from aerostack_realtime.database.base import Change, ChangeFeed
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import BadMessage, Conflict, NotFound, Unavailable
from aerostack_realtime.records import ConnectionRecords

ALONE: Final = NodeInfo()


class Hub:
    """The channels of one node.

    `defer` runs a callable after the current tick, `later` one after a delay in seconds; `buffer_limit` is
    how many bytes may wait for a subscriber before it is too slow, `presence_limit` how many members of a
    channel are shown; `logs` makes the logs of channels. In a cluster `commits` is the right of nodes to commit,
    `keep` is called with whether this node does what exactly one has to do, and `info` is what this node says of
    itself; after `retry_seconds` it tries again what the database refused. `records` are kept of connections. The
    hub is the listener of the change feed, its replica that of the journal. All topics given to it are canonical.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        changes: ChangeFeed,
        store: MessageStore,
        defer: Callable[[Callable[[], None]], object],
        later: Callable[[float, Callable[[], None]], object],
        buffer_limit: int,
        presence_limit: int,
        logs: Logs,
        streams: StreamLimits = DEFAULT_LIMITS,
        commits: Commits | None = None,
        keep: Callable[[bool], None] | None = None,
        info: NodeInfo = ALONE,
        retry_seconds: float = RETRY_SECONDS,
        records: ConnectionRecords | None = None,
    ) -> None:
        self.caught_up = asyncio.Event()
        """Set once this node knows everything that the others know."""
        self._journal = journal
        self._changes = changes
        self._connections: dict[str, Subscriber] = {}
        self.counters = logs.counters
        self.records = ConnectionRecords(lambda: 0.0) if records is None else records
        self._logs = logs
        self._registry = Registry(defer, later, buffer_limit, logs, self.records)
        self._cursors = Cursors(journal)
        delivery = Delivery(self._registry, self._cursors, self._connections)
        self._keep = keep
        self._is_alone = commits is None
        self._is_keeper = False
        self._nodes = Nodes()
        self._questions = Questions(journal, later)
        holds = HoldQueues()
        writes = self._writes = LicensedStore(store, journal, self._licence_lost, alone=self._is_alone)
        self._streaming = Streaming(
            journal=journal,
            delivery=delivery,
            cursors=self._cursors,
            store=writes,
            holds=holds,
            nodes=self._nodes,
            report=lambda settlement: self._publishing.report(settlement),
            release=lambda topic: self._publishing.release(topic),
            connections=self._connections,
            limits=streams,
            alone=self._is_alone,
        )
        self._publishing = Publishing(
            journal=journal,
            registry=self._registry,
            delivery=delivery,
            cursors=self._cursors,
            store=writes,
            nodes=self._nodes,
            holds=holds,
            streaming=self._streaming,
            defer=defer,
        )
        self._cluster = Cluster(
            journal=journal,
            nodes=self._nodes,
            publishing=self._publishing,
            questions=self._questions,
            streams=self._streaming.recovery,
            info=info,
            changed=self._nodes_changed,
        )
        self._counts = ChannelCounts(self._registry, self._cluster.members, self._questions)
        self._resolver = Resolver(
            journal=journal,
            nodes=self._nodes,
            publishing=self._publishing,
            cluster=self._cluster,
            questions=self._questions,
            commits=commits,
            store=writes,
            restore=self._streaming.recovery.restore,
            retry_seconds=retry_seconds,
        )
        self._replays = Replays(
            journal=journal,
            registry=self._registry,
            cursors=self._cursors,
            delivery=delivery,
            holds=holds,
            store=store,
            commits=commits,
            drained=writes.drained,
            publishing=self._publishing,
            digests=self._cluster.digests,
            limit=buffer_limit,
            retry_seconds=retry_seconds,
        )
        self._replica = Replica(
            journal=journal,
            registry=self._registry,
            cursors=self._cursors,
            replays=self._replays,
            store=writes,
            publishing=self._publishing,
            streaming=self._streaming,
            cluster=self._cluster,
            questions=self._questions,
        )
        self.streams = StreamCommands(self._replica, self._streaming)
        self.presence = PresenceCommands(self._replica, self._cluster, journal, self._cursors, presence_limit)
        self.subscriptions = Subscriptions(
            self._registry,
            self._cursors,
            self._cluster.members,
            delivery,
            journal,
            changes,
            buffer_limit,
            presence_limit,
            self.records,
            None if self._is_alone else lambda topic: holds.reached(topic, journal.last),
        )
        self._slow_readers = SlowReaders(
            registry=self._registry,
            cursors=self._cursors,
            delivery=delivery,
            changes=changes,
            store=store,
            later=later,
            limit=buffer_limit,
            uses_chat=self.subscriptions.uses_chat,
        )
        self.inspection = Inspection(
            self._registry,
            self._cursors,
            changes,
            self._connections,
            members=self._cluster.members,
            joined=self.subscriptions.of,
            behind=self._slow_readers.behind,
        )

    # --- the cluster -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take in what the journal holds, and join the cluster; `caught_up` follows, at once for a single node.

        Raises JournalUnusable, Unavailable.
        """
        await self._journal.start(self._replica)
        await self._streaming.recovery.restore()
        with suppress(Unavailable):  # the resolver tries again
            await self._resolver.take_licence()
        self._cluster.join()

    async def run(self) -> None:
        """Deal with dead nodes and with a journal that began again, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._resolver.run())
            tasks.create_task(self._replays.run())
            tasks.create_task(self._slow_readers.run())

    @property
    def is_ready(self) -> bool:
        """Whether this node knows what the others know, and can publish."""
        return self.caught_up.is_set() and not self._replica.is_cut_off and not self._cluster.is_dead

    @property
    def mismatches(self) -> int:
        """How often another node's state differed from this node's; anything but 0 is a bug."""
        return self._cluster.digests.mismatches

    def goodbye(self) -> None:
        """Leave the cluster; call it before the connections are closed, so that nobody is absent meanwhile."""
        self._streaming.flush()
        self._cluster.leave()

    async def drain(self) -> None:
        """Wait until what this node accepted is stored and reported to the others."""
        await self._writes.drained()
        self._publishing.report_settlements()

    @property
    def node(self) -> str:
        """This start of this node."""
        return self._journal.node

    @property
    def generation(self) -> str:
        """What cursors of custom channels begin with now."""
        return self._journal.epoch

    def nodes(self) -> list[NodeStatus]:
        """The live nodes of the cluster by id. The first one does what exactly one has to do."""
        return self._cluster.present()

    def handle(self, kind: str, handler: Handler) -> None:
        """Let `handler` carry out a kind of question or instruction on this node, whichever node asks."""
        self._questions.handlers[kind] = handler

    def ask(self, kind: str, payload: object, done: Collected) -> None:
        """Ask all nodes, this one included; `done` gets the answers (JSON) of those that reply within 3 seconds.

        Raises Overloaded, Unavailable.
        """
        self._questions.ask(kind, payload, done)

    # --- connections -------------------------------------------------------------------------------------

    def join(self, subscriber: Subscriber) -> None:
        """A connection is there."""
        self._connections[subscriber.connection_id] = subscriber
        self.records.connected(subscriber.connection_id)
        self.subscriptions.join(subscriber)

    def leave(self, subscriber: Subscriber) -> None:
        """A connection is gone, with its subscriptions and its presence. Idempotent."""
        self._connections.pop(subscriber.connection_id, None)
        self.subscriptions.leave(subscriber)
        self._streaming.writers.gone(subscriber.connection_id)
        self.presence.gone(subscriber)

    def trace(self, tracing: PublishTracing) -> None:
        """Record spans of persisted publishes from now on."""
        self._publishing.tracing = tracing

    def follow(self, documents: DocumentListener) -> None:
        """Report what happens to documents from now on."""
        self._publishing.documents = documents

    def opened(self, topic: str, messages: int) -> None:
        """A client was sent all of a custom channel's stored messages, so many."""
        if self._publishing.documents is not None:
            self._publishing.documents.opened(topic, messages)

    @property
    def is_keeper(self) -> bool:
        """Whether this node does what exactly one has to do."""
        return self._is_keeper

    # --- events ------------------------------------------------------------------------------------------

    def publish(
        self,
        topic: str,
        event: str,
        data: Raw,
        done: Done | None,
        *,
        user_id: str | None = None,
        id: str | None = None,
        persist: bool = False,
        without: str | None = None,
        traceparent: str | None = None,
        compacts: str | None = None,
    ) -> None:
        """Publish an event; `done` is called when it is accepted, a persisted one after its commit. An event
        that is not persisted and has no id is never refused later, so it needs no `done`.
        With the cursor `compacts` it replaces the persisted messages of the same event up to there.

        Raises BadMessage, Conflict, Forbidden, Overloaded, Unavailable.
        """
        check_event(topic, event, id)
        if persist and (documents := self._publishing.documents) is not None:
            documents.check(topic, event, data)
        until = 0
        if compacts is not None:
            until = self._cursors.position(compacts)
            if not persist:
                raise BadMessage("Only a persisted message compacts others: set persist as well.")
            if not 0 < until <= self._journal.last:
                raise Conflict(
                    "compacts is not a cursor of this channel. Read its present state, then compact that."
                )
        if persist and done is not None and (tracing := self._publishing.tracing) is not None:
            traceparent, done = tracing.publish(topic, id, traceparent, done)
        item = Publish(
            topic, event, bytes(data), user_id, id, persist, without, traceparent=traceparent, compacts=until
        )
        self._replica.append(item, done)

    # --- the change feed's listener ----------------------------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        for change in changes:
            channel = self._registry.of_table(change.table)
            if channel is not None:
                channel.deliver(change)

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        self.records.interrupted(table, cursor, present)
        channel = self._registry.of_table(table)
        if channel is None:
            return
        if present:
            channel.interrupted(cursor, self._changes.column_types(table))
        else:
            gone = NotFound(
                f"The table {table!r} was dropped, renamed, or is no longer accessible; the subscription resumes "
                "when it returns."
            )
            frame = frames.encode(messages.Error.of(gone, topic=channel.topic))
            for audience in channel.audiences():
                audience.append(frame)

    # --- the owner's -------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Forget what has become too old, and give a sign of life to the other nodes. Call it once a second."""
        self._registry.expire(self._journal.last)
        self._publishing.report_settlements()
        self._streaming.sweep()
        self._cluster.beat(len(self._connections))

    def flush(self) -> None:
        """Write every buffer now. This happens automatically at the end of each tick; call it before closing."""
        self._registry.flush()

    def rebound(self, rules: Sequence[tuple[str, Bounds]], limit: int) -> None:
        """Apply other bounds to the logs of custom channels, as `Logs` has them."""
        self._logs.rebound(rules, limit)
        self._registry.rebound()

    def totals(self) -> Totals:
        """How much there is of everything now."""
        members = self._cluster.members
        return totals(self.subscriptions.total, self._registry, members, self._logs, self._journal.figures)

    def channels(self) -> list[ChannelStatus]:
        """See `ChannelCounts.here`."""
        return self._counts.here()

    def all_channels(self, done: Callable[[list[ChannelStatus]], None]) -> None:
        """See `ChannelCounts.everywhere`."""
        self._counts.everywhere(done)

    # --- inside ------------------------------------------------------------------------------------------

    def _licence_lost(self) -> None:
        self._resolver.wake()

    def _nodes_changed(self) -> None:
        self._resolver.wake()
        if not self._cluster.is_learning:
            self.caught_up.set()
        is_keeper = not self._cluster.is_learning and self._nodes.lowest() == self._journal.node
        if is_keeper != self._is_keeper:
            self._is_keeper = is_keeper
            if self._keep is not None:
                self._keep(is_keeper)
