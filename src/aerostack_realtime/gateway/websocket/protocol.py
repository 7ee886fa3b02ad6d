"""A connection once its request is upgraded: bytes in, frames to its session, in the same step.

aiohttp's compiled parser checks the frames and calls `feed_data` for each, so a frame costs no task, no future and
no wake-up. docs/performance.md has the figures.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp import WSCloseCode, WSMessage, WSMsgType
from aiohttp.http import WebSocketError, WebSocketReader

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.framing import Framing

if TYPE_CHECKING:

    class WebSocketDataQueue:
        """aiohttp's, as its parser knows it."""

else:
    from aiohttp._websocket.reader import WebSocketDataQueue

log = logging.getLogger(__name__)

TURN: Final = 16
"""Frames of one connection handled in a row: there may be thousands in its buffer, and everyone else waits. With
64 the median beside a flood of subscriptions was 28 ms, with 16 it is 4 (bench/flood.py)."""
PART: Final = 2048
"""Bytes parsed at once, so that a frame which the next ones have to wait for is not found too late."""
AHEAD: Final = 64 * 1024
"""Bytes parsed of what has to wait: signs of life and an `unsubscribe` are heard, and a flood is not kept."""
DROPPED: Final = 16 << 20
"""Bytes read of a client that was closed: more than is under way when it is told. Whoever sends more does not
listen."""


class FrameHandler(Protocol):
    """Who is told what comes from the socket: a session. `closed` is the code of the close frame it has sent."""

    @property
    def closed(self) -> int | None: ...

    def receive(self, frame: bytes) -> Awaitable[None] | None: ...
    def ahead(self, frame: bytes) -> None:
        """A text frame came that has to wait for what is awaited, and is received after it."""

    def leaving(self) -> None:
        """The client takes nothing more: what is awaited for its sake alone may end."""

    def binary(self) -> None: ...
    def pong(self, payload: bytes) -> None: ...
    def control(self) -> None: ...
    def close(self, code: int, reason: str) -> None: ...
    def lost(self) -> None: ...


class NullHandler:
    """The peer of a connection that has none, or was refused: what it says is not heard."""

    closed = 0

    def receive(self, frame: bytes) -> None:
        """It was told already."""

    def ahead(self, frame: bytes) -> None:
        """As `receive`."""

    def leaving(self) -> None:
        """As `receive`."""

    def binary(self) -> None:
        """As `receive`."""

    def pong(self, payload: bytes) -> None:
        """As `receive`."""

    def control(self) -> None:
        """As `receive`."""

    def close(self, code: int, reason: str) -> None:
        """A close frame was sent with the refusal."""

    def lost(self) -> None:
        """Nothing was held for it."""


NULL_HANDLER: Final = NullHandler()


