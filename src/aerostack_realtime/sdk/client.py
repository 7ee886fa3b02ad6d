"""The realtime client: its connection, its channels, and which message concerns which of them."""

import asyncio
import logging
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

import msgspec
from msgspec import UNSET

from aerostack_realtime.protocol import messages, topics
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, TooLarge, Unavailable
from aerostack_realtime.protocol.messages import Filter, Reply, Slow, encode
from aerostack_realtime.sdk.backoff import Backoff
from aerostack_realtime.sdk.channel import Channel, Command
from aerostack_realtime.sdk.connection import Connection, GetToken, Status
from aerostack_realtime.sdk.endpoint import Endpoint
from aerostack_realtime.sdk.live_table import Table
from aerostack_realtime.sdk.outbox import Outbox
from aerostack_realtime.sdk.payload import HistoryMessage
from aerostack_realtime.sdk.reconnect_policy import error_of
from aerostack_realtime.sdk.subscription import Key, Subscription
from aerostack_realtime.sdk.window import Window

logger = logging.getLogger("aerostack_realtime.sdk")

_Told = TypeVar("_Told")

_RETRY_SECONDS: Final = 2.0
"""Until a subscription that could not be restored, by a retryable error, is tried again; up to twice that."""


class RealtimeClient:
    """Channels over one WebSocket that comes back by itself.

    `url` is the server's, such as `https://realtime.example.com`; `token` a JWT that says who the user is,
    `get_token` (plain or async) makes one when it is missing or no longer taken; `user_id` counts only on a
    server that admits anonymous clients. All methods belong to one event loop.
    """

    def __init__(
        self,
        url: str | Endpoint,
        *,
        api_key: str | None = None,
        project_id: str = "default",
        token: str | None = None,
        user_id: str | None = None,
        get_token: GetToken | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._owns_endpoint = isinstance(url, str)
        self._endpoint = (
            Endpoint(url, api_key=api_key, project_id=project_id, token=token, user_id=user_id)
            if isinstance(url, str)
            else url
        )
        self._connection = Connection(self._endpoint, self, backoff=backoff, get_token=get_token)
        self._outbox = Outbox()
        self._channels: WeakValueDictionary[str, Channel] = WeakValueDictionary()
        self._in_use: dict[str, Channel] = {}
        self._retries: dict[str, asyncio.TimerHandle] = {}
        self._status_callbacks: list[Callable[[Status], object]] = []
        self._error_callbacks: list[Callable[[AerostackError], object]] = []

    def __repr__(self) -> str:
        return f"<RealtimeClient {self._endpoint!r} {self.status}>"

    async def __aenter__(self) -> "RealtimeClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    # --- the connection ----------------------------------------------------------------------------------

    @property
    def status(self) -> Status:
        """`idle`, `connecting`, `connected`, `reconnecting` or `disconnected`."""
        return self._connection.status

    async def connect(self) -> None:
        """Connect, and return when connected. What a channel does connects by itself, too.

        A server that cannot be reached is tried again, with back-off, for as long as this waits. Raises
        Unauthorized, Forbidden or BadMessage when the server refuses for good.
        """
        self._connection.open()
        await self._connection.wait_opened()

    async def disconnect(self) -> None:
        """Close the connection. Waiting calls fail with Unavailable, running handlers are cancelled,
        iterations end; a later `connect` brings the subscriptions and the presence back."""
        await self._connection.close()
        self._outbox.fail_all(Unavailable("disconnect() was called before the server answered."))
        for channel in list(self._in_use.values()):
            await channel.stop()
        if self._owns_endpoint:
            await self._endpoint.close()

    def set_token(self, token: str) -> None:
        """Use another JWT from now on, on the open connection too; connects again after a refusal of the
        last one. If the server does not take it, `on_error` tells."""
        self._endpoint.token = token
        if self.status == "connected":
            self._connection.send(encode(messages.Auth(token)))
        elif self.status == "disconnected" and self._connection.error is not None:
            self._connection.open()

    def on_status_change(self, callback: Callable[[Status], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every new status. Returns what ends that."""
        return _register(self._status_callbacks, callback)

    def on_error(self, callback: Callable[[AerostackError], object]) -> Callable[[], None]:
        """Call `callback` (plain, short) with every error that no call waits for: a refused token, a
        subscription that could not be restored, the end of the connection. Returns what ends that.

        Without a callback these errors are logged as warnings."""
        return _register(self._error_callbacks, callback)

    # --- channels ----------------------------------------------------------------------------------------

    def channel(
        self,
        topic: str,
        *,
        filter: Filter | None = None,
        since: str | None = None,
        slow: Slow | None = None,
        key: Key | None = None,
    ) -> Channel:
        """The channel of `topic`, the same one for as long as you hold or use it.

        `orders` is the table orders, `chat/general` a custom channel. `filter` limits the rows of a table:
        `{column: value}`, all of which must hold. `since` continues after a cursor instead of from now on.

        `slow` says what the server does while this client does not keep up: `resume` (the default) sends
        everything, if need be after a reconnect; `latest` the newest event of each name, with `key` of each
        value of that member of the data, or what became of each row of a table, whose key is needed; `drop`
        drops, and tells how many by a `gap`, `{"since": cursor, "dropped": n}`.

        Raises InvalidTopic, and ValueError when the channel is subscribed with another filter or policy.
        """
        canonical = topics.canonical(topic, self._endpoint.project_id)
        channel = self._channels.get(canonical)
        if channel is None:
            channel = self._channels[canonical] = Channel(
                self, Subscription(topic, canonical, filter, since, slow=slow or "resume", key=key)
            )
            return channel
        channel.adjust(filter, since, slow, key)
        return channel

    def table(
        self,
        name: str,
        *,
        filter: Filter | None = None,
        order: str | None = None,
        limit: int | None = None,
        key: str = "id",
        slow: Slow = "resume",
    ) -> Table:
        """The rows of a table as a mapping that follows every change: `async with client.table("orders") as rows`.

        `filter` as for `channel`; `order` is a column, `-column` descending; `limit` keeps the first so many
        of that order, and replaces one that leaves by the next. `key` is the column that tells rows apart,
        best the primary key. `slow` as for `channel`: `latest` skips what a row was in between, and after a gap
        of `drop` the rows are loaded again. Raises InvalidTopic, and ValueError when this client uses the topic
        already.
        """
        canonical = topics.canonical(name, self._endpoint.project_id)
        if canonical in self._in_use:
            raise ValueError(f"{name!r} is subscribed already; unsubscribe it, or use another client.")
        window = Window(order, limit, key)
        about = key if slow == "latest" else None
        channel = Channel(
            self, Subscription(name, canonical, filter, snapshot=window.wanted, slow=slow, key=about)
        )
        self._channels[canonical] = channel
        return Table(channel, window, key)

    async def history(self, topic: str, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """As `Channel.get_history`, of any topic."""
        room = topics.canonical(topic, self._endpoint.project_id)
        params = {"room": room, "limit": str(limit)}
        if before is not None:
            params["before"] = str(before)
        answer = await self._endpoint.get("/api/v1/public/realtime/history", params)
        return msgspec.convert(answer["messages"], list[HistoryMessage])

    # --- what a channel needs ----------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether what is sent now is sent at once."""
        return self.status == "connected"

    def ask(self, id: str, command: Command) -> asyncio.Future[Reply]:
        """Send a command until it is answered. See channel.Client."""
        if self.status == "idle":
            self._connection.open()
        elif self.status == "disconnected":
            raise self._connection.error or Unavailable("disconnect() was called; call connect() first.")
        frame = _frame(command)
        answer = self._outbox.add(id, frame)
        self._connection.send(frame)
        return answer

    def withdraw(self, id: str, error: AerostackError | None = None) -> None:
        """Forget an unanswered command. See channel.Client."""
        if error is not None:
            self._outbox.fail(id, error)
        else:
            self._outbox.withdraw(id)

    def send(self, command: Command) -> None:
        """Send a command if there is a connection. See channel.Client."""
        self._connection.send(_frame(command))

    def settle(self, channel: Channel) -> None:
        """Hold on to the channel while it is in use. See channel.Client."""
        if channel.in_use:
            self._in_use[channel.canonical] = channel
        else:
            self._in_use.pop(channel.canonical, None)

    # --- what the connection tells -----------------------------------------------------------------------

    def changed(self, status: Status) -> None:
        """The status is another one now."""
        if status != "connected":
            for handle in self._retries.values():
                handle.cancel()
            self._retries.clear()
            for channel in self._in_use.values():
                channel.lost()
        _tell(self._status_callbacks, status)

    def opened(self) -> None:
        """A connection is usable: first what the server had confirmed, then what it has not answered."""
        for channel in self._in_use.values():
            channel.restore()
        for frame in self._outbox.frames():
            self._connection.send(frame)

    def failed(self, error: AerostackError) -> None:
        """Something went wrong that no call waits for."""
        if self.status == "disconnected":
            self._outbox.fail_all(error)
            for channel in list(self._in_use.values()):
                channel.abandon(error)
        if self._error_callbacks:
            _tell(self._error_callbacks, error)
        else:
            logger.warning("%s: %s", error.code, error.message)

    def received(self, reply: Reply) -> None:
        """A message arrived."""
        match reply:
            case messages.Event() | messages.DbChange():
                if channel := self._in_use.get(reply.topic):
                    channel.receive(reply)
            case messages.Ack():
                self._outbox.answer(reply.id, reply)
            case messages.Subscribed():
                if channel := self._in_use.get(reply.topic):
                    channel.confirm(reply)
                if reply.id is not UNSET:
                    self._outbox.answer(reply.id, reply)
            case messages.Unsubscribed():
                channel = self._in_use.get(reply.topic)
                if channel and (error := channel.dismissed(reply)):
                    self.failed(error)
            case messages.Presence():
                if not self._outbox.answer(reply.id, reply) and (channel := self._in_use.get(reply.topic)):
                    channel.reconcile(reply)
            case messages.Error():
                self._refused(reply)
            case messages.Snapshot():
                if channel := self._in_use.get(reply.topic):
                    channel.load(reply)
            case messages.Connected() | messages.Authenticated() | messages.Pong():
                pass

    def _refused(self, reply: messages.Error) -> None:
        error = error_of(reply.code, reply.message)
        if reply.id is UNSET:
            if not (isinstance(error, TooLarge) and self._outbox.fail_largest(error)):
                self.failed(error)
        elif not self._outbox.fail(reply.id, error):
            for channel in list(self._in_use.values()):
                if channel.asks(reply.id):
                    self._not_restored(channel, error)
            self.failed(error)

    def _not_restored(self, channel: Channel, error: AerostackError) -> None:
        if not error.retryable:
            channel.refused(error)
            return
        wait = _RETRY_SECONDS * (1 + random.random())
        self._retries[channel.canonical] = asyncio.get_running_loop().call_later(wait, self._retry, channel)

    def _retry(self, channel: Channel) -> None:
        self._retries.pop(channel.canonical, None)
        channel.restore()


def _frame(command: Command) -> bytes:
    try:
        return encode(command)
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadMessage(f"It cannot be written as JSON: {wrong}") from wrong


def _register(
    callbacks: list[Callable[[_Told], object]], callback: Callable[[_Told], object]
) -> Callable[[], None]:
    callbacks.append(callback)

    def unregister() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return unregister


def _tell(callbacks: list[Callable[[_Told], object]], told: Any) -> None:
    for callback in list(callbacks):
        try:
            callback(told)
        except Exception:
            logger.exception("A callback failed")
