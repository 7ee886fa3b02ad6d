"""One WebSocket to a server: opened, kept alive, opened again.

    idle ──open──▶ connecting ──▶ connected ──▶ reconnecting ──▶ connected …
                        └────────────┴───── close, or refused for good ──▶ disconnected ──open──▶ connecting

It knows no channels: its listener gets every reply, and sends again what a new connection needs.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol, assert_never

import aiohttp
import msgspec
from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType

from aerostack_realtime.protocol import close_codes
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Internal, Unavailable
from aerostack_realtime.protocol.messages import Auth, Connected, Error, Limits, Ping, Reply, decode_reply, encode
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.endpoint import CLOSE_SECONDS, DIAL_SECONDS, ConnectionRefused, Endpoint
from aerostack_realtime.sdk.heartbeat import Heartbeat
from aerostack_realtime.sdk.limits import DEFAULT_LIMITS
from aerostack_realtime.sdk.reconnect_policy import error_of, error_of_close, next_step_of_close

logger = logging.getLogger("aerostack_realtime.sdk")

Status = Literal["idle", "connecting", "connected", "reconnecting", "disconnected"]
GetToken = Callable[[], Awaitable[str] | str]
"""Returns a token: called when there is none, or when the server no longer accepts the last one."""

TOGETHER: Final = 64 * 1024
"""Bytes of waiting frames that are sent under one timer: as large as the largest frame of most servers."""
_PING: Final = encode(Ping())


class ConnectionListener(Protocol):
    """Is notified of what happens to a connection. All methods run on the loop's thread and return at once."""

    def changed(self, status: Status) -> None:
        """The status has changed."""

    def opened(self, limits: Limits) -> None:
        """A connection is usable: send what it needs before anything else is sent."""

    def frame_refused(self) -> None:
        """The server closed the connection because a frame was too large for it to read."""

    def received(self, reply: Reply) -> None:
        """A message arrived."""

    def failed(self, error: AerostackError) -> None:
        """An error occurred that no call waits for. With the status `disconnected` it is final."""