class WebSocketProtocol(WebSocketDataQueue):
    """An asyncio protocol, and what aiohttp's parser calls its queue; nothing is queued while all goes well.
    `left` is called when the connection is gone.

    What the peer has to be awaited for holds up what comes after it, but for pings and pongs: the peer is shown
    the next frames, and receives them afterwards; beyond `AHEAD` they stay here as bytes, and reading is paused.
    A client that sends without a pause lets the others have their turn after every `TURN` frames, and is not
    listened to any more once its peer is closed. What came before the connection was lost is handled before
    `peer.lost` and `left` are called.
    """

    __slots__ = (
        "_ahead",
        "_close_seconds",
        "_deadline",
        "_dropped",
        "_ended",
        "_framing",
        "_gone",
        "_handler",
        "_held",
        "_left",
        "_parsed",
        "_parser",
        "_paused",
        "_rest",
        "_task",
        "_transport",
        "_turn",
    )

    def __init__(
        self, transport: asyncio.Transport, limits: Limits, left: "Callable[[WebSocketProtocol], None]"
    ) -> None:
        # The parser's own queue is not made: it would be half a KiB for every connection, and never be used.
        self._transport = transport
        self._handler: FrameHandler = NULL_HANDLER
        self._left = left
        self._close_seconds = limits.close_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._parser = WebSocketReader(cast(Any, self), limits.frame_bytes_hard, compress=False, decode_text=False)
        self._framing = Framing(limits.fragments)
        self._turn = TURN
        self._rest: memoryview | None = None
        self._parsed: deque[WSMessage] | None = None
        self._ahead = 0
        self._dropped = 0
        self._task: asyncio.Future[None] | None = None
        self._held = False
        self._paused = False
        self._ended = False
        self._gone = False

    def serve(self, peer: FrameHandler, first: bytes, rest: bytes) -> None:
        """Tell `peer` what comes from now on. `first` is what its client is told first, `rest` what it has sent
        already."""
        self._handler = peer
        try:
            self._transport.write(first)
        except RuntimeError:
            return  # it is lost, and about to be told so
        if rest:
            self.data_received(rest)

    @property
    def write(self) -> Callable[[bytes], None]:
        """See channels.audience.Subscriber."""
        return self._transport.write

    @property
    def buffered(self) -> Callable[[], int]:
        """See channels.audience.Subscriber."""
        return self._transport.get_write_buffer_size

    def hang_up(self) -> None:
        """End it once the client has answered the close frame, or after a while if it does not."""
        if self._deadline is None and not self._gone:
            loop = asyncio.get_running_loop()
            self._deadline = loop.call_later(self._close_seconds, self._transport.abort)

    # --- asyncio's protocol ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._ended:
            self._dropped += len(data)
            if self._dropped > DROPPED:
                self._transport.abort()
            return
        breach = self._framing.feed(data)
        if breach is not None:
            self._end(breach.code, breach.reason)
        elif self._held and self._rest is None and self._ahead + len(data) <= AHEAD:
            self._ahead += len(data)
            self._parser.feed_data(data)
        elif self._held or self._rest is not None or self._parsed:
            self._keep(data)
        elif len(data) > PART:
            self._rest = memoryview(data)
            self._go_on()
        else:
            self._turn = TURN
            self._parser.feed_data(data)
            if self._parsed and not self._held:
                asyncio.get_running_loop().call_soon(self._go_on)

    def eof_received(self) -> None:
        """The transport closes itself."""

    def pause_writing(self) -> None:
        """Who is too slow is found out by what is in the transport's buffer."""

    def resume_writing(self) -> None:
        """See `pause_writing`."""

    def connection_lost(self, _error: Exception | None) -> None:
        self._gone = True  # until it has been told
        if self._ended or not (self._held or self._rest is not None or self._parsed):
            self._leave()
        else:
            self._handler.leaving()

    def abort(self) -> None:
        """End it at once, whatever it is doing."""
        self._held = self._ended = True
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()
        if self._gone:
            self._leave()

    # --- the parser's queue ------------------------------------------------------------------------------

    def feed_data(self, message: WSMessage, _size: int) -> None:
        """A frame."""
        if self._task is not None and message.type in (WSMsgType.PING, WSMsgType.PONG):
            self._handle(message)
            return
        if self._held or self._turn <= 0:
            self._put_off(message)
            return
        self._turn -= 1
        if message.type is WSMsgType.TEXT:
            pending = self._handler.receive(cast(bytes, message.data))
            if pending is not None:
                self._hold(pending)
        else:
            self._handle(message)

    def feed_eof(self) -> None:
        """Nothing waits for it."""

    def set_exception(self, error: BaseException, _cause: BaseException | None = None) -> None:
        """The parser gave up, or who was told of a frame."""
        if isinstance(error, WebSocketError):
            self._end(error.code)
        else:
            self._fail(error)

    # --- inside ------------------------------------------------------------------------------------------

    def _handle(self, message: WSMessage) -> None:
        """A frame that is no text."""
        kind = message.type
        if kind is WSMsgType.PING:
            self._handler.pong(bytes(message.data))
        elif kind is WSMsgType.PONG:
            self._handler.control()
        elif kind is WSMsgType.BINARY:
            self._handler.binary()
        else:
            self._end(message.data or WSCloseCode.OK)
            self._transport.close()

    def _put_off(self, message: WSMessage) -> None:
        if not self._ended:
            self._parsed = self._parsed or deque()
            self._parsed.append(message)
            if self._task is not None:
                self._show(message)

    def _show(self, message: WSMessage) -> None:
        """Let the peer know of a frame while it is awaited."""
        if message.type is WSMsgType.TEXT:
            self._handler.ahead(cast(bytes, message.data))
        elif message.type is WSMsgType.CLOSE:
            self._handler.leaving()

    def _hold(self, pending: Awaitable[None]) -> None:
        self._held = True
        self._task = asyncio.ensure_future(pending)
        self._task.add_done_callback(self._waited)
        for message in self._parsed or ():
            self._show(message)
        if self._gone:
            self._handler.leaving()

    def _waited(self, task: asyncio.Future[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        self._held = self._ended
        error = task.exception()
        if error is not None:
            self._fail(error)
        self._go_on()

    def _go_on(self) -> None:
        """Handle what waits, as far as it is this connection's turn."""
        self._turn = TURN
        while not self._held and (self._parsed or self._rest is not None):
            if self._turn <= 0:
                if self._handler.closed is None:
                    asyncio.get_running_loop().call_soon(self._go_on)
                    return
                self._end(WSCloseCode.OK)
                break
            if self._parsed:
                try:
                    self.feed_data(self._parsed.popleft(), 0)
                except Exception as error:
                    self.set_exception(error)
            elif self._rest is not None:
                part, rest = self._rest[:PART], self._rest[PART:]
                self._rest = rest or None
                self._parser.feed_data(part)
        if not self._parsed:
            self._parsed = None
            self._ahead = 0
        if self._gone and (self._ended or not self._held):
            self._leave()
        elif not self._held:
            self._resume()

    def _keep(self, data: bytes) -> None:
        """What comes while other things have to be done first; no more of it is read until they are."""
        self._rest = memoryview(data if self._rest is None else bytes(self._rest) + data)
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _fail(self, error: BaseException) -> None:
        log.error("internal error while handling a frame", exc_info=error)
        self._end(WSCloseCode.INTERNAL_ERROR)

    def _end(self, code: int, reason: str = "") -> None:
        """Take nothing more from the client: what still comes is read, so that no reset overtakes the close frame,
        and dropped, up to DROPPED bytes."""
        self._held = self._ended = True
        self._rest = None
        self._parsed = None
        self._resume()
        self._handler.close(code, reason)

    def _leave(self) -> None:
        self._ended, self._gone = True, False
        del self._parser  # it knows its queue, which is this
        if self._deadline is not None:
            self._deadline.cancel()  # or it would keep this in memory, of which a flood makes thousands
        self._handler.lost()
        self._left(self)
