"""Resumes that the server starts: what connected subscribers lack after the journal began again.

The journal may have lost persisted messages that were stored. A new generation ends all licences to commit, so
from then on the database knows for good which messages of the old one are stored. For each channel with
subscribers: report the gap, settle what survived and waits, send the stored messages, then what has come
meanwhile, then live events. The database is asked about groups of channels, and the stored messages of a channel
are read one page at a time, which all of its subscribers share.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aerostack_realtime.backplane.base import Journal
from aerostack_realtime.backplane.items import Settle, Settlement
from aerostack_realtime.channels.commits import Commits, settlement
from aerostack_realtime.channels.custom.channel import CustomChannel, StoredReplay
from aerostack_realtime.channels.custom.digests import Digests
from aerostack_realtime.channels.custom.holds import HoldQueues
from aerostack_realtime.channels.custom.log import Cursors
from aerostack_realtime.channels.delivery import Delivery
from aerostack_realtime.channels.publishing import Publishing
from aerostack_realtime.channels.registry import Registry
from aerostack_realtime.database.message_store import MessageStore
from aerostack_realtime.protocol import frames, messages
from aerostack_realtime.protocol.errors import AerostackError

log = logging.getLogger(__name__)

TOPICS: Final = 500
"""Channels that one query asks for stored messages: two look-ups in an index for each of them."""
PAGE: Final = 256
"""Stored messages that are read and sent at once."""
SHARE: Final = 4
"""The next page follows once at most this part of every subscriber's buffer waits."""
CHECK_SECONDS: Final = 0.02
RANGES: Final = 16
"""Unread ranges that are known: what came in an older one was settled long ago."""
PATIENCE_SECONDS: Final = 5.0
"""How long a replay waits for slow subscribers. Then it continues without them: they are closed, and resume."""


