"""Keeps documents short: merges the stored updates of one into a single message, when there are many of them, and
when its editors pause."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from aerostack_realtime.access.patterns import Pattern
from aerostack_realtime.backplane.items import Publish
from aerostack_realtime.channels.hub import Hub
from aerostack_realtime.channels.outcome import Outcome
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.documents.process import DocumentWorker, WorkerEnded
from aerostack_realtime.documents.reading import stored_messages
from aerostack_realtime.documents.requests import Corrupt, Merge, Merged
from aerostack_realtime.protocol import documents, topics
from aerostack_realtime.protocol.answers import Answer
from aerostack_realtime.protocol.errors import AerostackError, Conflict, TooLarge

log = logging.getLogger(__name__)

CHECK_SECONDS: Final = 1.0
MESSAGE_BYTES: Final = 200
"""What a message costs beside its data: its columns in the database, and its frame when the document is opened."""
FEWEST: Final = 20
"""Messages from which on a pause is a reason to merge; fewer open as fast."""
ATTEMPTS: Final = 3
"""How often a document may end the worker, which can also lack memory for a moment."""
TAKEOVER_SECONDS: Final = 60.0
"""How long after a pause the other nodes of a cluster remember the document, so that one of them can compact it
when the keeper ends before it did. A cluster has a new keeper after a few seconds."""
FORGET_MS: Final = 24 * 3600 * 1000
"""When the pieces of an update that lacks others are deleted. Until then they stay beside the compacted document:
their writer may be offline, or a piece that was sent twice is one of an update that is complete."""


class DocumentRule(Struct, frozen=True):
    """The topics of a pattern are documents. They are compacted when `bytes` of messages have come since the last
    time, or after `idle` seconds without one."""

    pattern: Pattern
    bytes: int
    idle: float


class _Tail(Struct):
    """What came since the last compaction. `size` is that of the last one."""

    rule: DocumentRule
    changed_at: float
    messages: int = 0
    bytes: int = 0
    size: int = 0
    failures: int = 0

    def is_due(self, now: float) -> bool:
        """Merging a large document rewrites and sends all of it, so it waits until as much has come."""
        return self.bytes >= max(self.rule.bytes, self.size) or self.rested(now)

    def rested(self, now: float, longer: float = 0) -> bool:
        """Whether the pause is long enough for a compaction, or `longer` seconds more."""
        return now - self.changed_at >= self.rule.idle + longer

    def is_overdue(self, now: float) -> bool:
        """Whether the keeper has left the document alone. It does not know a document that was edited before it
        started, and was opened on another node since."""
        return self.messages >= FEWEST and self.rested(now, TAKEOVER_SECONDS)


class Compactor:
    """`now` is in seconds, `wall` in ms since the Unix epoch. In a cluster the keeper compacts for all nodes;
    another node compacts only what is overdue. Of two compactions of the same messages the store accepts one."""

    def __init__(
        self,
        rules: Sequence[DocumentRule],
        hub: Hub,
        store: MessageStore,
        worker: DocumentWorker,
        now: Callable[[], float],
        wall: Callable[[], int],
    ) -> None:
        self.corrupt: dict[str, str] = {}
        """Why documents cannot be read, by topic. They are kept as they are."""
        self._rules = rules
        self._hub = hub
        self._store = store
        self._worker = worker
        self._now = now
        self._wall = wall
        self._tails: dict[str, _Tail] = {}

    def rule(self, topic: str) -> DocumentRule | None:
        """The rule by which a canonical topic is a document."""
        name = topics.without_project(topic)
        return next((rule for rule in self._rules if rule.pattern.match(name) is not None), None)

    def check(self, topic: str, event: str, data: Raw) -> None:
        """Refuse a message that is not an update of a document. Whether Yjs can read it is found out later, in the
        worker. Raises BadMessage."""
        if event == documents.EVENT and self.rule(topic) is not None:
            documents.read(data)

    def stored(self, item: Publish) -> None:
        """A persisted message was delivered, by whichever node accepted it."""
        if item.event != documents.EVENT:
            return
        tail = self._tail(item.topic)
        if tail is None:
            return
        if item.compacts:
            tail.size, tail.bytes, tail.messages = len(item.data), 0, 0
        else:
            tail.messages += 1
            tail.bytes += len(item.data) + MESSAGE_BYTES
            tail.changed_at = self._now()

    def opened(self, topic: str, messages: int) -> None:
        """A client was sent all stored messages of a document. There are many when the server ended before it
        compacted them."""
        if messages >= FEWEST:
            tail = self._tail(topic)
            if tail is not None:
                tail.messages = max(tail.messages, messages)

    def _tail(self, topic: str) -> _Tail | None:
        """That of a document, a new one if necessary; None for other topics."""
        tail = self._tails.get(topic)
        if tail is None:
            rule = self.rule(topic)
            if rule is not None:
                tail = self._tails[topic] = _Tail(rule, self._now())
        return tail

    async def run(self) -> None:
        """Compact what is due, until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.compact()

    async def compact(self) -> None:
        """Compact the documents that are due now."""
        now = self._now()
        for topic, tail in [each for each in self._tails.items() if each[1].is_due(now)]:
            paused = tail.rested(now)
            try:
                if (self._hub.is_keeper or tail.is_overdue(now)) and topic not in self.corrupt:
                    await self._compact(topic, fewest=FEWEST if paused else 2)
            except Conflict:
                pass  # another node or program was first; when that is delivered, the document is looked at again
            except TooLarge as error:
                self._refuse(topic, error.message)
            except WorkerEnded as error:
                tail.failures += 1
                if tail.failures >= ATTEMPTS:
                    self._refuse(topic, error.message)
            except AerostackError as error:
                log.warning("the document %s cannot be compacted now, trying again: %s", topic, error.message)
                continue
            if tail.rested(now, 0 if self._hub.is_keeper else TAKEOVER_SECONDS):
                self._tails.pop(topic, None)

    async def _compact(self, topic: str, fewest: int) -> None:
        began = self._now()
        messages = await stored_messages(self._hub, self._store, topic)
        if len(messages) < fewest:
            return
        merged = await self._worker.ask(Merge(messages, self._wall() - FORGET_MS))
        if isinstance(merged, Corrupt):
            self._refuse(topic, f"the message at position {merged.position}: {merged.reason}")
            return
        assert isinstance(merged, Merged), "a merge without a state vector is not refused"
        kept = frozenset(merged.waiting)
        replaced = [len(message.data) for message in messages if message.position not in kept]
        if len(replaced) < fewest:
            return
        answer = Answer[Outcome]()
        data = msgspec.json.encode(documents.written(merged.update))
        cursor, keeps = self._hub.subscriptions.cursor_at(messages[-1].position), tuple(merged.waiting)
        self._hub.publish(
            *(topic, documents.EVENT, Raw(data), answer.done), persist=True, compacts=cursor, keeps=keeps
        )
        await answer
        seconds, counters = self._now() - began, self._hub.counters
        counters.compactions.observe(seconds)
        counters.compacted_bytes += sum(replaced)
        counters.compaction_bytes += len(data)
        log.info(
            "compacted %s: %d messages to one of %d bytes, in %.0f ms",
            *(topic, len(replaced), len(data), seconds * 1000),
        )

    def _refuse(self, topic: str, reason: str) -> None:
        self.corrupt[topic] = reason
        self._hub.counters.unreadable_documents += 1
        log.error(
            "the document %s cannot be read, so it is kept and not compacted any more (%s). Restore it from a "
            "backup, or delete that message, then restart the server.",
            *(topic, reason),
        )
