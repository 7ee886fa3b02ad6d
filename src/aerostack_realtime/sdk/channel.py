"""A channel: listeners, the subscription, publishing, presence and history."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from aerostack_realtime.protocol import messages
from aerostack_realtime.protocol.errors import AerostackError, BadMessage, Forbidden, Unavailable
from aerostack_realtime.protocol.messages import (
    Appended,
    ChatMessage,
    DbChange,
    Event,
    MemberKind,
    Presence,
    Reply,
    Snapshot,
    Subscribed,
    Unsubscribed,
)
from aerostack_realtime.sdk.delivery import Delivery, Stream
from aerostack_realtime.sdk.internals import ClientInternals
from aerostack_realtime.sdk.outbox import new_id
from aerostack_realtime.sdk.payload import Ack, HistoryMessage, Payload, PresentMember
from aerostack_realtime.sdk.pieces import closing, iterate, pieces_of
from aerostack_realtime.sdk.read_stream import OutOfSync
from aerostack_realtime.sdk.requests import ask
from aerostack_realtime.sdk.subscription import ANY, Handler, Options, State, Subscription
from aerostack_realtime.sdk.tracking import Tracking
from aerostack_realtime.sdk.write_stream import WriteStream


class Channel:
    """One topic of one connection. Get it from `RealtimeClient.channel`.

    Calls may be made in any order; the first one connects. Subscriptions and presence are restored automatically
    after a reconnect.
    """

    def __init__(self, client: ClientInternals, name: str, subscription: Subscription) -> None:
        self._client = client
        self._name = name  # the topic without its project
        self._subscription = subscription
        self._delivery = Delivery(subscription, self._resume)
        self._streams: set[Stream] = set()
        self._requesting: tuple[str, asyncio.Future[Reply]] | None = None  # a subscribe without an answer
        self._tracking = Tracking(client, subscription, lambda: client.retain(self))
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
        """The cursor of the last event whose handlers have finished. Store it to continue after it later, with
        `channel(topic, since=cursor)`, even in another process."""
        return self._subscription.cursor

    # --- listening ---------------------------------------------------------------------------------------

    def on(self, event: str, handler: Handler) -> "Channel":
        """Call `handler` with every payload of `event`; returns the channel.

        `event` is `INSERT`, `UPDATE`, `DELETE`, `presence:join`, `presence:update`, `presence:leave`, `gap`,
        the name of a published event, or `*` for all of them. An async handler is awaited before the
        channel's next event. Its exceptions are logged and affect nothing else.
        """
        self._subscription.add_listener(event, handler)
        self._client.retain(self)
        self._delivery.wake()
        return self

    def off(self, event: str, handler: Handler | None = None) -> "Channel":
        """Remove a listener, or all of `event` when no handler is given; returns the channel."""
        self._subscription.remove_listener(event, handler)
        self._client.retain(self)
        return self

    async def subscribe(self) -> "Channel":
        """Start receiving; returns the channel once the server guarantees every later event.

        Events wait for the first listener or loop, so nothing is lost between this call and those. A retryable
        refusal goes to `on_error`, and the call continues to try.

        Raises InvalidTopic, InvalidFilter, NotFound (no such table), Unauthorized, Forbidden, or Unavailable after
        `disconnect`.
        """
        if not self.subscribed:
            if self._requesting is None:
                id = new_id()
                answer = self._client.request(id, self._subscription.request(id))
                answer.add_done_callback(self._answered)
                self._requesting = (id, answer)
                self._client.retain(self)
            await asyncio.shield(self._requesting[1])
        return self

    async def unsubscribe(self) -> None:
        """Stop receiving and remove all listeners; presence stays until `untrack`. Raises nothing."""
        self._subscription.remove_all_listeners()
        if self._requesting is not None:
            id, _ = self._requesting
            self._client.withdraw(id, Unavailable("unsubscribe() was called before the server answered."))
        if self.subscribed or self._requesting is not None:
            self._client.send(messages.Unsubscribe(self._subscription.wire_topic, new_id()))
        self._end(None)

    def __aiter__(self) -> AsyncIterator[Payload]:
        """All events of the channel; subscribes if necessary.

        An event counts as handled when the loop asks for the next one. The iteration ends after `unsubscribe` or
        `disconnect`, and raises any other error that ends the subscription. Leaving the loop does not unsubscribe.
        """
        return self._events()

    async def _events(self) -> AsyncIterator[Payload]:
        stream = Stream()
        self._streams.add(stream)
        self.on(ANY, stream.push)
        try:
            await self.subscribe()
            while (payload := await stream.next()) is not None:
                yield payload
        finally:
            stream.end()
            self._streams.discard(stream)
            self.off(ANY, stream.push)

    # --- publishing --------------------------------------------------------------------------------------

    async def publish(
        self,
        event: str,
        data: Any = None,
        *,
        persist: bool = False,
        echo: bool = True,
        traceparent: str | None = None,
        compacts: str | None = None,
    ) -> Ack:
        """Send `data` (any JSON value) to the channel's subscribers; without `echo` not to this client.

        Returns when the server has accepted it; with `persist`, when it is stored and part of the history. Without
        a connection the call waits; messages are sent in order once there is one, and each is delivered once. When
        the caller is cancelled the message is not sent again; it may have arrived already. Subscribers receive
        `traceparent` (W3C Trace Context) with the event.

        With `persist` and the cursor `compacts`, it replaces the persisted messages of the same event up to that
        cursor: they are deleted in the transaction that stores this one. It needs the right `compact`, and raises
        Conflict when another compaction came first.

        Raises BadMessage (not JSON, or nested too deeply), TooLarge (above the server's frame size; never sent),
        Forbidden, or a retryable error.
        """
        id = new_id()
        command = messages.Publish(self._subscription.wire_topic, event, _raw(data), persist, id, echo)
        if traceparent is not None:
            command = replace(command, traceparent=traceparent)
        if compacts is not None:
            command = replace(command, compacts=compacts)
        ack = await ask(self._client, id, command, messages.Ack)
        return Ack(ack.id, ack.cursor or None, ack.timestamp or None, ack.duplicate is True)

    # --- streams -----------------------------------------------------------------------------------------

    def stream(
        self, event: str, *, data: str | list[Any] = "", id: str | None = None, persist: bool = False
    ) -> WriteStream:
        """Write a message piece by piece: `async with channel.stream("answer") as stream`.

        `await stream.append(piece)` adds to `data`: a string to a string, a list of items to a list. With its `id`
        a program that is started again continues a stream. With `persist` it is part of the history. Readers with
        `streams=True` see it grow; the others receive one event when it ends.
        """
        return WriteStream(self._client, self._subscription.wire_topic, event, data, id, persist)

    async def pipe(
        self,
        event: str,
        source: AsyncIterable[Any] | Iterable[Any],
        *,
        data: str | list[Any] = "",
        id: str | None = None,
        persist: bool = False,
    ) -> WriteStream:
        """Write everything that `source` yields to a stream, and close `source`; returns the finished stream.

        `source` yields strings, or what the OpenAI and Anthropic SDKs, LangChain and Pydantic AI yield for text.
        With `data=[]` each object that it yields becomes one item. Raises Cancelled when the stream was cancelled,
        after `source` was closed, which ends the request to the model.
        """
        async with self.stream(event, data=data, id=id, persist=persist) as stream, closing(source):
            async for chunk in iterate(source):
                for piece in pieces_of(chunk, as_items=isinstance(data, list)):
                    await stream.append(piece)
        return stream

    async def cancel(self, id: str, reason: str = "") -> None:
        """Cancel the stream of that id, and ask its writer to stop. Does nothing when it has ended.

        Raises NotFound for an unknown stream, Forbidden, or a retryable error.
        """
        ref = new_id()
        await ask(self._client, ref, messages.Cancel(self._subscription.wire_topic, id, reason, ref), messages.Ack)

    # --- presence and history ----------------------------------------------------------------------------

    async def track(self, state: Mapping[str, Any], *, per: MemberKind = "user") -> None:
        """Join the channel's members with `state`, a mapping; call it again to change the state.

        A user is one member, regardless of the number of connections. The member is the token's user, otherwise
        `state["userId"]`, otherwise this connection. With `per="connection"` this connection is a member of its
        own, so that two programs of one user have a cursor each. Raises like `publish`, but continues to try after
        a retryable refusal, which goes to `on_error`.
        """
        await self._tracking.track(state, per)

    async def untrack(self) -> None:
        """Leave the channel's members; does nothing when not tracked."""
        await self._tracking.untrack()

    async def presence(self) -> list[PresentMember]:
        """The members present now, in the order they joined. Needs no subscription. Raises like `publish`."""
        id = new_id()
        reply = await ask(self._client, id, messages.AskPresence(self._subscription.wire_topic, id), Presence)
        return [
            PresentMember(each.user_id, msgspec.json.decode(each.state), each.since, each.connection_id or None)
            for each in reply.members
        ]

    async def get_history(self, limit: int = 50, before: int | None = None) -> list[HistoryMessage]:
        """The newest `limit` (1 to 1000) persisted messages, newest first; an HTTP call.

        For the previous page, `before` is the `created_at` of the oldest message you have. Raises Unauthorized,
        Forbidden, BadMessage (also for a message that this client cannot read), or a retryable error.
        """
        return await self._client.history(self._subscription.topic, limit, before)

    # --- called by the session ---------------------------------------------------------------------------

    @property
    def _in_use(self) -> bool:
        """Whether something would be lost if the channel were released."""
        return bool(
            self.subscribed
            or self._requesting is not None
            or self._tracking.active
            or self._subscription.has_listeners
            or not self._delivery.idle
        )

    def _reconfigure(self, options: Options) -> None:
        """Apply the options of another `channel()` call. Raises ValueError when it is subscribed with others."""
        if self._subscription.snapshot is not None:
            raise ValueError(f"{self.topic!r} is open as a live table; use another client for its changes.")
        self._subscription.configure(options, running=self.subscribed or self._requesting is not None)

    def _receive(self, reply: Event | ChatMessage | DbChange) -> None:
        """An event arrived."""
        if self._subscription.live and self._delivery.full:
            self._pause()
        elif (payload := self._subscription.receive(reply)) is not None:
            self._delivery.put(payload)

    def _grow(self, reply: Appended) -> None:
        """Pieces of a stream arrived."""
        if self._subscription.live and self._delivery.full:
            self._pause()
            return
        try:
            payload = self._subscription.grow(reply)
        except OutOfSync:
            self._client.send(self._subscription.request(new_id()))
            return
        if payload is not None:
            self._delivery.put(payload)

    def _confirm(self, reply: Subscribed) -> None:
        """`subscribed` arrived."""
        before = self._subscription.state
        was_live = self._subscription.live
        gap = self._subscription.confirm(reply)
        if gap is not None:
            self._delivery.put(gap)
        if self._subscription.state is State.STALE and before is not State.STALE:
            self._reload()
        if self._subscription.live and not was_live and len(self._subscription.members):
            self._client.send(messages.AskPresence(self._subscription.wire_topic, new_id()))

    def _load(self, reply: Snapshot) -> None:
        """Rows arrived."""
        if (payload := self._subscription.load(reply)) is not None:
            self._delivery.put(payload)

    def _reload(self) -> None:
        """Request all rows again, because some are missing."""
        self._subscription.discard_rows()
        self._client.send(self._subscription.request(new_id()))

    def _reconcile(self, reply: Presence) -> None:
        """The list of members arrived that was requested after a reconnect."""
        if self._subscription.live:
            for payload in self._subscription.reconcile(reply):
                self._delivery.put(payload)

    def _requested_as(self, id: str) -> bool:
        """Whether `id` is that of this channel's newest `subscribe`."""
        return self._subscription.requested_as(id)

    def _ended_by_server(self, reply: Unsubscribed) -> AerostackError | None:
        """`unsubscribed` arrived; returns the error to report when the user did not unsubscribe."""
        if reply.id is not UNSET:
            return None
        if reply.reason == "forbidden":
            self._tracking.end()  # the server ended the presence, too
        if not self.subscribed:
            return None
        because = f": {reply.reason}" if reply.reason else "."
        kind = Forbidden if reply.reason == "forbidden" else Unavailable
        error = kind(f"The server ended the subscription of {self.topic!r}{because}")
        self._end(error)
        return error

    def _refused(self, error: AerostackError) -> None:
        """The server does not continue the subscription."""
        self._end(error)

    def _restore(self) -> None:
        """There is a new connection, or a retry: request again what the server had confirmed."""
        if self.subscribed and not self._paused:
            self._client.send(self._subscription.request(new_id()))
        self._tracking.restore()

    def _lost(self) -> None:
        """The connection is gone."""
        self._subscription.lost()

    def _end_streams(self, error: AerostackError | None) -> None:
        """The connection has ended for good, or the subscription has: end the iterations."""
        for stream in list(self._streams):
            stream.end(error)
        self._subscription.growing.stop(error)

    async def _stop(self) -> None:
        """The user disconnects. Afterwards no handler runs, except the one that called."""
        self._end_streams(None)
        await self._delivery.stop()

    # --- inside ------------------------------------------------------------------------------------------

    def _answered(self, answer: asyncio.Future[Reply]) -> None:
        error = None if answer.cancelled() else answer.exception()
        if self._requesting is None or self._requesting[1] is not answer:
            return
        self._requesting = None
        if isinstance(error, AerostackError):
            self._end(error)
        self._client.retain(self)

    def _end(self, error: AerostackError | None) -> None:
        self._requesting = None
        self._paused = False
        self._subscription.end()
        self._delivery.clear()
        self._end_streams(error)
        self._client.retain(self)

    def _pause(self) -> None:
        self._paused = True
        self._subscription.lost()
        self._client.send(messages.Unsubscribe(self._subscription.wire_topic, new_id()))

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self.subscribed:
                self._client.send(self._subscription.request(new_id()))
        self._client.retain(self)


def _raw(data: Any) -> msgspec.Raw:
    """`data` as JSON. Raises BadMessage."""
    try:
        return msgspec.Raw(messages.encode(data))
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as wrong:
        raise BadMessage(f"The data cannot be written as JSON: {wrong}") from wrong
