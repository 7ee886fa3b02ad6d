"""The replica: this node's copy of what the journal says about custom channels.

Every node handles the same items in the same order and comes to the same decisions: the order of events, which
publish repeats another, what waits for a commit, who is present, which nodes are alive. Synchronous throughout.
"""

from collections import deque
from collections.abc import Collection, Sequence
from typing import assert_never

from aerostack_realtime.backplane import items
from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import (
    AnyItem,
    Append,
    CancelStream,
    Publish,
    Settle,
    Track,
    Untrack,
)
from aerostack_realtime.channels.cluster import Cluster
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.licensed_store import LicensedStore
from aerostack_realtime.channels.outcome import Done, Outcome
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.channels.questions import Questions
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.channels.replays import Replays
from aerostack_realtime.channels.streaming import Streaming
from aerostack_realtime.protocol.errors import AerostackError


class Replica:
    """Implements `JournalListener`. Commands of this node are answered in the order of their items."""

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        cursors: Cursors,
        replays: Replays,
        store: LicensedStore,
        publishing: Publishing,
        streaming: Streaming,
        cluster: Cluster,
        questions: Questions,
    ) -> None:
        self.is_cut_off = False
        self._journal = journal
        self._node = journal.node
        self._registry = registry
        self._cursors = cursors
        self._replays = replays
        self._store = store
        self._publishing = publishing
        self._published = publishing.published
        self._streaming = streaming
        self._cluster = cluster
        self._questions = questions
        self._awaiting: deque[Done | None] = deque()
        self._begun = False

    def append(
        self, item: Publish | Append | CancelStream | Track | Untrack, done: Done | None, *, alone: bool = False
    ) -> None:
        """Put an item of this node into the journal; `alone` as in `Journal.append`.

        `done` is called when it has entered, which may be at once; for a persisted publish after its commit.
        Raises Overloaded, Unavailable.
        """
        self._awaiting.append(done)
        try:
            self._journal.append(item, alone=alone)
        except AerostackError:
            self._awaiting.pop()
            raise

    def entered(self, position: int, at: int, node: str, item: AnyItem) -> None:
        if isinstance(item, Publish):  # almost every item is one, and a match takes longer
            done = self._awaiting.popleft() if node == self._node else None
            if item.stream:
                self._streaming.opened(position, at, node, item, done)
            else:
                self._published(position, at, node, item, done)
            return
        match item:
            case Append():
                done = None if item.by_server else self._pop(node)
                self._streaming.appended(position, at, node, item, done)
            case CancelStream():
                self._streaming.cancelled(position, at, node, item, self._pop(node))
            case items.StreamState():
                self._streaming.recovery.entered(position, node, item)
            case Settle():
                if item.settlements:
                    self._publishing.settled(position, item)
                    self._replays.settled()
                elif node == self._node:
                    self._store.entered()
            case Track():
                self._cluster.track(position, at, node, item)
                self._answer(node, position, at)
            case Untrack():
                self._cluster.untracked(position, at, node, item)
                self._answer(node, position, at)
            case items.Beat():
                self._cluster.beaten(position, at, node, item)
            case items.Roster():
                self._cluster.roster(position, at, node, item)
            case items.Hello():
                self._cluster.hello(node, item)
            case items.Bye():
                self._cluster.said_goodbye(node)
            case items.Ask():
                self._questions.asked(item, [each.node for each in self._cluster.present()])
            case items.Answer():
                self._questions.answered(node, item)
            case _:
                assert_never(item)

    def began(self, since: int, until: int) -> None:
        if not self._begun:
            self._begun = True
            self._registry.restart_logs(until)
            self._publishing.began(until)
            self._replays.starts(until)
            self._streaming.recovery.starts(until)
            return
        self._registry.journal_began()
        self._store.suspend()
        self._replays.began(since, until)
        self._publishing.drop_after(until)
        self._cluster.began(since, until)

    def cut_off(self) -> None:
        self.is_cut_off = True

    def reconnected(self) -> None:
        self.is_cut_off = False
        self._publishing.report_settlements()

    def refused(self, items: Sequence[AnyItem], error: AerostackError) -> Collection[int]:
        """Publishes that were not acknowledged are refused; everything else waits. The journal gives the newest
        items of this node, so their publishers are the last ones that wait for an answer."""
        awaited = [index for index, item in enumerate(items) if _is_awaited(item)]
        waiting = [self._awaiting.pop() for _ in awaited]
        withdrawn: dict[int, Done] = {}
        for index, done in zip(awaited, reversed(waiting), strict=True):
            item = items[index]
            if done is not None and isinstance(item, Publish) and not item.stream:
                withdrawn[index] = done
            else:
                self._awaiting.append(done)
        for done in withdrawn.values():
            done(error)
        return withdrawn.keys()

    def _pop(self, node: str) -> Done | None:
        return self._awaiting.popleft() if node == self._node else None

    def _answer(self, node: str, position: int, at: int) -> None:
        """Answer the command of this node whose item has entered."""
        done = self._pop(node)
        if done is not None:
            done(Outcome(self._cursors.at(position), at // 1000))


def _is_awaited(item: AnyItem) -> bool:
    """Whether `append` was given this item, and so remembers whom to answer."""
    if isinstance(item, Append):
        return not item.by_server
    return isinstance(item, Publish | CancelStream | Track | Untrack)
