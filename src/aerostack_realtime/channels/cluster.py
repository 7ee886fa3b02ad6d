"""The life of the cluster's nodes: beats, who joins and leaves, rosters of members, and what is forgotten.

A node that starts reads the journal from its start, says Hello, and is ready when every live node has announced
the members that its connections make.
"""

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from msgspec import Struct

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Beat, Bye, Hello, Roster, Track, Untrack
from aerostack_realtime.channels.custom.digests import Digests
from aerostack_realtime.channels.custom.members import Changes, Members
from aerostack_realtime.channels.custom.nodes import Nodes, NodeStatus
from aerostack_realtime.channels.custom.receipts import WINDOW_US
from aerostack_realtime.channels.custom.roster import OwnRoster, RosterParts
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.channels.questions import Questions
from aerostack_realtime.channels.stream_recovery import StreamRecovery
from aerostack_realtime.protocol.errors import AerostackError


class NodeInfo(Struct, frozen=True):
    """What a node says of itself. `bookmark` is its place in the change feed, `clock` its monotonic clock in
    seconds."""

    name: str = ""
    version: str = ""
    bookmark: Callable[[], str] = str
    clock: Callable[[], float] = float


class Cluster:
    """The nodes and the members that they make. `changed` is called when a node joined, left or died."""

    def __init__(
        self,
        *,
        journal: Journal,
        nodes: Nodes,
        publishing: Publishing,
        questions: Questions,
        streams: StreamRecovery,
        info: NodeInfo,
        changed: Callable[[], None],
    ) -> None:
        self.members = Members()
        self.digests = Digests()
        self.is_learning = True
        """Whether this node still lacks members that other nodes make. It announces no changes meanwhile."""
        self.has_joined = False
        """Whether this node has said Hello, at its start."""
        self.joined_at = 0
        """The position at which this node joined last."""
        self._journal = journal
        self._nodes = nodes
        self._publishing = publishing
        self._questions = questions
        self._streams = streams
        self._joining = False
        self._info = info
        self._changed = changed
        self._own = OwnRoster()
        self._parts = RosterParts()
        self._roster_due = False
        self._expected: set[str] = set()
        self._marks: deque[tuple[int, int]] = deque()
        self._counted = 0
        self._leaving = False
        self._greeting: Hello | None = None
        self._beats: deque[float] = deque()
        self._lag_us = 0

    @property
    def is_dead(self) -> bool:
        """Whether the others have declared this node dead."""
        return self._nodes.is_ended(self._journal.node)

    # --- what this node does -----------------------------------------------------------------------------

    def join(self) -> None:
        """Say Hello, at the start or after this node was declared dead. Raises Overloaded, Unavailable."""
        self._joining = True
        self._journal.append(Hello(self._info.name, self._info.version))
        self.has_joined = True
        if not self.is_learning:
            self.announce_members()

    def greet(self) -> None:
        """Say Hello if that is due since the journal began again. Raises Overloaded, Unavailable."""
        if self._greeting is not None:
            self._journal.append(self._greeting)
            self._greeting = None

    def leave(self) -> None:
        """Say goodbye: the members of this node stay until their connections had time to reconnect elsewhere."""
        self._leaving = True
        self._try(Bye())

    @property
    def is_leaving(self) -> bool:
        """Whether this node has said goodbye. Its connections end now, but their members stay for a while."""
        return self._leaving

    def append(self, item: Track | Untrack, append: Callable[[Track | Untrack], None]) -> None:
        """Put `item` into the journal by `append`. Raises as that does; a later roster makes up for an Untrack."""
        before = self._own.appended(item)
        try:
            append(item)
        except AerostackError:
            if isinstance(item, Untrack):
                self._roster_due = True
            elif before is None:
                self._own.appended(Untrack(item.topic, item.connection))
            else:
                self._own.appended(before)
            raise

    def announce_members(self) -> None:
        """Put the streams of this node and all members of its connections into the journal; when it refuses, with
        the next beat. The roster says that everything was announced."""
        self._roster_due = False
        if not self._streams.announce():
            self._roster_due = True
            return
        node = self._journal.node
        for part in self._own.parts(lambda topic, connection: self.members.place(node, topic, connection)):
            if not self._try(part):
                self._roster_due = True
                return

    def beat(self, connections: int) -> None:
        """Give a sign of life; call it once a second."""
        if self._leaving or not self.has_joined:
            return
        if self._roster_due:
            self.announce_members()
        at = self._marks[-1][0] if self._marks else 0
        digest, digest_at = self.digests.newest(at)
        floor = self._floor(at) if self._nodes.lowest() == self._journal.node else 0
        now = self._info.clock()
        lag_us = max(self._lag_us, int((now - self._beats[0]) * 1e6)) if self._beats else self._lag_us
        self._beats.append(now)
        if not self._try(Beat(floor, digest, digest_at, self._info.bookmark(), connections, lag_us)):
            self._beats.pop()

    # --- what the journal says ---------------------------------------------------------------------------

    def hello(self, node: str, item: Hello) -> None:
        self._nodes.hello(node, item.name, item.version)
        self._parts.forget(node)
        if node == self._journal.node:
            self._expected = {each.node for each in self._nodes.present()} - {node}
            if self._joining:
                self._joining = False
                self.joined_at = self._journal.last
                self._streams.joined(self._expected)
            if not self._expected:
                self._publishing.be_sure()
            self._check_ready()
        elif item.asks and not self._leaving and not self.is_dead:
            self.announce_members()
        self._changed()

    def said_goodbye(self, node: str) -> None:
        self._nodes.bye(node)
        self._gone(node)
        self._changed()

    def roster(self, position: int, at: int, node: str, item: Roster) -> None:
        if not self._nodes.alive(node):
            return
        entries = self._parts.entered(node, item)
        if entries is None:
            return
        self._streams_known(self._streams.heard(node))
        self._present(position, at, node, self.members.replace(node, entries, at // 1000, position))
        self._expected.discard(node)
        self._check_ready()

    def track(self, position: int, at: int, node: str, item: Track) -> None:
        if self._nodes.alive(node):
            changes = self.members.track(node, item, at // 1000, position)
            self._present(position, at, node, {item.topic: changes})

    def untracked(self, position: int, at: int, node: str, item: Untrack) -> None:
        changes = self.members.untrack(node, item.topic, item.connection)
        self._present(position, at, node, {item.topic: changes})

    def beaten(self, position: int, at: int, node: str, item: Beat) -> None:
        if item.floor > self._publishing.receipts.floor:
            self._publishing.forget_below(item.floor)
            self._journal.trim(item.floor)
        if node == self._journal.node and self._beats:
            self._lag_us = int((self._info.clock() - self._beats.popleft()) * 1e6)
        dead = self._nodes.beat(node, at, item.connections, item.lag_us)
        if dead:
            changes: Changes = {}
            for each in dead:
                for topic, changed in self.members.lapse(each).items():
                    changes.setdefault(topic, []).extend(changed)
                self._gone(each)
            self._present(position, at, node, changes)
            self._changed()
        self._marks.append((at, position))
        while self._marks[0][0] < at - WINDOW_US - 1_000_000:
            self._marks.popleft()
        if not self.is_learning:
            self._digest(position, at, node, item)

    def began(self, since: int, until: int) -> None:
        """The journal began again, or items were skipped: send what the others may lack, and ask for theirs if
        this node skipped some."""
        self._parts.forget()
        self.digests.restart()
        others = {each.node for each in self._nodes.present()} - {self._journal.node}
        self._streams.began(since, until, others)
        if not self._leaving:
            asks = since < until or self.is_learning
            self._greeting = Hello(self._info.name, self._info.version, asks=asks)
            with suppress(AerostackError):  # the resolver tries again
                self.greet()
        self.announce_members()
        self._changed()

    def present(self) -> list[NodeStatus]:
        """The nodes that are alive and stay."""
        return self._nodes.present()

    # --- inside ------------------------------------------------------------------------------------------

    def _present(self, position: int, at: int, node: str, changes: Changes) -> None:
        if not self.is_learning:
            self._publishing.present(position, at, node, changes)

    def _gone(self, node: str) -> None:
        self._questions.ended(node)
        self._parts.forget(node)
        self._expected.discard(node)
        self._streams_known(self._streams.gone(node))
        self._check_ready()

    def _streams_known(self, now: bool) -> None:
        """Whether this node knows all streams now, and did not before."""
        if now:
            self.digests.restart()
            self._changed()

    def _check_ready(self) -> None:
        if self.is_learning and not self._expected and self._nodes.is_named(self._journal.node):
            self.is_learning = False
            self._changed()

    def _digest(self, position: int, at: int, node: str, item: Beat) -> None:
        delivered, self._counted = self._publishing.delivered - self._counted, self._publishing.delivered
        names = ",".join(each.node for each in self._nodes.present())
        self.digests.note(position, at, delivered, self.members.digest, names)
        if item.digest_at and node != self._journal.node:
            self.digests.compare(node, item.digest_at, item.digest)

    def _floor(self, at: int) -> int:
        """Below which position nobody needs anything: two minutes ago, earlier while a commit takes longer, or
        later when too much would be kept."""
        receipts = self._publishing.receipts
        window = 0
        for marked, position in self._marks:
            if marked > at - WINDOW_US:
                break
            window = position
        unsettled = self._publishing.oldest_unsettled
        if unsettled is not None:
            # a node that joins, or skips a part, must hold it, too, until its commit is known
            window = min(window, unsettled - 1)
        return max(receipts.floor, window, receipts.floor_for(), self._journal.size_floor)

    def _try(self, item: Hello | Bye | Roster | Beat) -> bool:
        try:
            self._journal.append(item)
        except AerostackError:
            return False
        return True