class Connection:
    """Holds at most one WebSocket, and the one task that opens, reads and reopens it."""

    def __init__(
        self,
        endpoint: Endpoint,
        listener: ConnectionListener,
        *,
        backoff: Backoff | None = None,
        get_token: GetToken | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoint = endpoint
        self._listener = listener
        self._backoff = backoff or Backoff()
        self._get_token = get_token
        self._clock = clock
        self._status: Status = "idle"
        self._task: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._outgoing: asyncio.Queue[bytes] | None = None
        self._settled = asyncio.Event()
        self._error: AerostackError | None = None

    @property
    def status(self) -> Status:
        return self._status

    @property
    def error(self) -> AerostackError | None:
        """The error that ended the connection for good, if one did."""
        return self._error

    def open(self) -> None:
        """Start connecting, unless the connection is open or opening. Returns at once."""
        if self._task is None:
            self._error = None
            self._settled.clear()
            self._change("connecting")
            self._task = asyncio.create_task(self._run(), name="aerostack connection")

    async def wait_opened(self) -> None:
        """Wait until the connection is usable. Raises the error that ended it for good."""
        await self._settled.wait()
        if self._status != "connected":
            raise self._error or Unavailable("The connection was closed by disconnect().")

    async def close(self) -> None:
        """Close the connection and do not reconnect."""
        if self._renewal is not None:
            self._renewal.cancel()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        if self._task is None and self._status != "idle":
            self._finish(None)

    def send(self, frame: bytes) -> None:
        """Send a message, in the order of the calls; without a connection nothing happens."""
        if self._outgoing is not None:
            self._outgoing.put_nowait(frame)

    def renew_token(self) -> bool:
        """Get a new token and send it on the open connection; returns whether there is a `get_token` for that."""
        if self._get_token is None:
            return False
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(self._send_new_token(), name="aerostack token")
        return True

    async def _send_new_token(self) -> None:
        if await self._renew(self._endpoint.token) and self._endpoint.token is not None:
            self.send(encode(Auth(self._endpoint.token)))

    # --- the task ----------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            error = await self._stay_connected()
        except Exception:  # a bug of the client: reported like a refusal, so that no caller waits for a dead task
            logger.critical("The connection's task failed", exc_info=True)
            error = Internal("The client's connection failed because of a bug; its log has the details.")
        self._task = None
        self._finish(error)
        self._listener.failed(error)

    async def _stay_connected(self) -> AerostackError:
        """Connect again and again; returns the error that forbids it."""
        while True:
            refused, used = await self._attempt()
            self._change("connecting" if self._status == "connecting" else "reconnecting")
            match refused.next_step:
                case "stop":
                    return refused.error
                case "renew token":
                    if not await self._renew(used):
                        return refused.error
                    wait = self._backoff.wait()
                case "reconnect late":
                    wait = self._backoff.longest()
                case "reconnect":
                    wait = self._backoff.wait()
                case _:
                    assert_never(refused.next_step)
            logger.warning("%s Next attempt in %.1f s.", refused.error.message, wait)
            await asyncio.sleep(wait)

    async def _attempt(self) -> tuple[ConnectionRefused, str | None]:
        """Connect and stay until the connection ends; returns the reason, and the token that was used."""
        if self._get_token is not None and self._endpoint.token is None:
            await self._renew(None)
        used = self._endpoint.token
        try:
            socket = await self._endpoint.dial()
        except ConnectionRefused as refused:
            return refused, used
        why: AerostackError | str = ""
        try:
            why = await self._converse(socket)
        except Exception:  # a bug of the client; a new connection starts from a clean state
            logger.exception("The connection failed because of a bug in the client")
        finally:
            self._outgoing = None
            await _hang_up(socket)
            self._endpoint.next_server()
        code = socket.close_code
        error = why if isinstance(why, AerostackError) else error_of_close(code, why)
        return ConnectionRefused(error, next_step_of_close(code)), used

    async def _renew(self, used: str | None) -> bool:
        """Get a new token if necessary; returns whether there is one other than the refused one."""
        if self._endpoint.token == used and self._get_token is not None:
            try:
                token = self._get_token()
                self._endpoint.token = token if isinstance(token, str) else await token
            except Exception:
                logger.exception("get_token failed; it is called again at the next attempt")
                return True
        return self._endpoint.token != used

    # --- one socket --------------------------------------------------------------------------------------

    async def _converse(self, socket: ClientWebSocketResponse) -> AerostackError | str:
        """Exchange messages until either side closes; returns the reason that the server gave, if any."""
        try:
            async with asyncio.timeout(DIAL_SECONDS):
                greeting = await self._greeting(socket)
        except TimeoutError:
            return ""
        if not isinstance(greeting, Connected):
            return greeting
        heartbeat = Heartbeat(greeting.heartbeat, self._clock)
        outgoing = self._outgoing = asyncio.Queue()
        self._backoff.opened()
        self._change("connected")
        self._listener.opened(greeting.limits or DEFAULT_LIMITS)
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(self._write(socket, outgoing, heartbeat), name="aerostack writer")
            reason = await self._read(socket, heartbeat)
            writer.cancel()
        return reason

    async def _greeting(self, socket: ClientWebSocketResponse) -> Connected | AerostackError | str:
        """The server's first frame, or the reason for which it closed the connection instead."""
        refusal: AerostackError | None = None
        while True:
            frame = await socket.receive()
            if frame.type is not WSMsgType.TEXT:
                return refusal or _reason(frame)
            try:
                reply = decode_reply(frame.data)
            except BadMessage as error:
                return error
            if isinstance(reply, Connected):
                return reply
            if isinstance(reply, Error):
                refusal = error_of(reply.code, reply.message)

    async def _read(self, socket: ClientWebSocketResponse, heartbeat: Heartbeat) -> str:
        while True:
            frame = await socket.receive()
            if frame.type is not WSMsgType.TEXT:
                if frame.type is WSMsgType.CLOSE and frame.data == close_codes.MESSAGE_TOO_BIG:
                    self._listener.frame_refused()
                return _reason(frame)
            heartbeat.received()
            self._dispatch(frame.data)

    def _dispatch(self, frame: str) -> None:
        """Pass a message to the listener. One that cannot be read is reported and skipped; it would be sent again
        unchanged."""
        try:
            reply = decode_reply(frame)
            if reply is not None:
                self._listener.received(reply)
        except BadMessage as error:
            self._listener.failed(error)
        except (msgspec.DecodeError, RecursionError) as unreadable:
            self._listener.failed(BadMessage(f"The server sent data that cannot be read: {unreadable}."))

    async def _write(
        self, socket: ClientWebSocketResponse, outgoing: "asyncio.Queue[bytes]", heartbeat: Heartbeat
    ) -> None:
        try:
            while True:
                frame = await _next(outgoing, heartbeat.deadline - self._clock())
                due = heartbeat.due()
                if due == "time out":
                    break
                if frame is None and due == "nothing":
                    continue
                async with asyncio.timeout(heartbeat.interval):
                    await socket.send_str((frame or _PING).decode())
                    left = TOGETHER - len(frame or _PING)
                    while left > 0 and not outgoing.empty():
                        another = outgoing.get_nowait()
                        await socket.send_str(another.decode())
                        left -= len(another)
                heartbeat.sent() if frame else heartbeat.pinged()
        except TimeoutError:
            pass  # the server does not read
        except (aiohttp.ClientError, ConnectionError):
            return  # the reader gets the same end, with its close code
        logger.warning("The server did not answer a ping in time; reconnecting.")
        await _hang_up(socket)

    # --- status ------------------------------------------------------------------------------------------

    def _finish(self, error: AerostackError | None) -> None:
        self._error = error
        self._change("disconnected")

    def _change(self, status: Status) -> None:
        if status in ("connected", "disconnected"):
            self._settled.set()
        else:
            self._settled.clear()
        if status != self._status:
            self._status = status
            self._listener.changed(status)


async def _next(outgoing: "asyncio.Queue[bytes]", within: float) -> bytes | None:
    """The next frame to send; None when there is none `within` that many seconds."""
    if not outgoing.empty():
        return outgoing.get_nowait()
    try:
        async with asyncio.timeout(within):
            return await outgoing.get()
    except TimeoutError:
        return None


async def _hang_up(socket: ClientWebSocketResponse) -> None:
    """Close the socket, without waiting for a peer that does not answer."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_SECONDS):
            await socket.close()


def _reason(frame: WSMessage) -> str:
    return str(frame.extra or "") if frame.type is WSMsgType.CLOSE else ""
