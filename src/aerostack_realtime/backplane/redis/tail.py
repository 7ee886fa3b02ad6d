"""The tail of the log: entries are handled in the step that receives them.

The newest entries come in one of two ways. Usually the node subscribes to the channel on which appends publish
their entries, and takes each that continues what it has read. The log stays the truth: it is read whenever a
published entry does not continue, and twice a second in any case. Under load, and beside nodes that do not
publish, a read waits in the server for the next entries instead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Protocol

from aerostack_realtime.backplane.redis.connection import Answered, ConnectionLost, Part, Reply, ServerError
from aerostack_realtime.backplane.redis.log import ENTRIES, Log
from aerostack_realtime.backplane.redis.step import Step

log = logging.getLogger(__name__)

READS_PER_SECOND: Final = 1_000
READS_BURST: Final = 20
PAUSE_SECONDS: Final = 0.001
"""Above this rate of reads, waking costs Redis and the node more than the items do: then each read waits
a moment, and gets more at once."""
PUBLISHED_PER_SECOND: Final = 2_000
PUBLISHED_BURST: Final = 256
"""Above this rate of published entries, or when a burst comes at once because the node is late, they are read
instead: what is published waits in the memory of the server, what is read waits in the log."""
MISSED: Final = 8
"""A published entry that has to be read costs more than either way, and counts as eight."""
CALM_PER_SECOND: Final = 1_500
LOADED_SECONDS: Final = 3.0
"""After three seconds with no more entries per second than this, they are taken from the channel again."""
CHECK_SECONDS: Final = 0.5
"""How often the log is read beside the channel."""
MISSES: Final = 3
"""After three checks that found entries which were published and not delivered, the channel is not used."""


class Sender(Protocol):
    """A connection."""

    published: Callable[[bytes], None]
    handled: Callable[[], None]

    def send(self, answered: Answered, *parts: Part) -> None: ...


class Tail:
    """Takes entries for as long as `run` runs.

    The log is read over `reads`. `channel` is subscribed to over `publications`, which is None for a user who may
    not; pass the connection whose appends publish, so that one write of the server carries both. What handling
    messages deferred by `step` comes after all messages that came at once, and before the tail's own bookkeeping;
    the next read is sent after it as well, because subscribers must not wait for either. `now` is in seconds.
    """

    def __init__(
        self,
        entries: Log,
        reads: Sender,
        publications: Sender | None,
        channel: str,
        step: Step,
        *,
        now: Callable[[], float] | None = None,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._log = entries
        self._reads = reads
        self._publications = publications
        self._channel = channel
        self._step = step
        self._loop = asyncio.get_running_loop()
        self._now = now or self._loop.time
        self._check_seconds = check_seconds
        self._pace = Pace(READS_PER_SECOND, READS_BURST)
        self._published_pace = Pace(PUBLISHED_PER_SECOND, PUBLISHED_BURST)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._subscribed = False
        """Whether entries come from the channel; else reads wait for them."""
        self._subscribing = False
        self._came = 0
        """What came over the channel in this read, as `Pace` counts it."""
        self._missed = False
        """Some of that has to be read."""
        self._reading = False
        self._again = False
        """Something happened since the read under way was sent that only another read can see."""
        self._promised = 0
        """The newest entry, as the last check knew it, that was published and had to be read."""
        self._misses = 0
        """How many checks in a row found a new one, without any message of the server."""
        self._counted = 0
        """Entries that were read since `_loaded_until` was set."""
        self._loaded_until = self._now()

    async def run(self) -> None:
        """Raises ServerError or ConnectionLost when the server cannot be read, and what taking an entry raises."""
        if self._publications is not None:
            self._publications.published, self._publications.handled = self._heard, self._handled
        self._consider(0)
        self._read()
        await self._ended

    def _read(self) -> None:
        if not self._ended.done() and not self._reading:
            self._reading, self._again = True, False
            self._reads.send(self._received, *self._log.next_read(wait=not self._subscribed))

    def _received(self, reply: Reply) -> None:
        self._reading = False
        if self._ended.done():
            return
        if isinstance(reply, ServerError | ConnectionLost):
            self._ended.set_exception(reply)
            return
        try:
            count = self._log.take(reply)
        except Exception as error:
            self._ended.set_exception(error)
            return
        if self._subscribed and not self._log.all_published:
            self._unsubscribe()
        if not self._subscribed:
            self._consider(count)
        elif count < ENTRIES and not self._again:
            return
        if self._pace.take(self._now()):
            self._loop.call_soon(self._read)
        else:
            self._loop.call_later(PAUSE_SECONDS, self._read)

    def _heard(self, message: bytes) -> None:
        """A message of the channel."""
        if self._ended.done():
            return
        self._step.is_open = True
        try:
            taken = self._log.take_published(message)
        except Exception as error:
            self._ended.set_exception(error)
            return
        if taken:
            self._came += 1
        else:
            self._came += MISSED
            self._missed = True

    def _handled(self) -> None:
        """A read of the connection is over."""
        if not self._step.is_open:
            return
        self._step.end()
        self._log.count()
        came, missed = self._came, self._missed
        self._came, self._missed = 0, False
        if self._ended.done() or not self._subscribed:
            return
        if not self._published_pace.take(self._now(), came):
            self._unsubscribe()
            self._read()
        elif missed:
            self._again = True
            self._read()

    def _consider(self, count: int) -> None:
        """Subscribe where that serves the node better than reads that wait; `count` entries were just read."""
        now = self._now()
        self._counted += count
        if self._publications is None or self._subscribing or now < self._loaded_until:
            return
        if self._counted <= CALM_PER_SECOND * LOADED_SECONDS and self._log.all_published:
            self._subscribing = True
            self._publications.send(self._confirmed, "SUBSCRIBE", self._channel)
        else:
            self._loaded_until, self._counted = now + LOADED_SECONDS, 0

    def _confirmed(self, reply: Reply) -> None:
        """The channel was subscribed to: what is appended from now on is heard, once what came before was read."""
        self._subscribing = False
        if isinstance(reply, ServerError | ConnectionLost):
            self._publications = None  # a lost connection ends the session, a lost right only the subscription
        elif not self._ended.done():
            self._subscribed = self._again = True
            self._loop.call_later(self._check_seconds, self._check)

    def _unsubscribe(self) -> None:
        if self._publications is not None:
            self._publications.send(lambda _: None, "UNSUBSCRIBE", self._channel)
        self._subscribed, self._misses = False, 0
        self._loaded_until, self._counted = self._now() + LOADED_SECONDS, 0

    def _check(self) -> None:
        if not self._subscribed or self._ended.done():
            return
        promised = self._log.promised
        if self._log.heard >= promised:
            self._misses = 0
        elif promised != self._promised:
            self._misses += 1
        self._promised = promised
        if self._misses >= MISSES:
            log.warning("Redis does not deliver what the journal publishes: the log is read instead")
            self._unsubscribe()
            self._publications = None
        self._read()
        self._loop.call_later(self._check_seconds, self._check)


class Pace:
    """Lets steps through at `rate` per second on average, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = 0.0

    def take(self, now: float, steps: int = 1) -> bool:
        """Whether the next `steps` may be taken now (in seconds)."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < steps:
            return False
        self._tokens -= steps
        return True
