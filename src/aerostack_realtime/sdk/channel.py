"""A channel as its user holds it: listeners, the subscription, publishing, presence and history."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, TypeVar

import msgspec
from msgspec import UNSET

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Internal, Unavailable
from aerostack_realtime.protocol.messages import (
    DbChange,
    Event,
    Filter,
    Presence,
    Reply,
    Slow,
    Snapshot,
    Subscribed,
    Unsubscribed,
)
from aerostack_realtime.sdk.delivery import Delivery, Stream
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.payload import Ack, HistoryMessage, Payload, PresentMember
from aerostack_realtime.sdk.subscription import ANY, Handler, Key, Subscription

_Answer = TypeVar("_Answer", bound=Reply)

Command = (
    messages.Subscribe
    | messages.Unsubscribe
    | messages.Publish
    | messages.Track
    | messages.Untrack
    | messages.AskPresence
)


class Client(Protocol):
    """What a channel needs of its client."""

    @property
    def connected(self) -> bool:
        """Whether what is sent now is sent at once."""

    def ask(self, id: str, command: Command) -> asyncio.Future[Reply]:
        """Send a command, now and on every new connection until it is answered; its answer.

        Opens the connection if need be. Raises BadMessage when the command is not JSON, Overloaded, or why
        there is no connection.
        """

    def withdraw(self, id: str, error: AerostackError | None = None) -> None:
        """Forget an unanswered command: it is not sent again, and whoever waits for it gets `error`."""

    def send(self, command: Command) -> None:
        """Send a command if there is a connection: it would mean nothing to the next one."""

    def settle(self, channel: "Channel") -> None:
        """Hold on to the channel while it is in use, and let go of it otherwise."""

    async def history(self, topic: str, limit: int, before: int | None) -> list[HistoryMessage]:
        """Stored messages of a canonical topic, newest first."""


class Channel:
    """One topic of one connection. Get it from `RealtimeClient.channel`.

    The order of calls does not matter, and none needs a connection first: an operation opens it. What was
    subscribed and tracked comes back by itself after a reconnect.
    """

    def __init__(self, client: Client, subscription: Subscription) -> None:
        self._client = client
        self._subscription = subscription
        self._delivery = Delivery(subscription, self._drained)
        self._streams: set[Stream] = set()
        self._asking: tuple[str, asyncio.Future[Reply]] | None = None  # a subscribe without an answer yet
        self._tracking: str | None = None  # the id of the track that counts
        self._tracked: dict[str, Any] | None = None  # what the server has confirmed of it
        self._paused = False

    def __repr__(self) -> str:
        return f"<Channel {self.topic!r}{' subscribed' if self.subscribed else ''}>"

    @property
    def topic(self) -> str:
        """The topic as you wrote it."""
        return self._subscription.topic

    @property
    def subscribed(self) -> bool:
        """Whether the server has confirmed the subscription; it stays so while reconnecting."""
        return self._subscription.confirmed

    @property
    def cursor(self) -> str | None:
        """The cursor of the last event whose handlers have finished: keep it, and continue after it with
        `channel(topic, since=cursor)`, in another process or on another day."""
        return self._subscription.cursor

    @property
    def canonical(self) -> str:
        """The topic as it stands on the wire."""
        return self._subscription.canonical

    # --- listening ---------------------------------------------------------------------------------------

    def on(self, event: str, handler: Handler) -> "Channel":
        """Call `handler` with every payload of `event`; returns the channel.

        `event` is `INSERT`, `UPDATE`, `DELETE`, `presence:join`, `presence:update`, `presence:leave`, `gap`,
        the name of a published event, or `*` for all of them. An async handler is awaited before the
        channel's next event; what it raises is logged and stops nothing.
        """
        self._subscription.on(event, handler)
        self._client.settle(self)
        return self

    def off(self, event: str, handler: Handler | None = None) -> "Channel":
        """Remove a listener, or all of `event` when no handler is given; returns the channel."""
        self._subscription.off(event, handler)
        self._client.settle(self)
        return self

    async def subscribe(self) -> "Channel":
        """Start receiving; returns the channel once every later event is certain to arrive.

        Raises InvalidTopic, InvalidFilter, NotFound (no such table), Unauthorized, Forbidden, or a retryable
        error.
        """
        if not self.subscribed:
            if self._asking is None:
                id = new_id()
                answer = self._client.ask(id, self._subscription.request(id))
                answer.add_done_callback(self._answered)
                self._asking = (id, answer)
                self._client.settle(self)
            await asyncio.shield(self._asking[1])
        return self

    async def unsubscribe(self) -> None:
        """Stop receiving and remove all listeners; presence stays until `untrack`. Never fails."""
        self._subscription.silence()
        if self._asking is not None:
            id, _ = self._asking
            self._client.withdraw(id, Unavailable("unsubscribe() was called before the server answered."))
        if self.subscribed or self._asking is not None:
            self._client.send(messages.Unsubscribe(self.canonical, new_id()))
        self._end(None)

    def __aiter__(self) -> AsyncIterator[Payload]:
        """All events of the channel, from a subscription on that is made if there is none.

        An event counts as handled when the loop comes back for the next. The iteration ends with
        `unsubscribe` or `disconnect`, and raises what ends the subscription otherwise. Leaving the loop does
        not unsubscribe.
        """
        return self._events()

    async def _events(self) -> AsyncIterator[Payload]:
        stream = Stream()
        self._streams.add(stream)
        self.on(ANY, stream.take)
        try:
            await self.subscribe()
            while (payload := await stream.next()) is not None:
                yield payload
        finally:
            stream.end()
            self._streams.discard(stream)
            self.off(ANY, stream.take)

    # --- speaking ----------------------------------------------------------------------------------------

    async def publish(self, event: str, data: Any = None, *, persist: bool = False) -> Ack:
        """Send `data` (anything JSON can say) to the channel's subscribers, this client included.

        Returns when the server has accepted it; with `persist`, when it is stored and will be in the history.
        Without a connection it waits, is sent in order once there is one, and is delivered once. When the
        waiting is cancelled it is not sent any more; what was sent already may have arrived.

        Raises BadMessage (data that is not JSON), TooLarge, Forbidden, or a retryable error.
        """
        id = new_id()
        command = messages.Publish(self.canonical, event, _raw(data), persist, id)
        ack = await self._answer(id, command, messages.Ack)
        return Ack(ack.id, ack.cursor or None, ack.timestamp or None, ack.duplicate is True)

    async def track(self, state: Mapping[str, Any]) -> None:
        """Be present in the channel with `state`, an object; again to change it.

        A user is one member with however many connections: the token's, else `state["userId"]`, else this
        connection. Raises as `publish`.
        """
        id = new_id()
        kept = dict(state)
        self._tracking = id
        self._client.settle(self)
        try:
            await self._answer(id, messages.Track(self.canonical, kept, id), messages.Ack)
        except BaseException:
            if self._tracking == id and self._tracked is None:
                self._tracking = None
                self._client.settle(self)
            raise
        if self._tracking == id:
            self._tracked = kept

    async def untrack(self) -> None:
        """Be present no longer; nothing when that is so already."""
        tracking, self._tracking, self._tracked = self._tracking, None, None
        if tracking is None:
            return
        self._client.settle(self)
        if self._client.connected:
            id = new_id()
            await self._answer(id, messages.Untrack(self.canonical, id), messages.Ack)
        else:  # presence ends with the connection, so there is nothing to take back but a waiting track
            self._client.withdraw(tracking, Unavailable("untrack() was called before the server answered."))

    async def presence(self) -> list[PresentMember]:
        """Who is present now, in the order they joined; subscribed or not. Raises as `publish`."""
        id = new_id()
        reply = await self._answer(id, messages.AskPresence(self.canonical, id), Presence)
        return [PresentMember(each.user_id, msgspec.json.decode(each.state), each.since) for each in reply.members]

    async def get_history(self, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """The newest `limit` (1 to 1000) persisted messages, newest first; a call over HTTP.

        `before` is the `created_at` of the oldest message you have, for the page before it. Raises
        Unauthorized, Forbidden, BadMessage, or a retryable error.
        """
        return await self._client.history(self.canonical, limit, before)

    async def _answer(self, id: str, command: Command, answer: type[_Answer]) -> _Answer:
        try:
            reply = await self._client.ask(id, command)
        finally:
            self._client.withdraw(id)
        if not isinstance(reply, answer):
            raise Internal(f"The server answered {type(command).__name__} with {type(reply).__name__}.")
        return reply

    # --- what its client tells it ------------------------------------------------------------------------

    @property
    def in_use(self) -> bool:
        """Whether something would be lost if nobody held it."""
        return bool(
            self.subscribed
            or self._asking is not None
            or self._tracking is not None
            or self._subscription.heard
            or not self._delivery.idle
        )

    def adjust(self, filter: Filter | None, since: str | None, slow: Slow | None, key: Key | None) -> None:
        """It was asked for once more, perhaps with other settings. Raises ValueError when it is too late."""
        if self._subscription.snapshot is not None:
            raise ValueError(f"{self.topic!r} is open as a live table; use another client for its changes.")
        running = self.subscribed or self._asking is not None
        if filter is not None and filter != self._subscription.filter:
            if running:
                raise ValueError(f"{self.topic!r} is subscribed with another filter; unsubscribe it first.")
            self._subscription.filter = filter
        if slow is not None and (slow, key) != (self._subscription.slow, self._subscription.key):
            if running:
                raise ValueError(f"{self.topic!r} is subscribed with another policy; unsubscribe it first.")
            self._subscription.slow, self._subscription.key = slow, key
        if since is not None and not running:
            self._subscription.continue_from(since)

    def receive(self, reply: Event | DbChange) -> None:
        """An event arrived."""
        if self._subscription.live and self._delivery.full:
            self._pause()
        elif (payload := self._subscription.receive(reply)) is not None:
            self._delivery.put(payload)

    def confirm(self, reply: Subscribed) -> None:
        """`subscribed` arrived."""
        was_live = self._subscription.live
        gap = self._subscription.confirm(reply)
        if gap is not None:
            self._delivery.put(gap)
        if self._subscription.stale and reply.recovered is False:
            self.reload()
        if self._subscription.live and not was_live and len(self._subscription.members):
            self._client.send(messages.AskPresence(self.canonical, new_id()))

    def load(self, reply: Snapshot) -> None:
        """Rows arrived."""
        if (payload := self._subscription.load(reply)) is not None:
            self._delivery.put(payload)

    def reload(self) -> None:
        """Ask for the rows again: those that are here are not all that there should be."""
        self._subscription.stale = True
        self._client.send(self._subscription.request(new_id()))

    def reconcile(self, reply: Presence) -> None:
        """The members arrived, asked for after a reconnect."""
        if self._subscription.live:
            for payload in self._subscription.reconcile(reply):
                self._delivery.put(payload)

    def asks(self, id: str) -> bool:
        """Whether `id` is that of this channel's request for a subscription."""
        return self._subscription.asks(id)

    def dismissed(self, reply: Unsubscribed) -> AerostackError | None:
        """`unsubscribed` arrived; the error to tell when the user did not ask for it."""
        if reply.id is not UNSET or not self.subscribed:
            return None
        said = f": {reply.reason}" if reply.reason else "."
        error = Unavailable(f"The server ended the subscription of {self.topic!r}{said}")
        self._end(error)
        return error

    def refused(self, error: AerostackError) -> None:
        """The server does not continue the subscription."""
        self._end(error)

    def restore(self) -> None:
        """There is a new connection, or another try: ask again for what the server had confirmed."""
        if self.subscribed and not self._paused:
            self._client.send(self._subscription.request(new_id()))
        if self._tracked is not None:
            id = self._tracking = new_id()
            self._client.send(messages.Track(self.canonical, self._tracked, id))

    def lost(self) -> None:
        """The connection is gone."""
        self._subscription.lost()

    def abandon(self, error: AerostackError | None) -> None:
        """There will be no connection until the user wants one."""
        for stream in list(self._streams):
            stream.end(error)

    async def stop(self) -> None:
        """The user disconnects: no handler runs on after this, but the one that called, if one did."""
        self.abandon(None)
        await self._delivery.stop()

    # --- inside ------------------------------------------------------------------------------------------

    def _answered(self, answer: asyncio.Future[Reply]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if self._asking is None or self._asking[1] is not answer:
            return
        self._asking = None
        if isinstance(error, AerostackError):
            self._end(error)
        self._client.settle(self)

    def _end(self, error: AerostackError | None) -> None:
        self._asking = None
        self._paused = False
        self._subscription.end()
        self._delivery.clear()
        self.abandon(error)
        self._client.settle(self)

    def _pause(self) -> None:
        self._paused = True
        self._subscription.lost()
        self._client.send(messages.Unsubscribe(self.canonical, new_id()))

    def _drained(self) -> None:
        if self._paused:
            self._paused = False
            if self.subscribed:
                self._client.send(self._subscription.request(new_id()))
        self._client.settle(self)


def _raw(data: Any) -> msgspec.Raw:
    """`data` as JSON. Raises BadMessage."""
    try:
        return msgspec.Raw(messages.encode(data))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadMessage(f"The data cannot be written as JSON: {wrong}") from wrong