class Replays:
    """The replays of one node.

    `drained` waits until no write of this node waits for the message store. `limit` is how many bytes may wait for
    a subscriber. What fails is tried again after `retry_seconds`.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        registry: Registry,
        cursors: Cursors,
        delivery: Delivery,
        holds: HoldQueues,
        store: MessageStore,
        commits: Commits | None,
        drained: Callable[[], Awaitable[None]],
        publishing: Publishing,
        digests: Digests,
        limit: int,
        retry_seconds: float,
    ) -> None:
        self._journal = journal
        self._registry = registry
        self._cursors = cursors
        self._delivery = delivery
        self._holds = holds
        self._store = store
        self._commits = commits
        self._drained = drained
        self._publishing = publishing
        self._digests = digests
        self._limit = limit
        self._retry_seconds = retry_seconds
        self._replays: dict[str, CustomChannel] = {}
        self._until = 0
        self._unread: deque[tuple[int, int]] = deque(maxlen=RANGES)
        """The ranges of positions whose items this node has not read."""
        self._missed: set[int] = set()
        """Where messages were stored that came in an unread item, which subscribers do not know yet."""
        self._shared: set[int] = set()
        """The positions of events of streams that this node has put into the journal as refused."""
        self._wanted = asyncio.Event()
        publishing.unheld = self._unheld

    def __len__(self) -> int:
        """How many channels are being replayed."""
        return len(self._replays)

    def starts(self, position: int) -> None:
        """This node reads the journal from a position on."""
        self._unread.append((0, position))

    def began(self, since: int, survived: int) -> None:
        """The journal began again; this node has handled what came up to `since`, of which it has what came up to
        `survived`. Call it before anything that waits is dropped."""
        self._until = self._journal.last
        self._shared.clear()
        if since < survived:
            self._unread.append((since, survived))
        for topic, channel in self._registry.heard.items():
            replay = self._interrupt(channel, self._holds.reached(topic, since))
            queue = self._holds.queues.get(topic)
            if queue is None or queue[0].position > survived:
                self._report(channel, replay)
        self._registry.restart_logs(self._until)
        self._wanted.set()

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._catch_up()
                await self._report_missed()
            except AerostackError as error:
                log.warning("stored messages cannot be sent to subscribers now, trying again: %s", error.message)
                await asyncio.sleep(self._retry_seconds)
                self._wanted.set()

    def settled(self) -> None:
        """Some publishes were stored, or not: a replay may have waited for that."""
        if self._shared:
            self._wanted.set()

    def _unheld(self, position: int) -> None:
        """A publish was stored that this node does not hold. The journal may have been trimmed beyond its item
        before this node read it, because the commit took longer than the journal had room for."""
        if self._registry.heard and any(since < position <= until for since, until in self._unread):
            self._missed.add(position)
            self._wanted.set()

    async def _report_missed(self) -> None:
        """Report a gap where subscribers missed stored messages: later events were delivered, so these cannot come
        in their place any more. Raises AerostackError."""
        missed, topics = sorted(self._missed), list(self._registry.heard)
        if not missed or self._commits is None:
            return
        for first in range(0, len(topics), TOPICS):
            some = topics[first : first + TOPICS]
            for topic in await self._commits.with_messages(some, missed[0] - 1, missed[-1]):
                if (channel := self._registry.heard.get(topic)) is not None:
                    self._report_gap(channel, self._reached(channel))
        self._missed.difference_update(missed)

    def _reached(self, channel: CustomChannel) -> int:
        """Up to where subscribers have what this node has read."""
        if channel.replay is not None:
            return channel.replay.after
        return self._holds.reached(channel.topic, self._journal.last)

    def _interrupt(self, channel: CustomChannel, reached: int) -> StoredReplay:
        """Keep back what happens in a channel, whose subscribers have everything up to `reached`."""
        replay = channel.replay
        if replay is None:
            former = self._replays.get(channel.topic)
            if former is not None and former.replay is not None:
                self._end(former, former.replay)
            channel.send_pieces()
            streams = self._registry.streams.get(channel.topic, {}) if channel.stream_audience else {}
            known = {id: stream.sent for id, stream in streams.items()}
            replay = channel.replay = StoredReplay(reached, self._until, known)
            self._replays[channel.topic] = channel
        replay.until = self._until
        return replay

    def _report(self, channel: CustomChannel, replay: StoredReplay) -> None:
        """Report the gap to a channel's subscribers, once. What survived was delivered before it; stored messages
        follow it, and then what has come since the journal began again."""
        if replay.is_reported:
            return
        replay.is_reported = True
        self._report_gap(channel, replay.after)

    def _report_gap(self, channel: CustomChannel, position: int) -> None:
        """Subscribers have everything up to a position from now on, as far as they will get it."""
        cursor = self._cursors.of(position)
        frame = frames.encode(messages.Subscribed(channel.topic, cursor, recovered=False))
        for audience in channel.audiences():
            audience.append(frame)

    async def _catch_up(self) -> None:
        """Serve all channels; a generation that begins meanwhile starts it again. Raises AerostackError."""
        await self._drained()
        until = self._until
        if not await self._settle_survivors(until):
            return
        channels = list(self._replays.values())
        for first in range(0, len(channels), TOPICS):
            waiting = deque(await self._with_messages(channels[first : first + TOPICS]))
            while waiting:
                if until != self._until:
                    return
                channel = waiting.popleft()
                if await self._continue(channel, until):
                    waiting.append(channel)

    async def _settle_survivors(self, until: int) -> bool:
        """Settle what survived in the journal: the item that would settle it may be lost, or was skipped. Whether
        everything is settled.

        A stream whose opening or end was not stored is removed, or open again. What follows in the journal depends
        on that, so all nodes have to do it at the same item."""
        events = [each for each in self._holds.unsettled(lambda _: True) if each.position <= until]
        if not events or self._commits is None:
            return True
        stored = await self._commits.stored_at([(each.topic, each.position) for each in events])
        if until != self._until:
            return False
        here, shared = list[Settlement](), list[Settlement]()
        for each in events:
            found = settlement(each, stored)
            (shared if each.stream is not None and found.outcome != "stored" else here).append(found)
        self._publishing.settled(self._journal.last, Settle(tuple(here)))
        self._digests.restart()  # other nodes released these events at another item
        waiting = {each.position for each in shared if self._holds.is_unsettled(each.position)}
        if waiting - self._shared:
            self._journal.append(Settle(tuple(each for each in shared if each.position in waiting)))
        self._shared = waiting
        return not waiting

    async def _with_messages(self, channels: Sequence[CustomChannel]) -> list[CustomChannel]:
        """Those of the channels for which stored messages may have to be sent; the others are live again."""
        replays = {each.topic: each.replay for each in channels if each.replay is not None}
        if self._commits is None or not replays:
            return []
        until = self._until
        for channel in channels:
            if channel.replay is not None:
                self._report(channel, channel.replay)
                channel.replay.is_reading = True
        first = min(each.after for each in replays.values())
        found = await self._commits.with_messages(list(replays), first, until)
        if until != self._until:
            return []
        for channel in channels:
            replay = channel.replay
            if replay is not None and channel.topic not in found and channel.log.start <= until:
                replay.after = until
                self._finish(channel, replay)
        return [each for each in channels if each.replay is not None]

    async def _continue(self, channel: CustomChannel, until: int) -> bool:
        """Send the next page to a channel's subscribers; whether there is more."""
        replay = channel.replay
        if replay is None:
            return False
        if self._registry.heard.get(channel.topic) is not channel:
            self._end(channel, replay)
            return False
        if replay.after >= channel.log.start:
            self._finish(channel, replay)
            return False
        await self._taken(channel)
        start = channel.log.start
        page = await self._store.after(channel.topic, replay.after, start, PAGE)
        if until != self._until:
            return False
        self._delivery.replay_stored(channel, page, replay.known)
        replay.after = page[-1].position if len(page) == PAGE else start
        return True

    async def _taken(self, channel: CustomChannel) -> None:
        """Wait until the subscribers of a channel have taken most of what was sent, up to PATIENCE_SECONDS."""
        for _ in range(round(PATIENCE_SECONDS / CHECK_SECONDS)):
            if channel.most_buffered() <= self._limit // SHARE:
                return
            await asyncio.sleep(CHECK_SECONDS)

    def _finish(self, channel: CustomChannel, replay: StoredReplay) -> None:
        """Send what came meanwhile; the channel is live again."""
        channel.log.encode(self._delivery.frame)
        missed, _ = channel.log.after(replay.after)
        self._end(channel, replay)
        self._delivery.replay_log(channel, missed, replay, self._cursors.of(replay.after))

    def _end(self, channel: CustomChannel, replay: StoredReplay) -> None:
        channel.replay = None
        self._replays.pop(channel.topic, None)
        replay.done.set()
