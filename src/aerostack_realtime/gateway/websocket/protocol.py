"""A connection once its request is upgraded: bytes in, frames to its session, in the same step.

A read that brings whole texts takes a short way. aiohttp's compiled parser checks all other frames and calls
`feed_data` for each. So a frame costs no task, no future and no wake-up.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import WSCloseCode, WSMessage, WSMsgType
from aiohttp.http import WebSocketError, WebSocketReader

from aerostack_realtime.gateway.limits.settings import Limits
from aerostack_realtime.gateway.websocket.batched_writes import WriteBatch, writer_of
from aerostack_realtime.gateway.websocket.connection_state import State
from aerostack_realtime.gateway.websocket.framing import Framing, whole_texts
from aerostack_realtime.gateway.websocket.handlers import NULL_HANDLER, FrameHandler
from aerostack_realtime.gateway.websocket.inflating import SHARE_BYTES, CompressedText, InflatingReader, Message
from aerostack_realtime.gateway.websocket.repeated import RepeatedPublish
from aerostack_realtime.protocol.deflate import compressed

if TYPE_CHECKING:

    class WebSocketDataQueue:
        """aiohttp's, as its parser knows it."""

else:
    from aiohttp._websocket.reader import WebSocketDataQueue

log = logging.getLogger(__name__)

TURN: Final = 16
"""Frames of one connection handled in a row. Thousands may be in its buffer while all others wait: beside a flood
of subscriptions their median was 28 ms with 64, and is 4 ms with 16 (bench/flood.py)."""
PART: Final = 2048
"""Bytes parsed at once, so that few frames are parsed behind one that they have to wait for."""
AHEAD: Final = 64 * 1024
"""Bytes parsed while a command is awaited: pings and an `unsubscribe` are seen, and a flood is not buffered."""
DROPPED: Final = 16 << 20
"""Bytes read from a client after its close frame: more than can be in transit. A client that sends more ignores
the close frame, and its connection is aborted."""
STALLED_BYTES: Final = 64 * 1024
"""From how many bytes on a transport calls `pause_writing`, by default."""

_OPEN, _LOST = State.OPEN, State.LOST


