"""The tail of the log: one read waits in Redis, and its entries are handled in the step that receives them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aerostack_realtime.backplane.redis.connection import Connection, ConnectionLost, Part, Reply, ServerError

READS_PER_SECOND: Final = 1_000
READS_BURST: Final = 20
PAUSE_SECONDS: Final = 0.001
"""Above so many reads per second, waking costs Redis and the node more than the items do: then each read waits
a moment, and gets more at once."""


class Tail:
    """Reads for as long as `run` runs.

    `command` gives the next read, which begins after the last entry that was handled. `handle` gets each reply
    that is not empty, at once: no task has to wake up between the socket and the subscribers. The next read is
    sent after what `handle` deferred to the end of the tick, because subscribers must not wait for it.
    """

    def __init__(
        self, connection: Connection, command: Callable[[], tuple[Part, ...]], handle: Callable[[Reply], None]
    ) -> None:
        self._connection = connection
        self._command = command
        self._handle = handle
        self._loop = asyncio.get_running_loop()
        self._pace = ReadPace(READS_PER_SECOND, READS_BURST)
        self._ended: asyncio.Future[None] = self._loop.create_future()

    async def run(self) -> None:
        """Raises ServerError or ConnectionLost when the server cannot be read, and what `handle` raises."""
        self._read()
        await self._ended

    def _read(self) -> None:
        if not self._ended.done():
            self._connection.send(self._received, *self._command())

    def _received(self, reply: Reply) -> None:
        if self._ended.done():
            return
        if isinstance(reply, ServerError | ConnectionLost):
            self._ended.set_exception(reply)
            return
        try:
            if reply:
                self._handle(reply)
        except Exception as error:
            self._ended.set_exception(error)
            return
        if self._pace.take(self._loop.time()):
            self._loop.call_soon(self._read)
        else:
            self._loop.call_later(PAUSE_SECONDS, self._read)


class ReadPace:
    """Lets reads through at `rate` per second on average, `burst` at once."""

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = 0.0

    def take(self, now: float) -> bool:
        """Whether a read may go now (in seconds) without a pause."""
        self._tokens = min(self._burst, self._tokens + (now - self._filled) * self._rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
