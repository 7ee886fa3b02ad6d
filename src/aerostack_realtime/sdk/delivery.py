"""Delivers a channel's payloads to its handlers: in order, one after another, without blocking the reader."""

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from aerostack_realtime.protocol.errors import AerostackError
from aerostack_realtime.sdk.payload import Payload
from aerostack_realtime.sdk.subscription import Subscription

logger = logging.getLogger("aerostack_realtime.sdk")

BUFFER: Final = 4096
"""Payloads that may wait for a channel's handlers, or for its first one. Beyond it the channel is paused, and
resumed from its cursor once the handlers have caught up. Pausing the socket would also block
acknowledgements, heartbeats and every other channel."""


class Delivery:
    """The waiting payloads of one channel and, while there are any, the task that delivers them.

    Without any listener payloads wait, so that what arrives between `subscribe()` and the loop over the
    channel is not lost. `drained` is called whenever the queue has become empty.
    """

    def __init__(self, subscription: Subscription, drained: Callable[[], None], *, buffer: int = BUFFER) -> None:
        self._subscription = subscription
        self._drained = drained
        self._buffer = buffer
        self._waiting: deque[Payload] = deque()
        self._task: asyncio.Task[None] | None = None

    @property
    def full(self) -> bool:
        """Whether the channel has to be paused."""
        return len(self._waiting) >= self._buffer and not self._iterates

    @property
    def _iterates(self) -> bool:
        """Whether a program iterates over an open stream: a handler may wait for its pieces."""
        return any(stream.iterated for stream in self._subscription.growing)

    @property
    def idle(self) -> bool:
        """Whether the queue is empty and no handler runs."""
        return self._task is None and not self._waiting

    def put(self, payload: Payload) -> None:
        """Queue a payload for the handlers. The pieces of a stream that wait are joined."""
        last = self._waiting[-1] if self._waiting else None
        if payload.stream is not None and last is not None and last.stream is payload.stream:
            self._waiting[-1] = replace(payload, delta=last.delta + payload.delta)
        else:
            self._waiting.append(payload)
        self.wake()

    def wake(self) -> None:
        """Deliver what waits, if there is a listener."""
        if self._waiting and self._task is None and self._subscription.has_listeners:
            self._start()

    def clear(self) -> None:
        """Discard the waiting payloads; a running handler finishes."""
        self._waiting.clear()
        self._subscription.forget_unhandled()

    async def stop(self) -> None:
        """Discard the waiting payloads and cancel a running handler, unless it is the caller."""
        self.clear()
        task = self._task
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.wait([task])

    def _start(self) -> None:
        self._task = asyncio.create_task(self._deliver(), name=f"delivery {self._subscription.topic}")
        self._task.add_done_callback(self._ended)

    async def _deliver(self) -> None:
        while self._waiting and self._subscription.has_listeners:
            payload = self._waiting.popleft()
            iterated = payload.stream is not None and payload.stream.iterated
            for handler in () if iterated else self._subscription.handlers(payload):
                try:
                    outcome = handler(payload)
                    if inspect.isawaitable(outcome):
                        await outcome
                except Exception:
                    logger.exception(
                        "A handler of %r on channel %r failed", payload.name, self._subscription.topic
                    )
            self._subscription.handled(payload)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("Delivery on %r failed", self._subscription.topic, exc_info=error)
        if self._waiting:  # a handler was cancelled from inside: the other handlers still need their events
            self.wake()
        else:
            self._drained()


class Stream:
    """One `async for` over a channel.

    Its `push` is a handler. It finishes when the loop asks for the next event, so an event counts as handled when
    the loop's body has finished with it.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Payload, asyncio.Event]] = deque()
        self._current: asyncio.Event | None = None
        self._wake = asyncio.Event()
        self._ended = False
        self._error: AerostackError | None = None

    async def push(self, payload: Payload) -> None:
        """Pass an event to the loop, and wait until the loop has finished with it."""
        if self._ended:
            return
        finished = asyncio.Event()
        self._waiting.append((payload, finished))
        self._wake.set()
        await finished.wait()

    async def next(self) -> Payload | None:
        """The next event; None at the end. Raises the error that ended the subscription."""
        if self._current is not None:
            self._current.set()
            self._current = None
        while not self._waiting:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return None
            self._wake.clear()
            await self._wake.wait()
        payload, self._current = self._waiting.popleft()
        return payload

    def end(self, error: AerostackError | None = None) -> None:
        """End the loop; events that it has not received are discarded."""
        self._ended = True
        self._error = error
        for _, finished in self._waiting:
            finished.set()
        self._waiting.clear()
        if self._current is not None:
            self._current.set()
            self._current = None
        self._wake.set()
