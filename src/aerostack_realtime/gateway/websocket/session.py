"""A session: the commands of one connection and their answers, independent of sockets and aiohttp."""

import asyncio
from collections.abc import Awaitable
from typing import Final

from aerostack_realtime.access.identity import Identity
from aerostack_realtime.access.permissions import Denied, Permissions
from aerostack_realtime.access.rows import Scope
from aerostack_realtime.channels.fanout.subscriber import REPLY_SHARE, try_write
from aerostack_realtime.gateway import audit, failures
from aerostack_realtime.gateway.limits.connections import ConnectionSlot
from aerostack_realtime.gateway.limits.token_bucket import ConnectionRateLimiter
from aerostack_realtime.gateway.websocket.commands import Commands
from aerostack_realtime.gateway.websocket.connection_ids import new_id
from aerostack_realtime.gateway.websocket.explanation_link import ExplanationLinks
from aerostack_realtime.gateway.websocket.protocol import STALLED_BYTES
from aerostack_realtime.gateway.websocket.publish_shapes import shape_of
from aerostack_realtime.gateway.websocket.repeated import RepeatedPublish
from aerostack_realtime.gateway.websocket.replies import failed
from aerostack_realtime.gateway.websocket.rights import Rights
from aerostack_realtime.gateway.websocket.services import Services
from aerostack_realtime.gateway.websocket.transport import Transport
from aerostack_realtime.protocol import close_codes, frames, messages
from aerostack_realtime.protocol.errors import (
    AerostackError,
    BadMessage,
    Forbidden,
    RateLimited,
    TokenExpired,
    TooLarge,
    Unauthorized,
)

DRAIN_CHECK_SECONDS: Final = 0.01
"""How often a long replay looks whether its peer has caught up: only slow peers ever wait for it."""
_PUBLISHING: Final = frozenset({messages.Publish, messages.Append, messages.Chat})
_UNPROVEN: Final = (messages.Auth, messages.Ping)
"""The commands that a client may send before it has authenticated."""