class WebSocketProtocol(WebSocketDataQueue):
    """An asyncio protocol that is also the queue which aiohttp's parser writes to; normally nothing is queued.
    `left` is called when the connection is gone. With `compression` it was negotiated. With `batch` frames are
    sent together with those of other connections.

    A command that has to be awaited delays the frames after it, except pings and pongs: the handler sees the next
    frames ahead, and receives them afterwards. Above `AHEAD` bytes they stay here unparsed, and reading is paused.
    A client that sends without a pause yields to the others after every `TURN` frames, and is ignored once its
    handler is closed. Frames that came before the connection was lost are handled before `lost` and `left` are
    called.
    """

    __slots__ = (
        "_ahead",
        "_close_seconds",
        "_compression",
        "_deadline",
        "_dropped",
        "_fragments",
        "_framing",
        "_handler",
        "_largest",
        "_left",
        "_parsed",
        "_parser",
        "_paused",
        "_rest",
        "_state",
        "_task",
        "_transport",
        "_turn",
        "_write",
        "_writer",
        "buffered",
        "is_stalled",
        "repeated",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        limits: Limits,
        left: "Callable[[WebSocketProtocol], None]",
        *,
        compression: bool = False,
        batch: WriteBatch | None = None,
    ) -> None:
        # The parser's own queue is not made: half a KiB for every connection.
        self._transport = transport
        self._writer = writer = writer_of(batch, transport)
        self._write: Callable[[bytes], None] = transport.write if writer is None else writer.write
        self.buffered: Callable[[], int] = transport.get_write_buffer_size if writer is None else writer.buffered
        """See channels.audience.Subscriber."""
        self._handler: FrameHandler = NULL_HANDLER
        self._left = left
        self._close_seconds = limits.close_seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._compression = compression
        self._largest = limits.frame_bytes_hard
        self._parser: WebSocketReader | InflatingReader | None
        self._parser = InflatingReader(self, self._largest) if compression else None
        self._framing: Framing | None = None
        self._fragments = limits.fragments
        self._turn = TURN
        self._rest: memoryview | None = None
        self._parsed: deque[Message] | None = None
        self._ahead = 0
        self._dropped = 0
        self._task: asyncio.Future[None] | None = None
        self._paused = False
        self.is_stalled = False
        """Whether more than `STALLED_BYTES` wait for the client, or did when the connection was lost."""
        self.repeated: RepeatedPublish | None = None
        self._state = _OPEN

    def serve(self, peer: FrameHandler, first: bytes, rest: bytes) -> None:
        """Let `peer` handle what comes from now on. `first` is written first, `rest` was received already."""
        self._handler = peer
        try:
            self._write(first)
        except RuntimeError:
            return  # the connection is lost; connection_lost comes next
        if rest:
            self.data_received(rest)

    @property
    def write(self) -> Callable[[bytes], None]:
        """See channels.audience.Subscriber."""
        return self._write_compressed if self._compression else self._write

    @property
    def write_shared(self) -> Callable[[bytes], None] | None:
        """See channels.audience.Subscriber."""
        return self._write if self._compression else None

    def hang_up(self) -> None:
        """End it once the client has answered the close frame, or after a while if it does not."""
        if self._deadline is None and self._state is not _LOST:
            self._deadline = asyncio.get_running_loop().call_later(self._close_seconds, self._transport.abort)

    # --- asyncio's protocol ------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._state is not _OPEN:
            self._dropped += len(data)
            if self._dropped > DROPPED:
                self._transport.abort()
            return
        framing = self._framing
        if (
            (framing is None or framing.is_between)
            and len(data) <= PART
            and len(data) < self._largest
            and not (self._task or self._rest or self._parsed)
        ):
            if self.repeated is not None and self.repeated.take(data):
                return
            if texts := whole_texts(data):
                self._receive(texts)
                return
        self._parse(data)

    def _receive(self, texts: list[bytes]) -> None:
        """Handle the texts of a read, or put them off, as `feed_data` does."""
        self._turn = TURN
        for text in texts:
            if self._task is not None or self._turn <= 0 or self._state is not _OPEN:
                self._put_off(WSMessage(WSMsgType.TEXT, text, None))
                continue
            self._turn -= 1
            try:
                pending = self._handler.receive(text)
                if pending is not None:
                    self._hold(pending)
            except Exception as error:
                self.set_exception(error)
        if self._parsed and self._task is None:
            asyncio.get_running_loop().call_soon(self._continue)

    def _parse(self, data: bytes) -> None:
        """Feed bytes to the parser, at once or later."""
        framing = self._framing = self._framing or Framing(self._fragments)
        if self._parser is None:
            self._parser = WebSocketReader(cast(Any, self), self._largest, compress=False, decode_text=False)
        if (breach := framing.feed(data)) is not None:
            self._end(breach.code, breach.reason)
        elif self._task is not None and self._rest is None and self._ahead + len(data) <= AHEAD:
            self._ahead += len(data)
            self._parser.feed_data(data)
        elif self._task is not None or self._rest is not None or self._parsed:
            self._keep(data)
        elif len(data) > PART:
            self._rest = memoryview(data)
            self._continue()
        else:
            self._turn = TURN
            self._parser.feed_data(data)
            if self._parsed and self._task is None:
                asyncio.get_running_loop().call_soon(self._continue)
            elif framing.is_between and not self._compression:
                self._framing = self._parser = None  # they are rarely needed, and half a KiB

    def eof_received(self) -> None:
        """The transport closes itself."""
        self._flush()

    def pause_writing(self) -> None:
        """Slow consumers are found by the size of the transport's buffer, which a lost connection empties."""
        self.is_stalled = True

    def resume_writing(self) -> None:
        """See `pause_writing`."""
        self.is_stalled = False

    def connection_lost(self, _error: Exception | None) -> None:
        if self._writer is not None:
            self._writer.lose()
        if self._state is _OPEN and (self._task is not None or self._rest is not None or self._parsed):
            self._state = _LOST
            self._handler.leaving()
        else:
            self._leave()

    def abort(self) -> None:
        """End it at once, whatever it is doing."""
        lost = self._state is _LOST
        self._state = State.CLOSING
        if self._task is not None:
            self._task.cancel()
        self._flush()
        self._transport.abort()
        if lost:
            self._leave()

    # --- the parser's queue ------------------------------------------------------------------------------

    def feed_data(self, message: Message, _size: int) -> None:
        """A frame."""
        if self._task is not None and message.type in (WSMsgType.PING, WSMsgType.PONG):
            self._handle(message)
            return
        if self._task is not None or self._turn <= 0 or (self._state is not _OPEN and self._state is not _LOST):
            self._put_off(message)
            return
        self._turn -= 1
        if message.type is WSMsgType.TEXT:
            self._hold(self._handler.receive(cast(bytes, message.data)))
        elif message.type is WSMsgType.BINARY:
            self._hold(self._handler.binary(bytes(message.data)))
        else:
            self._handle(message)

    def feed_eof(self) -> None:
        """The parser's end needs no handling: connection_lost comes too."""

    def set_exception(self, error: BaseException, _cause: BaseException | None = None) -> None:
        """The parser refused a frame, or handling it failed."""
        if isinstance(error, WebSocketError):
            self._end(error.code)
        else:
            self._fail(error)

    # --- inside ------------------------------------------------------------------------------------------

    def _write_compressed(self, data: bytes) -> None:
        self._write(compressed(data))

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def _handle(self, message: Message) -> None:
        """A control frame, or a compressed message."""
        if isinstance(message, CompressedText):
            frame = message.inflated(self._largest)
            self._turn -= len(frame) // SHARE_BYTES  # its turn is longer the more it is inflated
            self._hold(self._handler.receive(frame))
            return
        kind = message.type
        if kind is WSMsgType.PING:
            self._handler.pong(bytes(message.data))
        elif kind is WSMsgType.PONG:
            self._handler.control()
        else:
            self._end(message.data or WSCloseCode.OK)
            self._flush()
            self._transport.close()

    def _put_off(self, message: Message) -> None:
        if self._state is _OPEN or self._state is _LOST:
            self._parsed = self._parsed or deque()
            self._parsed.append(message)
            if self._task is not None:
                self._show(message)

    def _show(self, message: Message) -> None:
        """Show the handler a frame while a command is awaited."""
        if isinstance(message, CompressedText):
            self._handler.ahead(message.inflated(self._largest))
        elif message.type is WSMsgType.TEXT:
            self._handler.ahead(cast(bytes, message.data))
        elif message.type is WSMsgType.CLOSE:
            self._handler.leaving()

    def _hold(self, pending: Awaitable[None] | None) -> None:
        """Handle no more messages before what is `pending` has ended."""
        if pending is None:
            return
        self._task = asyncio.ensure_future(pending)
        self._task.add_done_callback(self._waited)
        for message in self._parsed or ():
            self._show(message)
        if self._state is _LOST:
            self._handler.leaving()

    def _waited(self, task: asyncio.Future[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._fail(error)
        self._continue()

    def _continue(self) -> None:
        """Handle what waits, as far as it is this connection's turn."""
        self._turn = TURN
        while self._task is None and (self._parsed or self._rest is not None):
            if self._turn <= 0:
                if self._handler.closed is None:
                    asyncio.get_running_loop().call_soon(self._continue)
                    return
                self._end(WSCloseCode.OK)
                break
            if self._parsed:
                try:
                    self.feed_data(self._parsed.popleft(), 0)
                except Exception as error:
                    self.set_exception(error)
            elif self._rest is not None:
                assert self._parser is not None, "the rest is behind what it was fed"
                part, rest = self._rest[:PART], self._rest[PART:]
                self._rest = rest or None
                self._parser.feed_data(part)
        if not self._parsed:
            self._parsed = None
            self._ahead = 0
        if self._task is None and self._state is _LOST:
            self._leave()
        elif self._task is None and self._state is _OPEN:
            self._resume()

    def _keep(self, data: bytes) -> None:
        """Keep bytes that came while others have to be handled first, and read no more until that is done."""
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
        """Take nothing more from the client. What still comes is read, so that no reset overtakes the close frame,
        and dropped, up to DROPPED bytes."""
        lost = self._state is _LOST
        if self._state is _OPEN:
            self._state = State.CLOSING
        self._rest = None
        self._parsed = None
        self._resume()
        self._handler.close(code, reason)
        if lost:
            self._leave()

    def _leave(self) -> None:
        if self._state is State.OVER:
            return
        self._state = State.OVER
        self._parser = None  # it refers to its queue, which is this object
        if self._deadline is not None:
            self._deadline.cancel()  # it would keep this object in memory, and a flood makes thousands of them
        self._handler.lost()
        self._left(self)
