"""The hub: every channel of this node, and what happens to each command.

Synchronous but for `start`: no method waits, so between a decision and its record nothing else can happen.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby
from operator import attrgetter

from msgspec import Raw
from msgspec.structs import replace

from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.counts import ChannelStatus
from aerostack_realtime.channels.custom.log import Bounds
from aerostack_realtime.channels.custom.nodes import NodeStatus
from aerostack_realtime.channels.delivery import CHAT_MESSAGE as CHAT_MESSAGE
from aerostack_realtime.channels.fanout.subscriber import Subscriber
from aerostack_realtime.channels.outcome import Done, PublishTracing
from aerostack_realtime.channels.outcome import Outcome as Outcome
from aerostack_realtime.channels.parts import HubOptions, Parts
from aerostack_realtime.channels.publishing import DocumentListener, check_event
from aerostack_realtime.channels.questions import Collected, Handler
from aerostack_realtime.channels.repeated_events import RepeatedEvents
from aerostack_realtime.channels.totals import Totals, totals
from aerostack_realtime.database.base import Change
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import BadMessage, Conflict, NotFound, Overloaded, Unavailable
from aerostack_realtime.records import Person


class Hub:
    """The channels of one node. It is the listener of the change feed; its replica is the listener of the journal.

    All topics given to it are canonical.
    """

    def __init__(self, options: HubOptions) -> None:
        parts = Parts(options, self._nodes_changed)
        self.caught_up = asyncio.Event()
        """Set once this node knows everything that the others know."""
        self.counters = options.logs.counters
        self.records = options.records
        self.subscriptions = parts.subscriptions
        self.presence = parts.presence
        self.streams = parts.streams
        self.inspection = parts.inspection
        self._journal = options.journal
        self._changes = options.changes
        self._logs = options.logs
        self._keep = options.keep
        self._is_keeper = False
        self._connections = parts.connections
        self._registry = parts.registry
        self._cursors = parts.cursors
        self._writes = parts.writes
        self._streaming = parts.streaming
        self._publishing = parts.publishing
        self._nodes = parts.nodes
        self._questions = parts.questions
        self._cluster = parts.cluster
        self._counts = parts.counts
        self._resolver = parts.resolver
        self._replays = parts.replays
        self._replica = parts.replica
        self._slow_readers = parts.slow_readers
        self._shared_log = parts.shared_log
        self.shared_history = parts.shared_history

    # --- the cluster -------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take in what the journal holds, and join the cluster, as soon as the journal takes that; `caught_up`
        follows, at once for a single node.

        Raises JournalUnusable, Unavailable.
        """
        await self._journal.start(self._replica)
        await self._streaming.recovery.restore()
        with suppress(Overloaded, Unavailable):  # the resolver tries again
            await self._resolver.take_licence()
        with suppress(Overloaded, Unavailable):
            self._cluster.join()
        self._resolver.wake()

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

    def join(self, subscriber: Subscriber, person: Person | None = None) -> None:
        """A connection is there, of this person if it has authenticated."""
        self._connections[subscriber.connection_id] = subscriber
        self.records.connected(subscriber.connection_id, person)
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
        """A client was sent all stored messages of a custom channel; `messages` is their number."""
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
        user_id: str | None = None,
        id: str | None = None,
        persist: bool = False,
        without: str | None = None,
        traceparent: str | None = None,
        compacts: str | None = None,
        keeps: tuple[int, ...] = (),
    ) -> None:
        """Publish an event; `done` is called when it is accepted, a persisted one after its commit. An event
        that is not persisted and has no id is never refused later, so it needs no `done`.
        With the cursor `compacts` it replaces the persisted messages of the same event up to there, but for those
        at the positions `keeps`.

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
        # By position: with names it takes four times as long.
        item = Publish(topic, event, bytes(data), user_id, id, persist, without, False, False, traceparent)
        if until:
            item = replace(item, compacts=until, keeps=keeps)
        self._replica.append(item, done)

    def repeated(
        self, topic: str, command: messages.Publish, user_id: str | None, connection_id: str
    ) -> RepeatedEvents:
        """The short way for further events like that of a command from a connection, which is not persisted."""
        return RepeatedEvents(
            *(topic, command.event, user_id, None if command.echo else connection_id),
            journal=self._journal,
            channels=self._registry.heard,
            connections=self._connections,
            publishing=self._publishing,
            otherwise=self._replica.append,
        )

    # --- the change feed's listener ----------------------------------------------------------------------

    def changed(self, changes: Sequence[Change]) -> None:
        for table, run in groupby(changes, attrgetter("table")):
            self._shared_log.changed(table)
            channel = self._registry.of_table(table)
            if channel is not None:
                channel.deliver(run)

    def interrupted(self, table: str, cursor: str, present: bool) -> None:
        self.records.interrupted(table, cursor, present)
        self._shared_log.interrupted(table)
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
        """Forget what has become too old, count what was noted, and give a sign of life to the other nodes. Call
        it once a second."""
        self.counters.count()
        self._registry.expire(self._journal.last)
        self._publishing.report_settlements()
        self._streaming.sweep()
        self._shared_log.sweep()
        self.shared_history.sweep()
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

    def _nodes_changed(self) -> None:
        self._resolver.wake()
        if not self._cluster.is_learning:
            self.caught_up.set()
        is_keeper = not self._cluster.is_learning and self._nodes.lowest() == self._journal.node
        if is_keeper != self._is_keeper:
            self._is_keeper = is_keeper
            if self._keep is not None:
                self._keep(is_keeper)
