"""Builds the parts of a hub: each property builds one part from the parts that it needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.channels.cluster import Cluster, NodeInfo
from aerostack_realtime.channels.commits import Commits
from aerostack_realtime.channels.counts import ChannelCounts
from aerostack_realtime.channels.custom.holds import HoldQueues
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.custom.logs import Logs
from aerostack_realtime.channels.custom.nodes import Nodes
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.inspection import Inspection
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.presence_commands import PresenceCommands
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.channels.questions import Questions
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.replays import Replays
from aerostack_realtime.channels.replica import Replica
from aerostack_realtime.channels.resolver import RETRY_SECONDS, Resolver
from aerostack_realtime.channels.shared_history import SharedHistory
from aerostack_realtime.channels.shared_log import SharedLog
from aerostack_realtime.channels.slow_readers import SlowReaders
from aerostack_realtime.channels.stream_commands import StreamCommands
from aerostack_realtime.channels.stream_limits import DEFAULT_LIMITS, StreamLimits
from aerostack_realtime.channels.streaming import Streaming
from aerostack_realtime.channels.subscriptions import Subscriptions
from aerostack_realtime.coalescing import Deferred
from aerostack_realtime.database.base import ChangeFeed
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.records import ConnectionRecords

ALONE: Final = NodeInfo()


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """What a node gives to its hub."""

    journal: Journal
    changes: ChangeFeed
    store: MessageStore
    logs: Logs
    """Makes the logs of channels."""
    defer: Callable[[Deferred], object]
    """Runs a callable after the current tick."""
    later: Callable[[float, Callable[[], None]], object]
    """Runs a callable after a delay in seconds."""
    buffer_limit: int
    """How many bytes may wait for a subscriber before it is too slow."""
    presence_limit: int
    """How many members of a channel are shown."""
    streams: StreamLimits = DEFAULT_LIMITS
    records: ConnectionRecords = field(default_factory=lambda: ConnectionRecords(lambda: 0.0))
    """What happened to each connection."""
    commits: Commits | None = None
    """The right of nodes to commit; None for a node without a cluster."""
    keep: Callable[[bool], None] | None = None
    """Called with whether this node does what exactly one has to do, whenever that changes."""
    info: NodeInfo = ALONE
    """What this node says of itself to the others."""
    retry_seconds: float = RETRY_SECONDS
    """The pause before another attempt at what the database refused."""


class Parts:
    """The parts of one hub, from the bottom up. Each is built when it is first used.

    `nodes_changed` is called when a node joins or leaves the cluster. Two parts that use each other do so through
    a callback, which finds the other part when it is called.
    """

    def __init__(self, options: HubOptions, nodes_changed: Callable[[], None]) -> None:
        self.options = options
        self._nodes_changed = nodes_changed
        self.connections: dict[str, Subscriber] = {}
        """The connections of this node by id."""
        self.cursors = Cursors(options.journal)
        self.nodes = Nodes()
        self.holds = HoldQueues()
        self.is_alone = options.commits is None
        """Whether the node has no cluster."""

    # --- delivery ----------------------------------------------------------------------------------------

    @cached_property
    def registry(self) -> Registry:
        given = self.options
        return Registry(given.defer, given.later, given.buffer_limit, given.logs, given.records)

    @cached_property
    def delivery(self) -> Delivery:
        return Delivery(self.registry, self.cursors, self.connections)

    @cached_property
    def slow_readers(self) -> SlowReaders:
        return SlowReaders(
            registry=self.registry,
            cursors=self.cursors,
            delivery=self.delivery,
            changes=self.options.changes,
            store=self.options.store,
            soon=self.options.defer,
            later=self.options.later,
            limit=self.options.buffer_limit,
            uses_chat=self.subscriptions.uses_chat,
        )

    # --- what is accepted and stored ---------------------------------------------------------------------

    @cached_property
    def writes(self) -> LicensedStore:
        return LicensedStore(
            self.options.store, self.options.journal, lambda: self.resolver.wake(), alone=self.is_alone
        )

    @cached_property
    def streaming(self) -> Streaming:
        return Streaming(
            journal=self.options.journal,
            delivery=self.delivery,
            cursors=self.cursors,
            store=self.writes,
            holds=self.holds,
            nodes=self.nodes,
            report=lambda settlement: self.publishing.report(settlement),
            release=lambda topic: self.publishing.release(topic),
            lose_track=lambda position: self.publishing.lose_track(position),
            connections=self.connections,
            limits=self.options.streams,
            alone=self.is_alone,
        )

    @cached_property
    def publishing(self) -> Publishing:
        return Publishing(
            journal=self.options.journal,
            registry=self.registry,
            delivery=self.delivery,
            cursors=self.cursors,
            store=self.writes,
            nodes=self.nodes,
            holds=self.holds,
            streaming=self.streaming,
            defer=self.options.defer,
        )

    # --- the cluster -------------------------------------------------------------------------------------

    @cached_property
    def questions(self) -> Questions:
        return Questions(self.options.journal, self.options.later)

    @cached_property
    def cluster(self) -> Cluster:
        return Cluster(
            journal=self.options.journal,
            nodes=self.nodes,
            publishing=self.publishing,
            questions=self.questions,
            streams=self.streaming.recovery,
            info=self.options.info,
            changed=self._nodes_changed,
        )

    @cached_property
    def resolver(self) -> Resolver:
        return Resolver(
            journal=self.options.journal,
            nodes=self.nodes,
            publishing=self.publishing,
            cluster=self.cluster,
            questions=self.questions,
            commits=self.options.commits,
            store=self.writes,
            restore=self.streaming.recovery.restore,
            retry_seconds=self.options.retry_seconds,
        )

    @cached_property
    def replays(self) -> Replays:
        return Replays(
            journal=self.options.journal,
            registry=self.registry,
            cursors=self.cursors,
            delivery=self.delivery,
            holds=self.holds,
            store=self.options.store,
            commits=self.options.commits,
            drained=self.writes.drained,
            publishing=self.publishing,
            digests=self.cluster.digests,
            limit=self.options.buffer_limit,
            retry_seconds=self.options.retry_seconds,
        )

    @cached_property
    def replica(self) -> Replica:
        return Replica(
            journal=self.options.journal,
            registry=self.registry,
            cursors=self.cursors,
            replays=self.replays,
            store=self.writes,
            publishing=self.publishing,
            streaming=self.streaming,
            cluster=self.cluster,
            questions=self.questions,
        )

    # --- commands and questions --------------------------------------------------------------------------

    @cached_property
    def streams(self) -> StreamCommands:
        return StreamCommands(self.replica, self.streaming)

    @cached_property
    def presence(self) -> PresenceCommands:
        given = self.options
        return PresenceCommands(self.replica, self.cluster, given.journal, self.cursors, given.presence_limit)

    @cached_property
    def shared_log(self) -> SharedLog:
        return SharedLog(self.options.changes)

    @cached_property
    def shared_history(self) -> SharedHistory:
        return SharedHistory(self.options.store)

    @cached_property
    def subscriptions(self) -> Subscriptions:
        given, holds = self.options, self.holds
        return Subscriptions(
            self.registry,
            self.cursors,
            self.cluster.members,
            self.delivery,
            given.journal,
            given.changes,
            given.buffer_limit,
            given.presence_limit,
            given.records,
            self.shared_log,
            None if self.is_alone else lambda topic: holds.reached(topic, given.journal.last),
        )

    @cached_property
    def counts(self) -> ChannelCounts:
        return ChannelCounts(self.registry, self.cluster.members, self.questions)

    @cached_property
    def inspection(self) -> Inspection:
        return Inspection(
            self.registry,
            self.cursors,
            self.options.changes,
            self.connections,
            members=self.cluster.members,
            joined=self.subscriptions.of,
            behind=self.slow_readers.behind,
        )
