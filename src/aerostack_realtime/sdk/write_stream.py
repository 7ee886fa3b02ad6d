"""A stream as its writer has it: pieces go out in order, each once, over reconnects and restarts of the server."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Cancelled,
    Conflict,
    NotFound,
    OutOfStep,
    Unavailable,
)
from aerostack_realtime.protocol.messages import Append, End, Publish, StreamState
from aerostack_realtime.sdk.outbox import new_id

WINDOW: Final = 256
"""Pieces that may be without an answer: several hundred ms of a quick model, at a round trip of as much."""
_RESEND_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 1.0


class WriterInternals(Protocol):
    """The parts of the client that writers use."""

    def begin(self, ref: str, writer: "WriteStream") -> None:
        """Route the answers with this `ref` to a writer, and open the connection if necessary.

        Raises the error that ended the connection."""

    def end(self, ref: str) -> None:
        """The writer needs no more answers."""

    def send_piece(self, command: Publish | Append) -> None:
        """Send a command if there is a connection. Raises BadMessage, TooLarge."""

    @property
    def connected(self) -> bool:
        """Whether there is a usable connection."""


class WriteStream:
    """A message that you write piece by piece: `async with channel.stream("answer") as stream`.

    The block ends the stream: as `complete`, as `failed` when it raises, or as `cancelled` when its task is
    cancelled. When another user or program cancels the stream, the next `await` in the block is interrupted,
    whatever it waits for, and the block raises Cancelled.

    `n` is how many pieces the stream has. A writer that was started again with the `id` of its stream begins with
    the pieces that arrived, and continues with the next one.
    """

    def __init__(
        self, client: WriterInternals, topic: str, event: str, data: str | list[Any], id: str | None, persist: bool
    ) -> None:
        self.id = new_id() if id is None else id
        self.state: StreamState = "open"
        self._client = client
        self._topic = topic
        self._ref = new_id()
        self._opening = Publish(topic, event, _json(data), persist, self.id, stream=True, ref=self._ref)
        self._kind = str if isinstance(data, str) else list
        self._first = 0  # the number of the first piece of this writer
        self._pieces: list[Raw] = []
        self._next = 0  # the number of the next piece to send
        self._acknowledged = 0
        self._is_open = False
        self._was_open = False
        self._final: End | None = None
        self._final_n = -1
        self._error: AerostackError | None = None
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Any] | None = None
        self._interrupted = False

    def __repr__(self) -> str:
        return f"<WriteStream {self.id!r} {self.state} with {self.n} pieces>"

    def writes_to(self, topic: str) -> bool:
        """Whether the stream is on the channel of that canonical topic."""
        return topic == self._topic or topics.without_project(topic) == self._topic

    @property
    def n(self) -> int:
        """How many pieces the stream has, those included that were not acknowledged yet."""
        return self._first + len(self._pieces)

    @property
    def cancelled(self) -> bool:
        """Whether the stream was cancelled."""
        return self.state == "cancelled" or isinstance(self._error, Cancelled)

    async def open(self) -> "WriteStream":
        """Open the stream, or continue it if its id is known; returns when the server has accepted it.

        Without a connection the call waits. Raises Cancelled or Conflict for a stream that has ended, Forbidden
        for one of another user, BadMessage, RateLimited.
        """
        self._client.begin(self._ref, self)
        if self._client.connected:
            self._client.send_piece(self._opening)
        try:
            await self._until(lambda: self._is_open)
        except BaseException:
            self._client.end(self._ref)
            raise
        return self

    async def append(self, piece: Any) -> None:
        """Append a string, or for a stream that began with a list, items. Returns when there is room for more.

        Raises Cancelled when the stream was cancelled, and otherwise what `open` raises, or TooLarge.
        """
        self._check()
        if self._final is not None:
            raise Conflict("The stream has ended; open another one.")
        if not isinstance(piece, self._kind):
            raise BadMessage(f"The pieces of this stream are each a {self._kind.__name__}, like its opening.")
        if not piece:
            return
        self._pieces.append(_json(piece))
        self._pump()
        await self._until(lambda: self.n - self._acknowledged <= WINDOW)

    async def finish(self, state: End = "complete") -> None:
        """End the stream; returns when the server has accepted, and with `persist` stored, all of it."""
        if self.state != "open":
            self._check()
            return
        if self._final is None:
            self._final = state
        self._pump()
        try:
            await self._until(lambda: self.state != "open")
        finally:
            self._release()

    async def fail(self) -> None:
        """End the stream as `failed`."""
        await self.finish("failed")

    # --- as a block ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> "WriteStream":
        await self.open()
        self._task = asyncio.current_task()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        if self._interrupted and task is not None:
            task.uncancel()
        if self._error is not None and (isinstance(self._error, Cancelled) or self.state != "open"):
            self._release()
            if kind is None or issubclass(kind, asyncio.CancelledError) or error is self._error:
                raise self._error from None
            return False
        if kind is None:
            await self.finish()
        else:
            await self.abandon("cancelled" if issubclass(kind, asyncio.CancelledError) else "failed")
        return False

    async def abandon(self, state: End) -> None:
        """End the stream after an error, without waiting for a server that is out of reach."""
        sent = self._next if self._error is None else self._acknowledged
        self._error = None
        del self._pieces[max(0, sent - self._first) :]
        self._next = min(self._next, self.n)
        self._final = state
        if not self._client.connected:
            self._release()
            return
        self._pump()
        try:
            await asyncio.shield(asyncio.wait_for(self._until(lambda: self.state != "open"), _RETRY_SECONDS))
        except (TimeoutError, AerostackError):
            pass
        finally:
            self._release()

    # --- called by the session -----------------------------------------------------------------------------

    def _connected(self) -> None:
        """There is a new connection: find out what arrived."""
        self._is_open = False
        self._client.send_piece(self._opening)

    def _acked(self, ack: messages.Ack) -> None:
        """The server has accepted a command."""
        n, state = ack.n or 0, ack.state or "open"
        if state != "open":
            self._ended(n, state)
        elif not self._is_open:
            self._opened(n)
        elif n > self._acknowledged:
            self._acknowledged = n
        if self._final is not None and state == "open" and n > self._final_n >= 0:
            self._next = self.n  # more had arrived than was acknowledged when the end was sent
            self._pump()
        self._changed.set()

    def _refused(self, error: AerostackError) -> None:
        """The server has refused a command."""
        if isinstance(error, OutOfStep):
            self._resend(error.n, _RESEND_SECONDS)
        elif error.retryable:
            self._resend(None, _RETRY_SECONDS)
        elif isinstance(error, NotFound) and self._was_open:  # the server does not know the stream any more
            if self._is_open:
                self._connected()  # the pieces that are under way are refused as well
        else:
            self._fail(error)

    def _cancelled(self, cancel: messages.StreamCancelled) -> None:
        """The stream was cancelled."""
        reason = f": {cancel.reason}" if cancel.reason else "."
        self._fail(Cancelled(f"The stream {self.id!r} was cancelled{reason}"))
        self.state = "cancelled"

    def _fail(self, error: AerostackError) -> None:
        """Nothing more can be written."""
        if self._error is not None or (self.state != "open" and not isinstance(error, Cancelled)):
            return
        self._error = error
        self._changed.set()
        if isinstance(error, Cancelled) and self._task is not None and not self._interrupted:
            self._interrupted = True
            self._task.cancel()

    # --- inside --------------------------------------------------------------------------------------------

    def _opened(self, n: int) -> None:
        if not self._pieces and not self._acknowledged:
            self._first = n
        elif n < self._first or n > self.n:
            self._fail(Conflict(f"The server has another number of pieces of {self.id!r}; open a new stream."))
            return
        self._is_open = self._was_open = True
        self._acknowledged = self._next = n
        self._pump()

    def _ended(self, n: int, state: StreamState) -> None:
        self.state = state
        self._acknowledged = n
        if state != self._final:
            if state == "cancelled":
                self._fail(Cancelled(f"The stream {self.id!r} was cancelled."))
            else:
                self._error = self._error or Conflict(
                    f"The stream {self.id!r} has ended as {state}; open another."
                )

    def _pump(self) -> None:
        """Send what is not sent yet."""
        if not self._is_open or self._timer is not None:
            return
        while self._next < self.n:
            piece = self._pieces[self._next - self._first]
            try:
                self._client.send_piece(Append(self._topic, self.id, self._next, piece, ref=self._ref))
            except AerostackError as error:
                self._fail(error)
                return
            self._next += 1
        if self._final is not None and self._next == self.n and self.state == "open":
            self._next += 1  # so that it is sent once
            self._final_n = max(self.n, self._acknowledged)
            self._client.send_piece(Append(self._topic, self.id, self._final_n, state=self._final, ref=self._ref))

    def _resend(self, n: int | None, seconds: float) -> None:
        """Send again from a piece on, a little later: the answers to what is under way come first."""
        if n is not None:
            self._acknowledged = max(self._first, min(n, self.n))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if not self._is_open:
            self._client.send_piece(self._opening)
            return
        self._next = self._acknowledged
        self._pump()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._client.end(self._ref)
        if self._error is None and self.state == "open":
            self._error = Unavailable("The stream was left before the server answered.")

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._check()
            self._changed.clear()
            await self._changed.wait()
        self._check()


def _json(data: Any) -> Raw:
    """Raises BadMessage."""
    try:
        return Raw(messages.encode(data))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadMessage(f"The piece cannot be written as JSON: {wrong}") from wrong
