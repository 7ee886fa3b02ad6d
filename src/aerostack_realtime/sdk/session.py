"""The inside of a client: its connection, channels and unanswered commands, and the routing of messages."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, TypeVar, assert_never
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    InvalidTopic,
    OutOfStep,
    TokenExpired,
    TooLarge,
    Unavailable,
    UnknownType,
)
from aerostack_realtime.protocol.messages import Limits, Reply, encode
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.channel import Channel
from aerostack_realtime.sdk.connection import Connection, GetToken, Status
from aerostack_realtime.sdk.endpoint import Endpoint
from aerostack_realtime.sdk.internals import Command
from aerostack_realtime.sdk.limits import check_limits
from aerostack_realtime.sdk.outbox import Outbox
from aerostack_realtime.sdk.payload import HistoryMessage
from aerostack_realtime.sdk.reconnect_policy import error_of
from aerostack_realtime.sdk.write_stream import WriteStream

logger = logging.getLogger("aerostack_realtime.sdk")

_Value = TypeVar("_Value")

_RETRY_SECONDS: Final = 2.0
"""After which a subscription or presence that the server refused for now is requested again; up to twice that."""


class Session:
    """The inside of a RealtimeClient: implements channel.ClientInternals and connection.ConnectionListener."""

    def __init__(self, endpoint: Endpoint, backoff: Backoff | None, get_token: GetToken | None) -> None:
        self.endpoint = endpoint
        self.connection = Connection(endpoint, self, backoff=backoff, get_token=get_token)
        self.channels: WeakValueDictionary[str, Channel] = WeakValueDictionary()
        self.in_use: dict[str, Channel] = {}
        self._outbox = Outbox()
        self._writers: dict[str, WriteStream] = {}
        self._limits: Limits | None = None  # unknown before the first connection
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._status_callbacks: list[Callable[[Status], object]] = []
        self._error_callbacks: list[Callable[[AerostackError], object]] = []

    async def close(self) -> None:
        """Close the connection; waiting calls fail, handlers stop, iterations end."""
        await self.connection.close()
        self._fail_all(Unavailable("disconnect() was called before the server answered."))
        for channel in list(self.in_use.values()):
            await channel._stop()

    def on_status_change(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Add a status callback; returns a function that removes it."""
        return _add(self._status_callbacks, callback)

    def on_error(self, callback: Callable[[AerostackError], object]) -> Callable[[], None]:
        """Add an error callback; returns a function that removes it."""
        return _add(self._error_callbacks, callback)

    # --- for channels ------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a usable connection."""
        return self.connection.status == "connected"

    def request(self, id: str, command: Command) -> asyncio.Future[Reply]:
        """Send a command until it is answered. See channel.ClientInternals."""
        if self.connection.status == "disconnected":
            raise self.connection.error or Unavailable("disconnect() was called; call connect() first.")
        frame = _frame(command)
        if self._limits is not None:
            check_limits(frame, self._limits)
        retried = isinstance(command, messages.Subscribe | messages.Track | messages.Untrack)
        answer = self._outbox.add(id, frame, retried=retried)
        if self.connection.status == "idle":
            self.connection.open()
        self.connection.send(frame)
        return answer

    def withdraw(self, id: str, error: AerostackError | None = None) -> None:
        """Forget an unanswered command. See channel.ClientInternals."""
        if error is not None:
            self._outbox.fail(id, error)
        else:
            self._outbox.withdraw(id)

    def supersede(self, id: str) -> None:
        """A later command takes the place of this one. See channel.ClientInternals."""
        if (retry := self._retries.pop(id, None)) is not None:
            retry.cancel()
            self._outbox.answer(id, messages.Ack(id))

    def send(self, command: Command) -> None:
        """Send a command if there is a connection. See channel.ClientInternals."""
        self.connection.send(_frame(command))

    def retain(self, channel: Channel) -> None:
        """Keep the channel alive while it is in use. See channel.ClientInternals."""
        if channel._in_use:
            self.in_use[channel._name] = channel
        else:
            self.in_use.pop(channel._name, None)

    async def history(self, topic: str, limit: int, before: int | None) -> list[HistoryMessage]:
        """Stored messages of a topic, newest first. See Channel.get_history."""
        params = {"room": self.endpoint.wire_topic(topic), "limit": str(limit)}
        if before is not None:
            params["before"] = str(before)
        page = await self.endpoint.get("/api/v1/public/realtime/history", params, _HistoryPage)
        return page.messages

    # --- for writers of streams --------------------------------------------------------------------------

    def begin(self, ref: str, writer: WriteStream) -> None:
        """Route the answers with this `ref` to a writer. See write_stream.WriterInternals."""
        self._require_open()
        self._writers[ref] = writer

    def end(self, ref: str) -> None:
        """The writer needs no more answers. See write_stream.WriterInternals."""
        self._writers.pop(ref, None)

    def send_piece(self, command: messages.Publish | messages.Append) -> None:
        """Send a command if there is a connection. See write_stream.WriterInternals."""
        frame = _frame(command)
        if self._limits is not None:
            check_limits(frame, self._limits)
        self.connection.send(frame)

    def _fail_all(self, error: AerostackError) -> None:
        self._outbox.fail_all(error)
        for writer in list(self._writers.values()):
            writer._fail(error)

    def _require_open(self) -> None:
        """Open the connection if it was never opened. Raises the error that ended it."""
        if self.connection.status == "disconnected":
            raise self.connection.error or Unavailable("disconnect() was called; call connect() first.")
        if self.connection.status == "idle":
            self.connection.open()

    # --- for the connection ------------------------------------------------------------------------------

    def changed(self, status: Status) -> None:
        """The status has changed."""
        if status != "connected":
            for handle in self._retries.values():
                handle.cancel()
            self._retries.clear()
            for channel in self.in_use.values():
                channel._lost()
        _call(self._status_callbacks, status)

    def opened(self, limits: Limits) -> None:
        """A connection is usable: restore what the server had confirmed, then send what it has not answered."""
        if limits != self._limits:
            self._limits = limits
            self._outbox.fail_invalid(lambda frame: check_limits(frame, limits))
        for channel in self.in_use.values():
            channel._restore()
        for frame in self._outbox.frames():
            self.connection.send(frame)
        for writer in list(self._writers.values()):
            writer._connected()

    def frame_refused(self) -> None:
        """The server closed the connection because a frame was too large for it to read."""
        self._outbox.fail_largest(
            TooLarge("The message is too large for the server or its proxy. Send less data, or a link to it.")
        )

    def failed(self, error: AerostackError) -> None:
        """An error occurred that no call waits for."""
        if self.connection.status == "disconnected":
            self._fail_all(error)
            for channel in list(self.in_use.values()):
                channel._end_streams(error)
        if self._error_callbacks:
            _call(self._error_callbacks, error)
        else:
            logger.warning("%s: %s", error.code, error.message)

    def received(self, reply: Reply) -> None:
        """A message arrived."""
        match reply:
            case messages.Event() | messages.ChatMessage() | messages.DbChange():
                if channel := self._channel_of(reply.topic):
                    channel._receive(reply)
            case messages.Ack():
                if writer := self._writers.get(reply.ref or ""):
                    writer._acked(reply)
                else:
                    self._outbox.answer(reply.ref or reply.id, reply)
            case messages.Appended():
                if channel := self._channel_of(reply.topic):
                    channel._grow(reply)
            case messages.StreamCancelled():
                for writer in list(self._writers.values()):
                    if writer.id == reply.id and writer.writes_to(reply.topic):
                        writer._cancelled(reply)
            case messages.Subscribed():
                self._subscribed(reply)
            case messages.Unsubscribed():
                channel = self._channel_of(reply.topic)
                if channel and (error := channel._ended_by_server(reply)):
                    self.failed(error)
            case messages.Presence():
                if not self._outbox.answer(reply.id, reply) and (channel := self._channel_of(reply.topic)):
                    channel._reconcile(reply)
            case messages.Error():
                self._refused(reply)
            case messages.Snapshot():
                if channel := self._channel_of(reply.topic):
                    channel._load(reply)
            case messages.Advice():
                logger.warning("%s", reply.message)
            case messages.Connected() | messages.Authenticated() | messages.Pong():
                pass
            case _:
                assert_never(reply)

    def _channel_of(self, canonical_topic: str) -> Channel | None:
        return self.in_use.get(topics.without_project(canonical_topic))

    def _subscribed(self, reply: messages.Subscribed) -> None:
        channel = self._channel_of(reply.topic)
        known = channel is not None and reply.id is not UNSET and channel._requested_as(reply.id)
        if reply.id is not UNSET and reply.id in self._outbox and not known:
            self.connection.send(encode(messages.Unsubscribe(reply.topic)))
            written = topics.without_project(reply.topic)
            self._outbox.fail(
                reply.id,
                InvalidTopic(
                    f"The server takes this topic for {reply.topic!r}: write {written!r}, or pass project_id."
                ),
            )
            return
        if channel:
            channel._confirm(reply)
        if reply.id is not UNSET:
            self._outbox.answer(reply.id, reply)

    def _refused(self, reply: messages.Error) -> None:
        error = error_of(reply.code, reply.message)
        if isinstance(error, OutOfStep):
            error.n = reply.n or 0
        if writer := self._writers.get(reply.ref or ""):
            writer._refused(error)
        elif reply.ref is not UNSET:
            self._outbox.fail(reply.ref, error)
        elif reply.id is UNSET:
            if not (reply.topic is UNSET and self._unnamed_refused(error)):
                self.failed(error)
        elif error.retryable and self._outbox.retried(reply.id) is not None:
            self._later(reply.id, self._send_again)
            self.failed(error)
        elif not self._outbox.fail(reply.id, error):
            for channel in list(self.in_use.values()):
                if channel._requested_as(reply.id):
                    self._not_restored(channel, error)
                elif channel._tracking.announced_as(reply.id):
                    self._not_announced(channel, reply.id, error)
            self.failed(error)

    def _unnamed_refused(self, error: AerostackError) -> bool:
        """An error arrived that names no command; returns whether it was dealt with."""
        match error:
            case TooLarge():
                return self._outbox.fail_largest(error)
            case BadMessage() | UnknownType():  # the server could not read the frame, so it could not name it
                return self._outbox.fail_oldest(error)
            case TokenExpired():
                return self.connection.renew_token()
            case _:
                return False

    def _not_restored(self, channel: Channel, error: AerostackError) -> None:
        if error.retryable:
            self._later(channel._name, lambda _: channel._restore())
        else:
            channel._refused(error)

    def _not_announced(self, channel: Channel, id: str, error: AerostackError) -> None:
        if error.retryable:
            self._later(id, channel._tracking.announce_again)
        else:
            channel._tracking.end()

    def _send_again(self, id: str) -> None:
        if (frame := self._outbox.retried(id)) is not None:
            self.connection.send(frame)

    def _later(self, key: str, retry: Callable[[str], None]) -> None:
        """Call `retry(key)` in a moment, unless the connection is lost before: a new one restores everything."""

        def call() -> None:
            self._retries.pop(key, None)
            retry(key)

        wait = _RETRY_SECONDS * (1 + random.random())
        self._retries[key] = asyncio.get_running_loop().call_later(wait, call)


class _HistoryPage(msgspec.Struct):
    messages: list[HistoryMessage]


def _frame(command: Command) -> bytes:
    try:
        return encode(command)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadMessage(f"The arguments cannot be written as JSON: {wrong}") from wrong


def _add(callbacks: list[Callable[[_Value], object]], callback: Callable[[_Value], object]) -> Callable[[], None]:
    callbacks.append(callback)

    def remove() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return remove


def _call(callbacks: list[Callable[[_Value], object]], value: _Value) -> None:
    for callback in list(callbacks):
        try:
            callback(value)
        except Exception:
            logger.exception("A callback failed")