class Session:
    """One connection. It is a channels.audience.Subscriber.

    A session without an identity may only authenticate. The endpoint writes its `greeting`.
    With `links`, refused and silent subscriptions get the address of an explanation.
    """

    __slots__ = (
        "_bad_messages",
        "_commands",
        "_heard",
        "_identity",
        "_opened",
        "_pinged_at",
        "_project",
        "_rights",
        "_services",
        "_slot",
        "_throttle",
        "_transport",
        "_waited",
        "_warned_at",
        "buffered",
        "closed",
        "connection_id",
        "links",
        "user_id",
        "write",
        "write_shared",
    )

    def __init__(
        self,
        *,
        services: Services,
        transport: Transport,
        identity: Identity | None,
        project: str,
        slot: ConnectionSlot,
        links: ExplanationLinks | None = None,
    ) -> None:
        self._services = services
        self.links = links
        self.connection_id = new_id()
        self.write = transport.write
        self.write_shared = transport.write_shared
        self.buffered = transport.buffered
        self.closed: int | None = None
        self._transport = transport
        self._identity = identity
        self.user_id = None if identity is None else identity.user_id
        self._project = project
        self._rights = Rights(services.guard, self, services.limits.subscriptions)
        self._commands = Commands(self, services, self._rights, project)
        self._throttle = ConnectionRateLimiter(services.limits, services.now)
        self._slot = slot
        self._opened = self._heard = services.now()
        self._pinged_at: float | None = None
        self._warned_at: float | None = None
        self._bad_messages = self._waited = 0
        if identity is not None:
            self._throttle.exempt = identity.kind == "server"
            self._rights.become(identity)
        services.hub.join(self, identity)

    def greeting(self) -> bytes:
        """The frame that its peer gets first."""
        limits, version = self._services.limits, self._services.version
        sizes = messages.Limits(limits.frame_bytes, limits.nesting)
        connected = messages.Connected(self.connection_id, self.user_id, limits.heartbeat_seconds, version, sizes)
        return frames.encode(connected)

    @property
    def address(self) -> str:
        return self._slot.address

    @property
    def identity(self) -> Identity | None:
        return self._identity

    def send(self, reply: messages.Reply, written: messages.Reply | None = None) -> None:
        """Write a reply, or what is `written` in its place; a peer that does not take its replies is too slow as
        well."""
        if self.closed is None:
            if type(reply) is messages.Error:
                self._services.hub.counters.errors[reply.code] += 1
                self._services.hub.records.refused(self.connection_id, reply)
            self.write_reply(frames.encode(reply if written is None else written))

    def write_reply(self, data: bytes) -> None:
        """Write the frames of replies, unless it is closed; a peer that does not take them is too slow as well."""
        if self.closed is not None:
            return
        if self.buffered() > self._services.limits.buffer_bytes * REPLY_SHARE:
            self.overflow()
        else:
            self._services.hub.counters.bytes_out += len(data)
            try_write(self, data)

    def overflow(self) -> None:
        self.close(close_codes.SLOW_CONSUMER, "too slow: resume from your cursor")

    def pong(self, payload: bytes) -> None:
        """Answer a ping frame."""
        self.control()
        self.write_reply(frames.pong(payload))

    def control(self) -> None:
        """A control frame came."""
        self.heard()
        if not self._throttle.control():
            self.close(close_codes.LIMIT, "too many control frames")

    def scope(self, table: str) -> Scope:
        return self._rights.scope(table)

    def deny(self, topic: str, reason: AerostackError) -> None:
        self.send(messages.Error.of(reason, topic))
        self.evict(topic)

    def evict(self, topic: str) -> None:
        """End everything on a topic at once: the right to be there is gone."""
        if self.closed is None and self._commands.leave(topic):
            self._audit("evicted", topic=topic)
            self._services.hub.records.evicted(self.connection_id, topic)
            self.send(messages.Unsubscribed(topic, reason="forbidden"))

    def close(self, code: int, reason: str) -> None:
        """End the session: nothing is delivered to it any more. Idempotent."""
        if self.closed is not None:
            return
        self.closed = code
        self._services.hub.counters.closes[code] += 1
        self._commands.stop()
        if code in audit.CLOSES:
            self._audit("closed", reason=reason)
        self._rights.leave_all()
        self._services.hub.leave(self)
        self._services.hub.records.closed(self.connection_id, code, reason, self.buffered())
        try_write(self, frames.close(code, reason))
        self._transport.hang_up()

    def lost(self) -> None:
        """The socket is gone; call it once."""
        self._slot.leave()
        if self.closed is None:
            self.closed = close_codes.ABNORMAL
            self._services.hub.counters.closes[close_codes.ABNORMAL] += 1
            self._rights.leave_all()
            self._services.hub.leave(self)
            unread = STALLED_BYTES if self._transport.is_stalled else self.buffered()
            self._services.hub.records.closed(self.connection_id, close_codes.ABNORMAL, "", unread)

    # --- time --------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Heartbeat and deadlines; call it about once a second. A silent client is pinged before it is closed."""
        if self.closed is not None:
            return
        limits = self._services.limits
        if self._commands.pinged:
            self.send(messages.Pong())
        if self._identity is None:
            if now - self._opened > limits.auth_seconds:
                self.close(close_codes.AUTH_TIMEOUT, "did not authenticate in time")
            return
        before, self._waited = self._waited, self.buffered()
        if self._waited < before:
            self.heard()  # its peer reads, and answers a ping only after what waits before it
        if self._pinged_at is not None:
            if now - self._pinged_at > limits.heartbeat_seconds:
                self.close(close_codes.HEARTBEAT_TIMEOUT, "heartbeat timed out")
        elif now - self._heard > limits.heartbeat_seconds:
            self._pinged_at = now
            self.write_reply(frames.PING)
        self._watch_expiry()

    def heard(self, now: float | None = None) -> None:
        """The peer gave a sign of life."""
        self._heard = self._services.now() if now is None else now
        self._pinged_at = None

    # --- commands ----------------------------------------------------------------------------------------

    def ahead(self, frame: bytes) -> None:
        """A text frame came that has to wait for the command before it."""
        self.heard()
        if self.closed is None:
            self._commands.ahead(frame)

    def leaving(self) -> None:
        """The peer takes nothing more; what it has said is still carried out."""
        self._commands.stop()

    def binary(self, _payload: bytes) -> None:
        """A binary frame came."""
        self.heard()
        self._bad(messages.Error.of(BadMessage("Frames are text: send one JSON object in each.")))

    def receive(self, frame: bytes) -> Awaitable[None] | None:
        """Handle a text frame. What is returned has to be awaited before the next frame is handled."""
        services = self._services
        self._heard = now = services.now()
        self._pinged_at = None
        if self.closed is not None:
            return None
        size = len(frame)
        if not self._throttle.message(now):
            services.hub.counters.bytes_in += size
            self._slow_down(frame)
            return None
        if size > services.limits.frame_bytes:
            services.hub.counters.bytes_in += size
            error = TooLarge(f"A frame is at most {services.limits.frame_bytes} bytes; this one has {size}.")
            self._bad(messages.error_for(frame, error))
            return None
        try:
            command = messages.decode_command(frame, services.limits.nesting)
        except messages.InvalidCommand as refused:
            services.hub.counters.bytes_in += size
            self._bad(refused.reply)
            return None
        kind = type(command)
        if kind is messages.Publish:
            services.hub.counters.noted.append(size)
        else:
            counters = services.hub.counters
            counters.bytes_in += size
            counters.commands[kind] += 1
        try:
            if kind in _PUBLISHING and not self._throttle.published(size, now):
                self.fail(command, RateLimited("Publish byte rate limit exceeded; retry in a moment."))
                if self._throttle.abusive:
                    self.close(close_codes.LIMIT, "too many bytes")
                return None
            if self._identity is None and not isinstance(command, _UNPROVEN):
                raise Unauthorized("Authenticate first: send an auth command, or connect with a token.")
            if isinstance(command, messages.Auth):
                return self._authenticate(command.token)
            if isinstance(command, messages.Publish) and self._rights.remembers(command.topic):
                self._expect_again(frame, command)
            return self._commands.handle(command)
        except Exception as failure:
            self.fail(command, failure)
            return None

    def _expect_again(self, frame: bytes, publish: messages.Publish) -> None:
        """Let the transport hand over what repeats a publish, unless it does for another that is repeated."""
        expected = self._transport.repeated
        if (expected is None or expected.is_outdated) and (shape := shape_of(frame, publish)) is not None:
            topic = self._rights.publishing(publish.topic, self._project)
            events = self._services.hub.repeated(topic, publish, self.user_id, self.connection_id)
            self._transport.repeated = RepeatedPublish(
                *(publish, shape, self, events, self._throttle),
                answer=lambda command: self._commands.answer_publish(command, topic),
                services=self._services,
            )

    def _become(self, identity: Identity) -> None:
        self._transport.repeated = None
        self._rights.become(identity)

    def _authenticate(self, token: str) -> Awaitable[None] | None:
        try:
            identity = self._services.authenticator.identify(None, token) if token else None
            if identity is None:
                raise Unauthorized("The token is empty.")
        except AerostackError as error:
            self._services.hub.counters.authentication_failures["auth"] += 1
            self._audit("refused", reason=error.code)
            self.send(messages.Error.of(error))
            if self._identity is None:
                self.close(close_codes.RESTART if error.retryable else close_codes.UNAUTHORIZED, error.code)
            return None
        known = self._identity
        if known is not None and known.kind == "user" and known.user_id != identity.user_id:
            self.send(messages.Error.of(Unauthorized("This connection belongs to another user; connect again.")))
            self.close(close_codes.UNAUTHORIZED, "another user's token")
            return None
        try:
            self._slot.become(identity.user_id)
        except RateLimited as error:
            self.send(messages.Error.of(error))
            self.close(close_codes.LIMIT, "too many connections")
            return None
        before = None if known is None else self._rights.permissions
        self._identity = identity
        self.user_id = identity.user_id
        self._services.hub.records.identified(self.connection_id, identity)
        self._warned_at = None
        self._throttle.exempt = identity.kind == "server"
        self._become(identity)
        self.send(messages.Authenticated(identity.user_id or ""))
        return None if before is None else self._review(before)

    def apply_rules(self, *, moved: bool) -> Awaitable[None] | None:
        """The rules have changed; with `moved` also what follows the memberships. The connection has its new
        rights at once. Await the result: then it leaves the topics that it has no right to any more."""
        if moved:
            self._rights.forget_memberships()
        if self._identity is None:
            return None
        before = self._rights.permissions
        self._become(self._identity)
        return self._review(before)

    async def _review(self, before: Permissions) -> None:
        """Leave where there is no right to be any more."""
        for topic in await self._rights.lost(before):
            self.evict(topic)

    # --- inside ------------------------------------------------------------------------------------------

    def _slow_down(self, frame: bytes) -> None:
        self.send(messages.error_for(frame, RateLimited("Message rate limit exceeded; retry in a moment.")))
        if self._throttle.abusive:
            self.close(close_codes.LIMIT, "too many messages")

    def _audit(self, event: str, **facts: str | None) -> None:
        audit.record(event, user=self.user_id, address=self._slot.address, connection=self.connection_id, **facts)

    def _bad(self, reply: messages.Error) -> None:
        self.send(reply)
        self._bad_messages += 1
        if self._bad_messages >= self._services.limits.bad_messages:
            self.close(close_codes.BAD_MESSAGES, "too many bad messages")

    def fail(self, command: messages.Command, failure: Exception) -> None:
        """Answer a command that failed."""
        if not isinstance(failure, AerostackError):
            activity = f"a command of type {type(command).__name__}"
            failure = failures.internal(failure, activity, self.connection_id)
        if isinstance(failure, Forbidden):
            rule = failure.facts() if isinstance(failure, Denied) else {}
            name = type(command).__name__.lower()
            self._audit("refused", command=name, topic=getattr(command, "topic", None), **rule)
        error, written = failed(command, failure, self._project), None
        if self.links is not None and isinstance(command, messages.Subscribe):
            written = self.links.added(error, self.user_id, self.connection_id)
        self.send(error, written)

    def _watch_expiry(self) -> None:
        """Warn of an expired token, then end the connection unless a new one came within the grace."""
        if self._identity is None or not self._services.authenticator.expired(self._identity):
            return
        if self._warned_at is None:
            self._warned_at = self._services.now()
            grace = self._services.limits.token_grace_seconds
            error = TokenExpired(f"The token has expired; send an auth command with a new one within {grace:g} s.")
            self.send(messages.Error.of(error))
        elif self._services.now() - self._warned_at > self._services.limits.token_grace_seconds:
            self.close(close_codes.UNAUTHORIZED, "token expired")

    async def drain(self) -> None:
        """Wait until the peer has taken most of what was written to it."""
        mark = self._services.limits.buffer_bytes // 4
        while self.buffered() > mark:  # noqa: ASYNC110 - a transport has no event for it
            await asyncio.sleep(DRAIN_CHECK_SECONDS)
        self.heard()  # what it takes is a sign of life, and its frames wait meanwhile
